"""JPEG: pixels by Pillow, and what libjpeg fills in where the file ends early."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from scipy import ndimage

from defocus.errors import PhotographError
from defocus.photograph.decoded import Decoded, incomplete
from defocus.photograph.pillow import from_pillow, open_pillow
from defocus.photograph.source import Source

_END = b"\xff\xd9"
_BLOCK = 8


def read_jpeg(source: Source) -> Decoded:
    """Read a JPEG; where its data end early, what libjpeg made up is marked as missing."""
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
        complaint = _complaint(data)
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
                incomplete(source, f"is cut short: {missing.mean():.0%} of its pixels are missing")
        elif complaint and "extraneous" not in complaint:
            incomplete(source, "is damaged, and some of its pixels are wrong")
    with open_pillow(io.BytesIO(data), source) as image:
        decoded = from_pillow(image, source)
    return decoded if missing is None else replace(decoded, missing=missing)


def _complaint(data: bytes) -> str:
    """What libjpeg says against a file, or "" if nothing."""
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
    # Where colours have half the resolution they are interpolated across the end.
    return np.asarray(ndimage.binary_dilation(whole, np.ones((3, 3), bool), iterations=2))
