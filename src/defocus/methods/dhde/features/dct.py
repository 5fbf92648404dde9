"""DCT feature: how a patch's energy is spread over spatial frequencies (Park et al., CVPR 2017)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct

from defocus.methods.dhde.features.scaling import normalised_logarithm

__all__ = ["dct_feature"]

_RING_OVERLAP = 0.1
"""Each ring of frequencies reaches this fraction of its width into both neighbours."""


@lru_cache(maxsize=8)
def _basis(width: int, size: int) -> NDArray[np.float64]:
    """Orthonormal DCT-II of `size` samples, of which only the first `width` are not zero padding: size x width."""
    return dct(np.eye(size), type=2, norm="ortho", axis=0)[:, :width]


@lru_cache(maxsize=8)
def _ring_means(size: int, bins: int) -> NDArray[np.float64]:
    """Matrix that averages size x size coefficients over rings of equal width in frequency: size^2 x bins."""
    frequency = np.arange(size)
    rho = np.hypot(frequency[:, None], frequency[None, :]).ravel()
    bounds = np.linspace(0, size - 1, bins + 1)
    reach = _RING_OVERLAP * (bounds[1] - bounds[0])
    inside = (rho[:, None] >= bounds[:-1] - reach) & (rho[:, None] <= bounds[1:] + reach)
    return inside / inside.sum(axis=0)


def dct_feature(patches: NDArray[np.floating], bins: int) -> NDArray[np.float64]:
    """Radial profile of the absolute DCT coefficients.

    The patch is zero-padded to the next power of two (27 to 32, 15 to 16), its absolute coefficients are averaged over
    `bins` rings of frequency, and the logarithm of one plus the averages is divided by its sum.

    Parameters
    ----------
    patches : n x w x w float array, value channel 0..1.
    bins : number of rings (25 for the large patch, 13 for the small one).

    Returns
    -------
    n x bins float64, each row sums to 1 (or is 0 for a black patch).
    """
    width = patches.shape[1]
    size = 1 << (width - 1).bit_length()
    basis = _basis(width, size).astype(patches.dtype, copy=False)
    spectrum = np.abs(basis @ patches @ basis.T)
    rings = spectrum.reshape(len(patches), size * size) @ _ring_means(size, bins).astype(patches.dtype, copy=False)
    return normalised_logarithm(rings)
