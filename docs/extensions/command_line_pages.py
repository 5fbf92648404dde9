"""A page for every command, made from the command line itself before the other pages are read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

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
    group: Any = typer.main.get_command(application())
    for old in folder.glob("*.md"):
        if old.stem not in group.commands:
            old.unlink()
    for name, command in group.commands.items():
        _write_if_changed(folder / f"{name}.md", _page(name, command))


def _write_if_changed(path: Path, text: str) -> None:
    # Sphinx reads a page again when its date changes.
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def _page(name: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    usage = " ".join(["defocus", name, "[OPTIONS]", *(f"{p.make_metavar(_context(command))}..." for p in arguments)])
    parts = [f"# defocus {name}", _plain(command.help or ""), f"```text\n{_squeezed(usage)}\n```"]
    if arguments:
        parts += ["## Arguments", *(_entry(p, command) for p in arguments)]
    parts += ["## Options", *(_entry(p, command) for p in options)]
    return "\n\n".join(parts + _epilog(command.epilog or "")) + "\n"


def _context(command: Any) -> Any:
    return command.make_context(command.name, [], resilient_parsing=True)


def _squeezed(usage: str) -> str:
    return re.sub(r"\.{4,}", "...", usage)


def _entry(parameter: Any, command: Any) -> str:
    context = _context(command)
    metavar = parameter.make_metavar(context)
    if parameter.param_type_name == "argument":
        names = f"`{metavar}`"
    else:
        value = "" if parameter.is_flag else f" {metavar}"
        names = ", ".join(f"`{option}{value}`" for option in [*parameter.opts, *parameter.secondary_opts])
    text = _plain(parameter.help or "")
    if parameter.required and parameter.param_type_name == "option":
        text += " Required."
    default = parameter.default
    if default is not None and not parameter.is_flag and not parameter.required and not callable(default):
        text += f" Default: `{getattr(default, 'value', default)}`."
    return f"{names}\n: {text}"


def _plain(text: str) -> str:
    """Markdown from Rich's markup: names in capitals and placeholders stay as they are."""
    text = re.sub(r"\[/?(bold|italic|dim)\]", "", text).replace("\\[", "[").strip()
    return re.sub(r"([<>*_|])", r"\\\1", text)


def _epilog(text: str) -> list[str]:
    """Headings, commands and sentences of the text that stands below the options."""
    parts: list[str] = []
    for block in filter(None, (b.strip() for b in text.split("\n\n"))):
        heading = re.fullmatch(r"\[bold\](.*)\[/bold\]", block)
        if heading:
            parts.append(f"## {heading[1]}")
        elif block.startswith(("defocus ", "curl ")):
            parts.append(f"```sh\n{' '.join(block.split())}\n```")
        else:
            parts.append(_plain(block))
    return parts
