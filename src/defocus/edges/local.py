"""Edges that a photograph's strongest edge would hide: thresholds relative to the neighbourhood, above the noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from defocus.edges.canny import (
    EDGE_NONE,
    EDGE_WEAK,
    SMOOTHING_SIGMA,
    hysteresis,
    smoothed_gradient,
)

QUANTISATION_NOISE = 1 / 255 / np.sqrt(12)
"""Standard deviation of the rounding of an 8-bit photograph, the least noise it can have."""


def noise_deviation(grey: NDArray[np.floating]) -> float:
    """Standard deviation of the noise of a photograph.

    The median form of Immerkaer, Fast noise variance estimation, CVIU 64(2), 1996: the difference of two Laplacians
    cancels edges and slopes. Dense texture is still taken for noise, so this is an upper bound.

    Parameters
    ----------
    grey : H x W float array, 0..1.

    Returns
    -------
    Standard deviation, 0..1, at least that of rounding to 8 bit.
    """
    laplacians = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float64)
    response = np.abs(ndimage.convolve(grey, laplacians, mode="nearest"))
    # 0.6745 is the median of the absolute value of a unit normal, 6 the gain of the mask on white noise.
    return max(float(np.median(response)) / (0.6745 * 6), QUANTISATION_NOISE)


def add_local_edges(
    scales: NDArray[np.uint8],
    grey: NDArray[np.floating],
    magnitude: NDArray[np.float64],
    maxima: NDArray[np.bool_],
    thresholds: tuple[float, float],
    *,
    window: int,
    noise_factor: float,
) -> NDArray[np.uint8]:
    """Edges that stand out of their neighbourhood and of the noise, added to those that stand out of the photograph.

    Where only the subject has strong edges, the released thresholds leave a blurred background without any seed.

    Parameters
    ----------
    scales : H x W uint8, the map of `edge_scales`.
    grey : H x W float array, the value channel, 0..1.
    magnitude, maxima : of `gradient_maxima` of it.
    thresholds : (low, high) as fractions of the largest gradient within the window.
    window : its width in px.
    noise_factor : gradients below this many standard deviations of the noise's own gradient are left out.

    Returns
    -------
    H x W uint8: `scales`, with `EDGE_WEAK` at the edges that are new.
    """
    # The largest gradient nearby, without the steps a sliding maximum has.
    nearby = ndimage.uniform_filter(ndimage.maximum_filter(magnitude, window, mode="nearest"), window, mode="nearest")
    floor = noise_factor * noise_deviation(grey) * _noise_gain(SMOOTHING_SIGMA)
    low = np.maximum(thresholds[0] * nearby, floor)
    high = np.maximum(thresholds[1] * nearby, floor * thresholds[1] / thresholds[0])
    edges = hysteresis(maxima & (magnitude > low), magnitude > high)
    return np.where((scales == EDGE_NONE) & edges, np.uint8(EDGE_WEAK), scales)


def _noise_gain(sigma: float) -> float:
    """Standard deviation of one derivative of `smoothed_gradient` on white noise of unit deviation."""
    extent = int(np.ceil(4 * sigma))
    impulse = np.zeros((4 * extent + 1, 4 * extent + 1))
    impulse[2 * extent, 2 * extent] = 1
    gx, _ = smoothed_gradient(impulse, sigma)
    return float(np.sqrt((gx**2).sum()))
