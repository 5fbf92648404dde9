"""Estimation of the noise of a photograph."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["noise_deviation"]

_QUANTISATION_NOISE = 1 / 255 / np.sqrt(12)
"""Standard deviation of the rounding of an 8-bit photograph, the least noise it can have."""


def noise_deviation(grey: NDArray[np.floating]) -> float:
    """Estimate the standard deviation of the noise of a photograph.

    The median form of Immerkaer, Fast noise variance estimation, CVIU 64(2), 1996: the difference of two Laplacians
    cancels edges and slopes. Dense texture is still taken for noise, so this is an upper bound.

    Parameters
    ----------
    grey : H x W float array, 0..1.

    Returns
    -------
    Standard deviation, 0..1, at least that of rounding to 8 bits.

    Examples
    --------
    >>> grey = 0.5 + np.random.default_rng(0).normal(0, 0.02, (200, 200))
    >>> round(noise_deviation(grey), 3)
    0.02
    """
    laplacians = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float64)
    response = np.abs(ndimage.convolve(grey, laplacians, mode="nearest"))
    # 0.6745 is the median of the absolute value of a unit normal, 6 the gain of the mask on white noise.
    return max(float(np.median(response)) / (0.6745 * 6), _QUANTISATION_NOISE)
