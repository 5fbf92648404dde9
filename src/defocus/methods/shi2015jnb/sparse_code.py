"""How many atoms of a dictionary a patch needs: orthogonal matching pursuit, for many patches at once.

Pati, Rezaiifar, Krishnaprasad, Asilomar 1993. scikit-learn's pursuit walks over the patches one by one in Python, which
takes minutes for the 300,000 patches of a small photograph.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["atoms_needed"]

_BATCH = 4096


def atoms_needed(
    patches: NDArray[np.float32], dictionary: NDArray[np.float32], tolerance: NDArray[np.float32], most: int
) -> NDArray[np.int32]:
    """Number of atoms until what is left of each patch is no longer than its tolerance.

    Parameters
    ----------
    patches : n x d float32; the caller has taken their mean off.
    dictionary : d x k float32, columns of length 1.
    tolerance : n float32, in the patches' unit, above 0.
    most : no patch takes more atoms than this; at most d.

    Returns
    -------
    n int32, 0..most. 0 for patches that are no longer than their tolerance.
    """
    counts = np.zeros(len(patches), np.int32)
    for start in range(0, len(patches), _BATCH):
        span = slice(start, start + _BATCH)
        counts[span] = _pursue(patches[span], dictionary, tolerance[span], most)
    return counts


def _pursue(
    patches: NDArray[np.float32], dictionary: NDArray[np.float32], tolerance: NDArray[np.float32], most: int
) -> NDArray[np.int32]:
    counts = np.zeros(len(patches), np.int32)
    squared = tolerance**2
    going = np.flatnonzero(np.einsum("nd,nd->n", patches, patches) > squared)
    rest = patches[going]
    atoms = np.ascontiguousarray(dictionary.T)
    # The atoms chosen so far, made orthogonal to each other: what is left of a patch then takes one product a step.
    basis = np.zeros((len(going), most, patches.shape[1]), np.float32)
    for step in range(most):
        if not len(going):
            break
        chosen = atoms[np.abs(rest @ dictionary).argmax(axis=1)]
        for _ in range(2 if step else 0):  # twice, as float32 loses orthogonality in one go
            known = basis[:, :step]
            chosen = chosen - np.einsum("nsd,ns->nd", known, np.einsum("nsd,nd->ns", known, chosen))
        length = np.sqrt(np.einsum("nd,nd->n", chosen, chosen))
        # An atom within what is spanned already explains nothing more; it still counts as a step taken.
        chosen = chosen / np.maximum(length, 1e-6)[:, None]
        basis[:, step] = chosen
        rest = rest - np.einsum("nd,nd->n", rest, chosen)[:, None] * chosen
        counts[going] += 1
        open_ = np.einsum("nd,nd->n", rest, rest) > squared[going]
        if not open_.all():
            going, rest, basis = going[open_], rest[open_], basis[open_]
    return counts
