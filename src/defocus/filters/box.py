"""Means over square windows, and sums and means over blocks of pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

__all__ = ["block_average", "block_centres", "block_sum", "box_mean"]

_Floats = NDArray[np.floating]


def box_mean(values: _Floats, radius: int) -> _Floats:
    """Return the mean over the part of a (2 radius + 1)^2 window that lies inside the array.

    Parameters
    ----------
    values : H x W floats with any number of further axes, any unit.
    radius : window radius in px, >= 0.

    Returns
    -------
    Array of the same shape, type and unit.

    Examples
    --------
    >>> box_mean(np.array([[1.0, 2.0, 6.0]]), radius=1)
    array([[1.5, 3. , 4. ]])
    """
    size = 2 * radius + 1
    axes = (0, 1)
    # Zeros outside the array, divided by the fraction of the window inside, give the mean over the part inside.
    total = ndimage.uniform_filter(values, size, mode="constant", axes=axes)
    inside = [ndimage.uniform_filter1d(np.ones(n, dtype=total.dtype), size, mode="constant") for n in values.shape[:2]]
    fraction = np.multiply.outer(*inside)
    result: _Floats = total / fraction.reshape(*fraction.shape, *(1,) * (values.ndim - 2))
    return result


def block_sum(values: ArrayLike, factor: int) -> NDArray[np.generic]:
    """Return the sums over blocks of factor x factor pixels; the last row and column of blocks may be smaller.

    Parameters
    ----------
    values : H x W or H x W x K numbers.
    factor : block edge in px, >= 1.

    Returns
    -------
    ceil(H / factor) x ceil(W / factor) [x K] array of the same type.

    Examples
    --------
    >>> block_sum([[1, 2, 3], [4, 5, 6]], 2)
    array([[12,  9]])
    """
    array = np.asarray(values)
    # Adding whole planes is several times as fast as summing runs of a few numbers.
    rows = array[::factor].copy()
    for k in range(1, min(factor, array.shape[0])):
        plane = array[k::factor]
        np.add(rows[: len(plane)], plane, out=rows[: len(plane)])
    sums: NDArray[np.generic] = rows[:, ::factor].copy()
    for k in range(1, min(factor, array.shape[1])):
        plane = rows[:, k::factor]
        np.add(sums[:, : plane.shape[1]], plane, out=sums[:, : plane.shape[1]])
    return sums


def block_average(values: _Floats, factor: int) -> _Floats:
    """Return the means over blocks of factor x factor pixels; the last row and column of blocks may be smaller.

    Parameters
    ----------
    values : H x W or H x W x K floats.
    factor : block edge in px, >= 1.

    Returns
    -------
    ceil(H / factor) x ceil(W / factor) [x K] array of the same type.

    Examples
    --------
    >>> block_average(np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), 2)
    array([[3. , 4.5]])
    """
    height, width = values.shape[:2]
    counts = np.multiply.outer(_block_lengths(height, factor), _block_lengths(width, factor)).astype(values.dtype)
    result: _Floats = np.asarray(block_sum(values, factor), dtype=values.dtype) / (
        counts if values.ndim == 2 else counts[..., None]
    )
    return result


def block_centres(length: int, factor: int) -> NDArray[np.float64]:
    """Return the positions of the blocks' centres on the fine grid, px; the last block may be short.

    A block of pixels a..b has its centre at (a + b) / 2: ignoring this shifts maps by half a block.

    Parameters
    ----------
    length : number of pixels along one axis.
    factor : block edge in px, >= 1.

    Examples
    --------
    >>> block_centres(length=5, factor=2)
    array([0.5, 2.5, 4. ])
    """
    first = np.arange(0, length, factor)
    last = np.minimum(first + factor, length) - 1
    centres: NDArray[np.float64] = (first + last) / 2
    return centres


def _block_lengths(length: int, factor: int) -> NDArray[np.int64]:
    first = np.arange(0, length, factor)
    return np.minimum(first + factor, length) - first
