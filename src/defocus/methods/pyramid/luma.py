"""Luma of a photograph, computed part by part when it is needed, so that it is never in memory as a whole."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from defocus.evidence.blocks import REACH, find_block_edges
from defocus.filters.box import block_average
from defocus.optics.light import luma
from defocus.photograph import Photograph
from defocus.photograph.regions import Region

__all__ = ["PhotographLuma", "mirrored", "reduced"]

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
        return luma(self._photograph.as_float(np.float32, rows, columns), np.float32)


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
