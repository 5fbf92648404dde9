"""Areas of exactly one colour: clipped skies, drawn surfaces, the ground that an object was cut out on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from defocus.filters.box import block_average


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
    differs = np.zeros(grey.shape, np.float32)
    differs[:, 1:] = grey[:, 1:] != grey[:, :-1]
    differs[1:] = np.maximum(differs[1:], grey[1:] != grey[:-1])
    blocks = block_average(differs, stride) > 0
    return np.asarray(~ndimage.maximum_filter(blocks, 3, mode="nearest"))
