"""Where the camera focused, as makers' notes tell it: of the few makers that tell it plainly, by one entry each.

Sony's FocusLocation, Panasonic's AFPointPosition and Fujifilm's FocusPixel, as ExifTool's tables describe them. Canon's
and Nikon's notes depend on the model, and are not read.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from defocus.photograph.exif import Entry

__all__ = ["focus_in_maker_note"]

_SONY, _PANASONIC, _FUJIFILM = b"SONY DSC \0\0\0", b"Panasonic\0\0\0", b"FUJIFILM"
_SONY_FOCUS, _PANASONIC_FOCUS, _FUJIFILM_FOCUS = 0x2027, 0x4D, 0x1023
_MAKER_NOTE, _WIDTH, _HEIGHT = 0x927C, 0xA002, 0xA003
_MOST_ENTRIES, _LONGEST = 1000, 2**18


def focus_in_maker_note(
    file: BinaryIO, camera_at: int, order: str, camera: Mapping[int, Entry]
) -> tuple[float, float] | None:
    """Return where the camera focused, x and y as fractions 0..1 of the picture as it is stored; None if not told.

    Parameters
    ----------
    file : TIFF file, or EXIF as one, open for reading.
    camera_at : address of the camera's directory (EXIF).
    order : "<" or ">", its byte order.
    camera : the entries of that directory.
    """
    from defocus.photograph.exif import Exif, read_directory

    at = _address(file, camera_at, order, _MAKER_NOTE)
    if at is None:
        return None
    file.seek(at)
    head = file.read(12)
    if head == _SONY:
        notes = Exif(read_directory(file, at + 12, order)[0], order=order)
        numbers = notes.numbers(_SONY_FOCUS)
        # Where it is not known, it is the middle.
        if len(numbers) != 4 or numbers[:2] == (2 * numbers[2], 2 * numbers[3]):
            return None
        return _within(numbers[2:], numbers[:2])
    if head == _PANASONIC:
        return _within(Exif(read_directory(file, at + 12, order)[0], order=order).numbers(_PANASONIC_FOCUS), (1.0, 1.0))
    if head.startswith(_FUJIFILM):
        # Addresses in its notes are counted from their beginning.
        file.seek(at)
        inner = io.BytesIO(file.read(_LONGEST))
        notes = Exif(read_directory(inner, struct.unpack("<I", head[8:12])[0], "<")[0], order="<")
        size = Exif(camera=camera, order=order)
        return _within(notes.numbers(_FUJIFILM_FOCUS), (*size.numbers(_WIDTH)[:1], *size.numbers(_HEIGHT)[:1]))
    return None


def _within(place: tuple[float, ...], size: tuple[float, ...]) -> tuple[float, float] | None:
    if len(place) != 2 or len(size) != 2 or min(size) <= 0:
        return None
    x, y = place[0] / size[0], place[1] / size[1]
    # Panasonic writes a large number for none, and others 0 where they focused on nothing.
    return (x, y) if all(math.isfinite(each) and 0 < each < 1 for each in (x, y)) else None


def _address(file: BinaryIO, directory_at: int, order: str, tag: int) -> int | None:
    """The address of an entry's value, which is longer than four bytes."""
    file.seek(directory_at)
    counted = file.read(2)
    if len(counted) < 2:
        return None
    entries = file.read(12 * min(struct.unpack(order + "H", counted)[0], _MOST_ENTRIES))
    for place in range(0, len(entries) - 11, 12):
        if struct.unpack_from(order + "H", entries, place)[0] == tag:
            return int(struct.unpack_from(order + "I", entries, place + 8)[0])
    return None
