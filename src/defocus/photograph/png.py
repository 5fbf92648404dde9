"""PNG (PNG 3, W3C 2025): chunks are read one by one, so that damage to a chunk affects only its own data."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import imagecodecs
import numpy as np

from defocus.errors import PhotographError
from defocus.photograph.decoded import Decoded, incomplete, several, warn
from defocus.photograph.exif import exif_from_text
from defocus.photograph.pillow import split_alpha
from defocus.photograph.source import Source

__all__ = ["SIGNATURE", "is_whole", "read_png"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples per pixel of each colour type: grey, RGB, palette, grey and alpha, RGB and alpha."""
_MOST_CHUNKS = 200_000
_LONGEST_METADATA = 16 * 2**20
"""Bytes, uncompressed, of a profile, EXIF or XMP."""
_PIECE = 4096
_XMP_KEYWORD = b"XML:com.adobe.xmp"
_EXIF_KEYWORDS = (b"Raw profile type exif", b"Raw profile type APP1")


@dataclass(frozen=True)
class _Chunk:
    """A chunk; not `whole` where its checksum is wrong or the file ends within it, which `ends_file` says."""

    kind: bytes
    data: memoryview
    whole: bool
    ends_file: bool


@dataclass(frozen=True)
class _Header:
    """The fields of the header chunk."""

    width: int
    height: int
    depth: int
    colours: int
    interlaced: bool

    @property
    def row_bytes(self) -> int:
        """Bytes of a row, with the number of its filter."""
        return 1 + -(-self.width * _SAMPLES[self.colours] * self.depth // 8)


def read_png(source: Source) -> Decoded:
    """Read a PNG at its own depth; of one that is cut short or damaged the rows before that are kept.

    Raises
    ------
    PhotographError
        If its header is damaged, or none of its pixels are left.
    """
    data = memoryview(source.read())
    chunks = list(_chunks(data))
    header = _header(chunks, source)
    samples = 4 if header.colours == 3 else _SAMPLES[header.colours]
    source.check_size(header.height, header.width, samples * max(header.depth, 8) / 8)
    named = {chunk.kind: chunk for chunk in reversed(chunks)}
    animation = named.get(b"acTL")
    if animation is not None and len(animation.data) >= 4 and struct.unpack_from(">I", animation.data)[0] > 1:
        several(source)
    colours = [chunk for kind in (b"PLTE", b"tRNS") if (chunk := named.get(kind)) is not None]
    if any(not chunk.whole for chunk in colours) or (header.colours == 3 and b"PLTE" not in named):
        raise PhotographError(f"{source.name} is damaged: its palette cannot be read.")
    profile = _profile(named.get(b"iCCP"), source)
    exif, xmp = _metadata(chunks, source)
    before = b"".join([_written(b"IHDR", named[b"IHDR"].data), *(_written(c.kind, c.data) for c in colours)])

    parts, all_whole = _picture(chunks)
    compressed = b"".join(parts)
    missing = None
    try:
        if not all_whole:
            raise ValueError("its pixels are damaged")
        pixels = imagecodecs.png_decode(_file(before, compressed))
    except (ValueError, RuntimeError) as error:  # imagecodecs' errors are RuntimeErrors
        rows = _rows(compressed, header)
        if header.interlaced:
            raise PhotographError(
                f"{source.name} is cut short or damaged, and interlaced, so that it would look blurred: copy it again "
                "from where it came."
            ) from error
        # Each row begins with the number of its filter, 0 to 4.
        filters = np.frombuffer(rows, np.uint8)[:: header.row_bytes]
        wrong = np.flatnonzero(filters > 4)
        count = min([len(rows) // header.row_bytes, *wrong[:1].tolist()])
        if count == 0:
            raise PhotographError(f"{source.name} is damaged or cut short: none of its pixels can be read.") from error
        # Rows of filter 0 and nothing else, in the place of those that are not there.
        filled = rows[: count * header.row_bytes].ljust(header.height * header.row_bytes, b"\0")
        pixels = imagecodecs.png_decode(_file(before, zlib.compress(filled, 1)))
        if count < header.height:
            missing = np.zeros((header.height, header.width), bool)
            missing[count:] = True
    if missing is not None:
        incomplete(source, f"is cut short or damaged: {missing.mean():.0%} of its pixels are missing")
    elif b"IEND" not in named:
        incomplete(source, "lacks its last bytes, which hold no pixels")
    decoded = split_alpha(pixels.reshape(*pixels.shape[:2], -1), profile, exif, xmp)
    return replace(decoded, missing=missing)


def is_whole(contents: bytes) -> bool:
    """Tell whether all chunks of a PNG are there and have the right checksums."""
    chunks = list(_chunks(memoryview(contents)))
    return contents.startswith(SIGNATURE) and bool(chunks) and all(chunk.whole for chunk in chunks)


def _chunks(data: memoryview) -> Iterator[_Chunk]:
    """All chunks up to the one that ends the picture, or the file."""
    place = len(SIGNATURE)
    for _ in range(_MOST_CHUNKS):
        if place + 8 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, place)
        end = place + 8 + length
        ends_file = end + 4 > len(data)
        contents = data[place + 8 : min(end, len(data))]
        if ends_file:
            yield _Chunk(kind, contents, False, True)
            return
        whole = zlib.crc32(data[place + 4 : end]) == struct.unpack_from(">I", data, end)[0]
        yield _Chunk(kind, contents, whole, False)
        if kind == b"IEND":
            return
        place = end + 4


def _header(chunks: list[_Chunk], source: Source) -> _Header:
    first = chunks[0] if chunks else None
    if first is None or first.kind != b"IHDR" or not first.whole or len(first.data) != 13:
        raise PhotographError(f"{source.name} is damaged or cut short: its header cannot be read.")
    width, height, depth, colours, _, _, interlace = struct.unpack(">IIBBBBB", first.data)
    if colours not in _SAMPLES or depth not in (1, 2, 4, 8, 16):
        raise PhotographError(f"{source.name} is damaged: PNG has no pixels of such a kind.")
    return _Header(width, height, depth, colours, bool(interlace))


def _picture(chunks: list[_Chunk]) -> tuple[list[memoryview], bool]:
    """Compressed pixels up to the first chunk of them that is damaged, and whether none is."""
    parts = []
    for chunk in chunks:
        if chunk.kind != b"IDAT":
            continue
        if chunk.whole or chunk.ends_file:  # what a file that ends holds up to there is as it was
            parts.append(chunk.data)
        if not chunk.whole:
            return parts, False
    return parts, True


def _rows(compressed: bytes, header: _Header) -> bytes:
    """Decompress up to the first damage, and no more than the picture needs."""
    longest = header.height * header.row_bytes
    inflate = zlib.decompressobj()
    rows = bytearray()
    for place in range(0, len(compressed), _PIECE):
        try:
            rows += inflate.decompress(compressed[place : place + _PIECE], longest - len(rows) + 1)
        except zlib.error:  # from here on it is damaged
            break
        if len(rows) >= longest or inflate.eof:
            break
    return bytes(rows[:longest])


def _written(kind: bytes, data: bytes | memoryview) -> bytes:
    body = kind + bytes(data)
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


def _file(before: bytes, compressed: bytes) -> bytes:
    """A PNG of nothing but its pixels: libpng prints its remarks on other chunks on the terminal."""
    return SIGNATURE + before + _written(b"IDAT", compressed) + _written(b"IEND", b"")


def _inflated(data: bytes) -> bytes:
    """Inflate metadata, of which a small file may hold gigabytes.

    Raises
    ------
    ValueError
        If it is damaged or larger than any.
    """
    inflate = zlib.decompressobj()
    try:
        inflated = inflate.decompress(data, _LONGEST_METADATA)
    except zlib.error as error:
        raise ValueError("damaged") from error
    if not inflate.eof:
        raise ValueError("cut short, or too long")
    return inflated


def _profile(chunk: _Chunk | None, source: Source) -> bytes | None:
    if chunk is None:
        return None
    _, _, rest = bytes(chunk.data).partition(b"\0")
    try:
        if not chunk.whole:
            raise ValueError("damaged")
        return _inflated(rest[1:])
    except ValueError:
        warn(f"{source.name} has a damaged colour profile, which was ignored.")
        return None


def _metadata(chunks: list[_Chunk], source: Source) -> tuple[bytes | None, bytes | None]:
    """EXIF, of its own chunk or as ImageMagick writes it, and XMP."""
    exif = xmp = old_exif = None
    for chunk in chunks:
        if chunk.kind not in (b"eXIf", b"iTXt", b"zTXt", b"tEXt"):
            continue
        contents = bytes(chunk.data)
        if chunk.kind != b"eXIf" and not contents.startswith((_XMP_KEYWORD, *_EXIF_KEYWORDS)):
            continue
        try:
            if not chunk.whole or len(contents) > _LONGEST_METADATA:
                raise ValueError("damaged")
            if chunk.kind == b"eXIf":
                exif = contents
                continue
            keyword, text = _text(chunk.kind, contents)
            if keyword == _XMP_KEYWORD:
                xmp = text
            else:
                old_exif = exif_from_text(text.decode("ascii"))
        except (ValueError, IndexError):
            what = "XMP" if contents.startswith(_XMP_KEYWORD) else "EXIF"
            warn(f"{source.name} has damaged {what}, which was ignored.")
    return exif if exif is not None else old_exif, xmp


def _text(kind: bytes, contents: bytes) -> tuple[bytes, bytes]:
    """Keyword and text of a chunk of text, which may be compressed."""
    keyword, _, rest = contents.partition(b"\0")
    if kind == b"tEXt":
        return keyword, rest
    if kind == b"zTXt":
        return keyword, _inflated(rest[1:])
    text = rest[2:].split(b"\0", 2)[2]  # after language and translated keyword
    return keyword, _inflated(text) if rest[:1] == b"\x01" else text
