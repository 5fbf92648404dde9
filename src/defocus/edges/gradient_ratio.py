"""Blur of an edge from the ratio of its gradients after two re-blurs.

Zhuo, Sim, *Defocus map estimation from a single image*, Pattern Recognition 44(9), 2011, section 3. A step blurred by
sigma has, after a further blur s, the gradient A / sqrt(2 pi (sigma^2 + s^2)); so with s1 < s2

    R = g1 / g2 = sqrt((sigma^2 + s2^2) / (sigma^2 + s1^2)),    sigma^2 = (s2^2 - R^2 s1^2) / (R^2 - 1).

Two steps are not in the paper. An edge lies between pixels: half a pixel away from it, R of a sharp edge is 1 % and its
sigma 10 % wrong, so both gradients are extrapolated to the centre of the edge, which the first and second derivatives
locate. And the gradients are projected on the direction of the coarser one, with sign, and summed over a few edge
pixels before the division, so that noise averages out instead of increasing the finer gradient.
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
"""Least sigma squared in px^2 that a ratio may give: below it the edge is a thin line, not a step."""
_REFINEMENTS = 4
"""Number of iterations of the extrapolation to the centre of the edge."""
_TRUNCATE = 5.0
"""Radius of the derivative filters, in sigmas."""
_LARGEST_OFFSET = 1.0
"""Largest distance in px between an edge pixel and the centre of its edge."""


class EdgeBlur(NamedTuple):
    """The blur measured at n edge pixels.

    Attributes
    ----------
    sigma : n float64, px; NaN where the ratio is not that of a step (a thin line, noise).
    deviation : n float64, px, standard deviation of `sigma` that noise causes (first order, without the averaging
        over neighbours); infinite where `sigma` is NaN.

    Examples
    --------
    >>> EdgeBlur(sigma=np.array([1.5, np.nan]), deviation=np.array([0.1, np.inf])).sigma
    array([1.5, nan])
    """

    sigma: _Floats
    deviation: _Floats


def edge_blur(
    grey: _Floats, edges: NDArray[np.bool_], fine: float, coarse: float, *, noise: float, largest: float, average: int
) -> EdgeBlur:
    """Measure sigma at edge pixels, in the order of `np.nonzero(edges)`.

    Parameters
    ----------
    grey : H x W float64.
    edges : H x W bool, the pixels to measure.
    fine, coarse : re-blurs s1 < s2, px; derivatives of Gaussians of these sigmas blur and differentiate at once.
    noise : standard deviation of the noise of `grey`, in its unit.
    largest : largest sigma, px; larger ones, and ratios of 1 and less, become this.
    average : radius in px of the window over whose edge pixels gradients are summed; 0 takes each pixel alone.

    Returns
    -------
    EdgeBlur

    Examples
    --------
    >>> from defocus.edges import canny
    >>> step = np.zeros((32, 64))
    >>> step[:, 32:] = 1
    >>> blurred = ndimage.gaussian_filter(step, 2.0)
    >>> blur = edge_blur(blurred, canny(blurred, 0.1, 0.2), 1.0, 2.0, noise=0.001, largest=5.0, average=0)
    >>> float(np.median(blur.sigma).round(2))
    1.98
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
    """Return the probability that noise changes sigma by less than the larger of `tolerance` and `relative` sigma.

    Parameters
    ----------
    blur : measured blur of n edge pixels.
    tolerance : absolute tolerance, px.
    relative : relative tolerance, a fraction of sigma.

    Returns
    -------
    n float64, 0..1; 0 where sigma is NaN.

    Examples
    --------
    >>> blur = EdgeBlur(sigma=np.array([1.0, np.nan]), deviation=np.array([0.15, np.inf]))
    >>> chance_of_small_error(blur).round(2)
    array([0.68, 0.  ])
    """
    allowed = np.maximum(tolerance, relative * np.nan_to_num(blur.sigma))
    return np.asarray(erf(allowed / np.sqrt(2) / np.maximum(blur.deviation, 1e-9)))


def _variance(ratio: _Floats, fine: float, coarse: float) -> _Floats:
    """Return sigma squared for a ratio; it is negative above coarse / fine."""
    squared = np.maximum(ratio, 1 + 1e-9) ** 2
    return (coarse**2 - squared * fine**2) / (squared - 1)


def _deviation(sigma: _Floats, coarse_gradient: _Floats, fine: float, coarse: float, noise: float) -> _Floats:
    """Return the first-order effect of white noise on sigma: the derivative of the formula above."""
    variance = np.maximum(np.nan_to_num(sigma), 0.3) ** 2
    squared_ratio = (variance + coarse**2) / (variance + fine**2)
    # Noise of a derivative of a Gaussian of sigma s: noise / (sqrt(8 pi) s^2). The two are taken as independent.
    relative = np.hypot(
        noise / (np.sqrt(8 * np.pi) * fine**2) / np.sqrt(squared_ratio),
        noise / (np.sqrt(8 * np.pi) * coarse**2),
    ) / np.maximum(coarse_gradient, np.finfo(np.float64).tiny)
    of_variance = (coarse**2 - fine**2) / (squared_ratio - 1) ** 2 * 2 * squared_ratio * relative
    return of_variance / (2 * np.sqrt(variance))
