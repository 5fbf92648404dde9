"""Which part of a picture is photograph: without bars and frames around it, and without hidden or missing pixels.

A black bar, a white frame or the background of a cut-out ends in an edge as sharp as a pixel, whatever the lens did.
So a map is estimated from the part inside, and has confidence 0 elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from defocus.maps.map_strips import MapStrip, MapStrips
from defocus.photograph.stored_pixels import StoredPixels

if TYPE_CHECKING:
    from defocus.photograph import Photograph

__all__ = ["Content", "find_content"]

_SAME, _NEARLY_SAME = 3 / 255, 10 / 255
"""Largest difference from the colour of a bar for most of its pixels, and for nearly all, as
compression causes ringing at its end."""
_MOST, _NEARLY_ALL = 0.99, 0.97
"""Least fractions of a row of a bar that have to be within these differences."""
_ENDS_AT = 12 / 255
"""Least difference of brightness across the end of a bar."""
_ENDS_OVER = 0.3
"""Least fraction of a bar's length over which it ends: a plain studio background ends in an object, not in a straight
line."""
_BLENDED = 2
"""Number of rows at the end of a bar that may be a mixture, where the picture was resized."""
_LEAST_SIDE = 0.25
"""Least fraction of each side of the picture that has to be left within bars."""
_LEAST_PX = 32
"""Least length in px of each side that has to be left within bars."""
_OPAQUE = 250 / 255
"""Least alpha of a pixel that is not hidden, as a fraction of the most in the picture."""
_LINES, _MOST_LINES = 64, 1024
"""Rows or columns that are read at once, at first and at most."""
_COLUMNS_BY = 256
"""Rows of which the outermost columns are read at once."""
_BESIDE = 12
"""Distance in px from hidden pixels within which estimates depend on the colours filled in there."""


@dataclass(frozen=True)
class Content:
    """The part of a picture that is photograph.

    Attributes
    ----------
    rows, columns : rows and columns within bars or a frame.
    hidden : bool H x W of the whole picture, True where pixels are transparent or missing from the file; None if there
        are none.
    """

    rows: slice
    columns: slice
    hidden: NDArray[np.bool_] | None

    def cut(self, photograph: Photograph) -> Photograph:
        """Return the part within the bars; hidden pixels take the colour of the nearest pixel that is not hidden."""
        if isinstance(photograph.pixels, StoredPixels) and self.hidden is None:
            return replace(photograph, pixels=photograph.pixels.part(self.rows, self.columns))
        pixels = photograph.pixels[self.rows, self.columns]
        if self.hidden is not None:
            hidden = self.hidden[self.rows, self.columns]
            if hidden.any() and not hidden.all():
                nearest = ndimage.distance_transform_edt(hidden, return_distances=False, return_indices=True)
                pixels = pixels[tuple(nearest)]
        if pixels is photograph.pixels:
            return photograph
        pixels = np.ascontiguousarray(pixels)
        pixels.flags.writeable = False
        return replace(photograph, pixels=pixels, alpha=None, missing=None)

    def put_back(self, inner: MapStrips, shape: tuple[int, int]) -> MapStrips:
        """Return the map of the whole picture, of size `shape` (H, W), from the map of the part that was cut out.

        In bars and where pixels are hidden sigma is that of the nearest pixel, and confidence 0.
        """
        from defocus.maps.defocus_map import Seeds

        height, width = shape
        sides = ((self.rows.start, height - self.rows.stop), (self.columns.start, width - self.columns.stop))
        if self.hidden is None and sides == ((0, 0), (0, 0)):
            return inner
        unread = None
        if self.hidden is not None:
            # Patches near hidden pixels contain colours that were filled in.
            unread = ndimage.binary_dilation(self.hidden, np.ones((3, 3), bool), iterations=_BESIDE)

        def seeds() -> Seeds:
            sparse = []
            for plane in (inner.seeds().sigma, inner.seeds().probability):
                sparse.append(np.pad(plane, sides, constant_values=np.nan))
                if unread is not None:
                    sparse[-1][unread] = np.nan
            return Seeds(*sparse)

        depth, motion = inner.relative_depth, inner.motion
        return replace(
            inner,
            shape=shape,
            strips=lambda: _padded(inner, sides, unread),
            ready=None,
            seeds=seeds,
            relative_depth=None if depth is None else np.pad(depth, sides, mode="edge"),
            motion=None if motion is None else motion.placed(self.rows.start, self.columns.start, shape),
        )


def _padded(
    inner: MapStrips, sides: tuple[tuple[int, int], tuple[int, int]], unread: NDArray[np.bool_] | None
) -> Iterator[MapStrip]:
    """Return the strips with the bars around them, and without confidence where pixels are unread."""
    (above, below), across = sides
    for strip in inner.strips():
        bottom = strip.top + len(strip.sigma)
        # The first and the last strip take the bars along.
        down = (above if strip.top == 0 else 0, below if bottom == inner.shape[0] else 0)
        top = 0 if strip.top == 0 else strip.top + above
        confidence = np.pad(strip.confidence, (down, across))
        if unread is not None:
            confidence[unread[top : top + len(confidence)]] = 0
        yield MapStrip(
            top,
            np.pad(strip.sigma, (down, across), mode="edge"),
            confidence,
            np.pad(strip.saturated, (down, across)),
        )


def find_content(photograph: Photograph) -> Content:
    """Find bars, frames, transparent and missing pixels.

    Parameters
    ----------
    photograph : photograph of any size.

    Examples
    --------
    >>> from defocus.photograph import photograph_from_array
    >>> pixels = np.zeros((80, 60), np.uint8)
    >>> pixels[20:] = np.random.default_rng(0).integers(50, 255, (60, 60))  # below a black bar
    >>> find_content(photograph_from_array(pixels)).rows
    slice(22, 80, None)
    """
    height, width = photograph.pixels.shape[:2]
    top, bottom = _bars_across(photograph.pixels)
    left, right = _bars_along(photograph.pixels, slice(top, height - bottom))
    inside = height - top - bottom, width - left - right
    if inside[0] < max(_LEAST_SIDE * height, _LEAST_PX) or inside[1] < max(_LEAST_SIDE * width, _LEAST_PX):
        top = bottom = left = right = 0
    hidden = photograph.missing
    if photograph.alpha is not None:
        # A picture that is half transparent everywhere hides nothing.
        most = float(photograph.alpha.max())
        transparent = photograph.alpha < _OPAQUE * most if most > 0 else photograph.alpha == 0
        hidden = transparent if hidden is None else hidden | transparent
    if hidden is not None and not hidden.any():
        hidden = None
    return Content(slice(top, height - bottom), slice(left, width - right), hidden)


def _bars_across(pixels: NDArray[Any] | StoredPixels) -> tuple[int, int]:
    """Return the heights in px of a bar at the top and of one at the bottom."""
    height = len(pixels)

    def top(first: int, last: int) -> NDArray[Any]:
        return pixels[first:last]

    def bottom(first: int, last: int) -> NDArray[Any]:
        return pixels[height - last : height - first][::-1]

    return _bar(_lines(top, height), height), _bar(_lines(bottom, height), height)


def _bars_along(pixels: NDArray[Any] | StoredPixels, rows: slice) -> tuple[int, int]:
    """Return the widths in px of a bar at the left and of one at the right, within some rows."""
    width = int(pixels.shape[1])
    if isinstance(pixels, StoredPixels) and not _may_have_bars_along(pixels, rows):
        return 0, 0

    def left(first: int, last: int) -> NDArray[Any]:
        return pixels[rows, first:last].swapaxes(0, 1)

    def right(first: int, last: int) -> NDArray[Any]:
        return pixels[rows, width - last : width - first].swapaxes(0, 1)[::-1]

    return _bar(_lines(left, width), width), _bar(_lines(right, width), width)


def _may_have_bars_along(pixels: StoredPixels, rows: slice) -> bool:
    """Return False if the outermost columns have too many colours for a bar, as most photographs show in a few rows.

    Of a bar's outermost column nearly all pixels are within `_SAME` of one colour, so that at most a few of any part of
    it are not. The columns of a photograph that stays in its file are costly: where it is stored in strips, all of it
    has to be decoded.
    """
    height = rows.stop - rows.start
    away = math.floor((1 - _MOST) * height) + 1
    # A little more, as the same difference may be rounded up elsewhere.
    span = (2 * _SAME + 1e-6) * (1.0 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max))
    seen: dict[int, list[NDArray[Any]]] = {0: [], pixels.shape[1] - 1: []}
    for top in range(rows.start, rows.stop, _COLUMNS_BY):
        for column in list(seen):
            seen[column].append(pixels[top : min(top + _COLUMNS_BY, rows.stop), column : column + 1][:, 0])
            so_far = np.sort(np.concatenate(seen[column]).astype(np.float64), axis=0)
            # If all but `away` are within a span, so are those between the first and the last of some run of them.
            least = len(so_far) - away
            if least > 1 and (so_far[least - 1 :] - so_far[: len(so_far) - least + 1]).min(axis=0).max() > span:
                del seen[column]
        if not seen:
            return False
    return True


def _lines(read: Callable[[int, int], NDArray[Any]], count: int) -> Iterator[NDArray[Any]]:
    """Yield rows or columns from the outermost on, each n x 3, reading some and then ever more of them at once."""
    first, step = 0, _LINES
    while first < count:
        last = min(first + step, count)
        yield from read(first, last)
        first, step = last, min(2 * step, _MOST_LINES)


def _bar(lines: Iterator[NDArray[Any]], count: int) -> int:
    """Return how many of `count` lines, from the first on, have one colour and end in a straight line; 0 if none do."""
    first = next(lines)
    full = 1.0 if first.dtype.kind == "f" else float(np.iinfo(first.dtype).max)
    colour = np.median(first, axis=0)

    def away(line: NDArray[Any]) -> NDArray[np.float64]:
        return np.asarray(np.abs(line - colour).max(axis=-1) / full)

    end = 0
    within = []
    for line in chain([first], lines):
        difference = away(line)
        near = (difference <= _NEARLY_SAME).mean() >= _NEARLY_ALL
        if not near or (end == 0 and (difference <= _SAME).mean() < _MOST):
            within.append(difference)
            break
        end += 1
    if end == 0 or end + _BLENDED >= count:
        return 0
    within += [away(line) for line in islice(lines, _BLENDED)]
    ends_straight = (np.max(within, axis=0) > _ENDS_AT).mean() >= _ENDS_OVER
    return end + _BLENDED if ends_straight else 0
