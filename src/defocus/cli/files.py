"""Which files a command reads, where it writes, and what it calls what it writes."""

from __future__ import annotations

import io
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from defocus.errors import ParameterError
from defocus.photograph import PHOTOGRAPH_SUFFIXES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAP_ENDING = ".defocus.tiff"
PREVIEW_ENDING = ".defocus.png"
OVERLAY_ENDING = ".defocus.overlay.png"
DEPTH_ENDING = ".defocus.depth.png"
_OUTPUT = re.compile(r"\.defocus(\.[a-z]+)?\.(tiff?|png|jpg|webp)$")


@dataclass(frozen=True)
class Source:
    """A photograph to read.

    Attributes
    ----------
    path : the file.
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
    failures : arguments and folders without a photograph in them, with the reason.
    """

    photographs: list[Source]
    outputs: list[Path]
    failures: list[tuple[Path, str]]


def is_output(path: Path) -> bool:
    """Tell by the name whether a file is one that this command line writes."""
    return _OUTPUT.search(path.name.lower()) is not None


def find_photographs(arguments: Iterable[Path]) -> Found:
    """Take files as they are named and walk folders for photographs, by suffix; hidden ones are left out."""
    found = Found([], [], [])
    seen: set[Path] = set()
    for argument in arguments:
        if argument.is_dir():
            sources = _walk(argument, found.failures)
            if not sources:
                found.failures.append((argument, "holds no photographs."))
        elif is_output(argument):
            found.outputs.append(argument)
            continue
        else:
            sources = [Source(argument)]
        for source in sources:
            real = source.path.resolve()
            if real not in seen:
                seen.add(real)
                found.photographs.append(source)
    return found


def _walk(folder: Path, failures: list[tuple[Path, str]]) -> list[Source]:
    def cannot_list(error: OSError) -> None:
        failures.append((Path(error.filename), f"{error.strerror}."))

    sources = []
    for parent, folders, names in os.walk(folder, onerror=cannot_list):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(parent)
        sources += [Source(here / name, here.relative_to(folder)) for name in sorted(names) if _is_photograph(name)]
    return sources


def _is_photograph(name: str) -> bool:
    path = Path(name)
    return not name.startswith(".") and path.suffix.lower() in PHOTOGRAPH_SUFFIXES and not is_output(path)


def name_outputs(photographs: Iterable[Source], directory: Path | None) -> list[Path]:
    """Return for each photograph the path its outputs' names begin with.

    That is the photograph's name without suffix, beside it or in `directory`, where folders that were walked
    keep their structure. A photograph whose folder holds another one of the same name (a.jpg and a.png) keeps
    its suffix, and what would still coincide gets a number: no map overwrites another's.
    """
    taken: set[str] = set()
    beginnings = []
    for source in photographs:
        photo = source.path
        alone = _stems(photo.parent)[photo.stem.casefold()] <= 1
        name = photo.stem if alone else photo.name
        folder = photo.parent if directory is None else directory / source.below
        beginning, number = folder / name, 1
        while _key(beginning) in taken:
            number += 1
            beginning = folder / f"{name}.{number}"
        taken.add(_key(beginning))
        beginnings.append(beginning)
    return beginnings


def with_ending(beginning: Path, ending: str) -> Path:
    """Append an ending to a path whose name may have dots of its own."""
    return beginning.with_name(beginning.name + ending)


def prepare_folder(folder: Path | None) -> None:
    """Make the folder and see that it can be written, before minutes are spent on a map."""
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ParameterError(f"Cannot make the folder {folder}: {error.strerror}.") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ParameterError(f"The folder {folder} cannot be written: choose another with -o.")


def png(picture: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """A picture as the contents of a PNG file."""
    from PIL import Image

    file = io.BytesIO()
    # Half the time of the usual level 6, for a file a quarter larger.
    Image.fromarray(picture).save(file, format="PNG", compress_level=3)
    return file.getvalue()


def _key(path: Path) -> str:
    # Many file systems do not tell a.jpg from A.JPG.
    return str(path.absolute()).casefold()


@cache
def _stems(folder: Path) -> Counter[str]:
    """Count the photographs of a folder by name without suffix."""
    try:
        return Counter(path.stem.casefold() for path in folder.iterdir() if _is_photograph(path.name))
    except OSError:
        return Counter()
