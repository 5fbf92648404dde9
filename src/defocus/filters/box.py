"""Means over square windows, and sums and means over blocks of pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

__all__ = ["block_average", "block_centres", "block_sum", "box_mean"]

_Floats = NDArray[np.floating]

_ADDED = 4
"""Largest radius up to which windows are summed by adding shifted arrays, which is several times as fast."""


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
    total = values
    for axis in (0, 1):
        total = _window_sum(total, radius, axis)
    inside = [_window_sum(np.ones(n, dtype=values.dtype), radius, 0) for n in values.shape[:2]]
    fraction = np.multiply.outer(*inside)
    total *= (1 / fraction).reshape(*fraction.shape, *(1,) * (values.ndim - 2))
    return total


def _window_sum(values: _Floats, radius: int, axis: int) -> _Floats:
    """Return the sums over windows of 2 radius + 1 along an axis, of what of them lies inside the array."""
    if radius > _ADDED:
        # A running sum, whose time does not grow with the window. Zeros are added outside the array.
        size = 2 * radius + 1
        return np.asarray(ndimage.uniform_filter1d(values, size, axis=axis, mode="constant") * values.dtype.type(size))
    total = values.copy()
    length = values.shape[axis]
    before = (slice(None),) * axis
    for step in range(1, min(radius, length - 1) + 1):
        first, last = (*before, slice(None, length - step)), (*before, slice(step, None))
        total[first] += values[last]
        total[last] += values[first]
    return total


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
