"""Detection of areas of exactly one colour: clipped skies, drawn surfaces, the background of a cut-out object."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["one_colour", "varies"]


def varies(grey: NDArray[np.float32], stride: int, above: NDArray[np.float32] | None = None) -> NDArray[np.bool_]:
    """Return the blocks in which luma is not the same at all pixels and at those before them.

    Parameters
    ----------
    grey : whole rows of luma, H x W float32; the first of them is the first of a block.
    stride : side of a block, px.
    above : row of luma above the first one, W float32; None at the upper border of the photograph.

    Returns
    -------
    bool, ceil(H / stride) x ceil(W / stride).

    Examples
    --------
    >>> varies(np.float32([[1, 1, 1, 2]]), stride=2)
    array([[False,  True]])
    """
    height, width = (-(-side // stride) for side in grey.shape)
    differs = np.zeros((height * stride, width * stride), bool)
    inside = differs[: grey.shape[0], : grey.shape[1]]
    np.not_equal(grey[:, 1:], grey[:, :-1], out=inside[:, 1:])
    inside[1:] |= grey[1:] != grey[:-1]
    if above is not None:
        inside[0] |= grey[0] != above
    rows = np.logical_or.reduce([differs[k::stride] for k in range(stride)])
    return np.asarray(np.logical_or.reduce([rows[:, k::stride] for k in range(stride)]))


def one_colour(varying: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return where luma is the same at every pixel of a block and of the eight blocks around it.

    Parameters
    ----------
    varying : h x w, of `varies`.

    Returns
    -------
    bool, h x w.

    Examples
    --------
    >>> one_colour(np.array([[False, False, True]]))
    array([[ True, False, False]])
    """
    return np.asarray(~ndimage.binary_dilation(varying, np.ones((3, 3), bool)))
