"""Which part of a picture is photograph: without bars and frames around it, and without hidden or missing pixels.

A black bar, a white frame or the background of a cut-out ends in an edge as sharp as a pixel, whatever the lens did.
So a map is estimated from the part inside, and has confidence 0 elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from defocus.maps.map_strips import MapStrip, MapStrips

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
"""Least alpha, 0..1, of a pixel that is not hidden."""
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
        sparse = []
        for plane in (inner.seeds.sigma, inner.seeds.probability):
            sparse.append(np.pad(plane, sides, constant_values=np.nan))
            if unread is not None:
                sparse[-1][unread] = np.nan
        depth = inner.relative_depth
        return replace(
            inner,
            shape=shape,
            strips=lambda: _padded(inner, sides, unread),
            ready=None,
            seeds=Seeds(*sparse),
            relative_depth=None if depth is None else np.pad(depth, sides, mode="edge"),
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
    top, bottom = _bars(photograph.pixels)
    left, right = _bars(photograph.pixels[top : height - bottom].swapaxes(0, 1))
    inside = height - top - bottom, width - left - right
    if inside[0] < max(_LEAST_SIDE * height, _LEAST_PX) or inside[1] < max(_LEAST_SIDE * width, _LEAST_PX):
        top = bottom = left = right = 0
    hidden = photograph.missing
    if photograph.alpha is not None:
        full = 1.0 if photograph.alpha.dtype.kind == "f" else float(np.iinfo(photograph.alpha.dtype).max)
        transparent = photograph.alpha < _OPAQUE * full
        hidden = transparent if hidden is None else hidden | transparent
    if hidden is not None and not hidden.any():
        hidden = None
    return Content(slice(top, height - bottom), slice(left, width - right), hidden)


def _bars(pixels: NDArray[Any]) -> tuple[int, int]:
    """Return the heights in px of a bar at the top and of one at the bottom."""
    return _bar(pixels), _bar(pixels[::-1])


def _bar(pixels: NDArray[Any]) -> int:
    """Return how many rows, from the first on, have one colour and end in a straight line; 0 if there are none."""
    full = 1.0 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max)
    colour = np.median(pixels[0], axis=0)

    def away(row: int) -> NDArray[np.float64]:
        return np.asarray(np.abs(pixels[row] - colour).max(axis=-1) / full)

    end = 0
    while end < len(pixels):
        difference = away(end)
        near = (difference <= _NEARLY_SAME).mean() >= _NEARLY_ALL
        if not near or (end == 0 and (difference <= _SAME).mean() < _MOST):
            break
        end += 1
    if end == 0 or end + _BLENDED >= len(pixels):
        return 0
    within = [away(row) for row in range(end, min(end + _BLENDED + 1, len(pixels)))]
    ends_straight = (np.max(within, axis=0) > _ENDS_AT).mean() >= _ENDS_OVER
    return end + _BLENDED if ends_straight else 0
