"""Which files a command reads, where it writes, and what it calls what it writes."""

from __future__ import annotations

import io
import os
import stat
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from defocus.errors import ParameterError
from defocus.provenance import Provenance, is_output, stamp

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STANDARD_STREAM = Path("-")
"""In the place of a photograph standard input, in that of an output standard output."""
MAP_ENDING = ".defocus.tiff"
PREVIEW_ENDING = ".defocus.png"
OVERLAY_ENDING = ".defocus.overlay.png"
DEPTH_ENDING = ".defocus.depth.png"
_HOW_NOT_TO = "give a photograph's own file, or - for standard input"


@dataclass(frozen=True)
class Source:
    """A photograph to read.

    Attributes
    ----------
    path : the file; `STANDARD_STREAM` for standard input.
    below : its folder relative to the walked folder it was found in; "." if it was named itself.
    """

    path: Path
    below: Path = Path()


@dataclass(frozen=True)
class Found:
    """What the arguments of a command hold.

    Attributes
    ----------
    photographs : in the order of the arguments, folders sorted by name, none twice.
    outputs : outputs of earlier runs that were named as if they were photographs; they are left out.
    failures : what cannot be read: folders without a photograph, pipes, loops of links; with the reason.
    """

    photographs: list[Source]
    outputs: list[Path]
    failures: list[tuple[Path, str]]


def find_photographs(arguments: Iterable[Path]) -> Found:
    """Take files as they are named and walk folders for photographs, by suffix; hidden ones are left out."""
    found = Found([], [], [])
    seen: set[str] = set()
    for argument in arguments:
        if argument == STANDARD_STREAM:
            sources = [Source(argument)]
        elif argument.is_dir():
            before = len(found.failures)
            sources = _walk(argument, found.failures)
            if not sources and len(found.failures) == before:
                found.failures.append((argument, "holds no photographs."))
        elif (reason := _unreadable(argument)) is not None:
            found.failures.append((argument, reason))
            continue
        elif is_output(argument):
            found.outputs.append(argument)
            continue
        else:
            sources = [Source(argument)]
        for source in sources:
            real = os.path.realpath(source.path)
            if real not in seen:
                seen.add(real)
                found.photographs.append(source)
    return found


def _unreadable(path: Path) -> str | None:
    """Why a path cannot be a photograph's file, without opening it, which would wait at a pipe; else None."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "There is no file of that name: check it."
    except OSError as error:
        return f"{error.strerror or error}."
    if not stat.S_ISREG(mode):
        return f"It is a pipe, a device or a socket, not a file: {_HOW_NOT_TO}."
    return None


def _walk(folder: Path, failures: list[tuple[Path, str]]) -> list[Source]:
    def cannot_list(error: OSError) -> None:
        failures.append((Path(error.filename), f"{error.strerror}."))

    sources = []
    for parent, folders, names in os.walk(folder, onerror=cannot_list):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(parent)
        for name in filter(_may_be_photograph, sorted(names)):
            reason = _unreadable(here / name)
            if reason is not None:
                failures.append((here / name, reason))
            elif not is_output(here / name):
                sources.append(Source(here / name, here.relative_to(folder)))
    return sources


def _may_be_photograph(name: str) -> bool:
    from defocus.photograph import PHOTOGRAPH_SUFFIXES  # here: --help must not wait for numpy

    return not name.startswith(".") and Path(name).suffix.lower() in PHOTOGRAPH_SUFFIXES


def name_outputs(photographs: Iterable[Source], directory: Path | None) -> list[Path]:
    """Return for each photograph the path its outputs' names begin with.

    That is the photograph's name without suffix, beside it or in `directory`, where folders that were walked
    keep their structure. A photograph whose folder holds another one of the same name (a.jpg and a.png) keeps
    its suffix, and what would still coincide gets a number: no map overwrites another's.
    """
    taken: set[str] = set()
    stems = []
    for source in photographs:
        photo = source.path if source.path != STANDARD_STREAM else Path("stdin")
        name = photo.stem if _is_alone(photo) else photo.name
        folder = photo.parent if directory is None else directory / source.below
        stem, number = folder / name, 1
        while _key(stem) in taken:
            number += 1
            stem = folder / f"{name}.{number}"
        taken.add(_key(stem))
        stems.append(stem)
    return stems


def with_ending(stem: Path, ending: str) -> Path:
    """Append an ending to a path whose name may have dots of its own."""
    return stem.with_name(stem.name + ending)


def prepare_folder(folder: Path | None) -> None:
    """Make the folder that outputs go to.

    Raises
    ------
    ParameterError
        If it cannot be made or written.
    """
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ParameterError(f"Cannot make the folder {folder}: {error.strerror}.") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ParameterError(f"The folder {folder} cannot be written: choose another with -o.")


def png(picture: NDArray[np.uint8] | NDArray[np.uint16], provenance: Provenance) -> bytes:
    """A picture as the contents of a PNG file that says what it was made from."""
    from PIL import Image

    file = io.BytesIO()
    # Half the time of the usual level 6, for a file a quarter larger.
    Image.fromarray(picture).save(file, format="PNG", compress_level=3)
    return stamp(file.getvalue(), provenance)


def _key(path: Path) -> str:
    # Many file systems do not tell a.jpg from A.JPG.
    return str(path.absolute()).casefold()


def _is_alone(photo: Path) -> bool:
    """Tell whether no other photograph of its folder has the same name without suffix."""
    if _stems(photo.parent)[photo.stem.casefold()] <= 1:
        return True
    alike = (p for p in photo.parent.iterdir() if p.stem.casefold() == photo.stem.casefold())
    return sum(_may_be_photograph(p.name) and not is_output(p) for p in alike) <= 1


@cache
def _stems(folder: Path) -> Counter[str]:
    """Count the files of a folder that may be photographs by name without suffix."""
    try:
        return Counter(path.stem.casefold() for path in folder.iterdir() if _may_be_photograph(path.name))
    except OSError:
        return Counter()
