"""When a sigma counts as right, and when as confident: one definition for training, evaluation and pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CONFIDENT", "is_right", "tolerance"]

CONFIDENT = 0.5
"""Least confidence of a pixel that counts as measured; below it, sigma is shown and treated as a guess."""
_RIGHT_WITHIN = (0.1, 0.15)
"""Relative and absolute tolerance (fraction of the true sigma, px): a sigma is right within the larger of the two."""


def tolerance(sigma: NDArray[np.floating]) -> NDArray[Any]:
    """Return how far a sigma may be off to count as right: a tenth of it, or 0.15 px.

    Parameters
    ----------
    sigma : px, any shape.

    Returns
    -------
    px, the same shape and type.

    Examples
    --------
    >>> tolerance(np.array([1.0, 10.0]))
    array([0.15, 1.  ])
    """
    fraction, px = _RIGHT_WITHIN
    return np.maximum(fraction * sigma, px)


def is_right(sigma: NDArray[np.floating], truth: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Tell which sigmas are near enough to the truth to count as right.

    The confidence of the pyramid method is the probability of this.

    Parameters
    ----------
    sigma : px, any shape.
    truth : px, the same shape.

    Returns
    -------
    bool, the same shape.

    Examples
    --------
    >>> is_right(np.array([1.0, 1.0, 10.0]), np.array([1.1, 1.3, 10.9]))
    array([ True, False,  True])
    """
    return np.asarray(np.abs(sigma - truth) <= tolerance(truth))
