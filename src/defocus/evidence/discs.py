"""Detection of lamps out of focus: discs of even brightness whose outline is sharp whatever the blur."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from defocus.optics.light import luma

__all__ = ["outlined_discs", "reduction_for_discs"]

_Floats = NDArray[np.float32]

_LEVELS = 8
"""Number of brightness thresholds at which the photograph is divided into shapes."""
_LEAST_RADIUS, _LARGEST_RADIUS = 4.0, 0.08
"""Least radius of a disc in px, and largest as a fraction of the longer side of the photograph."""
_LEAST_FILLED, _MOST_ELONGATED = 0.965, 1.35
"""Least fraction of the ellipse of its second moments that a disc fills (a square .955, a disc 1), and largest ratio of
its axes."""
_LEAST_CONTRAST = 15 / 255
"""Least difference of brightness between a disc and its surroundings."""
_MOST_UNEVEN = 0.2
"""Largest standard deviation inside a disc, as a fraction of that contrast."""
_LEAST_STEEP = 0.2
"""Least slope of the outline per px, as a fraction of the contrast."""
_MARGIN = 12
"""Distance in px around a disc within which its outline influences readings."""
_MOST_PIXELS = 400_000
"""Number of pixels above which the photograph is reduced."""


def reduction_for_discs(height: int, width: int, stride: int) -> int:
    """Return the factor by which a photograph is to be reduced before discs are looked for.

    Parameters
    ----------
    height, width : size of the photograph, px.
    stride : beyond this factor only its multiples are returned.

    Examples
    --------
    >>> reduction_for_discs(480, 640, stride=4), reduction_for_discs(4000, 6000, stride=4)
    (1, 8)
    """
    factor = max(1, int(np.ceil(np.sqrt(height * width / _MOST_PIXELS))))
    return factor if factor <= stride else -(-factor // stride) * stride


def outlined_discs(rgb: _Floats) -> NDArray[np.bool_]:
    """Return discs of even brightness with a sharp outline, brighter than their surroundings: H x W bool.

    Points of light out of focus become such discs, whose outlines look sharp at any blur. Round objects in focus look
    the same, so the outline is no evidence for either.

    Parameters
    ----------
    rgb : H x W x 3 float32, 0..1; reduced by `reduction_for_discs`.
    """
    # In the minimum of the channels, pale lamps contrast with coloured surroundings.
    return _discs(luma(rgb).astype(np.float32)) | _discs(np.minimum(np.minimum(rgb[..., 0], rgb[..., 1]), rgb[..., 2]))


def _discs(grey: _Floats) -> NDArray[np.bool_]:
    height, width = grey.shape
    discs = np.zeros((height, width), bool)
    smooth = ndimage.uniform_filter(grey, 3, mode="nearest")
    low, high = float(np.percentile(smooth[::4, ::4], 30)), float(smooth.max())
    largest, least_area = _LARGEST_RADIUS * max(height, width), np.pi * _LEAST_RADIUS**2
    if min(height, width) < 8 or high - low < _LEAST_CONTRAST:
        return discs
    for threshold in np.linspace(low, high, _LEVELS + 2)[1:-1]:
        shapes, _ = ndimage.label(smooth > threshold)
        areas = np.bincount(shapes.ravel())
        areas[0] = 0  # the background
        candidates = np.flatnonzero((areas >= least_area) & (areas <= 4 * largest**2))
        boxes = ndimage.find_objects(shapes) if len(candidates) else []
        for number in candidates:
            box = boxes[number - 1]
            tall, wide = (side.stop - side.start for side in box)
            if not 2 * _LEAST_RADIUS - 1 <= min(tall, wide) <= max(tall, wide) <= _MOST_ELONGATED * 2 * largest:
                continue
            if max(tall, wide) > _MOST_ELONGATED * min(tall, wide):
                continue
            disc = _disc(shapes[box] == number)
            if disc is not None:
                _mark(discs, grey, smooth, box[0].start + disc[0], box[1].start + disc[1], disc[2])
    return discs


def _disc(shape: NDArray[np.bool_]) -> tuple[float, float, float] | None:
    """Middle (row, column) and radius of a shape that is a disc, in px; else None."""
    rows, columns = np.nonzero(shape)
    area = len(rows)
    radius = float(np.sqrt(area / np.pi))
    if radius < _LEAST_RADIUS:
        return None
    # A pixel is a square, which has a variance of its own.
    covariance = np.cov(rows, columns, bias=True) + np.eye(2) / 12
    smaller, larger = np.linalg.eigvalsh(covariance)
    filled = area / (4 * np.pi * np.sqrt(smaller * larger))
    if filled < _LEAST_FILLED or np.sqrt(larger / smaller) > _MOST_ELONGATED:
        return None
    return float(rows.mean()), float(columns.mean()), radius


def _mark(found: NDArray[np.bool_], grey: _Floats, smooth: _Floats, row: float, column: float, radius: float) -> None:
    """Mark a disc and its margin, if it is even inside and steep at its outline."""
    reach = radius + _MARGIN + 1
    rows = slice(max(int(row - reach), 0), int(row + reach) + 2)
    columns = slice(max(int(column - reach), 0), int(column + reach) + 2)
    part = grey[rows, columns]
    y, x = np.ogrid[rows.start : rows.start + part.shape[0], columns.start : columns.start + part.shape[1]]
    distance = np.hypot(y - row, x - column)
    inside, around = distance < radius - 2, (distance > radius + 2.5) & (distance < radius + 6)
    if inside.sum() < 12 or around.sum() < 12:
        return
    contrast = float(np.median(part[inside]) - np.median(part[around]))
    if contrast < _LEAST_CONTRAST or float(part[inside].std()) > _MOST_UNEVEN * contrast:
        return
    slope = np.hypot(*np.gradient(smooth[rows, columns]))
    if np.percentile(slope[np.abs(distance - radius) < 1.5], 60) > _LEAST_STEEP * contrast:
        found[rows, columns] |= distance < radius + _MARGIN
