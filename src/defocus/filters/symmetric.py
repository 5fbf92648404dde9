"""Inversion of the many small symmetric matrices of least-squares fits in windows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["inverse_of_symmetric"]


def inverse_of_symmetric(matrices: NDArray[np.floating]) -> NDArray[Any]:
    """Invert many small symmetric positive definite matrices, such as the covariances of colours in windows.

    By bordering, which takes a tenth of the time of LAPACK for matrices of this size: the inverse of [[A, b], [b', d]]
    follows from that of A and from s = d - b' A^-1 b. Matrices of 3 x 3 are inverted by cofactors.

    Parameters
    ----------
    matrices : C x C x h x w floats, a plane for each entry.

    Returns
    -------
    C x C x h x w of the same type.

    Examples
    --------
    >>> matrix = np.array([[2.0, 1.0], [1.0, 1.0]])
    >>> inverse_of_symmetric(matrix[..., None, None])[..., 0, 0]
    array([[ 1., -1.],
           [-1.,  2.]])
    """
    last = len(matrices) - 1
    if last == 0:
        return np.asarray(1 / matrices)
    inverse = np.empty_like(matrices)
    if last == 2:
        a, b, c = matrices[0]
        d, e, f = matrices[1, 1], matrices[1, 2], matrices[2, 2]
        inverse[0, 0] = d * f - e * e
        inverse[0, 1] = inverse[1, 0] = c * e - b * f
        inverse[0, 2] = inverse[2, 0] = b * e - c * d
        inverse[1, 1] = a * f - c * c
        inverse[1, 2] = inverse[2, 1] = b * c - a * e
        inverse[2, 2] = a * d - b * b
        inverse /= a * inverse[0, 0] + b * inverse[0, 1] + c * inverse[0, 2]
        return inverse
    within = inverse_of_symmetric(matrices[:last, :last])
    border = matrices[:last, last]
    solved = np.einsum("cdyx,dyx->cyx", within, border)
    rest = 1 / (matrices[last, last] - np.einsum("cyx,cyx->yx", border, solved))
    inverse[:last, :last] = within + rest * solved[:, None] * solved[None]
    inverse[last, :last] = inverse[:last, last] = -rest * solved
    inverse[last, last] = rest
    return inverse
