"""JPEG XL, by libjxl; metadata from the boxes of its container."""

from __future__ import annotations

import struct

import numpy as np

from defocus.errors import PhotographError
from defocus.photograph.colour import Space
from defocus.photograph.decoded import Decoded
from defocus.photograph.source import Source

__all__ = ["SIGNATURES", "is_jpegxl", "jpegxl_metadata", "jpegxl_size", "read_jpegxl"]

_CODESTREAM, _CONTAINER = b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"
SIGNATURES = (_CODESTREAM, _CONTAINER)
_MOST_BOXES = 1000


def is_jpegxl(source: Source) -> bool:
    """Tell by the first bytes whether a file is JPEG XL."""
    return source.head().startswith(SIGNATURES)


def read_jpegxl(source: Source) -> Decoded:
    """Read a JPEG XL photograph; libjxl turns it upright.

    Raises
    ------
    PhotographError
        If the codec is not at hand.
    """
    import imagecodecs

    if not imagecodecs.JPEGXL.available:
        raise PhotographError(f"{source.name} is JPEG XL, which imagecodecs cannot read here: save it as PNG or TIFF.")
    data = source.read()
    boxes = _boxes(data)
    width, height = jpegxl_size(data)
    source.check_size(height, width, 8)
    pixels = imagecodecs.jpegxl_decode(data)
    if pixels.ndim == 4:
        pixels = pixels[0]
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    space: Space = "gray" if pixels.shape[2] <= 2 else "rgb"
    colours = 1 if space == "gray" else 3
    if pixels.dtype.kind == "f":
        pixels = np.clip(pixels, 0, 1).astype(np.float32)
    exif, xmp = _metadata(boxes)
    alpha = pixels[..., colours] if pixels.shape[2] > colours else None
    return Decoded(pixels[..., :colours], space, None, exif, xmp, alpha, turned=True)


def jpegxl_metadata(source: Source) -> tuple[tuple[int, int], bytes | None, bytes | None]:
    """Return width and height in px, EXIF and XMP of a JPEG XL file, without decoding its pixels."""
    data = source.read()
    return jpegxl_size(data), *_metadata(_boxes(data))


def _metadata(boxes: dict[bytes, bytes]) -> tuple[bytes | None, bytes | None]:
    # Its Exif box begins with the place of the EXIF within it.
    return boxes.get(b"Exif", b"")[4:] or None, boxes.get(b"xml ")


def _boxes(data: bytes) -> dict[bytes, bytes]:
    """Return the first box of each kind."""
    found: dict[bytes, bytes] = {}
    place = 0
    if not data.startswith(_CONTAINER):
        return found
    for _ in range(_MOST_BOXES):
        if place + 8 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, place)
        start = place + 8
        if length == 1 and start + 8 <= len(data):
            (length,) = struct.unpack_from(">Q", data, start)
            start += 8
        end = place + length if length else len(data)
        if end <= start:
            break
        found.setdefault(kind, data[start:end])
        place = end
    return found


def jpegxl_size(data: bytes) -> tuple[int, int]:
    """Return width and height, px, from the size header of ISO/IEC 18181-1, read bit by bit from the lowest.

    Parameters
    ----------
    data : a codestream or its container.
    """
    boxes = _boxes(data)
    codestream = data if data.startswith(_CODESTREAM) else boxes.get(b"jxlc", boxes.get(b"jxlp", b"")[4:])
    bits = int.from_bytes(codestream[2:18], "little")

    def take(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    def side(small: bool) -> int:
        return 8 * (take(5) + 1) if small else take((9, 13, 18, 30)[take(2)]) + 1

    small = bool(take(1))
    height = side(small)
    ratio = take(3)
    if ratio == 0:
        return side(small), height
    across, down = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio - 1]
    return height * across // down, height
