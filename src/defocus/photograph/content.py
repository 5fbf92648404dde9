"""What of a picture is photograph: not the bars and frames around it, and not what is hidden or missing.

A black bar, a white frame or the ground of a cut-out ends in an edge as sharp as a pixel, whatever the lens did. So a
map is estimated from what is inside, and says nothing of the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

if TYPE_CHECKING:
    from defocus.maps.defocus_map import DefocusMap
    from defocus.photograph import Photograph

__all__ = ["Content", "find_content"]

_SAME, _NEARLY_SAME = 3 / 255, 10 / 255
"""How far from the colour of a bar most of its pixels, and nearly all (compression rings at its end), may be."""
_MOST, _NEARLY_ALL = 0.99, 0.97
"""Fractions of a row of a bar that have to be so near."""
_ENDS_AT = 12 / 255
"""Difference of brightness at which a bar ends..."""
_ENDS_OVER = 0.3
"""...over at least this fraction of its length: a plain studio ground ends in an object, not in a straight line."""
_BLENDED = 2
"""Rows at the end of a bar that may be a mixture, where the picture was resized."""
_LEAST_SIDE = 0.25
"""Of the picture, that has to be left within bars, and `_LEAST_PX`."""
_LEAST_PX = 32
_OPAQUE = 250 / 255
_BESIDE = 12
"""px beside hidden pixels whose reading is of what was filled in there."""


@dataclass(frozen=True)
class Content:
    """Where in a picture the photograph is.

    Attributes
    ----------
    rows, columns : of the part within bars or a frame.
    hidden : bool H x W of the whole picture, True where its pixels are transparent or missing from the file; None where
        all are there.
    """

    rows: slice
    columns: slice
    hidden: NDArray[np.bool_] | None

    def cut(self, photograph: Photograph) -> Photograph:
        """Return the part within the bars; what is hidden there takes the colour of the nearest pixel that is not."""
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

    def put_back(self, inner: DefocusMap, shape: tuple[int, int]) -> DefocusMap:
        """Return the map of the whole picture, `shape`, from the one of the part that was cut out.

        In bars and where pixels are hidden sigma is that of the nearest pixel, and confidence 0.
        """
        from defocus.maps.defocus_map import Seeds

        height, width = shape
        sides = ((self.rows.start, height - self.rows.stop), (self.columns.start, width - self.columns.stop))
        if self.hidden is None and sides == ((0, 0), (0, 0)):
            return inner
        confidence = np.pad(inner.confidence, sides)
        seeds = Seeds(
            np.pad(inner.seeds.sigma, sides, constant_values=np.nan),
            np.pad(inner.seeds.probability, sides, constant_values=np.nan),
        )
        if self.hidden is not None:
            # Beside it a patch sees what was filled in.
            unread = ndimage.binary_dilation(self.hidden, np.ones((3, 3), bool), iterations=_BESIDE)
            confidence[unread] = 0
            seeds.sigma[unread] = seeds.probability[unread] = np.nan
        depth = inner.relative_depth
        return replace(
            inner,
            sigma=np.pad(inner.sigma, sides, mode="edge"),
            confidence=confidence,
            saturated=np.pad(inner.saturated, sides),
            seeds=seeds,
            relative_depth=None if depth is None else np.pad(depth, sides, mode="edge"),
        )


def find_content(photograph: Photograph) -> Content:
    """Find bars, frames, transparent and missing pixels.

    Parameters
    ----------
    photograph : any size.
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
    """Rows that a bar at the top, and one at the bottom, take."""
    return _bar(pixels), _bar(pixels[::-1])


def _bar(pixels: NDArray[Any]) -> int:
    """Rows from the first one on that are of one colour and end in a straight line; 0 where there are none."""
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
