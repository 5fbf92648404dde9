"""Joint weighted median: removes spots of the map that the guide does not support."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from defocus.errors import ParameterError

__all__ = ["joint_weighted_median"]

_WEIGHT_ONE = 4095  # a weight of 1 in the integers that are summed
_SUMMED_AT_ONCE = 8  # so many weights fit into 16 bits without overflow


def joint_weighted_median(
    values: NDArray[np.floating],
    guide: NDArray[np.floating],
    *,
    radius: int = 5,
    sigma: float = 0.25,
    iterations: int = 3,
    levels: int = 256,
    strip_rows: int | None = None,
) -> NDArray[np.float32]:
    """Weighted median over a window, with weights from a guide.

    The weight of pixel q for pixel p is exp(-|I_p - I_q|^2 / (2 sigma^2)), Euclidean over the guide's
    channels. The result is the smallest value at which the weights at or below it reach half of their sum.

    Parameters
    ----------
    values : H x W finite floats, any unit; quantised to `levels` equal steps between their minimum and
        maximum.
    guide : H x W or H x W x C floats, 0..1.
    radius : window radius in px; windows are square and cut off at the image border.
    sigma : standard deviation of the weight, in the guide's unit, > 0.
    iterations : how often the filter is applied, with the same guide, >= 1.
    levels : number of values told apart, 2..32767.
    strip_rows : rows worked on at a time. It bounds the memory and does not change the result; None chooses.

    Returns
    -------
    H x W float32, in the unit of `values` and between their extremes.

    Raises
    ------
    ParameterError
        A parameter is outside its range.

    Notes
    -----
    The median is found by bisection over the levels, with weights in steps of 1/4095. Unlike the released
    code, which clusters the colours of the guide to 256, the guide's distances are exact.

    References
    ----------
    Zhang, Xu, Jia, "100+ times faster weighted median filter", CVPR 2014.

    """
    if not (sigma > 0 and radius >= 0 and iterations >= 1 and 2 <= levels <= 32767):
        raise ParameterError(
            "The joint weighted median needs a positive sigma, a radius of at least 0, at least one "
            f"iteration and 2 to 32767 levels; it was given {sigma}, {radius}, {iterations} and {levels}."
        )
    low, high = float(values.min()), float(values.max())
    if low == high:
        return values.astype(np.float32)
    step = (high - low) / (levels - 1)
    level = np.rint((values - low) / step).astype(np.int16)
    planes = np.ascontiguousarray(np.moveaxis(np.atleast_3d(guide), 2, 0), dtype=np.float32)
    planes = planes * np.float32(math.sqrt(0.5) / sigma)
    for _ in range(iterations):
        level = _median_of_levels(level, planes, radius, levels, strip_rows)
    result: NDArray[np.float32] = (low + level * step).astype(np.float32)
    return result


def _median_of_levels(
    level: NDArray[np.int16], guide: NDArray[np.float32], radius: int, levels: int, strip_rows: int | None
) -> NDArray[np.int16]:
    height, width = level.shape
    offsets = [(dy, dx) for dy in range(-radius, radius + 1) for dx in range(-radius, radius + 1)]
    rows = strip_rows or max(1, 40_000 // width)
    padded = np.pad(level, radius)
    # Far from every colour, so pixels outside the image weigh nothing.
    padded_guide = np.pad(guide, ((0, 0), (radius, radius), (radius, radius)), constant_values=1e6)
    result = np.empty_like(level)
    for top in range(0, height, rows):
        n = min(rows, height - top)
        centre = guide[:, top : top + n]
        weights = np.empty((len(offsets), n, width), dtype=np.int16)
        exponent = np.empty((n, width), dtype=np.float32)
        square = np.empty_like(exponent)
        for weight, (dy, dx) in zip(weights, offsets, strict=True):
            y, x = top + radius + dy, radius + dx
            exponent.fill(0)
            for own, other in zip(centre, padded_guide, strict=True):
                np.subtract(own, other[y : y + n, x : x + width], out=square)
                square *= square
                exponent -= square
            np.exp(exponent, out=exponent)
            exponent *= _WEIGHT_ONE
            exponent += 0.5
            weight[...] = exponent
        half = (weights.sum(axis=0, dtype=np.int32) + 1) // 2

        below = np.full((n, width), -1, dtype=np.int16)  # the sum up to here is less than half
        reached = np.full((n, width), levels - 1, dtype=np.int16)  # the sum up to here is at least half
        mask = np.empty_like(below)
        partial = np.empty_like(below)
        for _ in range(math.ceil(math.log2(levels))):
            middle = (below + reached) >> 1
            after = middle + np.int16(1)
            total = np.zeros((n, width), dtype=np.int32)
            for i, (dy, dx) in enumerate(offsets):
                y, x = top + radius + dy, radius + dx
                # All bits set where the neighbour's level <= middle: the sign of their difference.
                np.subtract(padded[y : y + n, x : x + width], after, out=mask)
                mask >>= 15
                mask &= weights[i]
                if i % _SUMMED_AT_ONCE == 0:
                    if i:
                        total += partial
                    partial[...] = mask
                else:
                    partial += mask
            total += partial
            enough = total >= half
            reached = np.where(enough, middle, reached)
            below = np.where(enough, below, middle)
        result[top : top + n] = reached
    return result
