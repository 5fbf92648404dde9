"""PNG files of pictures that this package makes, compressed by libdeflate: several times as fast as libpng does."""

from __future__ import annotations

import struct
import zlib

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from defocus.photograph.png import SIGNATURE
from defocus.provenance import Provenance, stamp

__all__ = ["chunk", "encode_png", "png"]

_LONGEST = 2**30
"""Largest number of bytes of compressed pixels in one chunk; the format allows twice as many."""
_UP = 2
"""The filter that takes from each byte the one above it (PNG 3, 9.2). Maps change slowly from row to row."""


def encode_png(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """Return a picture as the contents of a PNG file.

    Parameters
    ----------
    pixels : H x W (grey) or H x W x 3 (RGB), uint8 or uint16.

    Raises
    ------
    ValueError
        If the pixels are of another shape or type.

    Examples
    --------
    >>> contents = encode_png(np.zeros((2, 3, 3), np.uint8))
    >>> imagecodecs.png_decode(contents).shape
    (2, 3, 3)
    """
    if pixels.dtype not in (np.uint8, np.uint16) or not (pixels.ndim == 2 or pixels.shape[2:] == (3,)):
        raise ValueError(f"A PNG holds H x W or H x W x 3 of uint8 or uint16, not {pixels.dtype} {pixels.shape}.")
    height, width = pixels.shape[:2]
    rows = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder(">")).view(np.uint8).reshape(height, -1)
    contents = bytearray(height * (1 + rows.shape[1]))
    filtered = np.frombuffer(contents, np.uint8).reshape(height, -1)
    filtered[:, 0] = _UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    compressed = memoryview(imagecodecs.deflate_encode(contents, level=1))
    header = struct.pack(">IIBBBBB", width, height, 8 * pixels.dtype.itemsize, 0 if pixels.ndim == 2 else 2, 0, 0, 0)
    parts = [compressed[start : start + _LONGEST] for start in range(0, len(compressed), _LONGEST)]
    chunks = [chunk(b"IHDR", header), *(chunk(b"IDAT", part) for part in parts), chunk(b"IEND", b"")]
    return b"".join([SIGNATURE, *chunks])


def png(picture: NDArray[np.uint8] | NDArray[np.uint16], provenance: Provenance) -> bytes:
    """Return a picture as the contents of a PNG file that says what it was made from.

    Parameters
    ----------
    picture : as for `encode_png`.
    provenance : what it was made from.

    Raises
    ------
    ValueError
        As `encode_png`.

    Examples
    --------
    >>> contents = png(np.zeros((2, 3), np.uint8), Provenance("mask"))
    >>> b"mask" in contents, imagecodecs.png_decode(contents).shape
    (True, (2, 3))
    """
    return stamp(encode_png(picture), provenance)


def chunk(kind: bytes, data: bytes | memoryview) -> bytes:
    """Return a chunk of a PNG file: its length, kind, data and checksum.

    Parameters
    ----------
    kind : four letters.
    data : what it holds.

    Examples
    --------
    >>> chunk(b"IEND", b"").hex()
    '0000000049454e44ae426082'
    """
    checksum = zlib.crc32(data, zlib.crc32(kind))
    return b"".join([struct.pack(">I", len(data)), kind, data, struct.pack(">I", checksum)])
