"""The photograph's own grain, to be put back where an edit has blurred it away.

Blur takes the noise of the sensor along with the detail, and a smooth ground behind a grainy subject looks cut out.
Noise is measured where the photograph shows nothing else: in the flattest windows of each brightness.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float32]

WINDOW, FINE = 16, 2.0
"""Side in px of the windows, and sigma in px of the Gaussian: what is finer than it counts as noise."""
BRIGHTNESSES = 12
FLATTEST = 5.0
"""Percentile of the windows that is taken for noise alone, of those whose values are distributed as noise is."""
KURTOSIS = (2.2, 3.8)
MOST_UNEVEN = 1.4
"""Largest noise of one brightness, relative to the noise of the whole photograph: above it no window is flat."""
CLIPPING = 0.08
"""Distance from black and from white, 0..1, within which noise fades, since it is clipped there."""
LEAST = 0.6 / 255
"""Deviation below which there is no grain worth putting back: a picture of 8 bits has 0.3 / 255 by rounding."""
PATTERN = 512
"""Side in px of the pattern, which is repeated."""
_MOST_WINDOWS, _LEAST_WINDOWS = 6000, 8
_SCALES = np.array([0.0, 0.5, 0.8, 1.0, 1.5])
_CORRELATIONS = np.array([0.0, 0.30, 0.62, 0.71, 0.82])


@dataclass(frozen=True, eq=False)
class Grain:
    """Noise of a photograph.

    Attributes
    ----------
    brightness, deviation : the deviation, 0..1 and the same for all channels, at ascending brightnesses 0..1.
    pattern : 512 x 512 x 3 float32 of deviation 1, as smooth and as coloured as the photograph's noise.
    """

    brightness: NDArray[np.float64]
    deviation: NDArray[np.float64]
    pattern: Floats

    def over(self, shown: Floats, window: tuple[slice, slice], added: Floats) -> Floats:
        """Return the grain that blur has taken from a window: h x w x 3, to be added to it.

        Parameters
        ----------
        shown : h x w x 3, 0..1, the blurred window.
        window : its rows and columns in the photograph.
        added : h x w, px, sigma of the blur.
        """
        rows = np.arange(window[0].start, window[0].stop) % PATTERN
        columns = np.arange(window[1].start, window[1].stop) % PATTERN
        level = np.interp(shown.mean(axis=2), self.brightness, self.deviation).astype(np.float32)
        level *= np.clip(np.minimum(shown.min(axis=2), 1 - shown.max(axis=2)) / np.float32(CLIPPING), 0, 1)
        # A blur of sigma leaves 1 / (4 pi sigma^2) of white noise's variance.
        level *= np.sqrt(1 - 1 / (1 + 4 * np.float32(np.pi) * added**2))
        return np.asarray(level[..., None] * self.pattern[np.ix_(rows, columns)])


def measure_grain(pixels: NDArray[np.generic], full: float) -> Grain | None:
    """Measure the noise of a photograph; None where there is too little to see.

    Parameters
    ----------
    pixels : H x W x 3.
    full : value of white.
    """
    height, width = pixels.shape[:2]
    margin = int(np.ceil(2 * FINE))
    size = WINDOW + 2 * margin
    places = [(y, x) for y in range(0, height - size, WINDOW) for x in range(0, width - size, WINDOW)]
    places = places[:: max(1, -(-len(places) // _MOST_WINDOWS))]
    if len(places) < _LEAST_WINDOWS:
        return None
    windows = np.stack([pixels[y : y + size, x : x + size] for y, x in places]).astype(np.float32) / np.float32(full)
    fine = windows - ndimage.gaussian_filter(windows, (0, FINE, FINE, 0), truncate=2.0)
    fine = fine[:, margin:-margin, margin:-margin]
    brightness = windows.mean(axis=(1, 2, 3))
    deviation = fine.std(axis=(1, 2)).mean(axis=1)
    # Clipped windows have lost their noise, and say nothing of others.
    usable = (windows.max(axis=(1, 2, 3)) < 1) & (windows.min(axis=(1, 2, 3)) > 0)
    kurtosis = ((fine**4).mean(axis=(1, 2)) / np.maximum((fine**2).mean(axis=(1, 2)) ** 2, 1e-20)).mean(axis=1)
    usable &= (kurtosis > KURTOSIS[0]) & (kurtosis < KURTOSIS[1])
    if usable.sum() < _LEAST_WINDOWS:
        return None
    overall = float(np.percentile(deviation[usable], FLATTEST))
    if overall < LEAST:
        return None
    levels, middles, flattest = [], [], usable & (deviation <= overall)
    edges = np.linspace(0, 1, BRIGHTNESSES + 1)
    for low, high in pairwise(edges):
        inside = usable & (brightness >= low) & (brightness < high)
        if inside.sum() < _LEAST_WINDOWS:
            continue
        level = float(np.percentile(deviation[inside], FLATTEST))
        levels.append(min(level, MOST_UNEVEN * overall))
        middles.append(float(brightness[inside].mean()))
    if not levels:
        return None
    noise = fine[flattest]
    noise = noise / np.maximum(noise.std(axis=(1, 2), keepdims=True), 1e-9)
    beside = float(((noise[:, :, 1:] * noise[:, :, :-1]).mean() + (noise[:, 1:] * noise[:, :-1]).mean()) / 2)
    shared = float(np.mean([(noise[..., a] * noise[..., b]).mean() for a, b in ((0, 1), (0, 2), (1, 2))]))
    scale = float(np.interp(beside, _CORRELATIONS, _SCALES))
    return Grain(np.array(middles), np.array(levels), _pattern(scale, float(np.clip(shared, 0, 1))))


def _pattern(scale: float, shared: float) -> Floats:
    """Noise of a smoothness, of which the channels share a part; the same every time."""
    generator = np.random.default_rng(0)
    white = generator.standard_normal((PATTERN, PATTERN, 4), dtype=np.float32)
    mixed = np.sqrt(np.float32(shared)) * white[..., 3:] + np.sqrt(np.float32(1 - shared)) * white[..., :3]
    if scale > 0:
        mixed = ndimage.gaussian_filter(mixed, (scale, scale, 0), mode="wrap")
    fine = mixed - ndimage.gaussian_filter(mixed, (FINE, FINE, 0), mode="wrap")
    return np.asarray(fine / fine.std(axis=(0, 1)), np.float32)
