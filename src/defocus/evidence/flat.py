"""Areas of exactly one colour: clipped skies, drawn surfaces, the ground that an object was cut out on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["one_colour"]


def one_colour(grey: NDArray[np.float32], stride: int) -> NDArray[np.bool_]:
    """Tell where luma is the same at every pixel of a block and of the eight around it.

    Parameters
    ----------
    grey : H x W float32, luma 0..1.
    stride : px a side of a block.

    Returns
    -------
    bool, ceil(H / stride) x ceil(W / stride).
    """
    height, width = (-(-side // stride) for side in grey.shape)
    differs = np.zeros((height * stride, width * stride), bool)
    inside = differs[: grey.shape[0], : grey.shape[1]]
    np.not_equal(grey[:, 1:], grey[:, :-1], out=inside[:, 1:])
    inside[1:] |= grey[1:] != grey[:-1]
    rows = np.logical_or.reduce([differs[k::stride] for k in range(stride)])
    blocks = np.logical_or.reduce([rows[:, k::stride] for k in range(stride)])
    return np.asarray(~ndimage.binary_dilation(blocks, np.ones((3, 3), bool)))
