"""Square patches around pixels, the image continued by its border pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

__all__ = ["PatchReader", "pad_edges"]


def pad_edges(image: NDArray[Any], width: int) -> NDArray[Any]:
    """H x W (x C) image continued by its border pixels, `width` px on every side."""
    return np.pad(image, [(width, width), (width, width)] + [(0, 0)] * (image.ndim - 2), mode="edge")


class PatchReader:
    """Reads patches of one size from an image.

    Parameters
    ----------
    padded : an H x W or H x W x C image of any dtype after `pad_edges(image, radius)`.
    radius : patches are 2 radius + 1 pixels wide.
    """

    def __init__(self, padded: NDArray[Any], radius: int) -> None:
        size = 2 * radius + 1
        self._windows = sliding_window_view(padded, (size, size), axis=(0, 1))

    def __call__(self, positions: NDArray[np.integer]) -> NDArray[Any]:
        """Patches centred on positions of the image before padding.

        Parameters
        ----------
        positions : n x 2 integers, row and column.

        Returns
        -------
        n x size x size, or n x C x size x size for an image with channels; a copy, of the image's dtype.
        """
        return self._windows[positions[:, 0], positions[:, 1]]
