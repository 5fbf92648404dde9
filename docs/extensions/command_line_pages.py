"""A page for every command, made from the command line itself before the other pages are read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer
import typer.main
from sphinx.application import Sphinx

from defocus.cli.app import application

FOLDER = Path("reference/commands")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("builder-inited", _write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _write_pages(app: Sphinx) -> None:
    folder = Path(app.srcdir) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    commands = _commands(typer.main.get_command(application()))
    for old in folder.glob("*.md"):
        if old.stem not in [name.replace(" ", "-") for name in commands]:
            old.unlink()
    for name, command in commands.items():
        path, text = folder / f"{name.replace(' ', '-')}.md", _page(name, command)
        # Sphinx reads a page again when its date changes.
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def _commands(group: Any) -> dict[str, Any]:
    """All commands by name, those of a group within the group with both names."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found |= {f"{name} {inner}": each for inner, each in _commands(command).items()}
        else:
            found[name] = command
    return found


def _page(name: str, command: Any) -> str:
    context = typer.Context(command)
    usage = " ".join(["defocus", name, *command.collect_usage_pieces(context)])
    parts = [f"# defocus {name}", _plain(command.help or ""), f"```text\n{usage}\n```"]
    for kind, heading in (("argument", "## Arguments"), ("option", "## Options")):
        records = [p.get_help_record(context) for p in command.get_params(context) if p.param_type_name == kind]
        entries = [f"`{names}`\n: {_plain(text)}" for names, text in filter(None, records)]
        if entries:
            parts += [heading, *entries]
    return "\n\n".join(parts + _epilog(command.epilog or "")) + "\n"


def _plain(text: str) -> str:
    """Markdown from the help's text, in which nothing but names in back quotes is marked."""
    pieces = text.strip().split("`")
    pieces[::2] = [re.sub(r"([<>*_|\[\]])", r"\\\1", piece) for piece in pieces[::2]]
    return "`".join(pieces)


def _epilog(text: str) -> list[str]:
    """Headings, commands and sentences of the text that stands below the options."""
    parts: list[str] = []
    for block in filter(None, (" ".join(b.split()) for b in text.split("\n\n"))):
        heading = re.fullmatch(r"\[bold\](.*)\[/bold\]", block)
        if heading:
            parts.append(f"## {heading[1]}")
        elif block.startswith(("defocus ", "curl ")):
            parts.append(f"```sh\n{block}\n```")
        else:
            parts.append(_plain(block))
    return parts
