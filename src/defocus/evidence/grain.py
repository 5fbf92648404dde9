"""Detection of grain: noise that is correlated between neighbouring pixels, as of film or of smoothed noise.

It has detail at one scale everywhere, so a patch of it looks like a photograph that is blurred by about that scale. It
differs from the texture of objects in two ways: its strength is the same everywhere (within a third), and its values
are distributed normally (kurtosis 3), while objects have edges (kurtosis well above 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from defocus.photograph.regions import Region
from defocus.runtime.cores import on_all_cores

__all__ = ["Grain", "find_grain"]

_WINDOW = 32
"""Side in px of the windows that are compared."""
_FINE = 2.0
"""Sigma in px of the Gaussian high-pass filter whose output is analysed."""
_STRIP, _MARGIN = 512, 32
"""Number of rows that are compared at once, and of those beside them that the windows and the filter reach."""
_LEAST_DEVIATION, _MOST_DEVIATION = 1.5 / 255, 6 / 255
"""Limits of the standard deviation of grain after that filter: weaker grain does not affect readings, and what is
stronger is gravel or grass. (A frame filled evenly with such objects, blurred, cannot be distinguished from grain.)"""
_STRONGER = 1.35
"""Largest standard deviation of a window of grain alone, relative to the weakest windows."""
_KURTOSIS = (2.3, 3.6)
"""Limits of the kurtosis of grain."""
_LEAST_CORRELATION = 0.3
"""Least correlation of neighbouring pixels. White noise, which does not affect readings, has about 0."""
_MOST_ALIKE = 0.82
"""Least fraction of the weakest windows that have the statistics of grain. Measured: .86 and more for grain over
blurred photographs, .79 at most for photographs without grain."""
_MOST = 0.6
"""Least fraction of the windows around a position that have the statistics of grain, if it shows grain alone."""
_MOST_WINDOWS = 600
"""Largest number of windows that are compared."""
_SCALES = np.array([0.0, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 3.0])
"""Sigmas in px of a Gaussian that smooths white noise..."""
_CORRELATIONS = np.array([0.0, 0.30, 0.62, 0.71, 0.82, 0.88, 0.92, 0.94])
"""...and the correlations of neighbouring pixels, after the high-pass filter, that it causes."""


@dataclass(frozen=True)
class Grain:
    """The grain of a photograph.

    Attributes
    ----------
    deviation : standard deviation of high-pass filtered luma, 0..1.
    scale : sigma in px of the Gaussian that would make white noise equally smooth.
    """

    deviation: float
    scale: float

    def covers(self, grey: Region, stride: int) -> NDArray[np.bool_]:
        """Return where grain is the only fine detail of a photograph.

        Parameters
        ----------
        grey : luma, H x W, 0..1; it is read in strips.
        stride : side in px of the blocks for each of which a value is returned.

        Returns
        -------
        bool, ceil(H / stride) x ceil(W / stride).
        """
        height, width = grey.shape
        alike = np.empty((-(-height // stride), -(-width // stride)), bool)

        def compare(top: int) -> None:
            first, last = max(top - _MARGIN, 0), min(top + _STRIP + _MARGIN, height)
            inner = slice(top - first, min(top + _STRIP, height) - first, stride)
            part = grey[first:last, :]
            fine = part - ndimage.gaussian_filter(part, _FINE, truncate=3.0)
            squares = fine * fine
            second = ndimage.uniform_filter(squares, _WINDOW, mode="reflect")[inner, ::stride]
            fourth = ndimage.uniform_filter(squares * squares, _WINDOW, mode="reflect")[inner, ::stride]
            kurtosis = fourth / np.maximum(second * second, 1e-20)
            strength = np.sqrt(np.maximum(second, 0)) / self.deviation
            place = slice(top // stride, top // stride + len(second))
            alike[place] = (strength < _STRONGER) & (kurtosis > _KURTOSIS[0]) & (kurtosis < _KURTOSIS[1])

        on_all_cores(compare, range(0, height, _STRIP))
        # Single windows exceed the limits by chance, so the majority of those around decides.
        most = ndimage.uniform_filter(alike.astype(np.float32), 1 + 2 * (_WINDOW // stride), mode="nearest")
        return np.asarray(most > _MOST)


def find_grain(grey: Region) -> Grain | None:
    """Return the grain of a photograph, or None where it has none that affects readings.

    Parameters
    ----------
    grey : luma, H x W, 0..1; it is read in small parts.
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
