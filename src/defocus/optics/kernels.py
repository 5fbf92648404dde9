"""Blur kernels on the pixel grid, and the sigma of each: that of the Gaussian that best explains its blur.

Every kernel K has one sigma here, `best_fitting_sigma(K)`: that of the Gaussian G for which the pictures blurred by K
and by G differ least. Blur is seen at edges, so the pictures are of straight edges in all directions, whose power
spectrum falls as 1 / f^3. The expected squared difference over them is

    E(sigma) = sum over f of |K(f) - G(f, sigma)|^2 / f^3.

A Gaussian has its own sigma; a large uniform disc of radius r has 0.5428 r (`DISC_RATIO`), 9 % more than the standard
deviation of its weights, r / 2. D'Andres et al. (IEEE TIP 2016) measured the best-fitting Gaussians of discs on
photographs. Their table, in `defocus.units`, agrees within 1.2 % for discs of 2 to 6 px; it is rounded to 0.025 px.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from defocus.errors import ParameterError

__all__ = ["DISC_RATIO", "best_fitting_sigma", "disc_kernel", "disc_radius", "gaussian_kernel", "polygon_kernel"]

_Floats = NDArray[np.float64]

_ROOT = 0.8483956269186919
"""The solution u of exp(-u) (I0(u) + I1(u)) = 1 / sqrt(2), I0 and I1 the modified Bessel functions: the condition of
`best_fitting_sigma` for a disc, with u = radius^2 / (4 sigma^2)."""
DISC_RATIO = 0.5 / float(np.sqrt(_ROOT))
"""Sigma of the Gaussian that best explains the blur of a continuous disc, as a fraction of its radius: 0.5428."""
_PIXEL_VARIANCE = 0.06514173893476229
"""What the area of a pixel adds to the square of a large disc's sigma, px^2: (I0(u) / I1(u) - 1) / 24 at u = `_ROOT`,
in first order of the pixel's variance, 1/12."""
_SMALLEST_SIGMA = 0.1
"""Sigma in px below which nothing is left of a sampled Gaussian beside its middle (exp(-50) at the next pixel)."""
_FINE_SIGMA = 2.0
"""Sigma in px from which sums over the pixels of a sampled Gaussian are integrals within 3e-9."""
_SAMPLES = 12
"""Samples per sigma, along each axis, that a polygon is drawn with; at least one a pixel."""
_CLOSE = 0.003
"""Relative error of a polygon's sigma at which its size is found."""


def gaussian_kernel(sigma: float) -> _Floats:
    """Return a sampled 1-D Gaussian of odd length, cut at 6 sigma, with sum 1.

    Parameters
    ----------
    sigma : px, at least 0; 0 gives [1].

    Returns
    -------
    1-D float64. The samples are those of the continuous Gaussian, as in DHDE's training patches: below 0.6 px
    their own standard deviation is a little less (0.46 at 0.5).

    Examples
    --------
    >>> gaussian_kernel(0.5).round(3)
    array([0.   , 0.   , 0.106, 0.787, 0.106, 0.   , 0.   ])
    """
    reach = int(np.ceil(6 * sigma))
    x = np.arange(-reach, reach + 1)
    with np.errstate(over="ignore"):  # a sigma of next to nothing leaves nothing beside the middle
        weights: _Floats = np.exp(-0.5 * (x / sigma) ** 2) if sigma > 0 else np.ones(1)
    return np.asarray(weights / weights.sum())


def disc_kernel(radius: float) -> _Floats:
    """Return a uniform disc: each weight is the exact area of the pixel that the disc covers, and the sum is 1.

    Parameters
    ----------
    radius : px, at least 0; up to 0.5 the disc lies within one pixel and the kernel is [[1]].

    Returns
    -------
    n x n float64, n odd. The Gaussian that best explains it has a sigma of `DISC_RATIO` radius within 0.9 % from radius
    4 on; for smaller ones see `disc_radius`. Its standard deviation per axis is another length: radius / 2, and with
    the pixel's own area sqrt(radius^2 / 4 + 1 / 12) within 2 % from radius 2 on.

    Examples
    --------
    >>> disc_kernel(1.5).round(2)
    array([[0.08, 0.14, 0.08],
           [0.14, 0.14, 0.14],
           [0.08, 0.14, 0.08]])
    """
    if radius <= 0.5:
        return np.ones((1, 1))
    reach = int(np.ceil(radius - 0.5))
    edges = np.arange(-reach, reach + 2) - 0.5
    x, y = np.meshgrid(edges, edges)
    # Area of the disc over [0, |x|] x [0, |y|]: full height up to `knee`, below the arc from there on.
    width, height = np.minimum(np.abs(x), radius), np.minimum(np.abs(y), radius)
    knee = np.minimum(width, np.sqrt(np.maximum(radius**2 - height**2, 0)))
    quarter = knee * height + _area_under_arc(width, radius) - _area_under_arc(knee, radius)
    signed = np.sign(x) * np.sign(y) * quarter
    area: _Floats = np.maximum(np.diff(np.diff(signed, axis=0), axis=1), 0)
    return np.asarray(area / area.sum())


def best_fitting_sigma(kernel: ArrayLike) -> float:
    """Return the sigma of the Gaussian that best explains the blur of a kernel.

    "Best" is least expected squared difference between the pictures blurred by both, for pictures of straight edges,
    whose power spectrum falls as 1 / f^3 (the formula is at the top of this module). In two dimensions 1 / f^3 is the
    Fourier transform of -|x| up to a factor, so the error is the energy distance of the two kernels as distributions,
    2 E|X - Y| - E|X - X'| - E|Y - Y'| (Szekely and Rizzo, J. Statistical Planning and Inference 143, 2013). With Y
    Gaussian its derivative by sigma vanishes where

        sum over x of K(x) i0e(|x|^2 / (4 sigma^2)) = 1 / sqrt(2),    i0e(z) = exp(-z) I0(z),

    x from the centre of mass of a kernel of sum 1, I0 the modified Bessel function. The left side grows with sigma, so
    there is exactly one solution. On the pixel grid the right side is that of the sampled `gaussian_kernel`, which
    exceeds 1 / sqrt(2) below 1 px. For discs of 0.52
    px and more the result is within 0.25 % of the sigma at which the error, summed over the frequencies of the pixel
    grid, is least, and within 0.01 % from a radius of 2 px on (`tests/test_kernels.py`).

    Parameters
    ----------
    kernel : h x w, the weights, 0 or more. They need not sum to 1, nor be centred in the array: a shift is no blur.

    Returns
    -------
    px. 0 for a kernel of one pixel.

    Raises
    ------
    ParameterError
        If it is not a matrix, or a weight is negative or not finite, or all are 0.

    Examples
    --------
    >>> line = gaussian_kernel(1.5)
    >>> round(best_fitting_sigma(np.outer(line, line)), 3)
    1.5
    >>> round(best_fitting_sigma(disc_kernel(4.0)), 2)
    2.19
    """
    from scipy.optimize import brentq  # slow to import, and few need it
    from scipy.special import i0e

    weights = np.asarray(kernel, np.float64)
    if weights.ndim != 2 or not np.all((weights >= 0) & (weights < np.inf)) or not weights.sum() > 0:
        raise ParameterError("A kernel must be a matrix of finite weights of 0 or more that are not all 0.")
    weights = weights / weights.sum()
    down, across = (np.arange(side) for side in weights.shape)
    squared_down = (down - weights.sum(axis=1) @ down) ** 2
    squared_across = (across - weights.sum(axis=0) @ across) ** 2
    squared = squared_down[:, None] + squared_across
    used = weights > 0
    weights, squared = weights[used], squared[used]

    def surplus(sigma: float) -> float:
        return float(weights @ i0e(squared / (4 * sigma**2))) - _gaussian_with_itself(sigma)

    # A Gaussian as wide as the farthest weight is away gives every weight i0e(1/4) or more, which is 0.79.
    widest = max(float(np.sqrt(squared.max())), 1.0)
    return float(brentq(surplus, _SMALLEST_SIGMA, widest)) if surplus(_SMALLEST_SIGMA) < 0 else 0.0


def _gaussian_with_itself(sigma: float) -> float:
    """Return the sum of the condition of `best_fitting_sigma` for the Gaussian of `sigma` px sampled at the pixels."""
    from scipy.special import i0e

    if sigma >= _FINE_SIGMA:
        return float(np.sqrt(0.5))
    line = gaussian_kernel(sigma)
    squared = (np.arange(line.size) - line.size // 2) ** 2
    return float(line @ i0e((squared[:, None] + squared) / (4 * sigma**2)) @ line)


def disc_radius(sigma: float) -> float:
    """Return the radius of the disc whose `disc_kernel` is best explained by the Gaussian of `sigma`.

    Parameters
    ----------
    sigma : px, 0 or more. Up to 0.17 px the radius is 0.5, within 0.00001: discs little larger than a pixel blur more.

    Returns
    -------
    px. It is sigma / `DISC_RATIO`, less what the pixel's own area adds, which matters below 2 px: a disc of radius 1 px
    has a sigma of 0.66 px on the grid, not 0.54.

    Examples
    --------
    >>> round(disc_radius(4.0), 2), round(disc_radius(0.662), 2)
    (7.35, 1.0)
    """
    sigmas, radii = _small_discs()
    if sigma < sigmas[-1]:
        return float(np.interp(sigma, sigmas, radii))
    return float(np.sqrt(sigma**2 - _PIXEL_VARIANCE)) / DISC_RATIO


@cache
def _small_discs() -> tuple[_Floats, _Floats]:
    """Return the best-fitting sigmas of small discs on the pixel grid, ascending, and their radii."""
    # Closest where a disc begins to reach beyond its pixel, for there sigma rises steeply.
    radii = 0.5 + 5.5 * np.linspace(0, 1, 97) ** 3
    return np.array([best_fitting_sigma(disc_kernel(radius)) for radius in radii]), radii


def polygon_kernel(sigma: float, blades: int, turn: float = 0.0, rim: float = 0.0) -> _Floats:
    """Return the blur of a point through the blades of a lens: a regular polygon, its rim brighter or darker.

    Parameters
    ----------
    sigma : px, above 0: that of the Gaussian that best explains the kernel. Met within 1 % from 0.3 px on.
    blades : number of sides, 3 or more.
    turn : angle in radians by which the polygon is turned; at 0 the sides of a hexagon are level above and below.
    rim : slope of the weight, from 1 - rim / 2 in the middle to 1 + rim / 2 at the rim, with the square of the distance
        as a fraction of that of the rim; -1..1, 0 for an even polygon.

    Returns
    -------
    n x n float64, n odd, sum 1; the shares of pixels are counted by samples.

    Raises
    ------
    ParameterError
        If a parameter is out of its range.

    Examples
    --------
    >>> kernel = polygon_kernel(1.0, blades=6)
    >>> kernel[len(kernel) // 2].round(2)
    array([0.  , 0.03, 0.1 , 0.1 , 0.1 , 0.03, 0.  ])
    >>> round(best_fitting_sigma(polygon_kernel(3.0, blades=5, turn=0.3, rim=0.8)), 1)
    3.0
    """
    if not (0 < sigma < np.inf and blades >= 3 and -1 <= rim <= 1):
        raise ParameterError(
            f"A polygon has a sigma above 0, three blades or more and a rim in -1..1, not {sigma}, {blades} and {rim}."
        )
    half_side = np.pi / blades
    # The distance of the corners from the middle; first that of an even polygon with the area of the disc.
    size = disc_radius(sigma) / float(np.sqrt(np.sin(2 * half_side) / (2 * half_side)))
    fine = max(1, int(np.ceil(_SAMPLES / sigma)))
    reach = int(np.ceil(1.4 * size))
    x = (np.arange((2 * reach + 1) * fine) + 0.5) / fine - reach - 0.5
    across, down = np.meshgrid(x, x)
    angle = (np.arctan2(down, across) + turn) % (2 * half_side) - half_side
    # 1 along the outline of a polygon whose corners are 1 px from its middle.
    outline = np.hypot(across, down) * np.cos(angle) / np.cos(half_side)
    blocks = (2 * reach + 1, fine, 2 * reach + 1, fine)
    for _ in range(10):
        # A sample on the outline counts by the part of it that lies inside, so that sigma follows the size smoothly.
        inside = np.clip((size - outline) * np.cos(half_side) * fine + 0.5, 0, 1)
        weight = inside * (1 + rim * (np.minimum(outline / size, 1) ** 2 - 0.5))
        kernel = weight.reshape(blocks).mean((1, 3))
        fitted = best_fitting_sigma(kernel)
        if abs(fitted - sigma) < _CLOSE * sigma:
            break
        # Discs grow with their sigma as polygons do, also where the pixel grid bends the curve.
        size *= disc_radius(sigma) / disc_radius(fitted)
    return np.asarray(kernel / kernel.sum())


def _area_under_arc(x: _Floats, radius: float) -> _Floats:
    """Return the integral of sqrt(radius^2 - t^2) over t from 0 to x."""
    triangle = x * np.sqrt(np.maximum(radius**2 - x**2, 0))
    sector = radius**2 * np.arcsin(np.minimum(x / radius, 1))
    return np.asarray(0.5 * (triangle + sector))
