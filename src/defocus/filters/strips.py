"""Strips of rows: what is computed of an image a few rows at a time needs memory for these rows only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

__all__ = ["PIXELS_AT_A_TIME", "Plane", "Strip", "strips_of"]

PIXELS_AT_A_TIME = 1 << 19
"""Number of pixels of a strip, without its margins."""
_LEAST_ROWS = 64
"""Least number of rows of a strip, so that its margins do not take longer than the strip."""


class Plane(Protocol):
    """An H x W image of which rows can be read, as those of an array can: `plane[5:10]`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Height and width, px."""
        ...

    def __getitem__(self, rows: slice, /) -> NDArray[Any]:
        """Return whole rows, rows x W."""
        ...


@dataclass(frozen=True)
class Strip:
    """Whole rows of an image, and those above and below that an operator reaches from them.

    Attributes
    ----------
    inner : the rows.
    outer : the rows with those that are reached, as far as they are within the image.
    kept : place of the inner rows among the outer ones.
    """

    inner: slice
    outer: slice
    kept: slice


def strips_of(shape: tuple[int, ...], margin: int = 0, multiple: int = 1) -> Iterator[Strip]:
    """Return the strips that an image is divided into, from the first row to the last.

    Parameters
    ----------
    shape : height and width of the image, px.
    margin : number of rows that an operator reaches up and down.
    multiple : number of which the first row of each strip is a multiple, such as the side of blocks of pixels.

    Examples
    --------
    >>> [(strip.inner.stop, strip.outer, strip.kept) for strip in strips_of((100, 10_000), margin=3)]
    [(64, slice(0, 67, None), slice(0, 64, None)), (100, slice(61, 100, None), slice(3, 39, None))]
    """
    height, width = shape[0], shape[1]
    rows = max(PIXELS_AT_A_TIME // width, _LEAST_ROWS)
    rows = max(rows // multiple, 1) * multiple
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        first = max(top - margin, 0)
        outer = slice(first, min(bottom + margin, height))
        yield Strip(slice(top, bottom), outer, slice(top - first, bottom - first))
