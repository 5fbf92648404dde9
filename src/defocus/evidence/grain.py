"""Grain: noise whose neighbouring pixels are alike, as film has it, and photographs whose noise was smoothed.

It has detail at one scale everywhere, so a patch of it looks like a photograph that is blurred by about that scale.
What tells it from the texture of things: it is as strong everywhere (within a third), and its values are spread as
chance spreads them (kurtosis 3), where things have edges (kurtosis well above).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["Grain", "find_grain"]

_Floats = NDArray[np.float32]

_WINDOW = 32
"""px a side of the windows that are compared."""
_FINE = 2.0
"""px; what a Gaussian of this sigma takes away is looked at."""
_LEAST_DEVIATION, _MOST_DEVIATION = 1.5 / 255, 6 / 255
"""Of what is looked at; weaker grain does not outweigh what the photograph shows, and stronger is gravel or grass. (A
frame filled evenly by such things, blurred, cannot be told from grain.)"""
_STRONGER = 1.35
"""Times the weakest windows' deviation up to which a window may hold nothing but grain."""
_KURTOSIS = (2.3, 3.6)
_LEAST_CORRELATION = 0.3
"""Of neighbours; that of white noise is about 0, and blur is read through white noise well."""
_MOST_ALIKE = 0.82
"""Fraction of the weakest windows that have to look like grain. Measured: grain over blurred photographs .86 and more,
photographs without .79 at most."""
_MOST = 0.6
"""Fraction of the windows around a place that have to look like grain for the place to hold nothing else."""
_MOST_WINDOWS = 600
_SCALES = np.array([0.0, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 3.0])
_CORRELATIONS = np.array([0.0, 0.30, 0.62, 0.71, 0.82, 0.88, 0.92, 0.94])


@dataclass(frozen=True)
class Grain:
    """The grain of a photograph.

    Attributes
    ----------
    deviation : of luma, 0..1, in what is finer than `_FINE`.
    scale : px, sigma of the Gaussian that would make white noise so smooth.
    """

    deviation: float
    scale: float

    def covers(self, grey: _Floats, stride: int) -> NDArray[np.bool_]:
        """Tell where a photograph shows nothing finer than `_FINE` but grain.

        Parameters
        ----------
        grey : H x W float32, luma 0..1.
        stride : px; one answer for every block of so many pixels a side.

        Returns
        -------
        bool, ceil(H / stride) x ceil(W / stride).
        """
        fine = grey - ndimage.gaussian_filter(grey, _FINE, truncate=3.0)
        squares = fine * fine
        second = ndimage.uniform_filter(squares, _WINDOW, mode="reflect")[::stride, ::stride]
        fourth = ndimage.uniform_filter(squares * squares, _WINDOW, mode="reflect")[::stride, ::stride]
        kurtosis = fourth / np.maximum(second * second, 1e-20)
        strength = np.sqrt(np.maximum(second, 0)) / self.deviation
        alike = (strength < _STRONGER) & (kurtosis > _KURTOSIS[0]) & (kurtosis < _KURTOSIS[1])
        # Single windows are strong, or unevenly spread, by chance: most of those around decide.
        most = ndimage.uniform_filter(alike.astype(np.float32), 1 + 2 * (_WINDOW // stride), mode="nearest")
        return np.asarray(most > _MOST)


def find_grain(grey: _Floats) -> Grain | None:
    """Return the grain of a photograph, or None where it has none that matters.

    Parameters
    ----------
    grey : H x W float32, luma 0..1.
    """
    height, width = grey.shape
    if min(height, width) < 4 * _WINDOW:
        return None
    margin = int(np.ceil(3 * _FINE))
    places = [
        (y, x)
        for y in range(margin, height - _WINDOW - margin + 1, _WINDOW)
        for x in range(margin, width - _WINDOW - margin + 1, _WINDOW)
    ]
    places = places[:: max(1, -(-len(places) // _MOST_WINDOWS))]
    windows = np.stack([grey[y - margin : y + _WINDOW + margin, x - margin : x + _WINDOW + margin] for y, x in places])
    fine = windows - ndimage.gaussian_filter(windows, (0, _FINE, _FINE), truncate=3.0)
    fine = fine[:, margin:-margin, margin:-margin]
    second = (fine**2).mean(axis=(1, 2))
    kurtosis = (fine**4).mean(axis=(1, 2)) / np.maximum(second**2, 1e-20)
    neighbours = (
        (fine[:, :, 1:] * fine[:, :, :-1]).mean(axis=(1, 2)) + (fine[:, 1:] * fine[:, :-1]).mean(axis=(1, 2))
    ) / 2
    correlation = neighbours / np.maximum(second, 1e-20)
    deviation = np.sqrt(second)
    weakest = float(np.percentile(deviation, 10))
    low = deviation <= _STRONGER * weakest
    alike = low & (kurtosis > _KURTOSIS[0]) & (kurtosis < _KURTOSIS[1]) & (correlation > _LEAST_CORRELATION)
    if not _LEAST_DEVIATION <= weakest <= _MOST_DEVIATION or alike.sum() < _MOST_ALIKE * low.sum():
        return None
    scale = float(np.interp(np.median(correlation[alike]), _CORRELATIONS, _SCALES))
    return Grain(weakest, scale)
