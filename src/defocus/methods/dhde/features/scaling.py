"""The last step that all three hand-crafted features share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["normalised_logarithm"]


def normalised_logarithm(values: NDArray[np.number]) -> NDArray[np.float64]:
    """log(1 + values), each row divided by its sum.

    Parameters
    ----------
    values : n x bins, not negative.

    Returns
    -------
    n x bins float64. A row of zeros stays zero.
    """
    logarithm = np.log1p(values, dtype=np.float64)
    total = logarithm.sum(axis=1, keepdims=True)
    return np.divide(logarithm, total, out=np.zeros_like(logarithm), where=total > 0)
