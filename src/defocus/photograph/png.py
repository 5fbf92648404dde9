"""PNG (PNG 3, W3C 2025): chunks are read one by one, so that damage to a chunk affects only its own data."""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from defocus.errors import PhotographError
from defocus.photograph.decoded import Decoded, incomplete, several, warn
from defocus.photograph.exif import exif_from_text, parse_exif
from defocus.photograph.pillow import split_alpha
from defocus.photograph.source import Source
from defocus.photograph.stored_pixels import Pieces, StoredPixels

__all__ = ["SIGNATURE", "is_whole", "png_metadata", "read_png"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples per pixel of each colour type: grey, RGB, palette, grey and alpha, RGB and alpha."""
_MOST_CHUNKS = 200_000
_LONGEST_METADATA = 16 * 2**20
"""Bytes, uncompressed, of a profile, EXIF or XMP."""
_PIECE = 4096
_IN_BANDS_FROM = 64_000_000
"""Number of pixels from which the pixels stay in the file until they are needed."""
_BAND_BYTES = 2**22
"""Size of the rows of a large PNG that are decoded at once."""
_READ_BYTES = 2**16
"""Compressed bytes that are read at once."""
_MOST_PLACES = 10_000_000
_MOST_COMPRESSED = 1100
"""Largest compression ratio of deflate: a file that states a larger one does not hold its pixels."""
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

    The pixels of a large one stay in the file, if it is whole.

    Raises
    ------
    PhotographError
        If its header is damaged, or none of its pixels are left.
    """
    in_bands = _read_in_bands(source)
    if in_bands is not None:
        return in_bands
    data = memoryview(source.read())
    chunks = list(_chunks(data))
    header = _header(chunks, source)
    samples = 4 if header.colours == 3 else _SAMPLES[header.colours]
    source.check_size(header.height, header.width, samples * max(header.depth, 8) / 8)
    named = {chunk.kind: chunk for chunk in reversed(chunks)}
    _warn_of_animation(named, source)
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


def png_metadata(source: Source) -> tuple[tuple[int, int], bytes | None, bytes | None]:
    """Return width and height in px as stored, EXIF and XMP of a PNG, without decoding its pixels."""
    chunks = list(_chunks(memoryview(source.read())))
    header = _header(chunks, source)
    return (header.width, header.height), *_metadata(chunks, source)


def _warn_of_animation(named: Mapping[bytes, _Chunk], source: Source) -> None:
    animation = named.get(b"acTL")
    if animation is not None and len(animation.data) >= 4 and struct.unpack_from(">I", animation.data)[0] > 1:
        several(source)


def _read_in_bands(source: Source) -> Decoded | None:
    """Read a PNG whose pixels stay in the file; None where it is small, damaged, or not stored row by row."""
    head = source.head(len(SIGNATURE) + 8 + 13)
    if len(head) < len(SIGNATURE) + 8 + 13 or head[12:16] != b"IHDR":
        return None
    width, height, depth, colours = struct.unpack(">IIBB", head[16:26])
    header = _Header(width, height, depth, colours, interlaced=head[28] != 0)
    if (
        header.width * header.height < _IN_BANDS_FROM
        or header.colours not in (0, 2)
        or header.depth not in (8, 16)
        or header.interlaced
        or header.row_bytes > _BAND_BYTES
    ):
        return None
    found = _places(source)
    if found is None:
        return None
    chunks, places = found
    if header.height * header.row_bytes > _MOST_COMPRESSED * sum(length for _, length in places):
        return None
    source.check_size(header.height, header.width, _SAMPLES[header.colours] * header.depth / 8, in_parts=True)
    named = {chunk.kind: chunk for chunk in reversed(chunks)}
    exif, xmp = _metadata(chunks, source)
    orientation = parse_exif(exif).orientation
    if b"tRNS" in named or orientation > 4:  # a row of what stands upright is a column then
        return None
    _warn_of_animation(named, source)
    bands = _Bands(header, places, source.keep(), source.name)
    dtype = np.dtype(np.uint8 if header.depth == 8 else np.uint16)
    samples = _SAMPLES[header.colours]
    grid = Pieces(header.height, header.width, samples, bands.rows, header.width, dtype, bands.band)
    pixels = StoredPixels(grid, source.name)
    return Decoded(pixels, "rgb" if samples == 3 else "gray", _profile(named.get(b"iCCP"), source), exif, xmp)


def _places(source: Source) -> tuple[list[_Chunk], list[tuple[int, int]]] | None:
    """Return the chunks without those of pixels, and where the pixels lie; None where anything is damaged."""
    file, place = source.file, len(SIGNATURE)
    chunks: list[_Chunk] = []
    places: list[tuple[int, int]] = []
    while len(chunks) < _MOST_CHUNKS and len(places) < _MOST_PLACES:
        file.seek(place)
        start = file.read(8)
        if len(start) < 8:
            return None
        length, kind = struct.unpack(">I4s", start)
        if place + 12 + length > source.size or (kind != b"IDAT" and length > _LONGEST_METADATA):
            return None
        checksum, left, data = zlib.crc32(kind), length, b""
        while left:
            data = file.read(min(left, _LONGEST_METADATA))
            if not data:
                return None
            checksum, left = zlib.crc32(data, checksum), left - len(data)
        if checksum.to_bytes(4, "big") != file.read(4):
            return None
        if kind == b"IEND":
            return (chunks, places) if places else None
        if kind == b"IDAT":
            places.append((place + 8, length))
        else:
            chunks.append(_Chunk(kind, memoryview(data), True, False))
        place += 12 + length
    return None


@dataclass(frozen=True)
class _Checkpoint:
    """What is needed to go on at a band: the state of decompression, its input, and the row above, unfiltered."""

    inflate: zlib._Decompress
    place: int
    at: int
    waiting: bytes
    above: bytes


class _Bands:
    """Some rows at a time of a PNG; the way to a band leads once through all before it, and then directly.

    Parameters
    ----------
    header : of an 8 or 16-bit PNG without interlacing.
    places : offset and length of the parts of the compressed pixels.
    read : returns bytes of the file, by offset and count.
    name : name for messages.
    """

    def __init__(
        self, header: _Header, places: list[tuple[int, int]], read: Callable[[int, int], bytes], name: str
    ) -> None:
        self.rows = max(1, _BAND_BYTES // header.row_bytes)
        self._header, self._places, self._read, self._name = header, places, read, name
        self._lock = threading.Lock()
        self._checkpoints = [_Checkpoint(zlib.decompressobj(), 0, 0, b"", b"")]

    def band(self, number: int) -> NDArray[Any]:
        """Return a band, h x W x C."""
        with self._lock:
            while len(self._checkpoints) <= number + 1 and len(self._checkpoints) * self.rows < self._header.height:
                first = len(self._checkpoints) - 1
                pixels, following = self._decoded(first)
                self._checkpoints.append(following)
                if first == number:
                    return pixels
        return self._decoded(number)[0]

    def _decoded(self, number: int) -> tuple[NDArray[Any], _Checkpoint]:
        header, start = self._header, self._checkpoints[number]
        count = min(self.rows, header.height - number * self.rows)
        try:
            filtered, inflate, place, at, waiting = self._inflated(start, count * header.row_bytes)
            # A picture of these rows alone: the one above comes first, as it is, and is left out again.
            rows = (b"\0" + start.above if start.above else b"") + filtered
            small = struct.pack(
                ">IIBBBBB", header.width, len(rows) // header.row_bytes, header.depth, header.colours, 0, 0, 0
            )
            pixels = imagecodecs.png_decode(_file(_written(b"IHDR", small), zlib.compress(rows, 0)))
        except (zlib.error, ValueError, RuntimeError) as error:  # imagecodecs' errors are RuntimeErrors
            raise PhotographError(
                f"{self._name} is damaged: its rows from {number * self.rows} on cannot be decoded, so copy it again "
                "from where it came."
            ) from error
        pixels = pixels.reshape(len(pixels), header.width, -1)[-count:]
        above = pixels[-1].astype(pixels.dtype.newbyteorder(">"), copy=False).tobytes()
        return pixels, _Checkpoint(inflate, place, at, waiting, above)

    def _inflated(self, start: _Checkpoint, count: int) -> tuple[bytes, zlib._Decompress, int, int, bytes]:
        """Decompress `count` bytes more; return them, and where that ended."""
        inflate, place, at, waiting = start.inflate.copy(), start.place, start.at, start.waiting
        parts: list[bytes] = []
        while count > 0:
            if not waiting and place < len(self._places):
                offset, length = self._places[place]
                waiting = self._read(offset + at, min(_READ_BYTES, length - at))
                at += len(waiting)
                if at == length or not waiting:
                    place, at = place + 1, 0
            ended = not waiting and place == len(self._places)
            part = inflate.decompress(waiting, count)
            waiting = inflate.unconsumed_tail
            parts.append(part)
            count -= len(part)
            if not part and (ended or inflate.eof):
                raise ValueError("it ends early")
        return b"".join(parts), inflate, place, at, waiting


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
