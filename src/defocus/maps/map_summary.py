"""A map at the size of a picture, and its figures, gathered while its strips are computed for the map's file."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from defocus.filters.box import block_average
from defocus.maps.accuracy import CONFIDENT
from defocus.maps.map_strips import MapStrip
from defocus.photograph import Photograph
from defocus.photograph.photograph import photograph_from_array

__all__ = ["MapSummary"]

_SAMPLES = 4_000_000
"""Number of values above which percentiles are computed from a regular sample of them."""
_ROWS = 16
"""Number of rows that are converted at once."""
_LARGEST = 32_000_000
"""Largest number of pixels of a picture. Programs that show pictures are slow with larger ones, or refuse them."""


class MapSummary:
    """The sigma and the confidence of a map, reduced to the size of a picture where the map is larger, and its figures.

    Parameters
    ----------
    shape : height and width of the map, px.
    largest : largest number of pixels of the picture.

    Attributes
    ----------
    factor : side in px of the blocks whose means are kept, 1 or more.
    sigma : float32, ceil(H / factor) x ceil(W / factor), complete once all strips have been seen.
    confidence : uint8 of the same size, in 255ths, which is exact enough for a picture.

    Examples
    --------
    >>> summary = MapSummary((2, 4), largest=2)
    >>> sigma = np.float32([[1, 3, 2, 2], [1, 3, 2, 2]])
    >>> summary.see(MapStrip(0, sigma, np.ones_like(sigma), sigma > 2.5))
    >>> summary.sigma.tolist(), summary.fraction_saturated, summary.fraction_confident
    ([[2.0, 2.0]], 0.25, 1.0)
    """

    def __init__(self, shape: tuple[int, int], largest: int = _LARGEST) -> None:
        self.factor = max(1, math.ceil(math.sqrt(shape[0] * shape[1] / largest)))
        reduced = (-(-shape[0] // self.factor), -(-shape[1] // self.factor))
        self.sigma: NDArray[np.float32] = np.empty(reduced, np.float32)
        self.confidence: NDArray[np.uint8] = np.empty(reduced, np.uint8)
        self._shape = shape
        self._saturated = self._confident = 0
        self._waiting: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
        self._filled = self._seen = 0

    def see(self, strip: MapStrip) -> None:
        """Take in a strip; strips come from the first row to the last."""
        self._saturated += int(np.count_nonzero(strip.saturated))
        self._confident += int(np.count_nonzero(strip.confidence >= CONFIDENT))
        self._seen += len(strip.sigma)
        planes = [strip.sigma, strip.confidence]
        if self._waiting:  # rows of a block that the last strip has cut
            planes = [np.concatenate([before, after]) for before, after in zip(self._waiting[0], planes, strict=True)]
            self._waiting = []
        rows = len(planes[0])
        if self._seen < self._shape[0]:
            rows -= rows % self.factor
            if rows < len(planes[0]):
                self._waiting = [(planes[0][rows:].copy(), planes[1][rows:].copy())]
        count = -(-rows // self.factor)
        place = slice(self._filled, self._filled + count)
        sigma, confidence = (
            plane[:rows] if self.factor == 1 else block_average(plane[:rows], self.factor) for plane in planes
        )
        self.sigma[place] = sigma
        for top in range(0, count, _ROWS):  # a few rows stay in the cache
            part = confidence[top : top + _ROWS] * np.float32(255)
            self.confidence[place][top : top + _ROWS] = np.rint(part, out=part)
        self._filled += count

    @property
    def fraction_saturated(self) -> float:
        """Fraction of the map's pixels that are saturated."""
        return self._saturated / (self._shape[0] * self._shape[1])

    @property
    def fraction_confident(self) -> float:
        """Fraction of the map's pixels with confidence 0.5 or more."""
        return self._confident / (self._shape[0] * self._shape[1])

    def percentiles(self, *percents: float) -> list[float]:
        """Return percentiles of sigma, of more than 4 million values those of a regular sample.

        Examples
        --------
        >>> summary = MapSummary((1, 3))
        >>> summary.see(MapStrip(0, np.float32([[1, 2, 4]]), np.ones((1, 3), np.float32), np.zeros((1, 3), bool)))
        >>> summary.percentiles(50)
        [2.0]
        """
        every = max(1, math.isqrt(self.sigma.size // _SAMPLES))
        sample = self.sigma[::every, ::every]
        return [float(value) for value in np.percentile(sample, percents)]

    def of_its_size(self, photograph: Photograph) -> Photograph:
        """Return the photograph of the map at the size of the picture.

        Examples
        --------
        >>> MapSummary((40, 60), largest=600).of_its_size(Photograph(np.zeros((40, 60, 3), np.uint8))).pixels.shape
        (20, 30, 3)
        """
        if self.factor == 1:
            return photograph
        pixels = np.empty((*self.sigma.shape, 3), np.float32)
        for row in range(0, len(pixels), 64):
            rows = slice(row * self.factor, min((row + 64) * self.factor, photograph.height))
            pixels[row : row + 64] = block_average(photograph.as_float(np.float32, rows=rows), self.factor)
        return photograph_from_array(np.clip(pixels, 0, 1))
