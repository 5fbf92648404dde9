"""EXIF and XMP: read entry by entry, so that damage affects only its own entry, and kept byte by byte.

Texts of any encoding, ratings and maker's notes that this package does not interpret reach an edit unchanged. The
standards are EXIF 2.32 and TIFF 6.0.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from PIL.ExifTags import IFD, Base

from defocus.photograph.maker_note import focus_in_maker_note

__all__ = [
    "CAMERA_DIRECTORY",
    "GPS_DIRECTORY",
    "INTEROPERABILITY",
    "MAKER_NOTE",
    "ORIENTATION",
    "Entry",
    "Exif",
    "directory",
    "exif_from_text",
    "parse_exif",
    "read_directory",
    "upright_exif",
    "upright_xmp",
]

ORIENTATION, _WIDTH, _HEIGHT = (int(tag) for tag in (Base.Orientation, Base.ExifImageWidth, Base.ExifImageHeight))
CAMERA_DIRECTORY, GPS_DIRECTORY, INTEROPERABILITY = int(IFD.Exif), int(IFD.GPSInfo), int(IFD.Interop)
MAKER_NOTE = int(IFD.MakerNote)
_THUMBNAIL_AT, _THUMBNAIL_LENGTH = int(Base.JpegIFOffset), int(Base.JpegIFByteCount)
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_SHORT, _LONG, _UNDEFINED = 3, 4, 7
_MOST_ENTRIES = 1000
_LONGEST_VALUE = 2**20
_PREFIX = b"Exif\0\0"
_XMP_THUMBNAILS = re.compile(rb"<xmp:Thumbnails>.*?</xmp:Thumbnails>", re.DOTALL)
_XMP_NUMBER = r"""({name}\s*=\s*["']|<{name}>)\s*\d+"""


@dataclass(frozen=True)
class Entry:
    """One entry of a directory: its type and its value as bytes, in the byte order of the whole."""

    type: int
    value: bytes

    @property
    def count(self) -> int:
        """Number of values."""
        return len(self.value) // _SIZES[self.type]


@dataclass(frozen=True)
class Exif:
    """The EXIF entries of a file.

    Attributes
    ----------
    main, camera, gps : entries by tag of the first directory, the camera directory (EXIF) and the place (GPS).
    order : "<" or ">", the byte order of their values.
    damaged : number of entries that could not be read.
    focus : where the camera focused, as its maker's note tells it: x and y, fractions 0..1 of the picture as stored;
        None where it does not.
    """

    main: Mapping[int, Entry] = field(default_factory=dict)
    camera: Mapping[int, Entry] = field(default_factory=dict)
    gps: Mapping[int, Entry] = field(default_factory=dict)
    order: str = "<"
    damaged: int = 0
    focus: tuple[float, float] | None = None

    def numbers(self, tag: int) -> tuple[float, ...]:
        """Return the numbers of an entry of the main or the camera's directory; () where there are none."""
        entry = self.camera.get(tag) or self.main.get(tag)
        formats = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d"}
        if entry is None or not entry.value:
            return ()
        if entry.type in (5, 10):
            kind = "I" if entry.type == 5 else "i"
            parts = struct.unpack(f"{self.order}{2 * entry.count}{kind}", entry.value[: 8 * entry.count])
            return tuple(a / b for a, b in zip(parts[::2], parts[1::2], strict=True) if b != 0)
        if entry.type not in formats:
            return ()
        size = _SIZES[entry.type] * entry.count
        return tuple(map(float, struct.unpack(f"{self.order}{entry.count}{formats[entry.type]}", entry.value[:size])))

    def number(self, tag: int) -> float | None:
        """Return the first number of an entry, or None."""
        numbers = self.numbers(tag)
        return numbers[0] if numbers else None

    def text(self, tag: int) -> str | None:
        """Return the text of an entry, which is read as UTF-8 or, where it is none, as Latin-1; or None."""
        entry = self.camera.get(tag) or self.main.get(tag)
        if entry is None or entry.type != 2:
            return None
        stored = entry.value.split(b"\0", 1)[0]
        try:
            return stored.decode("utf-8")
        except UnicodeDecodeError:
            return stored.decode("latin-1")

    @property
    def orientation(self) -> int:
        """EXIF orientation, 1..8; 1 where it is missing or not valid."""
        value = self.number(ORIENTATION)
        return int(value) if value is not None and value in range(1, 9) else 1

    def to_bytes(self) -> bytes:
        """Return EXIF as a file holds it (without "Exif" in front); b"" where there is none.

        Maker's notes are left out: they hold addresses within the file they came from.
        """
        if not (self.main or self.camera or self.gps):
            return b""
        magic = b"II*\0" if self.order == "<" else b"MM\0*"
        camera = {tag: entry for tag, entry in self.camera.items() if tag not in (MAKER_NOTE, INTEROPERABILITY)}
        main = {tag: entry for tag, entry in self.main.items() if tag not in (CAMERA_DIRECTORY, GPS_DIRECTORY)}
        pointers = [tag for tag, part in ((CAMERA_DIRECTORY, camera), (GPS_DIRECTORY, self.gps)) if part]
        start = 8
        # The pointers' values are known once the first directory's length is.
        placeholder = {tag: Entry(_LONG, bytes(4)) for tag in pointers}
        end = start + len(directory(main | placeholder, start, self.order))
        contents = b""
        values = {}
        for tag in pointers:
            at = end + len(contents)
            values[tag] = Entry(_LONG, struct.pack(self.order + "I", at))
            contents += directory(camera if tag == CAMERA_DIRECTORY else self.gps, at, self.order)
        return magic + struct.pack(self.order + "I", start) + directory(main | values, start, self.order) + contents


def directory(entries: Mapping[int, Entry], at: int, order: str) -> bytes:
    """Return a TIFF directory of entries, to be put at the address `at`, with its long values behind it."""
    tags = sorted(tag for tag, entry in entries.items() if entry.count)
    head = struct.pack(order + "H", len(tags))
    values = b""
    free = at + 2 + 12 * len(tags) + 4
    for tag in tags:
        entry = entries[tag]
        if len(entry.value) <= 4:
            stored = entry.value.ljust(4, b"\0")
        else:
            stored = struct.pack(order + "I", free + len(values))
            values += entry.value + b"\0" * (len(entry.value) % 2)
        head += struct.pack(order + "HHI", tag, entry.type, entry.count) + stored
    return head + bytes(4) + values


def parse_exif(contents: bytes | None) -> Exif:
    """Read EXIF, entry by entry; those that are damaged are counted and left out.

    Parameters
    ----------
    contents : as a file holds it, with or without "Exif" in front, or None. A whole TIFF file will do too.
    """
    data = (contents or b"").removeprefix(_PREFIX)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None or len(data) < 14:
        return Exif(damaged=1 if data else 0)
    entries = list(_entries(data, struct.unpack_from(order + "I", data, 4)[0], order))
    main = {tag: entry for tag, entry in entries if entry is not None}
    damaged = sum(entry is None for _, entry in entries)
    parts = {}
    camera_at = 0
    for pointer in (CAMERA_DIRECTORY, GPS_DIRECTORY):
        entry = main.pop(pointer, None)
        below: list[tuple[int, Entry | None]] = []
        if entry is not None and entry.type in (_LONG, 13) and len(entry.value) == 4:
            (at,) = struct.unpack(order + "I", entry.value)
            camera_at = at if pointer == CAMERA_DIRECTORY else camera_at
            below = list(_entries(data, at, order))
        elif entry is not None:
            damaged += 1
        parts[pointer] = {tag: entry for tag, entry in below if entry is not None}
        damaged += sum(entry is None for _, entry in below)
    camera = parts[CAMERA_DIRECTORY]
    focus = focus_in_maker_note(io.BytesIO(data), camera_at, order, main, camera) if MAKER_NOTE in camera else None
    return Exif(main, camera, parts[GPS_DIRECTORY], order, damaged, focus)


def exif_from_text(text: str) -> bytes:
    """Return the EXIF that ImageMagick writes as text into a PNG: its name, its length, then hexadecimal digits.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    lines = text.strip().split("\n", 2)
    if len(lines) < 3:
        raise ValueError("it has no digits")
    return bytes.fromhex("".join(lines[2].split()))


def _entries(data: bytes, at: int, order: str) -> Iterator[tuple[int, Entry | None]]:
    """Yield tags and entries of one directory; None for an entry that is damaged."""
    if not 8 <= at <= len(data) - 2:
        yield 0, None
        return
    (count,) = struct.unpack_from(order + "H", data, at)
    for number in range(min(count, _MOST_ENTRIES)):
        place = at + 2 + 12 * number
        if place + 12 > len(data):
            yield 0, None
            return
        tag, kind, length = struct.unpack_from(order + "HHI", data, place)
        size = _SIZES.get(kind, 0) * length
        start = place + 8 if size <= 4 else struct.unpack_from(order + "I", data, place + 8)[0]
        whole = size > 0 and start + size <= len(data)
        yield tag, Entry(kind, data[start : start + size]) if whole else None


def read_directory(file: BinaryIO, at: int, order: str, big: bool = False) -> tuple[dict[int, Entry], int]:
    """Read one directory of a TIFF file, of which only what it points to is read.

    Parameters
    ----------
    file : open for reading.
    at : address of the directory.
    order : "<" or ">".
    big : whether the file is a BigTIFF.

    Returns
    -------
    entries by tag, and the number of those that are damaged or longer than any text about a photograph.
    """
    head, length, count_format = (20, 8, "Q") if big else (12, 4, "H")
    file.seek(0, 2)
    end = file.tell()
    file.seek(at)
    counted = file.read(struct.calcsize(order + count_format))
    if len(counted) < struct.calcsize(order + count_format):
        return {}, 1
    (count,) = struct.unpack(order + count_format, counted)
    entries: dict[int, Entry] = {}
    damaged = 0
    raw = file.read(head * min(count, _MOST_ENTRIES))
    for place in range(0, len(raw) - head + 1, head):
        tag, kind = struct.unpack_from(order + "HH", raw, place)
        (values,) = struct.unpack_from(order + ("Q" if big else "I"), raw, place + 4)
        size = _SIZES.get(kind, 0) * values
        if size <= 0 or size > _LONGEST_VALUE:
            damaged += size <= 0
            continue
        value = raw[place + 4 + length : place + 4 + length + size]
        if size > length:
            (start,) = struct.unpack_from(order + ("Q" if big else "I"), raw, place + 4 + length)
            if start + size > end:
                damaged += 1
                continue
            file.seek(start)
            value = file.read(size)
        if kind in (16, 17, 18):  # of BigTIFF alone
            numbers = struct.unpack(f"{order}{values}Q", value)
            kind, value = _LONG, struct.pack(f"{order}{values}I", *(number % 2**32 for number in numbers))
        entries[tag] = Entry(kind, value)
    return entries, damaged


def upright_exif(contents: bytes, width: int, height: int) -> bytes:
    """Return EXIF for an upright picture of a new size: orientation 1, no thumbnail of the old one, all else as it was.

    Changed in place, so that addresses within it, and in the maker's notes, stay right. Entries that are damaged are
    left out one by one, so that no program stumbles over them.

    Parameters
    ----------
    contents : EXIF as a file holds it, with or without "Exif" in front.
    width, height : px of the picture.
    """
    data = bytearray(contents.removeprefix(_PREFIX))
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(data[:4]))
    if order is None or len(data) < 14:
        return b""
    (first,) = struct.unpack_from(order + "I", data, 4)
    if not 8 <= first <= len(data) - 2:
        return b""
    _remove_thumbnail(data, first, order)
    _remove_damaged(data, first, order)
    _set_numbers(data, first, order, {ORIENTATION: (_SHORT, 1)})
    for pointer in (CAMERA_DIRECTORY, GPS_DIRECTORY):
        for at in _pointers(data, first, order, pointer):
            _remove_damaged(data, at, order)
            if pointer == CAMERA_DIRECTORY:
                _set_numbers(data, at, order, {_WIDTH: (_LONG, width), _HEIGHT: (_LONG, height)})
    return bytes(data)


def _places(data: bytearray, at: int, order: str) -> Iterator[tuple[int, int]]:
    """Tags of a directory and where their entries are."""
    (count,) = struct.unpack_from(order + "H", data, at)
    for number in range(min(count, _MOST_ENTRIES)):
        place = at + 2 + 12 * number
        if place + 12 > len(data):
            return
        yield struct.unpack_from(order + "H", data, place)[0], place


def _pointers(data: bytearray, at: int, order: str, tag: int) -> list[int]:
    places = [place for each, place in _places(data, at, order) if each == tag]
    return [struct.unpack_from(order + "I", data, place + 8)[0] for place in places]


def _remove_damaged(data: bytearray, at: int, order: str) -> None:
    """Take those entries out of a directory whose values are not there; the others move up, their values stay."""
    end = len(data)
    kept = b""
    count = 0
    for tag, place in _places(data, at, order):
        kind, length, start = struct.unpack_from(order + "HII", data, place + 2)
        size = _SIZES.get(kind, 0) * length
        whole = size > 0 and (size <= 4 or start + size <= end)
        if tag in (CAMERA_DIRECTORY, GPS_DIRECTORY):
            whole = whole and kind in (_LONG, 13) and length == 1 and 8 <= start <= end - 2
        if whole:
            kept += data[place : place + 12]
            count += 1
    (stored,) = struct.unpack_from(order + "H", data, at)
    if count == stored:
        return
    # After the entries comes the address of the next directory, of which there is none.
    struct.pack_into(order + "H", data, at, count)
    data[at + 2 : at + 2 + 12 * stored + 4] = (kept + bytes(4)).ljust(min(12 * stored + 4, end - at - 2), b"\0")


def _set_numbers(data: bytearray, at: int, order: str, values: Mapping[int, tuple[int, int]]) -> None:
    for tag, place in _places(data, at, order):
        if tag in values:
            kind, value = values[tag]
            # A short number stands at the start of its four bytes, in either byte order.
            stored = struct.pack(order + ("H2x" if kind == _SHORT else "I"), value)
            struct.pack_into(order + "HI4s", data, place + 2, kind, 1, stored)


def _remove_thumbnail(data: bytearray, first: int, order: str) -> None:
    (count,) = struct.unpack_from(order + "H", data, first)
    link = first + 2 + 12 * count
    if link + 4 > len(data):
        return
    (second,) = struct.unpack_from(order + "I", data, link)
    struct.pack_into(order + "I", data, link, 0)
    if not 8 <= second <= len(data) - 2:
        return
    at, length = (_pointers(data, second, order, tag) for tag in (_THUMBNAIL_AT, _THUMBNAIL_LENGTH))
    if at and length and at[0] + length[0] <= len(data) and at[0] >= 8:
        data[at[0] : at[0] + length[0]] = bytes(length[0])


def upright_xmp(contents: bytes, width: int, height: int) -> bytes:
    """Return an XMP packet for an upright picture of a new size, without thumbnails of the old one.

    All else, ratings among it, stays as it is.

    Parameters
    ----------
    contents : XMP as a file holds it.
    width, height : px of the picture.
    """
    values = {"tiff:Orientation": 1}
    values |= dict.fromkeys(("exif:PixelXDimension", "tiff:ImageWidth"), width)
    values |= dict.fromkeys(("exif:PixelYDimension", "tiff:ImageLength"), height)
    for name, value in values.items():
        pattern = _XMP_NUMBER.replace("{name}", name).encode("ascii")
        contents = re.sub(pattern, rb"\g<1>" + str(value).encode("ascii"), contents)
    return _XMP_THUMBNAILS.sub(b"", contents)
