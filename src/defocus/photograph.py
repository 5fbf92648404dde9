"""Photograph: step one, from a file or an array to upright sRGB pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Photograph:
    """An upright sRGB photograph.

    Attributes
    ----------
    pixels : H x W x 3 array, uint8 (0..255), uint16 (0..65535) or float32/float64 (0..1), display-referred sRGB.
        Integer files keep their integers, so nothing is lost before a method asks for floats.
    path : where it came from, or None for an array.
    """

    pixels: NDArray[np.generic]
    path: Path | None = field(default=None)
