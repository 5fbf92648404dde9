"""Detection of camera shake: blur along one direction, the same in all of the photograph, which is not defocus.

Edges along the movement stay sharp, so a map of defocus does not show shake. The spectrum does: fine detail is missing
in one direction, where coarse detail is not, in every part of the photograph. Scenes of stripes have a direction too,
but not the same one in every part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from defocus.filters.box import block_average
from defocus.optics.light import luma
from defocus.photograph import Photograph
from defocus.photograph.content import find_content

__all__ = ["Shake", "camera_shake"]

_WINDOW = 128
"""Side in px of the windows that are compared."""
_SHAKEN = 1.3
"""Least score of a shaken photograph. It was chosen on training photographs, of which one in a hundred had a score
above 1.1."""
_DIRECTIONS = 18
"""Number of directions."""
_BANDS = np.array([0.012, 0.024, 0.048, 0.096, 0.19, 0.35])
"""Limits of the frequency bands, cycles per px."""
_FINEST = 3
"""Index of the band whose power decides whether a window has detail."""
_NOISE = 4.0 / 255**2
"""Power of the noise."""
_DETAIL = 1.5
"""Least logarithm of the ratio of detail to noise of a window that counts."""
_LEAST_WINDOWS, _LEAST_FRACTION, _MOST_WINDOWS = 6, 0.25, 240
"""Least number and fraction of windows with detail, and largest number of windows that are compared."""
_LARGEST = 3_000_000
"""Number of pixels above which a photograph is reduced, since shake is wider in larger photographs."""
_SMOOTHING = np.array([1.0, 2.0, 3.0, 2.0, 1.0]) / 9


@dataclass(frozen=True)
class Shake:
    """Camera shake measured in a photograph.

    Attributes
    ----------
    score : logarithm of how much more fine than coarse detail is missing along one direction, relative to the direction
        across it; nine tenths of the photograph's windows show at least this. 0 without detail.
    direction : direction of the movement, degrees, 0..180: 0 along the rows, 90 along the columns.
    """

    score: float
    direction: float

    @property
    def shaken(self) -> bool:
        """Whether the score exceeds that of photographs without shake."""
        return self.score >= _SHAKEN


def camera_shake(photograph: Photograph) -> Shake:
    """Measure blur along one direction in all of a photograph.

    Parameters
    ----------
    photograph : photograph of any size; with a side below 128 px the score is 0.

    Returns
    -------
    Shake

    Notes
    -----
    Of 30 sharp photographs shaken by a straight line of 6, 10, 16 and 24 px with little noise, 62, 78, 80 and 69 % were
    detected, and two of the unshaken originals were (`benchmarks/shake.py`); of 133 other photographs, one was.
    Movement of the subject alone, curved movement, and shake in photographs that are also out of focus are not
    detected.
    """
    content = find_content(photograph)  # bars and filled-in pixels have directions of their own
    grey = luma(content.cut(photograph).as_float(np.float32)).astype(np.float32)
    if content.hidden is not None:
        grey[content.hidden[content.rows, content.columns]] = np.nan
    factor = max(1, int(np.ceil(np.sqrt(grey.size / _LARGEST))))
    if factor > 1:
        grey = block_average(grey, factor)
    power = _power_by_direction(grey)
    level = np.log(power + _NOISE)
    across = level - np.roll(level, _DIRECTIONS // 2, axis=2)
    has_detail = level[:, _FINEST].max(axis=1) > np.log(_NOISE) + _DETAIL
    if has_detail.sum() < max(_LEAST_WINDOWS, _LEAST_FRACTION * len(power)):
        return Shake(0.0, 0.0)
    across = across[has_detail]
    bands = len(_BANDS) - 1
    score, direction = 0.0, 0
    for coarse in range(3):
        for fine in range(coarse + 1, bands):
            missing = np.percentile(across[:, coarse] - across[:, fine], 10, axis=0)
            if missing.max() > score:
                score, direction = float(missing.max()), int(missing.argmax())
    return Shake(score, (direction + 0.5) * 180 / _DIRECTIONS)


def _power_by_direction(grey: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean power of every window in each band and direction, windows x bands x directions."""
    height, width = grey.shape
    bands = len(_BANDS) - 1
    places = [
        (y, x)
        for y in range(0, height - _WINDOW + 1, _WINDOW // 2)
        for x in range(0, width - _WINDOW + 1, _WINDOW // 2)
    ]
    places = places[:: max(1, -(-len(places) // _MOST_WINDOWS))]
    if not places:
        return np.zeros((0, bands, _DIRECTIONS))
    fade = np.hanning(_WINDOW).astype(np.float32)
    fade = fade[:, None] * fade
    v, u = fft.fftfreq(_WINDOW)[:, None], fft.rfftfreq(_WINDOW)[None, :]
    band = np.digitize(np.hypot(u, v), _BANDS) - 1
    direction = np.minimum((np.mod(np.arctan2(v, u), np.pi) / np.pi * _DIRECTIONS).astype(int), _DIRECTIONS - 1)
    inside = (band >= 0) & (band < bands)
    bins = (band * _DIRECTIONS + direction)[inside]
    size = bands * _DIRECTIONS
    counts = _smoothed(np.bincount(bins, minlength=size).reshape(bands, _DIRECTIONS).astype(np.float64))
    power = np.empty((len(places), bands, _DIRECTIONS))
    for k, (y, x) in enumerate(places):
        window = grey[y : y + _WINDOW, x : x + _WINDOW]
        spectrum = np.abs(fft.rfft2((window - window.mean()) * fade)) ** 2 / (fade**2).sum()
        power[k] = _smoothed(np.bincount(bins, spectrum[inside], size).reshape(bands, _DIRECTIONS).astype(np.float64))
    return power / np.maximum(counts, 1e-9)


def _smoothed(by_direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average neighbouring directions, cyclically."""
    return np.sum([w * np.roll(by_direction, k - 2, axis=-1) for k, w in enumerate(_SMOOTHING)], axis=0)
