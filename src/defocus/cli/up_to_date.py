"""Whether what a command would make is there already: decided by content, not by name and date."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

from defocus.errors import MapFileError
from defocus.provenance import Provenance, read_provenance

ANY_SUFFIX = ".*"
"""Ending of an output whose format is known only once the photograph has been read."""
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"


def find_outputs(outputs: Mapping[str, Path], made_from: Mapping[str, Provenance]) -> dict[str, Path] | None:
    """Return the paths of a photograph's outputs if all are whole and what this run would make again, else None.

    Parameters
    ----------
    outputs : by kind; a path may end in `ANY_SUFFIX`.
    made_from : for each kind the provenance that it would have.
    """
    found = {}
    for kind, path in outputs.items():
        wanted = made_from[kind].as_stored()
        candidates = _with_any_suffix(path) if path.name.endswith(ANY_SUFFIX) else [path]
        match = next((each for each in candidates if read_provenance(each) == wanted and _is_whole(each)), None)
        if match is None:
            return None
        found[kind] = match
    return found


def _with_any_suffix(path: Path) -> list[Path]:
    start = path.name.removesuffix(ANY_SUFFIX)
    try:
        return sorted(each for each in path.parent.iterdir() if each.name.removesuffix(each.suffix) == start)
    except OSError:
        return []


def _is_whole(path: Path) -> bool:
    """Tell whether a file is not cut short, by what its format says of its end."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
            file.seek(0, 2)
            size = file.tell()
            file.seek(max(size - len(_PNG_END), 0))
            end = file.read()
    except OSError:
        return False
    if head.startswith(b"\x89PNG"):
        return end == _PNG_END
    if head.startswith(b"\xff\xd8"):
        return end.endswith(b"\xff\xd9")
    if head.startswith(b"GIF8"):
        return end.endswith(b"\x3b")
    if head.startswith(b"RIFF"):
        return size >= struct.unpack("<I", head[4:8])[0] + 8
    if head.startswith(b"glTF"):
        return bool(size == struct.unpack("<I", head[8:12])[0])
    if head[:2] in (b"II", b"MM"):
        return _is_whole_tiff(path, size)
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return end.rstrip().endswith(b"</html>")
    return True


def _is_whole_tiff(path: Path, size: int) -> bool:
    import tifffile

    from defocus.maps.map_file import describe

    try:
        describe(path)
    except MapFileError as error:
        if "cut short" in str(error):
            return False
    else:
        return True
    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            return all(a + b <= size for a, b in zip(page.dataoffsets, page.databytecounts, strict=True))
    except Exception:  # damaged files make the library raise many kinds
        return False
