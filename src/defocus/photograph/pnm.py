"""PNM: pictures of 16 bits, which Pillow reduces to 8 in colour, are read here, and all others by Pillow."""

from __future__ import annotations

import re

import numpy as np

from defocus.errors import PhotographError
from defocus.photograph.decoded import Decoded
from defocus.photograph.pillow import read_pillow
from defocus.photograph.source import Source

__all__ = ["read_pnm"]

_SPACE = rb"(?:\s|#[^\n]*\n)+"
_HEADER = re.compile(rb"P([56])" + _SPACE + rb"(\d{1,9})" + _SPACE + rb"(\d{1,9})" + _SPACE + rb"(\d{1,5})\s")
_LONGEST_HEADER = 4096


def read_pnm(source: Source) -> Decoded:
    """Read a PPM or PGM.

    Raises
    ------
    PhotographError
        If it ends before its pixels do.
    """
    header = _HEADER.match(source.head(_LONGEST_HEADER))
    if header is None or int(header[4]) < 256:
        return read_pillow(source)
    channels = 3 if header[1] == b"6" else 1
    width, height, white = int(header[2]), int(header[3]), int(header[4])
    source.check_size(height, width, 2 * channels)
    source.file.seek(header.end())
    stored = source.file.read(2 * channels * width * height)
    if white > 65535 or len(stored) < 2 * channels * width * height:
        raise PhotographError(f"{source.name} is damaged or cut short: copy it again from where it came.")
    levels = np.frombuffer(stored, ">u2").reshape(height, width, channels).astype(np.uint32)
    pixels = (np.minimum(levels, white) * 65535 + white // 2) // white
    return Decoded(pixels.astype(np.uint16), "rgb" if channels == 3 else "gray")
