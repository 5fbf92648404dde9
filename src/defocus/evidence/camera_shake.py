"""Camera shake: blur along one direction, the same all over the photograph, which is not defocus.

A map of defocus reads a shaken photograph by the edges that lie along the movement, which stay sharp. In the spectrum
it shows: fine detail is missing in one direction, where coarse detail is not, and in every part of the photograph.
Scenes of stripes have a direction too, but not the same one in every part.
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
"""px a side of the parts that are compared."""
_SHAKEN = 1.3
"""Score from which on a photograph counts as shaken. Chosen on photographs for training, of which one in a hundred had
more than 1.1."""
_DIRECTIONS = 18
_BANDS = np.array([0.012, 0.024, 0.048, 0.096, 0.19, 0.35])
"""Cycles per px."""
_FINEST = 3
"""The band that says whether a window has detail."""
_NOISE = 4.0 / 255**2
_DETAIL = 1.5
"""By how much, in logarithm, detail has to exceed the noise for a window to count."""
_LEAST_WINDOWS, _LEAST_FRACTION, _MOST_WINDOWS = 6, 0.25, 240
_LARGEST = 3_000_000
"""Pixels; larger photographs are looked at on blocks, since shake grows with the photograph."""
_SMOOTHING = np.array([1.0, 2.0, 3.0, 2.0, 1.0]) / 9


@dataclass(frozen=True)
class Shake:
    """What a photograph shows of movement.

    Attributes
    ----------
    score : how much more fine than coarse detail is missing along one direction, against the direction across it, in
        logarithm; nine tenths of the photograph's parts show at least this. 0 where there is no detail to tell by.
    direction : degrees, 0..180, of the movement: 0 along the rows, 90 along the columns.
    """

    score: float
    direction: float

    @property
    def shaken(self) -> bool:
        """Whether the score exceeds what photographs held still have."""
        return self.score >= _SHAKEN


def camera_shake(photograph: Photograph) -> Shake:
    """Measure blur along one direction that a whole photograph shares.

    Parameters
    ----------
    photograph : any size; smaller than 128 px a side there is nothing to compare, and the score is 0.

    Returns
    -------
    Shake

    Notes
    -----
    Of 30 sharp photographs shaken by a straight line of 6, 10, 16 and 24 px with little noise, 62, 78, 80 and 69 % were
    found, and two of them were called shaken as they are (`benchmarks/shake.py`); of 133 others, one. Movement of the
    subject alone, curved movement and photographs that are out of focus too are not found.
    """
    content = find_content(photograph)  # bars, and what is filled in, have a direction of their own
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
    """Mean power of every window in each band and direction: windows x bands x directions."""
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
    found = np.empty((len(places), bands, _DIRECTIONS))
    for k, (y, x) in enumerate(places):
        window = grey[y : y + _WINDOW, x : x + _WINDOW]
        spectrum = np.abs(fft.rfft2((window - window.mean()) * fade)) ** 2 / (fade**2).sum()
        found[k] = _smoothed(np.bincount(bins, spectrum[inside], size).reshape(bands, _DIRECTIONS).astype(np.float64))
    return found / np.maximum(counts, 1e-9)


def _smoothed(by_direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add up neighbouring directions, which wrap round."""
    return np.sum([w * np.roll(by_direction, k - 2, axis=-1) for k, w in enumerate(_SMOOTHING)], axis=0)
