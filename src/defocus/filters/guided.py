"""Guided (local linear) upsampling of a map that was computed on a coarser grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from defocus.filters.box import block_centres, box_mean
from defocus.filters.symmetric import inverse_of_symmetric
from defocus.runtime.cores import on_all_cores

__all__ = ["guided_upsample"]

PIXELS_AT_A_TIME = 1 << 17
"""Number of pixels that a thread interpolates at once."""
_COARSE_ROWS = 128
"""Number of rows of the coarse grid that are fitted at once, which bounds the memory."""


def guided_upsample(
    coarse: NDArray[np.floating],
    coarse_guide: NDArray[np.floating],
    guide: NDArray[np.floating],
    *,
    reduction: int,
    radius: int = 2,
    eps: float = 1e-4,
) -> NDArray[np.float32]:
    """Upsample a map to the guide's grid as a locally linear function of the guide.

    In each window of the coarse grid the map is fitted by a . I + b (ridge regression with weight eps); the
    mean coefficients of the windows over a pixel are interpolated bilinearly and applied to the
    full-resolution guide. Exact for maps that are linear in the guide, up to the shrinkage that eps causes.

    Parameters
    ----------
    coarse : h x w or h x w x K floats, any unit; h = ceil(H / reduction), w = ceil(W / reduction).
    coarse_guide : h x w x C floats, 0..1, the block average of `guide`.
    guide : H x W x C floats, 0..1.
    reduction : block edge in px between the two grids; the last row and column of blocks may be smaller.
    radius : window radius in px of the coarse grid, >= 0.
    eps : ridge weight, in squared units of the guide, > 0.

    Returns
    -------
    H x W or H x W x K float32, in the unit of `coarse`; each of the K maps is contiguous in memory.

    References
    ----------
    He, Sun, "Fast guided filter", arXiv 1505.00996, 2015, algorithm 2; colour guide: He, Sun, Tang,
    "Guided image filtering", TPAMI 35(6), 2013.

    Examples
    --------
    >>> from defocus.filters.box import block_average
    >>> guide = np.zeros((8, 32, 1))
    >>> guide[:, 14:] = 1  # an edge that the coarse grid cannot resolve
    >>> coarse_guide = block_average(guide, 4)
    >>> fine = guided_upsample(2 * coarse_guide[..., 0], coarse_guide, guide, reduction=4)
    >>> fine[4, 12:16].round(2)
    array([0., 0., 2., 2.], dtype=float32)
    """
    maps = coarse.reshape(*coarse.shape[:2], -1)
    channels = coarse_guide.shape[2]
    # One plane per coefficient: whole rows of a plane are several times as fast to process as runs of a few numbers.
    coefficients = np.empty((channels + 1, maps.shape[2], *coarse.shape[:2]), np.float32)

    def fit(top: int) -> None:
        bottom = min(top + _COARSE_ROWS, len(maps))
        # Two box means reach 2 radius rows, so the rows that are kept do not depend on where the strip was cut.
        first, last = max(top - 2 * radius, 0), min(bottom + 2 * radius, len(maps))
        inner, outer = max(top - radius, 0), min(bottom + radius, len(maps))
        level, colour = (np.moveaxis(strip[first:last], 2, 0).astype(np.float64) for strip in (maps, coarse_guide))
        fitted = _ridge_regression(level, colour, radius, eps)[:, :, inner - first : outer - first]
        for mean, plane in zip(_planes(coefficients), _planes(fitted), strict=True):
            mean[top:bottom] = box_mean(plane, radius)[top - inner : bottom - inner]

    on_all_cores(fit, range(0, len(maps), _COARSE_ROWS))

    height, width = guide.shape[:2]
    result = np.empty((maps.shape[2], height, width), dtype=np.float32)
    upper, row_fraction = _linear_positions(height, reduction)
    left, column_fraction = _linear_positions(width, reduction)
    right = np.minimum(left + 1, maps.shape[1] - 1)
    # One coarse row at a time is stretched to full width; planes of a few rows stay in the cache.
    rows = max(1, PIXELS_AT_A_TIME // width)

    def lift(top: int) -> None:
        y = slice(top, min(top + rows, height))
        lowest = upper[y][0]
        some = coefficients[:, :, lowest : upper[y][-1] + 2]
        wide = some[..., left] * (1 - column_fraction) + some[..., right] * column_fraction
        lower = np.minimum(upper[y] + 1, len(maps) - 1) - lowest
        fraction = row_fraction[y][:, None]
        for k in range(maps.shape[2]):
            for c in range(channels + 1):
                plane = wide[c, k]
                lifted = plane[upper[y] - lowest]
                lifted += fraction * (plane[lower] - lifted)
                if c == 0:
                    total = lifted * guide[y, :, 0]
                elif c < channels:
                    total += lifted * guide[y, :, c]
                else:
                    total += lifted
            result[k, y] = total

    # Strips do not overlap, so the result does not depend on who takes which.
    on_all_cores(lift, range(0, height, rows))
    return np.moveaxis(result, 0, 2).reshape(height, width, *coarse.shape[2:])


def _planes(stack: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return A x B x h x w as a view of A B planes of h x w."""
    return stack.reshape(-1, *stack.shape[2:])


def _ridge_regression(
    maps: NDArray[np.float64], colours: NDArray[np.float64], radius: int, eps: float
) -> NDArray[np.float64]:
    """Return slopes and offset of every window's best linear function of the colours, (C + 1) x K x h x w.

    maps are K x h x w, colours C x h x w.
    """
    count = len(colours)
    mean_colour = np.stack([box_mean(plane, radius) for plane in colours])
    mean_map = np.stack([box_mean(plane, radius) for plane in maps])
    covariance = np.empty((count, count, *colours.shape[1:]))
    for i in range(count):
        for j in range(i + 1):
            together = box_mean(colours[i] * colours[j], radius) - mean_colour[i] * mean_colour[j]
            covariance[i, j] = covariance[j, i] = together
        covariance[i, i] += eps
    inverse = inverse_of_symmetric(covariance)
    fitted = np.empty((count + 1, len(maps), *maps.shape[1:]))
    for k, plane in enumerate(maps):
        joint = np.stack(
            [box_mean(c * plane, radius) - mean * mean_map[k] for c, mean in zip(colours, mean_colour, strict=True)]
        )
        fitted[:count, k] = np.einsum("cdyx,dyx->cyx", inverse, joint)
        fitted[count, k] = mean_map[k] - np.einsum("cyx,cyx->yx", mean_colour, fitted[:count, k])
    return fitted


def _linear_positions(length: int, reduction: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return the block before each fine pixel and the weight of the next one; constant beyond the outer centres."""
    centres = block_centres(length, reduction)
    if len(centres) == 1:
        return np.zeros(length, dtype=np.intp), np.zeros(length, dtype=np.float32)
    fine = np.arange(length)
    before = np.clip(np.searchsorted(centres, fine, side="right") - 1, 0, len(centres) - 2)
    fraction = (fine - centres[before]) / (centres[before + 1] - centres[before])
    return before, np.clip(fraction, 0, 1).astype(np.float32)
