"""Counts of pixels by their blur, which can be added over photographs: percentiles of any set come from its rows alone.

A bin is an eighth of an octave of sigma, from 1/8 to 64 px, so 9 % wide, which is about what maps err by. What is below
or above is counted in the first or the last bin. A percentile of added counts lies in the bin that has the percentile
of all pixels, so it is right to 9 % at the worst; within the bin it is interpolated.

Pixels that were measured and guesses are counted apart, so that nothing has to believe the guesses.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from defocus.maps.accuracy import CONFIDENT

__all__ = ["BINS", "EDGES", "counted", "percentiles"]

_OCTAVES = (-3, 6)
"""log2 of the lowest and the highest edge in px."""
_PER_OCTAVE = 8
BINS = (_OCTAVES[1] - _OCTAVES[0]) * _PER_OCTAVE
"""Number of bins."""
EDGES = 2.0 ** np.linspace(*_OCTAVES, BINS + 1)
"""Edges of the bins, px: bin k holds sigma from ``EDGES[k]`` to below ``EDGES[k + 1]``."""
_AT_ONCE = 2**17
"""Number of values that are counted at once: they fit into the cache."""


def counted(sigma: NDArray[np.float32], confidence: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return how many values lie in each bin: first of those that were measured, then of guesses.

    Parameters
    ----------
    sigma : px, finite, any shape.
    confidence : 0..1, the same shape; from `CONFIDENT` on a value counts as measured.

    Returns
    -------
    2 x `BINS`

    Examples
    --------
    >>> measured, guesses = counted(np.float32([0.0, 1.0, 1.05, 100.0, 1.0]), np.float32([1, 1, 1, 1, 0.2]))
    >>> np.flatnonzero(measured).tolist(), measured[[0, 24, 71]].tolist()
    ([0, 24, 71], [1, 2, 1])
    >>> np.flatnonzero(guesses).tolist()
    [24]
    """
    counts = np.zeros(2 * BINS, np.int64)
    lowest = np.float32(EDGES[0])
    values, sure = sigma.reshape(-1), confidence.reshape(-1)
    for first in range(0, values.size, _AT_ONCE):
        place = np.log2(np.maximum(values[first : first + _AT_ONCE], lowest))
        place -= np.float32(_OCTAVES[0])
        place *= np.float32(_PER_OCTAVE)
        bins = np.minimum(place.astype(np.int32), BINS - 1)
        bins[sure[first : first + _AT_ONCE] < CONFIDENT] += BINS
        counts += np.bincount(bins, minlength=2 * BINS)
    return counts.reshape(2, BINS)


def percentiles(counts: ArrayLike, *percents: float) -> list[float]:
    """Return percentiles of the values that were counted, px.

    Parameters
    ----------
    counts : in each bin, of one photograph or added over several; without any, percentiles are NaN.
    percents : 0 to 100.

    Examples
    --------
    >>> sigma = np.geomspace(0.5, 8, 1001, dtype=np.float32)
    >>> together = sum(counted(part, np.ones_like(part))[0] for part in (sigma[:300], sigma[300:]))
    >>> [round(value, 2) for value in percentiles(together, 25, 50)]  # exactly: 1 and 2
    [1.0, 2.0]
    """
    values = np.asarray(counts, np.float64)
    above = np.cumsum(values)
    if not above[-1]:
        return [float("nan")] * len(percents)
    positions = np.asarray(percents, np.float64) / 100 * (above[-1] - 1)
    bins = np.searchsorted(above, positions, side="right")
    # As if the values of a bin lay evenly in it.
    part = (positions - (above[bins] - values[bins]) + 0.5) / values[bins]
    octaves = _OCTAVES[0] + (bins + np.minimum(part, 1.0)) / _PER_OCTAVE
    return [float(value) for value in 2.0**octaves]
