"""Where the camera focused, as makers' notes tell it: of the makers that tell it as a place in the picture.

Read are Sony's FocusLocation, Panasonic's AFPointPosition, Fujifilm's FocusPixel, Canon's AFInfo and AFInfo2, and
Nikon's AFInfo2, as ExifTool's tables describe them. Notes that name a point by a number or a word, as those of Nikon's
cameras do unless they focused by contrast or have no mirror, need to be known model by model, and are not read.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from defocus.photograph.exif import Entry, Exif

__all__ = ["focus_in_maker_note"]

_SONY, _PANASONIC, _FUJIFILM, _NIKON = b"SONY DSC \0\0\0", b"Panasonic\0\0\0", b"FUJIFILM", b"Nikon\0\2"
_SONY_FOCUS, _PANASONIC_FOCUS, _FUJIFILM_FOCUS = 0x2027, 0x4D, 0x1023
_CANON_POINTS, _CANON_POINTS_2, _NIKON_POINTS = 0x12, 0x26, 0xB7
_MAKE, _MODEL, _MAKER_NOTE, _WIDTH, _HEIGHT = 271, 272, 0x927C, 0xA002, 0xA003
_MOST_ENTRIES, _LONGEST = 1000, 2**18
_NIKON_PLACES = (
    (b"0100", (1,), 0x10, 0x1C),
    (b"0101", (1,), 0x46, 0x52),
    (b"0301", (1, 2), 0x2A, None),
    (b"03", (2,), 0x2A, None),
    (b"0400", None, 0x3E, None),
)
"""Of Nikon's AFInfo2: how its version begins; which ways of focusing, in byte 4, have a place, None for all; where the
size of the picture and then the place stand; and where it says whether that is in focus."""


def focus_in_maker_note(
    file: BinaryIO, camera_at: int, order: str, main: Mapping[int, Entry], camera: Mapping[int, Entry]
) -> tuple[float, float] | None:
    """Return where the camera focused, x and y as fractions 0..1 of the picture as it is stored; None if not told.

    Parameters
    ----------
    file : TIFF file, or EXIF as one, open for reading.
    camera_at : address of the camera's directory (EXIF).
    order : "<" or ">", its byte order.
    main, camera : the entries of the first directory and of the camera's.
    """
    from defocus.photograph.exif import Exif, read_directory

    at = _address(file, camera_at, order, _MAKER_NOTE)
    if at is None:
        return None
    about = Exif(main, camera, order=order)
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
        return _within(notes.numbers(_FUJIFILM_FOCUS), (*about.numbers(_WIDTH)[:1], *about.numbers(_HEIGHT)[:1]))
    if head.startswith(_NIKON):
        # A TIFF of its own, in a byte order of its own.
        file.seek(at + 10)
        inner = io.BytesIO(file.read(_LONGEST))
        inner_order = {b"II*\0": "<", b"MM\0*": ">"}.get(inner.read(4))
        if inner_order is None:
            return None
        (first,) = struct.unpack(inner_order + "I", inner.read(4).ljust(4, b"\0"))
        points = read_directory(inner, first, inner_order)[0].get(_NIKON_POINTS)
        return None if points is None else _nikon_place(points.value, inner_order)
    if (about.text(_MAKE) or "").startswith("Canon"):
        notes = Exif(read_directory(file, at, order)[0], order=order)
        shape = (*about.numbers(_WIDTH)[:1], *about.numbers(_HEIGHT)[:1])
        return _canon_place(notes, shape, upwards="EOS" in (about.text(_MODEL) or ""))
    return None


def _canon_place(notes: Exif, shape: tuple[float, ...], *, upwards: bool) -> tuple[float, float] | None:
    """The point in focus of Canon's notes; of several the one that is nearest to all the others.

    Places are counted from the middle, by EOS cameras `upwards`, by others downwards. A picture of another `shape` than
    the camera made, width and height, was cut or turned since.
    """
    newer = [int(number) for number in notes.numbers(_CANON_POINTS_2)]
    values = newer or [int(number) for number in notes.numbers(_CANON_POINTS)]
    # The newer entry begins with its size in bytes and the mode, 0 for focusing by hand. It has the size of each point,
    # where the older has one of all.
    if len(values) < 8 or (newer and (newer[0] != 2 * len(newer) or newer[1] == 0)):
        return None
    number, valid = values[2:4] if newer else values[:2]
    made, size = (values[4:6], values[6:8]) if newer else (values[2:4], values[4:6])
    start = 8 + 2 * number if newer else 8
    flags = values[start + 2 * number : start + 2 * number + -(-number // 16)]
    if 16 * len(flags) < number or min(*size, *made, *shape) <= 0:
        return None
    if len(shape) == 2 and not 0.98 < shape[0] / shape[1] * made[1] / made[0] < 1.02:
        return None
    x, y = (
        [value - 2**16 if value >= 2**15 else value for value in values[start + k * number : start + (k + 1) * number]]
        for k in (0, 1)
    )
    places = [(x[k], -y[k] if upwards else y[k]) for k in range(min(number, valid)) if flags[k // 16] >> k % 16 & 1]
    if not places:
        return None
    middle = min(places, key=lambda place: (sum(math.dist(place, other) for other in places), math.hypot(*place)))
    return _within((middle[0] + size[0] / 2, middle[1] + size[1] / 2), (float(size[0]), float(size[1])))


def _nikon_place(points: bytes, order: str) -> tuple[float, float] | None:
    """The middle of the area in focus of Nikon's notes, of cameras that focused by contrast or have no mirror."""
    for version, ways, at, in_focus in _NIKON_PLACES:
        if points.startswith(version) and len(points) >= max(at + 8, (in_focus or 0) + 1):
            if (ways is not None and points[4] not in ways) or (in_focus is not None and points[in_focus] != 1):
                return None
            width, height, x, y = struct.unpack_from(order + "4H", points, at)
            return _within((x, y), (width, height))
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
