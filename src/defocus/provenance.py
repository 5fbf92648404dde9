"""Provenance: what a file that this package wrote was made from, kept inside the file.

It identifies a file as an output whatever its name, so that no output is taken for a photograph, and lets
`--skip-existing` see whether a file is what would be made again. Each format keeps it where other programs ignore it: a
text chunk (PNG), a comment (JPEG, GIF, PLY), a private tag (TIFF), a chunk or box of its own (WebP; AVIF, JPEG 2000 and
JPEG XL), extras (GLB), a meta element (HTML).
"""

from __future__ import annotations

import html
import json
import re
import stat
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from defocus.version import __version__

__all__ = ["TIFF_TAG", "Provenance", "is_output", "read_provenance", "stamp"]

TIFF_TAG = 65042
"""Private TIFF tag, of type ASCII, that holds `Provenance.to_json`."""

_OUTPUT = re.compile(r"\.defocus(\.[a-z]+)?(\.[0-9]+)?\.(tiff?|png|jpe?g|webp|gif|avif|jp2|jxl|bmp)$")
_KEYWORD = b"defocus"
_UUID = bytes.fromhex("5f1f0d6ad7c34a6c9a556465666f6375")
_MOST_BYTES = 65_000
"""Largest size of the JSON, which has to fit into one JPEG segment."""
_MOST_PARTS = 2000
"""Number of segments, chunks or boxes that are read before a file counts as not an output."""
_PNG, _JPEG, _GIF, _GLB = b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"GIF89a", b"glTF"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PLY = b"ply\n"
_HTML_HEAD = re.compile(rb"<head[^>]*>", re.IGNORECASE)
_HTML_META = re.compile(rb'<meta name="defocus" content="([^"]*)">')
_HTML_STARTS = (b"<!doctype html", b"<html")
_HTML_WITHIN = 4096
"""Bytes from the start of a page within which its meta element stands."""


@dataclass(frozen=True)
class Provenance:
    """What an output was made from.

    Attributes
    ----------
    kind : what the file is, such as "mask" or "preview".
    photograph_sha256 : SHA-256 of the photograph's file, or None where it did not come from a file.
    map : how the map was made: method, parameters and SHA-256 of the weights; or the SHA-256 of a map file that was
        given.
    options : everything else that the output depends on.
    version : version of the package that wrote it.

    Examples
    --------
    >>> Provenance("mask", "9f...", {"method": "pyramid"}, {"threshold": 1.0}).kind
    'mask'
    """

    kind: str
    photograph_sha256: str | None = None
    map: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    version: str = field(default_factory=lambda: __version__)

    def to_json(self) -> str:
        """Return the provenance as JSON in ASCII.

        Raises
        ------
        ValueError
            If the JSON is longer than 65,000 bytes.

        Examples
        --------
        >>> Provenance("mask", version="1.0").to_json()
        '{"kind": "mask", "map": {}, "options": {}, "photograph_sha256": null, "version": "1.0"}'
        """
        text = json.dumps(
            {
                "kind": self.kind,
                "photograph_sha256": self.photograph_sha256,
                "map": dict(self.map),
                "options": dict(self.options),
                "version": self.version,
            },
            allow_nan=False,
            sort_keys=True,
        )
        if len(text) > _MOST_BYTES:
            raise ValueError(f"A provenance of {len(text)} bytes is too long: {_MOST_BYTES} at most.")
        return text

    @classmethod
    def from_json(cls, text: str | bytes) -> Provenance | None:
        """Return the provenance that `to_json` wrote, or None where the text is anything else.

        Examples
        --------
        >>> Provenance.from_json(Provenance("mask").to_json()).kind
        'mask'
        >>> Provenance.from_json("no JSON") is None
        True
        """
        try:
            stored = json.loads(text)
            return cls(
                kind=str(stored["kind"]),
                photograph_sha256=stored["photograph_sha256"],
                map=dict(stored["map"]),
                options=dict(stored["options"]),
                version=str(stored["version"]),
            )
        except (ValueError, KeyError, TypeError, RecursionError):
            return None

    def as_stored(self) -> Provenance:
        """Return the provenance as it is read back: tuples become lists.

        Examples
        --------
        >>> Provenance("mask", options={"limits": (0, 5)}).as_stored().options
        {'limits': [0, 5]}
        """
        stored = Provenance.from_json(self.to_json())
        assert stored is not None
        return stored


def is_output(path: Path) -> bool:
    """Return whether this package wrote a file: by its name, or by the provenance inside whatever its name.

    Examples
    --------
    >>> is_output(Path("beach.defocus.png")), is_output(Path("beach.jpg"))
    (True, False)
    """
    return has_output_name(path) or read_provenance(path) is not None


def has_output_name(path: Path) -> bool:
    """Tell whether a file is called like an output of this package; it is not opened.

    Examples
    --------
    >>> has_output_name(Path("beach.defocus.mask.png")), has_output_name(Path("beach.jpg"))
    (True, False)
    """
    return _OUTPUT.search(path.name.lower()) is not None


def stamp(contents: bytes, provenance: Provenance) -> bytes:
    """Return the contents of a file with its provenance inside.

    Parameters
    ----------
    contents : bytes of a PNG, JPEG, GIF, WebP, AVIF, JPEG 2000, JPEG XL (in its container), GLB, PLY or HTML file.
    provenance : what it was made from.

    Raises
    ------
    ValueError
        If the contents are of another format. A TIFF takes the provenance as the tag `TIFF_TAG` when it is written.

    Examples
    --------
    >>> page = stamp(b"<!doctype html><head></head>", Provenance("page"))
    >>> page[22:36].decode()
    '<meta name="de'
    """
    text = provenance.to_json().encode("ascii")
    if contents.startswith(_PNG):
        body = b"tEXt" + _KEYWORD + b"\0" + text
        end = 8 + 4 + 4 + 13 + 4  # after the signature and the header chunk
        return contents[:end] + struct.pack(">I", len(body) - 4) + body + _crc(body) + contents[end:]
    if contents.startswith(_JPEG):
        end = _end_of_application_segments(contents)
        body = _KEYWORD + b" " + text
        return contents[:end] + b"\xff\xfe" + struct.pack(">H", len(body) + 2) + body + contents[end:]
    if contents.startswith(_GIF):
        colours = 3 * 2 ** ((contents[10] & 7) + 1) if contents[10] & 0x80 else 0
        body = _KEYWORD + b" " + text
        blocks = b"".join(bytes([len(part)]) + part for part in _cut(body, 255))
        return contents[: 13 + colours] + b"\x21\xfe" + blocks + b"\0" + contents[13 + colours :]
    if contents[:4] == b"RIFF" and contents[8:12] == b"WEBP":
        chunk = _KEYWORD[:4] + struct.pack("<I", len(text)) + text + b"\0" * (len(text) % 2)
        grown = contents[: 8 + struct.unpack("<I", contents[4:8])[0]] + chunk
        return grown[:4] + struct.pack("<I", len(grown) - 8) + grown[8:]
    if _has_boxes(contents[:12]):
        return contents + struct.pack(">I", 8 + 16 + len(text)) + b"uuid" + _UUID + text
    if contents.startswith(_GLB):
        return _stamp_glb(contents, provenance)
    if contents.startswith(_PLY):
        end = contents.index(b"\n", len(_PLY)) + 1  # after the line that names the format
        return contents[:end] + b"comment " + _KEYWORD + b" " + text + b"\n" + contents[end:]
    if contents[:64].lstrip().lower().startswith(_HTML_STARTS):
        head = _HTML_HEAD.search(contents)
        if head is not None:
            meta = f'\n<meta name="defocus" content="{html.escape(text.decode("ascii"))}">'.encode("ascii")
            return contents[: head.end()] + meta + contents[head.end() :]
    raise ValueError("Provenance can be put into PNG, JPEG, GIF, WebP, AVIF, JPEG 2000, JPEG XL, GLB, PLY and HTML.")


def read_provenance(path: Path) -> Provenance | None:
    """Return the provenance inside a file, or None where there is none or the file cannot be read.

    Reads only the headers of the file, a few thousand at most, and never waits for a pipe.

    Parameters
    ----------
    path : any file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = Path(folder) / "page.html"
    ...     _ = page.write_bytes(stamp(b"<!doctype html><head></head>", Provenance("page")))
    ...     read_provenance(page).kind
    'page'
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return None
        with path.open("rb") as file:
            return provenance_of(file)
    except OSError:
        return None


def provenance_of(file: BinaryIO) -> Provenance | None:
    """Return the provenance inside an open file, or None where there is none.

    Parameters
    ----------
    file : open for reading as binary; read from its start, and left at no place in particular.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    file.seek(0)
    try:
        text = _stored(file, file.read(32))
    except (ValueError, LookupError, struct.error):  # damaged or cut short
        return None
    return None if text is None else Provenance.from_json(text)


def _stored(file: BinaryIO, head: bytes) -> bytes | str | None:
    if head.startswith(_PNG):
        return _from_png(file)
    if head.startswith(_JPEG):
        return _from_jpeg(file)
    if head.startswith(b"GIF8"):
        return _from_gif(file, head)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _from_chunks(file)
    if _has_boxes(head):
        return _from_boxes(file)
    if head.startswith(_TIFF):
        return _from_tiff(file)
    if head.startswith(_GLB):
        return _from_glb(file)
    if head.startswith(_PLY):
        file.seek(0)
        lines = file.read(_MOST_BYTES).split(b"\n", 3)
        return _after_keyword(lines[2].removeprefix(b"comment ")) if len(lines) > 3 else None
    if head.lstrip().lower().startswith(_HTML_STARTS):
        file.seek(0)
        found = _HTML_META.search(file.read(_HTML_WITHIN + _MOST_BYTES))
        return None if found is None else html.unescape(found[1].decode("ascii", "replace"))
    return None


def _from_png(file: BinaryIO) -> bytes | None:
    file.seek(len(_PNG))
    for _ in range(_MOST_PARTS):
        length, kind = struct.unpack(">I4s", file.read(8))
        if kind in (b"IDAT", b"IEND"):
            return None
        if kind == b"tEXt" and length <= _MOST_BYTES + 8:
            keyword, _, text = file.read(length).partition(b"\0")
            if keyword == _KEYWORD:
                return text
            file.seek(4, 1)
        else:
            file.seek(length + 4, 1)
    return None


def _from_jpeg(file: BinaryIO) -> bytes | None:
    file.seek(2)
    for _ in range(_MOST_PARTS):
        mark, kind, length = struct.unpack(">BBH", file.read(4))
        if mark != 0xFF or kind in (0xDA, 0xD9) or length < 2:
            return None
        if kind == 0xFE:
            text = _after_keyword(file.read(length - 2))
            if text is not None:
                return text
        else:
            file.seek(length - 2, 1)
    return None


def _from_gif(file: BinaryIO, head: bytes) -> bytes | None:
    file.seek(13 + (3 * 2 ** ((head[10] & 7) + 1) if head[10] & 0x80 else 0))
    for _ in range(_MOST_PARTS):
        introducer = file.read(2)
        if introducer[:1] != b"\x21":
            return None
        body = b""
        for _ in range(_MOST_PARTS):
            (length,) = file.read(1)
            if length == 0:
                break
            body += file.read(length)
        text = _after_keyword(body) if introducer == b"\x21\xfe" else None
        if text is not None:
            return text
    return None


def _from_chunks(file: BinaryIO) -> bytes | None:
    file.seek(12)
    for _ in range(_MOST_PARTS):
        head = file.read(8)
        if len(head) < 8:
            return None
        kind, length = struct.unpack("<4sI", head)
        if kind == _KEYWORD[:4] and length <= _MOST_BYTES:
            return file.read(length)
        file.seek(length + length % 2, 1)
    return None


def _from_boxes(file: BinaryIO) -> bytes | None:
    file.seek(0)
    for _ in range(_MOST_PARTS):
        head = file.read(8)
        if len(head) < 8:
            return None
        length, kind = struct.unpack(">I4s", head)
        used = 8
        if length == 1:
            (length,) = struct.unpack(">Q", file.read(8))
            used = 16
        if length < used:  # 0: to the end of the file
            return None
        if kind == b"uuid" and used + 16 <= length <= used + 16 + _MOST_BYTES and file.read(16) == _UUID:
            return file.read(length - used - 16)
        file.seek(length - used - (16 if kind == b"uuid" and used + 16 <= length <= used + 16 + _MOST_BYTES else 0), 1)
    return None


def _from_tiff(file: BinaryIO) -> str | None:
    """Read the first directory alone: a few hundred bytes in a file that was written well, bounded in any."""
    file.seek(0)
    order = "<" if file.read(2) == b"II" else ">"
    (version,) = struct.unpack(order + "H", file.read(2))
    big = version == 43
    if big:
        file.seek(8)
    (start,) = struct.unpack(order + ("Q" if big else "I"), file.read(8 if big else 4))
    file.seek(start)
    (count,) = struct.unpack(order + ("Q" if big else "H"), file.read(8 if big else 2))
    entry = order + ("HHQ8s" if big else "HHI4s")
    for _ in range(min(count, _MOST_PARTS)):
        tag, kind, length, value = struct.unpack(entry, file.read(struct.calcsize(entry)))
        if tag != TIFF_TAG:
            continue
        if kind != 2 or length > _MOST_BYTES:
            return None
        if length > len(value):
            file.seek(struct.unpack(order + ("Q" if big else "I"), value)[0])
            value = file.read(length)
        return str(value[:length].rstrip(b"\0").decode("ascii", "replace"))
    return None


def _stamp_glb(contents: bytes, provenance: Provenance) -> bytes:
    (length,) = struct.unpack("<I", contents[12:16])
    scene = json.loads(contents[20 : 20 + length])
    scene["asset"].setdefault("extras", {})["defocus"] = json.loads(provenance.to_json())
    described = json.dumps(scene, separators=(",", ":")).encode("ascii")
    described += b" " * (-len(described) % 4)
    rest = contents[20 + length :]
    size = 12 + 8 + len(described) + len(rest)
    return contents[:8] + struct.pack("<II", size, len(described)) + b"JSON" + described + rest


def _from_glb(file: BinaryIO) -> str | None:
    file.seek(12)
    length, kind = struct.unpack("<I4s", file.read(8))
    if kind != b"JSON" or length > 16 * _MOST_BYTES:
        return None
    try:
        return json.dumps(json.loads(file.read(length))["asset"]["extras"]["defocus"])
    except (KeyError, TypeError, RecursionError):
        return None


def _after_keyword(body: bytes) -> bytes | None:
    return body[len(_KEYWORD) + 1 :] if body.startswith(_KEYWORD + b" ") else None


def _end_of_application_segments(contents: bytes) -> int:
    """Where a JPEG's segments of applications (JFIF, EXIF, profile) end, which have to come first."""
    place = 2
    while contents[place : place + 1] == b"\xff" and 0xE0 <= contents[place + 1] <= 0xEF:
        place += 2 + struct.unpack(">H", contents[place + 2 : place + 4])[0]
    return place


def _has_boxes(head: bytes) -> bool:
    return head[4:8] == b"ftyp" or head[4:8] in (b"jP  ", b"JXL ")


def _cut(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


def _crc(body: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(body))
