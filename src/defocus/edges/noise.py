"""Estimation of the noise of a photograph."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from defocus.filters.strips import Plane, strips_of

__all__ = ["noise_deviation"]

_QUANTISATION_NOISE = 1 / 255 / np.sqrt(12)
"""Standard deviation of the rounding of an 8-bit photograph, the least noise it can have."""


def noise_deviation(grey: Plane) -> float:
    """Estimate the standard deviation of the noise of a photograph.

    The median form of Immerkaer, Fast noise variance estimation, CVIU 64(2), 1996: the difference of two Laplacians
    cancels edges and slopes. Dense texture is still taken for noise, so this is an upper bound.

    Parameters
    ----------
    grey : H x W float array, 0..1, or another plane of which rows can be read.

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
    response = np.empty(grey.shape, np.float32)
    for strip in strips_of(grey.shape, margin=1):
        convolved = ndimage.convolve(np.asarray(grey[strip.outer], np.float64), laplacians, mode="nearest")
        response[strip.inner] = np.abs(convolved[strip.kept])
    # 0.6745 is the median of the absolute value of a unit normal, 6 the gain of the mask on white noise.
    return max(float(np.median(response, overwrite_input=True)) / (0.6745 * 6), _QUANTISATION_NOISE)
