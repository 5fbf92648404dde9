"""The result of decoding a file: pixels as they are stored, and their metadata."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from defocus.errors import PhotographError, PhotographWarning
from defocus.photograph.colour import Space
from defocus.photograph.source import Source
from defocus.photograph.stored_pixels import StoredPixels

__all__ = ["Decoded", "incomplete", "several", "stretch", "warn"]


@dataclass(frozen=True, eq=False)
class Decoded:
    """A decoded file.

    Attributes
    ----------
    pixels : H x W x C, as stored; its first channels are those of `space`. Pixels that stay in the file have no other
        channels, and are neither upright nor in sRGB yet.
    space : "gray", "rgb" or "cmyk".
    profile, exif, xmp : as the file holds them, or None.
    alpha : H x W of the pixels' type, or None.
    missing : bool H x W, True where the file does not hold the pixel; None where all are there.
    turned : whether the pixels are upright already, whatever the EXIF says.
    orientation : 1..8, where the file states it elsewhere than in its EXIF.
    """

    pixels: NDArray[Any] | StoredPixels
    space: Space
    profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    alpha: NDArray[Any] | None = None
    missing: NDArray[np.bool_] | None = None
    turned: bool = False
    orientation: int | None = None


def incomplete(source: Source, what: str) -> None:
    """Warn that a part of a file is missing, or refuse the file if reading is strict.

    Raises
    ------
    PhotographError
        With `source.strict`.
    """
    if source.strict:
        raise PhotographError(f"{source.name} {what}: copy it again from where it came.")
    warn(f"{source.name} {what}.")


def several(source: Source) -> None:
    """Warn that a file holds more than one picture."""
    warn(f"{source.name} holds several pictures; only the first is read.")


def warn(message: str) -> None:
    """Emit a `PhotographWarning`."""
    warnings.warn(message, PhotographWarning, stacklevel=3)


def stretch(pixels: NDArray[np.uint16], bits: int) -> NDArray[np.uint16]:
    """Scale values of 0..2^bits - 1 to 0..65535, rounding to nearest.

    Examples
    --------
    >>> stretch(np.array([0, 512, 1023], np.uint16), bits=10)
    array([    0, 32800, 65535], dtype=uint16)
    """
    highest = 2**bits - 1
    stretched: NDArray[np.uint16] = ((pixels.astype(np.uint32) * 65535 + highest // 2) // highest).astype(np.uint16)
    return stretched
