"""Blur of an edge from the ratio of its gradients after two re-blurs.

Zhuo, Sim, *Defocus map estimation from a single image*, Pattern Recognition 44(9), 2011, section 3. A step blurred by
sigma has, after a further blur s, the gradient A / sqrt(2 pi (sigma^2 + s^2)); so with s1 < s2

    R = g1 / g2 = sqrt((sigma^2 + s2^2) / (sigma^2 + s1^2)),    sigma^2 = (s2^2 - R^2 s1^2) / (R^2 - 1).

Two things are ours. An edge lies between pixels: half a pixel off, R of a sharp edge is 1 % and its sigma 10 % wrong,
so both gradients are lifted to the edge's crest, where the first and second derivatives say it is. And the gradients
are taken along the direction of the coarser one, with sign, and summed over a few edge pixels before the division:
noise then averages out instead of making the finer gradient longer.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import erf

__all__ = ["EdgeBlur", "chance_of_small_error", "edge_blur"]

_Floats = NDArray[np.float64]

_THINNER_THAN_A_STEP = -0.05
"""px^2: a ratio that asks for less than this square of a sigma is of a line, not of a step."""
_REFINEMENTS = 4
_TRUNCATE = 5.0
_LARGEST_OFFSET = 1.0


class EdgeBlur(NamedTuple):
    """What the ratio says at n edge pixels.

    Attributes
    ----------
    sigma : n float64, px; NaN where the ratio is not one of a step (a thin line, noise).
    deviation : n float64, px, how far noise of the given deviation moves `sigma` (first order, without the averaging
        over neighbours); infinite where `sigma` is NaN.
    """

    sigma: _Floats
    deviation: _Floats


def edge_blur(
    grey: _Floats, edges: NDArray[np.bool_], fine: float, coarse: float, *, noise: float, largest: float, average: int
) -> EdgeBlur:
    """Sigma at edge pixels, in the order of `np.nonzero(edges)`.

    Parameters
    ----------
    grey : H x W float64.
    edges : H x W bool, the pixels to read.
    fine, coarse : re-blurs s1 < s2, px; derivatives of Gaussians of these sigmas do both at once.
    noise : standard deviation of the noise of `grey`, in its unit.
    largest : px; larger sigmas, and ratios of 1 and less, read as this.
    average : px; gradients are summed over the edge pixels of a window of this radius. 0 takes each pixel alone.

    Returns
    -------
    EdgeBlur
    """
    rows, columns = np.nonzero(edges)

    def derivative(scale: float, *order: int) -> _Floats:
        smooth: _Floats = ndimage.gaussian_filter(grey, scale, order=order, mode="nearest", truncate=_TRUNCATE)
        return smooth[rows, columns]

    dy, dx = derivative(coarse, 1, 0), derivative(coarse, 0, 1)
    coarse_gradient = np.maximum(np.hypot(dx, dy), np.finfo(np.float64).tiny)
    ny, nx = dy / coarse_gradient, dx / coarse_gradient
    fine_gradient = derivative(fine, 1, 0) * ny + derivative(fine, 0, 1) * nx
    bend = derivative(coarse, 2, 0) * ny**2 + derivative(coarse, 0, 2) * nx**2 + 2 * derivative(coarse, 1, 1) * nx * ny

    def summed(values: _Floats) -> _Floats:
        if average == 0:
            return values
        plane = np.zeros(grey.shape)
        plane[rows, columns] = values
        return ndimage.uniform_filter(plane, 2 * average + 1, mode="constant")[rows, columns]

    ratio = summed(fine_gradient) / summed(coarse_gradient)
    for _ in range(_REFINEMENTS):
        variance = np.clip(_variance(ratio, fine, coarse), 0, largest**2)
        # Across the edge, log g is a parabola around its crest; the slope gives the distance to it.
        offset = np.clip(bend / coarse_gradient * (variance + coarse**2), -_LARGEST_OFFSET, _LARGEST_OFFSET)
        lifted_fine = fine_gradient * np.exp(offset**2 / 2 / (variance + fine**2))
        lifted_coarse = coarse_gradient * np.exp(offset**2 / 2 / (variance + coarse**2))
        ratio = summed(lifted_fine) / summed(lifted_coarse)

    variance = np.where(ratio <= 1, largest**2, np.minimum(_variance(ratio, fine, coarse), largest**2))
    step = (variance >= _THINNER_THAN_A_STEP) & (fine_gradient > 0)
    sigma = np.where(step, np.sqrt(np.maximum(variance, 0)), np.nan)
    return EdgeBlur(sigma, np.where(step, _deviation(sigma, coarse_gradient, fine, coarse, noise), np.inf))


def chance_of_small_error(blur: EdgeBlur, tolerance: float = 0.15, relative: float = 0.1) -> _Floats:
    """Probability that noise moves sigma by less than the larger of `tolerance` px and `relative` sigma; 0 for NaN."""
    allowed = np.maximum(tolerance, relative * np.nan_to_num(blur.sigma))
    return np.asarray(erf(allowed / np.sqrt(2) / np.maximum(blur.deviation, 1e-9)))


def _variance(ratio: _Floats, fine: float, coarse: float) -> _Floats:
    """Sigma squared that a ratio stands for; negative above coarse / fine."""
    squared = np.maximum(ratio, 1 + 1e-9) ** 2
    return (coarse**2 - squared * fine**2) / (squared - 1)


def _deviation(sigma: _Floats, coarse_gradient: _Floats, fine: float, coarse: float, noise: float) -> _Floats:
    """First-order effect of white noise on sigma: the derivative of the formula above."""
    variance = np.maximum(np.nan_to_num(sigma), 0.3) ** 2
    squared_ratio = (variance + coarse**2) / (variance + fine**2)
    # Noise of a derivative of a Gaussian of sigma s: noise / (sqrt(8 pi) s^2). The two are taken as independent.
    relative = np.hypot(
        noise / (np.sqrt(8 * np.pi) * fine**2) / np.sqrt(squared_ratio),
        noise / (np.sqrt(8 * np.pi) * coarse**2),
    ) / np.maximum(coarse_gradient, np.finfo(np.float64).tiny)
    of_variance = (coarse**2 - fine**2) / (squared_ratio - 1) ** 2 * 2 * squared_ratio * relative
    return of_variance / (2 * np.sqrt(variance))
