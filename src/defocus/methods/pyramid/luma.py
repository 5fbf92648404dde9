"""Luma of a photograph, computed part by part when it is needed, so that it is never in memory as a whole."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from defocus.evidence.blocks import REACH, find_block_edges
from defocus.filters.box import block_average
from defocus.optics.light import luma
from defocus.photograph import Photograph
from defocus.photograph.regions import Region
from defocus.runtime.cores import on_all_cores

__all__ = ["PhotographLuma", "levels_of", "mirrored", "reduced"]

_ROWS = 128
"""Number of rows that a thread reads at once."""
_AT_A_TIME = 1 << 16
"""Number of pixels whose colours are converted at once."""
_Floats = NDArray[np.float32]


class PhotographLuma:
    """Luma of a photograph without the edges of a JPEG's blocks, as an array that is read by two slices.

    Parameters
    ----------
    photograph : upright photograph in sRGB.

    Examples
    --------
    >>> grey = PhotographLuma(Photograph(np.full((480, 640, 3), 255, np.uint8)))
    >>> grey.shape, grey[:2, :2].tolist()
    ((480, 640), [[1.0, 1.0], [1.0, 1.0]])
    """

    def __init__(self, photograph: Photograph) -> None:
        self.shape = (photograph.height, photograph.width)
        self._photograph = photograph
        self._edges = None
        self._edges = find_block_edges(self)

    def __getitem__(self, part: tuple[slice, slice]) -> _Floats:
        """Return the luma of some rows and columns, float32, 0..1."""
        rows, columns = (slice(*each.indices(side)[:2]) for each, side in zip(part, self.shape, strict=True))
        if self._edges is None:
            return self._raw(rows, columns)
        margin = 2 * REACH
        wide = [
            slice(max(each.start - margin, 0), min(each.stop + margin, side))
            for each, side in zip((rows, columns), self.shape, strict=True)
        ]
        smooth = self._edges.removed(self._raw(*wide), wide[0].start, wide[1].start)
        return smooth[
            rows.start - wide[0].start : rows.stop - wide[0].start,
            columns.start - wide[1].start : columns.stop - wide[1].start,
        ]

    def _raw(self, rows: slice, columns: slice) -> _Floats:
        grey = np.empty((rows.stop - rows.start, columns.stop - columns.start), np.float32)
        several = max(1, _AT_A_TIME // max(grey.shape[1], 1))
        for top in range(0, len(grey), several):  # colours of a few rows stay in the cache
            part = slice(rows.start + top, min(rows.start + top + several, rows.stop))
            grey[top : top + several] = luma(self._photograph.as_float(np.float32, part, columns), np.float32)
        return grey


def levels_of(grey: Region, rows: slice, columns: slice, count: int) -> list[_Floats]:
    """Return the first levels of the pyramid for a part of the photograph, on all cores.

    Parameters
    ----------
    grey : H x W, which continues as its mirror image.
    rows, columns : part, whose limits are multiples of 2 to the power of `count - 1`.
    count : number of levels, 1 or more.

    Examples
    --------
    >>> [level.shape for level in levels_of(np.zeros((64, 64), np.float32), slice(0, 64), slice(32, 64), 3)]
    [(64, 32), (32, 16), (16, 8)]
    """
    levels = [
        np.empty(((rows.stop - rows.start) >> n, (columns.stop - columns.start) >> n), np.float32) for n in range(count)
    ]

    def some(top: int) -> None:
        part = mirrored(grey, slice(top, min(top + _ROWS, rows.stop)), columns)
        for number, level in enumerate(levels):
            if number:
                part = reduced(part, 1)
            first = (top - rows.start) >> number
            level[first : first + len(part)] = part

    on_all_cores(some, range(rows.start, rows.stop, _ROWS))
    return levels


def mirrored(grey: Region, rows: slice, columns: slice) -> _Floats:
    """Return a part of a plane that continues as its mirror image beyond its last row and column.

    Parameters
    ----------
    grey : H x W.
    rows, columns : part, which may reach beyond H and W.

    Examples
    --------
    >>> mirrored(np.float32([[1, 2, 3]]), slice(0, 1), slice(1, 5))
    array([[2., 3., 3., 2.]], dtype=float32)
    """
    places = [_within(span, side) for span, side in zip((rows, columns), grey.shape, strict=True)]
    first = [int(each.min()) for each in places]
    part = grey[slice(first[0], int(places[0].max()) + 1), slice(first[1], int(places[1].max()) + 1)]
    for axis, (span, side) in enumerate(zip((rows, columns), grey.shape, strict=True)):
        if span.stop > side:
            part = np.take(part, places[axis] - first[axis], axis=axis)
    return np.asarray(part, np.float32)


def reduced(grey: _Floats, halvings: int) -> _Floats:
    """Return the means over 2 x 2 px, repeated `halvings` times; sides are multiples of 2 to that power.

    Examples
    --------
    >>> reduced(np.float32([[1, 2], [3, 4]]), 1)
    array([[2.5]], dtype=float32)
    """
    for _ in range(halvings):
        grey = np.asarray(block_average(grey, 2), np.float32)
    return grey


def _within(span: slice, side: int) -> NDArray[np.intp]:
    """Return the places from which the positions of a span are taken."""
    if span.stop <= side:
        return np.arange(span.start, span.stop)
    return np.pad(np.arange(side), (0, span.stop - side), mode="symmetric")[span]
