"""Which files a command reads, and how the names of what it writes about each begin."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from defocus.provenance import has_output_name, is_output

__all__ = ["STANDARD_STREAM", "Found", "Source", "find_photographs", "name_outputs"]

STANDARD_STREAM = Path("-")
"""In the place of a photograph standard input, in that of an output standard output."""


@dataclass(frozen=True)
class Source:
    """A photograph to read.

    Attributes
    ----------
    path : the file; `STANDARD_STREAM` for standard input.
    below : its folder relative to the folder that was searched; "." if it was named itself.
    alone : whether no other photograph of its folder has the same name without suffix; None for one that was named
        itself, whose folder was not searched.
    named : whether the user named it, and it was not found in a folder.
    """

    path: Path
    below: Path = Path()
    alone: bool | None = None
    named: bool = True


@dataclass(frozen=True)
class Found:
    """What the arguments of a command hold.

    Attributes
    ----------
    photographs : in the order of the arguments, folders sorted by name, none twice. Of a file and a link to it that are
        found in folders it is the file.
    outputs : files named like outputs of an earlier run; they are left out.
    failures : what cannot be read: folders without a photograph, pipes, loops of links; with the reason.
    """

    photographs: list[Source]
    outputs: list[Path]
    failures: list[tuple[Path, str]]


def find_photographs(arguments: Iterable[Path], without_folders: frozenset[str] = frozenset()) -> Found:
    """Take files as they are named, and search folders for photographs.

    Files are hardly ever opened here: what turns out to be an output of an earlier run under another name is left out
    when it is read. Folders with the names `without_folders`, within those that are searched, are left out.
    """
    from defocus.photograph.folders import photographs_below, reason_not_to_open  # here: --help must not wait for numpy

    found = Found([], [], [])
    places: dict[str, int] = {}
    for argument in arguments:
        sources = []
        if argument == STANDARD_STREAM:
            sources = [Source(argument)]
        elif argument.is_dir():
            before = len(found.failures)
            photographs = photographs_below(
                argument, open_files=False, on_failure=lambda path, reason: found.failures.append((path, reason))
            )
            photographs = [
                path for path in photographs if without_folders.isdisjoint(path.parent.relative_to(argument).parts)
            ]
            # One of several files of one name may be an output: it must not change what the photograph's are called.
            alike = Counter(map(_name, photographs))
            photographs = [path for path in photographs if alike[_name(path)] == 1 or not is_output(path)]
            alike = Counter(map(_name, photographs))
            sources = [
                Source(path, path.parent.relative_to(argument), alone=alike[_name(path)] == 1, named=False)
                for path in photographs
            ]
            if not sources and len(found.failures) == before:
                found.failures.append((argument, "holds no photographs."))
        elif (reason := reason_not_to_open(argument)) is not None:
            found.failures.append((argument, reason))
        elif has_output_name(argument):
            found.outputs.append(argument)
        else:
            sources = [Source(argument)]
        for source in sources:
            place = places.setdefault(os.path.realpath(source.path), len(found.photographs))
            if place == len(found.photographs):
                found.photographs.append(source)
            elif _is_found_link(found.photographs[place]) and not _is_found_link(source):
                # What is written beside a photograph belongs beside the file itself.
                found.photographs[place] = source
    return found


def name_outputs(photographs: Iterable[Source], directory: Path | None) -> list[Path]:
    """Return for each photograph the path its outputs' names begin with.

    That is the photograph's name without suffix, beside it or in `directory`, where folders that were searched
    keep their structure. A photograph whose folder holds another one of the same name (a.jpg and a.png) keeps
    its suffix, and what would still coincide gets a number: no map overwrites another's.
    """
    taken: set[str] = set()
    stems = []
    for source in photographs:
        photo = source.path if source.path != STANDARD_STREAM else Path("stdin")
        name = photo.stem if (_is_alone(photo) if source.alone is None else source.alone) else photo.name
        folder = photo.parent if directory is None else directory / source.below
        stem, number = folder / name, 1
        while _key(stem) in taken:
            number += 1
            stem = folder / f"{name}.{number}"
        taken.add(_key(stem))
        stems.append(stem)
    return stems


def _is_found_link(source: Source) -> bool:
    return not source.named and source.path.is_symlink()


def _key(path: Path) -> str:
    # Many file systems do not tell a.jpg from A.JPG.
    return str(path.absolute()).casefold()


def _name(photo: Path) -> tuple[Path, str]:
    """Folder and name without suffix, the same for a.jpg and A.PNG."""
    return photo.parent, photo.stem.casefold()


def _is_alone(photo: Path) -> bool:
    """Tell whether no other photograph of its folder has the same name without suffix."""
    alike = [path for path in _photographs_beside(photo.parent) if _name(path) == _name(photo)]
    return len(alike) <= 1 or sum(not is_output(path) for path in alike) <= 1


@cache
def _photographs_beside(folder: Path) -> list[Path]:
    from defocus.photograph.folders import photographs_below

    return photographs_below(folder, recursive=False, open_files=False)
