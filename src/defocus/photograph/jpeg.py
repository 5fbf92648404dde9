"""JPEG: decoded once, by libjpeg-turbo, unless it complains; and what libjpeg fills in where the file ends early."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from defocus.errors import PhotographError
from defocus.photograph.decoded import Decoded, incomplete
from defocus.photograph.pillow import from_pillow, open_pillow
from defocus.photograph.source import Source

__all__ = ["read_jpeg", "read_reduced_jpeg"]

_END = b"\xff\xd9"
_BLOCK = 8
_ZEROS = bytes(64)
_COLOURS = {"RGB": "RGB", "L": "GRAY"}
"""Colours, by Pillow's mode, that libjpeg-turbo decodes to what Pillow does; CMYK it does not."""
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def read_jpeg(source: Source) -> Decoded:
    """Read a JPEG; where its data end early, pixels that libjpeg filled in are marked as missing."""
    data = source.read()
    with open_pillow(io.BytesIO(data), source) as image:
        width, height = image.size
        # The shortest code takes a bit, and each block has one at least.
        if 8 * len(data) < -(-width // _BLOCK) * -(-height // _BLOCK):
            raise PhotographError(
                f"{source.name} cannot hold its {width} x {height} pixels in {len(data):,} bytes: it is damaged."
            )
        # Two samples across of one block of luma for each of chroma make blocks of 16 px that come together.
        layers = getattr(image, "layer", None) or [(1, 1, 1, 0)]
        step = _BLOCK * max(int(layer[1]) for layer in layers), _BLOCK * max(int(layer[2]) for layer in layers)
        progressive = bool(image.info.get("progressive") or image.info.get("progression"))
        missing = None
        hole = _zeros_within(data)
        if hole is not None:  # of what follows, libjpeg would make blocks that look like a photograph's
            data = data[:hole]
        pixels, complaint = _decode(data, image)
        if pixels is not None:
            return from_pillow(image, source, pixels)
        if "remature end" in complaint:
            data += _END
            still = _complaint(data)
            if "remature end" not in still:
                incomplete(source, "lacks its last bytes, which hold no pixels")
            elif progressive:
                raise PhotographError(
                    f"{source.name} is cut short: a progressive JPEG's detail comes last, so what there is would look "
                    "blurred. Copy it again from where it came."
                )
            else:
                missing = _filled_in(data, height, width, step)
                if missing.all():
                    raise PhotographError(f"{source.name} is damaged or cut short: none of its pixels can be read.")
                incomplete(source, f"is cut short: {missing.mean():.0%} of its pixels are missing")
        elif complaint and "extraneous" not in complaint:
            incomplete(source, "is damaged, and some of its pixels are wrong")
    with open_pillow(io.BytesIO(data), source) as image:
        decoded = from_pillow(image, source)
    return decoded if missing is None else replace(decoded, missing=missing)


def read_reduced_jpeg(source: Source, longest: int) -> tuple[Decoded, tuple[int, int]] | None:
    """Read a JPEG at a half, a quarter or an eighth of its size, which libjpeg decodes in less time.

    Parameters
    ----------
    source : the file.
    longest : px that the longer side has at least, if it has in the file.

    Returns
    -------
    What was decoded, and the file's own width and height as stored, px; None where the file is damaged, or of colours
    that have to be read by `read_jpeg`.
    """
    data = source.read()
    with open_pillow(io.BytesIO(data), source) as image:
        colours = _COLOURS.get(image.mode)
        if colours is None or _zeros_within(data) is not None:
            return None
        least = [-(-longest * side // max(image.size)) for side in image.size]
        try:
            height, width, *_ = simplejpeg.decode_jpeg_header(data, strict=False)
            if (width, height) != image.size:
                return None
            pixels = simplejpeg.decode_jpeg(
                data, colorspace=colours, min_width=least[0], min_height=least[1], min_factor=1, strict=True
            )
        except ValueError:
            return None
        return from_pillow(image, source, pixels), image.size


def _zeros_within(data: bytes) -> int | None:
    """Where a run of zeros begins among the pixels that no encoder writes, as a copy that failed leaves it; or None.

    Zeros are the shortest code of each table. Where that stands for "as before" and for "nothing more in this block" in
    all of them, as it may for a plain wall, a run of zeros can be a part of the photograph; but not if the file ends
    in it, nor where they stand for anything else.
    """
    place, first_codes, sequential = 2, dict[int, int](), False
    while place + 4 <= len(data) and data[place] == 0xFF:
        kind = data[place + 1]
        if kind == 0xFF or kind == 0x01 or 0xD0 <= kind <= 0xD8:  # of one or two bytes
            place += 1 if kind == 0xFF else 2
            continue
        if kind == 0xD9:
            return None
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        sequential = sequential or kind in (0xC0, 0xC1)
        if kind == 0xC4:
            first_codes |= _first_codes(data[place + 4 : end])
        if kind == 0xDA:
            marker = _NEXT_MARKER.search(data, end)
            scan_end = len(data) if marker is None else marker.start()
            zeros = data.find(_ZEROS, end, scan_end)
            if zeros >= 0:
                last = not data[zeros:].strip(b"\0")
                if last or (sequential and any(first_codes.values())):
                    return zeros
            end = scan_end
        place = end
    return None


def _first_codes(tables: bytes) -> dict[int, int]:
    """What the code of zeros stands for, by table, in a segment of Huffman tables."""
    codes = {}
    place = 0
    while place + 18 <= len(tables):
        count = sum(tables[place + 1 : place + 17])
        if count == 0:
            break
        codes[tables[place]] = tables[place + 17]
        place += 17 + count
    return codes


def _decode(data: bytes, image: Image.Image) -> tuple[NDArray[np.uint8] | None, str]:
    """Return the pixels of a file, and libjpeg's warning about it, or "".

    The pixels are None where there is a warning, and where they may be others than Pillow's: of CMYK, or of a file in
    which libjpeg finds another size than Pillow, which was the one that was checked.

    Parameters
    ----------
    data : contents of the file.
    image : the same file, opened by Pillow but not decoded.
    """
    colours = _COLOURS.get(image.mode)
    if colours is None:
        return None, _complaint(data)
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data, strict=False)
        if (width, height) != image.size:
            return None, _complaint(data)
        return simplejpeg.decode_jpeg(data, colorspace=colours, strict=True), ""
    except ValueError as error:
        return None, str(error)


def _complaint(data: bytes) -> str:
    """Return libjpeg's warning about a file, or "" if there is none."""
    try:
        simplejpeg.decode_jpeg(data, colorspace="GRAY", strict=True)
    except ValueError as error:
        return str(error)
    return ""


def _filled_in(data: bytes, height: int, width: int, step: tuple[int, int]) -> NDArray[np.bool_]:
    """Where the blocks are that the data end before, bool H x W: the last ones in order, all of one grey."""
    grey = simplejpeg.decode_jpeg(data, colorspace="GRAY", strict=False)[..., 0]
    across, down = step
    rows, columns = -(-height // down), -(-width // across)
    padded = np.pad(grey, ((0, rows * down - height), (0, columns * across - width)), mode="edge")
    blocks = padded.reshape(rows, down, columns, across)
    low, high = blocks.min(axis=(1, 3)).ravel(), blocks.max(axis=(1, 3)).ravel()
    same = (low == high) & (low == low[-1])
    last = int(np.flatnonzero(~same)[-1]) if not same.all() else -1
    # The block that the data end in is not whole either.
    gone = np.arange(rows * columns) >= max(last, 0)
    whole = np.repeat(np.repeat(gone.reshape(rows, columns), down, axis=0), across, axis=1)[:height, :width]
    from scipy import ndimage  # which takes 0.1 s to import; few photographs are cut short

    # Where colours have half the resolution they are interpolated across the end.
    return np.asarray(ndimage.binary_dilation(whole, np.ones((3, 3), bool), iterations=2))
