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

_Floats = NDArray[np.floating]

PIXELS_AT_A_TIME = 1 << 18
"""Number of pixels that a thread interpolates at once."""
_COARSE_TILE = (68, 512)
"""Sides of the tiles of the coarse grid that a thread fits at once."""
_LEAST_EPS_OF_32_BITS = 1e-3
"""Least eps with which the fit is computed in 32 bits."""
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
        y = slice(top, top + guide.shape[1])
        before, fraction = (each[y] for each in _linear_positions(height, self.reduction))
        after = np.minimum(before + 1, coarse_height - 1)
        first, last = int(before[0]), int(after[-1]) + 1
        coefficients = self._coefficients(first, last)
        stretch = _Stretch(width, self.reduction)
        result = np.empty((coefficients.shape[1], guide.shape[1], width), np.float32)
        # The rows between the centres of two rows of blocks depend on these two alone.
        starts = np.flatnonzero(np.diff(before, prepend=before[0] - 1))
        stops = np.append(starts[1:], len(before))
        channels = len(guide)
        several = max(1, PIXELS_AT_A_TIME // (self.reduction * width))

        def lift(group: int) -> None:
            buffer = np.empty((self.reduction * 2, width), np.float32)
            spans = list(zip(starts[group : group + several], stops[group : group + several], strict=True))
            low = int(before[spans[0][0]])
            wide = stretch(coefficients[:, :, low - first : int(after[spans[-1][0]]) + 1 - first])
            for begin, end in spans:
                part = slice(int(begin), int(end))
                upper, lower = int(before[begin]) - low, int(after[begin]) - low
                down = fraction[part, None]
                lifted = buffer[: end - begin]
                for k in range(len(result)):
                    total = result[k, part]
                    for c in range(channels + 1):
                        plane = wide[c, k]
                        np.multiply(down, plane[lower] - plane[upper], out=lifted)
                        lifted += plane[upper]
                        if c == 0:
                            np.multiply(lifted, guide[0, part], out=total)
                        elif c < channels:
                            lifted *= guide[c, part]
                            total += lifted
                        else:
                            total += lifted

        # Strips do not overlap, so the result does not depend on who takes which.
        on_all_cores(lift, range(0, len(starts), several))
        return result

    def _coefficients(self, first: int, last: int) -> NDArray[np.float32]:
        """Return slopes and offset of rows of the coarse grid, (C + 1) x K x rows x w."""
        height = -(-self.shape[0] // self.reduction)
        # Two box means reach 2 radius rows, so the rows that are kept do not depend on where the strip was cut.
        reach = 2 * self.radius
        outer = slice(max(first - reach, 0), min(last + reach, height))
        maps, colours = self.coarse(outer), self.coarse_guide(outer)
        coefficients = np.empty((len(colours) + 1, len(maps), last - first, maps.shape[2]), np.float32)

        # Rounding in 32 bits is a ten-thousandth of such an eps.
        dtype: type[np.floating] = np.float32 if self.eps >= _LEAST_EPS_OF_32_BITS else np.float64
        width = maps.shape[2]

        def fit(place: tuple[int, int]) -> None:
            # Tiles of few enough numbers to stay in the cache, with the margin that the box means reach.
            tile = tuple(
                slice(start, min(start + side, stop))
                for start, side, stop in zip(place, _COARSE_TILE, (last, width), strict=True)
            )
            wide, inner = (
                tuple(
                    slice(max(span.start - margin, 0), min(span.stop + margin, stop))
                    for span, stop in zip(tile, (height, width), strict=True)
                )
                for margin in (reach, self.radius)
            )
            level, colour = (
                each[:, wide[0].start - outer.start : wide[0].stop - outer.start, wide[1]].astype(dtype)
                for each in (maps, colours)
            )
            fitted = _ridge_regression(level, colour, self.radius, self.eps)
            fitted = fitted[:, :, *(_within(part, whole) for part, whole in zip(inner, wide, strict=True))]
            kept = tuple(_within(part, whole) for part, whole in zip(tile, inner, strict=True))
            for c in range(len(coefficients)):
                for k in range(len(maps)):
                    mean = box_mean(fitted[c, k], self.radius)
                    coefficients[c, k, tile[0].start - first : tile[0].stop - first, tile[1]] = mean[kept]

        on_all_cores(
            fit, [(y, x) for y in range(first, last, _COARSE_TILE[0]) for x in range(0, width, _COARSE_TILE[1])]
        )
        return coefficients


def _within(part: slice, whole: slice) -> slice:
    return slice(part.start - whole.start, part.stop - whole.start)


def _ridge_regression(maps: _Floats, colours: _Floats, radius: int, eps: float) -> _Floats:
    """Return slopes and offset of every window's best linear function of the colours, (C + 1) x K x h x w.

    maps are K x h x w, colours C x h x w of the same type.
    """
    count = len(colours)
    mean_colour = [box_mean(plane, radius) for plane in colours]
    mean_map = [box_mean(plane, radius) for plane in maps]
    covariance = np.empty((count, count, *colours.shape[1:]), colours.dtype)
    for i in range(count):
        for j in range(i + 1):
            together = box_mean(colours[i] * colours[j], radius)
            together -= mean_colour[i] * mean_colour[j]
            covariance[i, j] = covariance[j, i] = together
        covariance[i, i] += eps
    inverse = inverse_of_symmetric(covariance)
    fitted = np.empty((count + 1, len(maps), *maps.shape[1:]), maps.dtype)
    for k, plane in enumerate(maps):
        joint = []
        for colour, mean in zip(colours, mean_colour, strict=True):
            joint.append(box_mean(colour * plane, radius))
            joint[-1] -= mean * mean_map[k]
        offset = mean_map[k].copy()
        for c in range(count):
            slope = inverse[c, 0] * joint[0]
            for d in range(1, count):
                slope += inverse[c, d] * joint[d]
            fitted[c, k] = slope
            slope *= mean_colour[c]
            offset -= slope
        fitted[count, k] = offset
    return fitted


class _Stretch:
    """Linear interpolation between the centres of blocks along the last axis, constant beyond the outer ones."""

    def __init__(self, width: int, reduction: int) -> None:
        self._left, self._fraction = _linear_positions(width, reduction)
        self._width, self._step = width, reduction
        # Between the centres of whole blocks the same fractions repeat, so that no places need be looked up.
        self._blocks = width // reduction
        self._first = reduction // 2
        self._last = self._first + reduction * max(self._blocks - 1, 0)

    def __call__(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return ... x W for ... x w."""
        wide = np.empty((*planes.shape[:-1], self._width), np.float32)
        steps = np.diff(planes, axis=-1)
        if self._blocks > 1:
            for k in range(self._step):
                part = wide[..., self._first + k : self._last : self._step]
                np.multiply(steps[..., : self._blocks - 1], self._fraction[self._first + k], out=part)
                part += planes[..., : self._blocks - 1]
        for edge in (slice(0, self._first), slice(self._last, self._width)):
            left, fraction = self._left[edge], self._fraction[edge]
            right = np.minimum(left + 1, planes.shape[-1] - 1)
            wide[..., edge] = planes[..., left] * (1 - fraction) + planes[..., right] * fraction
        return wide


def _linear_positions(length: int, reduction: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return the block before each fine pixel and the weight of the next one; constant beyond the outer centres."""
    centres = block_centres(length, reduction)
    if len(centres) == 1:
        return np.zeros(length, dtype=np.intp), np.zeros(length, dtype=np.float32)
    fine = np.arange(length)
    before = np.clip(np.searchsorted(centres, fine, side="right") - 1, 0, len(centres) - 2)
    fraction = (fine - centres[before]) / (centres[before + 1] - centres[before])
    return before, np.clip(fraction, 0, 1).astype(np.float32)
