"""Guided (local linear) upsampling of a map that was computed on a coarser grid."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from defocus.cores import available_cores
from defocus.filters.box import block_centres, box_mean

__all__ = ["guided_upsample"]

PIXELS_AT_A_TIME = 1 << 17
COARSE_ROWS = 128
"""Rows of the coarse grid fitted at once: all of a large photograph's would be most of the memory of an estimate."""


def guided_upsample(
    coarse: NDArray[np.floating],
    coarse_guide: NDArray[np.floating],
    guide: NDArray[np.floating],
    *,
    reduction: int,
    radius: int = 2,
    eps: float = 1e-4,
) -> NDArray[np.float32]:
    """Lift a map to the guide's grid as a locally linear function of the guide.

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
    H x W or H x W x K float32, in the unit of `coarse`.

    References
    ----------
    He, Sun, "Fast guided filter", arXiv 1505.00996, 2015, algorithm 2; colour guide: He, Sun, Tang,
    "Guided image filtering", TPAMI 35(6), 2013.

    """
    maps = coarse.reshape(*coarse.shape[:2], -1)
    channels = coarse_guide.shape[2]
    coefficients = np.empty((*coarse.shape[:2], channels + 1, maps.shape[2]), np.float32)

    def fit(top: int) -> None:
        bottom = min(top + COARSE_ROWS, len(coefficients))
        # Two box means reach 2 radius rows; the strip's own cut ends are beyond what is kept.
        first, last = max(top - 2 * radius, 0), min(bottom + 2 * radius, len(coefficients))
        inner, outer = max(top - radius, 0), min(bottom + radius, len(coefficients))
        fitted = _ridge_regression(
            maps[first:last].astype(np.float64), coarse_guide[first:last].astype(np.float64), radius, eps
        )[inner - first : outer - first]
        coefficients[top:bottom] = box_mean(fitted, radius)[top - inner : bottom - inner]

    _on_all_cores(fit, range(0, len(coefficients), COARSE_ROWS))

    height, width = guide.shape[:2]
    result = np.empty((height, width, maps.shape[2]), dtype=np.float32)
    upper, row_share = _linear_positions(height, reduction)
    left, column_share = _linear_positions(width, reduction)
    right = np.minimum(left + 1, coefficients.shape[1] - 1)
    column_share = column_share[:, None, None]
    # One coarse row at a time is stretched to full width; planes of a few rows stay in the cache.
    rows = max(1, PIXELS_AT_A_TIME // width)

    def lift(top: int) -> None:
        y = slice(top, min(top + rows, height))
        lowest = upper[y][0]
        some = coefficients[lowest : upper[y][-1] + 2]
        wide = some[:, left] * (1 - column_share) + some[:, right] * column_share
        lower = np.minimum(upper[y] + 1, coefficients.shape[0] - 1) - lowest
        share = row_share[y][:, None]
        for k in range(maps.shape[2]):
            for c in range(channels + 1):
                plane = wide[:, :, c, k]
                lifted = plane[upper[y] - lowest]
                lifted += share * (plane[lower] - lifted)
                if c == 0:
                    total = lifted * guide[y, :, 0]
                elif c < channels:
                    total += lifted * guide[y, :, c]
                else:
                    total += lifted
            result[y, :, k] = total

    _on_all_cores(lift, range(0, height, rows))
    return result.reshape(height, width, *coarse.shape[2:])


def _on_all_cores(work: Callable[[int], None], tops: range) -> None:
    """Work on strips by their first rows. They do not overlap, so the result does not depend on who takes which."""
    with ThreadPoolExecutor(available_cores()) as pool:
        deque(pool.map(work, tops), maxlen=0)


def _ridge_regression(
    maps: NDArray[np.float64], colours: NDArray[np.float64], radius: int, eps: float
) -> NDArray[np.float64]:
    """Slopes and offset of every window's best linear function of the colours: h x w x (C + 1) x K."""
    mean_colour = box_mean(colours, radius)
    mean_map = box_mean(maps, radius)
    covariance = box_mean(colours[..., :, None] * colours[..., None, :], radius)
    covariance -= mean_colour[..., :, None] * mean_colour[..., None, :]
    covariance += eps * np.eye(colours.shape[2])
    joint = box_mean(colours[..., :, None] * maps[..., None, :], radius)
    joint -= mean_colour[..., :, None] * mean_map[..., None, :]
    slope = np.linalg.solve(covariance, joint)
    offset = mean_map - np.einsum("yxc,yxck->yxk", mean_colour, slope)
    return np.concatenate([slope, offset[..., None, :]], axis=2)


def _linear_positions(length: int, reduction: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The block before each fine pixel and the share of the next one; constant beyond outer centres."""
    centres = block_centres(length, reduction)
    if len(centres) == 1:
        return np.zeros(length, dtype=np.intp), np.zeros(length, dtype=np.float32)
    fine = np.arange(length)
    before = np.clip(np.searchsorted(centres, fine, side="right") - 1, 0, len(centres) - 2)
    share = (fine - centres[before]) / (centres[before + 1] - centres[before])
    return before, np.clip(share, 0, 1).astype(np.float32)
