"""Edgelets: short oriented pieces of edges, turned, moved and scaled until only their shape is left.

After the idea of Shi, Tao, Xu, Jia, *Break Ames Room Illusion*, TOG 34(6), 2015: the shape of a piece of edge,
looked up among pieces of known blur, tells its blur. Size and sampling are our choice;
the publication does not give them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["Edgelets", "edgelets"]

_Floats = NDArray[np.float64]

_ACROSS = np.arange(-7.0, 8.0)
"""px from the edge, along its normal from dark to bright, of an edgelet's samples."""
_ALONG = np.arange(-3.0, 3.1, 1.5)
"""px along the edge."""
_DIRECTION_SCALE = 1.5
_LARGEST_OFFSET = 1.0
_AT_ONCE = 50_000
_LEAST_CONTRAST = 1e-6


class Edgelets(NamedTuple):
    """n edgelets.

    Attributes
    ----------
    shape : n x 75 float32, `_ALONG` x `_ACROSS` samples of mean 0 and deviation 1.
    contrast : n float32, the deviation they were divided by, in the unit of the photograph.
    """

    shape: NDArray[np.float32]
    contrast: NDArray[np.float32]


def edgelets(grey: _Floats, edges: NDArray[np.bool_]) -> Edgelets:
    """Edgelets at edge pixels, in the order of `np.nonzero(edges)`.

    The normal is the direction of the smoothed gradient, dark to bright; the middle is moved by up to a pixel onto the
    crest of the gradient, where its second derivative is 0. Values between pixels are cubic splines'.

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
    # Exact for a sharp step; a blurred one is moved too little, but its shape minds that less.
    crest = np.clip(bend / slope * 1.2 * _DIRECTION_SCALE**2, -_LARGEST_OFFSET, _LARGEST_OFFSET)

    # A spline reaches far; the mirror beyond the frame is what its prefilter assumes.
    spline = ndimage.spline_filter(grey, order=3, mode="mirror")
    shape = np.empty((len(rows), len(_ALONG) * len(_ACROSS)), np.float32)
    contrast = np.empty(len(rows), np.float32)
    along, across = (grid.ravel() for grid in np.meshgrid(_ALONG, _ACROSS, indexing="ij"))
    for start in range(0, len(rows), _AT_ONCE):
        span = slice(start, start + _AT_ONCE)
        y, x, v, u, c = (a[span, None] for a in (rows, columns, ny, nx, crest))
        at = y + v * (across + c) + u * along, x + u * (across + c) - v * along
        samples = ndimage.map_coordinates(spline, at, order=3, mode="mirror", prefilter=False)
        samples -= samples.mean(axis=1, keepdims=True)
        deviation = samples.std(axis=1)
        shape[span] = samples / np.maximum(deviation, _LEAST_CONTRAST)[:, None]
        contrast[span] = deviation
    return Edgelets(shape, contrast)
