"""Guided (local linear) upsampling of a map that was computed on a coarser grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from defocus.filters.box import block_centres, box_mean
from defocus.filters.symmetric import inverse_of_symmetric
from defocus.runtime.cores import on_all_cores

__all__ = ["GuidedUpsampling", "guided_upsample"]

PIXELS_AT_A_TIME = 1 << 17
"""Number of pixels that a thread interpolates at once."""
_COARSE_ROWS = 64
"""Number of rows of the coarse grid that a thread fits at once."""
_FINE_ROWS = 1024
"""Number of rows of the fine grid that are upsampled at once, which bounds the memory."""


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
    maps = np.moveaxis(coarse.reshape(*coarse.shape[:2], -1), 2, 0)
    colours = np.moveaxis(coarse_guide, 2, 0)
    upsampling = GuidedUpsampling(
        lambda rows: maps[:, rows],
        lambda rows: colours[:, rows],
        guide.shape[:2],
        reduction=reduction,
        radius=radius,
        eps=eps,
    )
    planes = np.moveaxis(guide, 2, 0)
    result = np.empty((len(maps), *guide.shape[:2]), np.float32)
    for top in range(0, len(guide), _FINE_ROWS):
        rows = slice(top, top + _FINE_ROWS)
        result[:, rows] = upsampling.rows(top, planes[:, rows])
    return np.moveaxis(result, 0, 2).reshape(*guide.shape[:2], *coarse.shape[2:])


@dataclass(frozen=True)
class GuidedUpsampling:
    """Guided upsampling of some rows at a time, so that neither grid need be in memory as a whole.

    Attributes
    ----------
    coarse : returns rows of the K maps on the coarse grid, K x rows x w, given as a slice.
    coarse_guide : returns rows of their guide, C x rows x w, 0..1.
    shape : height and width of the fine grid, px.
    reduction, radius, eps : as in `guided_upsample`.

    Examples
    --------
    >>> plane = np.linspace(0, 1, 24, dtype=np.float32).reshape(1, 4, 6)
    >>> upsampling = GuidedUpsampling(lambda rows: plane[:, rows], lambda rows: plane[:, rows], (16, 24), reduction=4)
    >>> upsampling.rows(8, np.zeros((1, 2, 24))).shape
    (1, 2, 24)
    """

    coarse: Callable[[slice], NDArray[np.floating]]
    coarse_guide: Callable[[slice], NDArray[np.floating]]
    shape: tuple[int, ...]
    reduction: int
    radius: int = 2
    eps: float = 1e-4

    def rows(self, top: int, guide: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return rows of the maps on the fine grid.

        Parameters
        ----------
        top : number of the first row.
        guide : rows of the guide from there on, C x rows x W floats, 0..1; each plane need not be contiguous.

        Returns
        -------
        K x rows x W float32
        """
        height, width = self.shape
        coarse_height = -(-height // self.reduction)
        before, fraction = _linear_positions(height, self.reduction)
        left, column_fraction = _linear_positions(width, self.reduction)
        y = slice(top, top + guide.shape[1])
        before, row_fraction = before[y], fraction[y, None]
        after = np.minimum(before + 1, coarse_height - 1)
        first, last = int(before[0]), int(after[-1]) + 1
        coefficients = self._coefficients(first, last)
        right = np.minimum(left + 1, coefficients.shape[3] - 1)
        result = np.empty((coefficients.shape[1], guide.shape[1], width), np.float32)
        channels = len(guide)
        # One coarse row at a time is stretched to full width; planes of a few rows stay in the cache.
        rows = max(1, PIXELS_AT_A_TIME // width)

        def lift(start: int) -> None:
            part = slice(start, start + rows)
            low = int(before[part][0])
            some = coefficients[:, :, low - first : int(after[part][-1]) + 1 - first]
            wide = some[..., left] * (1 - column_fraction) + some[..., right] * column_fraction
            upper, lower = before[part] - low, after[part] - low
            for k in range(len(result)):
                for c in range(channels + 1):
                    plane = wide[c, k]
                    lifted = plane[upper]
                    lifted += row_fraction[part] * (plane[lower] - lifted)
                    if c == 0:
                        total = lifted * guide[0, part]
                    elif c < channels:
                        total += lifted * guide[c, part]
                    else:
                        total += lifted
                result[k, part] = total

        # Strips do not overlap, so the result does not depend on who takes which.
        on_all_cores(lift, range(0, guide.shape[1], rows))
        return result

    def _coefficients(self, first: int, last: int) -> NDArray[np.float32]:
        """Return slopes and offset of rows of the coarse grid, (C + 1) x K x rows x w."""
        height = -(-self.shape[0] // self.reduction)
        # Two box means reach 2 radius rows, so the rows that are kept do not depend on where the strip was cut.
        reach = 2 * self.radius
        outer = slice(max(first - reach, 0), min(last + reach, height))
        maps, colours = self.coarse(outer), self.coarse_guide(outer)
        coefficients = np.empty((len(colours) + 1, len(maps), last - first, maps.shape[2]), np.float32)

        def fit(top: int) -> None:
            bottom = min(top + _COARSE_ROWS, last)
            wide = slice(max(top - reach, 0), min(bottom + reach, height))
            inner = slice(max(top - self.radius, 0), min(bottom + self.radius, height))
            level, colour = (
                each[:, wide.start - outer.start : wide.stop - outer.start].astype(np.float64)
                for each in (maps, colours)
            )
            fitted = _ridge_regression(level, colour, self.radius, self.eps)
            fitted = fitted[:, :, inner.start - wide.start : inner.stop - wide.start]
            strip = coefficients[:, :, top - first : bottom - first]
            for c in range(len(strip)):
                for k in range(len(maps)):
                    mean = box_mean(fitted[c, k], self.radius)
                    strip[c, k] = mean[top - inner.start : bottom - inner.start]

        on_all_cores(fit, range(first, last, _COARSE_ROWS))
        return coefficients


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
