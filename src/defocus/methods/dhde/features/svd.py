"""SVD feature: how much of a patch its first singular values hold (Park et al., CVPR 2017)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from defocus.methods.dhde.features.scaling import normalised_logarithm

__all__ = ["svd_feature"]


def svd_feature(patches: NDArray[np.floating], bins: int) -> NDArray[np.float64]:
    """First singular values, on a logarithmic scale.

    Parameters
    ----------
    patches : n x w x w float array, value channel 0..1.
    bins : how many singular values are kept, at most w.

    Returns
    -------
    n x bins float64: log(1 + singular value) divided by its sum.
    """
    return normalised_logarithm(np.linalg.svd(patches, compute_uv=False)[:, :bins])
