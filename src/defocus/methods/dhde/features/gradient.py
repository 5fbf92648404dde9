"""Gradient feature: the distribution of gradient magnitudes in a patch (Park et al., CVPR 2017)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from defocus.methods.dhde.features.scaling import normalised_logarithm

__all__ = ["gradient_bins", "gradient_feature"]


def gradient_bins(grey: NDArray[np.floating], bins: int) -> NDArray[np.uint8]:
    """Histogram bin of the gradient magnitude at every pixel.

    Forward differences in x and y, magnitude divided by sqrt(2), cut into `bins` equal bins over 0..1. The differences
    are those of the photograph: the last row and column of a patch look one pixel beyond it.

    Parameters
    ----------
    grey : H x W float array, value channel 0..1.
    bins : number of bins, at most 256.

    Returns
    -------
    H x W uint8; values above 1 fall into the last bin.
    """
    dx = np.diff(grey, axis=1, append=grey[:, -1:])
    dy = np.diff(grey, axis=0, append=grey[-1:])
    magnitude = np.hypot(dx, dy) / np.sqrt(2)
    return np.minimum(magnitude * bins, bins - 1).astype(np.uint8)


def gradient_feature(binned_patches: NDArray[np.uint8], bins: int) -> NDArray[np.float64]:
    """Histogram of gradient magnitudes, on a logarithmic scale.

    Parameters
    ----------
    binned_patches : n x w x w uint8, patches of `gradient_bins`.
    bins : number of bins.

    Returns
    -------
    n x bins float64: log(1 + count) divided by its sum.
    """
    count = len(binned_patches)
    own_bins = binned_patches.reshape(count, -1) + np.arange(count, dtype=np.int32)[:, None] * bins
    return normalised_logarithm(np.bincount(own_bins.ravel(), minlength=count * bins).reshape(count, bins))
