"""Blur kernels on the pixel grid: the Gaussian and the uniform disc."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["disc_kernel", "disc_radius", "gaussian_kernel", "movement_kernel"]

_Floats = NDArray[np.float64]


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
    n x n float64, n odd. The standard deviation per axis is radius / 2, and the pixel's own area adds 1/12
    px^2 of variance: sqrt(radius^2 / 4 + 1 / 12) holds within 2 % from radius 2, radius / 2 within 2.5 % from
    radius 3. Below, the pixel grid matters: up to 6 % off radius / 2 at radius 1.5..2, up to 28 % at 0.6..1.5.

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


def movement_kernel(length: float, direction: float, turn: float = 0.0) -> _Floats:
    """Return the blur of a movement at even speed along a line or an arc: odd sides, centred, sum 1.

    Parameters
    ----------
    length : of the path, px, more than 0.
    direction : of its middle, degrees from the horizontal, counter-clockwise as seen.
    turn : angle in degrees by which the direction changes from one end to the other; 0 for a straight line.

    Examples
    --------
    >>> movement_kernel(3, direction=0).round(2).tolist()
    [[0.0, 0.0, 0.0, 0.0, 0.0], [0.04, 0.29, 0.33, 0.29, 0.04], [0.0, 0.0, 0.0, 0.0, 0.0]]
    """
    steps = max(math.ceil(16 * length), 16)
    along = np.deg2rad(direction + turn * ((np.arange(steps) + 0.5) / steps - 0.5))
    columns, rows = (np.cumsum(part) * length / steps for part in (np.cos(along), -np.sin(along)))
    columns, rows = (place - (place.min() + place.max()) / 2 for place in (columns, rows))
    reach_down, reach_across = (int(np.abs(place).max().round(9)) + 1 for place in (rows, columns))
    kernel = np.zeros((2 * reach_down + 1, 2 * reach_across + 1))
    top, left = (np.floor(place).astype(int) for place in (rows, columns))
    below, beside = rows - top, columns - left
    for down, across, weight in (
        (0, 0, (1 - below) * (1 - beside)),
        (0, 1, (1 - below) * beside),
        (1, 0, below * (1 - beside)),
        (1, 1, below * beside),
    ):
        np.add.at(kernel, (top + down + reach_down, left + across + reach_across), weight)
    return kernel / kernel.sum()


def disc_radius(sigma: float) -> float:
    """Return the radius of the disc whose `disc_kernel` has the standard deviation `sigma` on the pixel grid.

    Parameters
    ----------
    sigma : px, above 0. Below 0.28 px no disc larger than a pixel blurs so little, and the radius is near 0.5.

    Returns
    -------
    px. It is 2 sigma, less what the pixel's own variance adds, which matters below 2 px: a disc of radius 1 px has the
    standard deviation 0.63 px on the grid, not 0.5.

    Examples
    --------
    >>> round(disc_radius(4.0), 2), round(disc_radius(0.63), 2)
    (7.98, 1.01)
    """
    deviations, radii = _small_discs()
    if sigma < deviations[-1]:
        return float(np.interp(sigma, deviations, radii))
    return 2 * float(np.sqrt(sigma**2 - 1 / 12))


@cache
def _small_discs() -> tuple[_Floats, _Floats]:
    """Return the standard deviations of small discs on the pixel grid, and their radii."""
    radii = np.arange(0.5, 4.01, 0.125)
    kernels = [disc_kernel(radius) for radius in radii]
    across = [np.arange(len(kernel)) - len(kernel) // 2 for kernel in kernels]
    return np.array([np.sqrt((k * x**2).sum()) for k, x in zip(kernels, across, strict=True)]), radii


def _area_under_arc(x: _Floats, radius: float) -> _Floats:
    """Return the integral of sqrt(radius^2 - t^2) over t from 0 to x."""
    triangle = x * np.sqrt(np.maximum(radius**2 - x**2, 0))
    sector = radius**2 * np.arcsin(np.minimum(x / radius, 1))
    return np.asarray(0.5 * (triangle + sector))
