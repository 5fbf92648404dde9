"""Edgelets: short oriented pieces of edges, normalised in direction, position and contrast.

After the idea of Shi, Tao, Xu, Jia, *Break Ames Room Illusion*, TOG 34(6), 2015: a piece of edge has the blur of the
most similar pieces of known blur. Size and sampling are chosen here, since the publication does not give them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["Edgelets", "edgelets"]

_Floats = NDArray[np.float64]

_ACROSS = np.arange(-7.0, 8.0)
"""Positions of an edgelet's samples along the normal of the edge, from dark to bright, px."""
_ALONG = np.arange(-3.0, 3.1, 1.5)
"""Positions of the samples along the edge, px."""
_DIRECTION_SCALE = 1.5
"""Sigma in px of the gradient that gives the direction of an edge."""
_LARGEST_OFFSET = 1.0
"""Largest distance in px between an edge pixel and the centre of its edge."""
_AT_ONCE = 50_000
"""Number of edgelets sampled at once, which bounds the memory."""
_LEAST_CONTRAST = 1e-6


class Edgelets(NamedTuple):
    """n edgelets.

    Attributes
    ----------
    samples : n x 75 float32, 5 positions along the edge x 15 across it, with mean 0 and standard deviation 1.
    contrast : n float32, the standard deviation that the samples were divided by, in the unit of the photograph.
    """

    samples: NDArray[np.float32]
    contrast: NDArray[np.float32]


def edgelets(grey: _Floats, edges: NDArray[np.bool_]) -> Edgelets:
    """Sample edgelets at edge pixels, in the order of `np.nonzero(edges)`.

    The normal is the direction of the smoothed gradient, dark to bright. The centre is moved by up to a pixel to where
    the gradient is largest and the second derivative is 0. Values between pixels are interpolated by cubic splines.

    Parameters
    ----------
    grey : H x W float64.
    edges : H x W bool.

    Returns
    -------
    Edgelets
    """
    rows, columns = np.nonzero(edges)

    def derivative(*order: int) -> _Floats:
        smooth: _Floats = ndimage.gaussian_filter(grey, _DIRECTION_SCALE, order=order, mode="nearest")
        return smooth[rows, columns]

    dy, dx = derivative(1, 0), derivative(0, 1)
    slope = np.maximum(np.hypot(dx, dy), np.finfo(np.float64).tiny)
    ny, nx = dy / slope, dx / slope
    bend = derivative(2, 0) * ny**2 + derivative(0, 2) * nx**2 + 2 * derivative(1, 1) * nx * ny
    # Exact for a sharp step. A blurred one is moved too little, but its samples depend less on the position.
    crest = np.clip(bend / slope * 1.2 * _DIRECTION_SCALE**2, -_LARGEST_OFFSET, _LARGEST_OFFSET)

    # The prefilter of the spline assumes that the image is mirrored beyond its frame.
    spline = ndimage.spline_filter(grey, order=3, mode="mirror")
    samples = np.empty((len(rows), len(_ALONG) * len(_ACROSS)), np.float32)
    contrast = np.empty(len(rows), np.float32)
    along, across = (grid.ravel() for grid in np.meshgrid(_ALONG, _ACROSS, indexing="ij"))
    for start in range(0, len(rows), _AT_ONCE):
        span = slice(start, start + _AT_ONCE)
        y, x, v, u, c = (a[span, None] for a in (rows, columns, ny, nx, crest))
        at = y + v * (across + c) + u * along, x + u * (across + c) - v * along
        values = ndimage.map_coordinates(spline, at, order=3, mode="mirror", prefilter=False)
        values -= values.mean(axis=1, keepdims=True)
        deviation = values.std(axis=1)
        samples[span] = values / np.maximum(deviation, _LEAST_CONTRAST)[:, None]
        contrast[span] = deviation
    return Edgelets(samples, contrast)
