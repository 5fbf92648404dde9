"""Removal of the edges of a JPEG's blocks, which are detected by their period of 8 px, before blur is read.

Strong compression leaves steps between blocks of 8 x 8 px, which look like sharp edges however blurred the photograph
is. They keep their period when a photograph is cropped or saved again, so they are detected in the pixels and not in
the file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from defocus.photograph.regions import Region

__all__ = ["REACH", "BlockEdges", "find_block_edges", "without_block_edges"]

_Floats = NDArray[np.float32]

_PERIOD = 8
_LEAST_STEP = 2.5 / 255
"""Least mean step across the edges of blocks, beyond that between other neighbours, that is removed. It is larger at
JPEG qualities of 25 and below, and smaller at 50 and above."""
_LEAST_STEP_OF_SOFT = 1.5 / 255
"""The same where it exceeds the mean step between all neighbours, as in soft photographs."""
_LEAST_SPREADS = 2.0
"""Least ratio of the step to the spread of the other seven positions of the period, so that a tiled facade is kept."""
_WIDEST_STEP = 3.0
"""Ratio to the mean step up to which a step belongs to the blocks; from twice it on, it belongs to the photograph."""
_TILE, _MOST_TILES, _LEAST_DEVIATION = 64, 600, 4 / 255
_LARGEST = 20 / 255
_RAMP = (np.array([3.5, 2.5, 1.5, 0.5]) / 8).astype(np.float32)
REACH = len(_RAMP)
"""Distance in px from an edge up to which pixels change."""


@dataclass(frozen=True)
class BlockEdges:
    """The steps between a JPEG's blocks.

    Attributes
    ----------
    shape : height and width of the photograph, px.
    along_rows, along_columns : column (row) in which blocks begin, 0..7, and the mean step there.
    """

    shape: tuple[int, int]
    along_rows: tuple[int, float]
    along_columns: tuple[int, float]

    def removed(self, grey: _Floats, top: int = 0, left: int = 0) -> _Floats:
        """Return a part of the luma without the steps; within `REACH` of where the part was cut some stay.

        Parameters
        ----------
        grey : part of the luma, float32.
        top, left : row and column of its first pixel in the photograph.
        """
        smooth = grey.copy()
        _smooth_edges(smooth, *self.along_rows, left, self.shape[1])
        _smooth_edges(smooth.T, *self.along_columns, top, self.shape[0])
        return smooth


def find_block_edges(grey: Region) -> BlockEdges | None:
    """Return the steps between a JPEG's blocks, or None where the compression is mild.

    Parameters
    ----------
    grey : luma, H x W, 0..1; it is read in small parts.
    """
    height, width = grey.shape
    if min(height, width) < 4 * _PERIOD:
        return None
    along_rows = _grid(height, width, lambda y, x: grey[y : y + _TILE, x : x + _TILE])
    if along_rows is None:
        return None
    along_columns = _grid(width, height, lambda x, y: grey[y : y + _TILE, x : x + _TILE].T)
    return None if along_columns is None else BlockEdges((height, width), along_rows, along_columns)


def without_block_edges(grey: _Floats) -> _Floats:
    """Return luma without the steps between a JPEG's blocks; luma itself where there are none.

    A step between two blocks becomes a ramp over four pixels on each side. Steps much larger than the mean one are
    edges of the photograph, and stay.

    Parameters
    ----------
    grey : H x W float32, 0..1.

    Returns
    -------
    H x W float32
        The given array itself where the compression is mild.

    Examples
    --------
    >>> grey = np.random.default_rng(0).random((64, 64)).astype(np.float32)  # no blocks
    >>> without_block_edges(grey) is grey
    True
    """
    edges = find_block_edges(grey)
    return grey if edges is None else edges.removed(grey)


def _grid(height: int, width: int, window: Callable[[int, int], _Floats]) -> tuple[int, float] | None:
    """Return where along the rows blocks begin, 0..7, and the mean step there; None without a period of 8 px.

    `window` returns the part of up to 64 x 64 px that begins at a row and a column.
    """
    rows = np.arange(0, max(height - _TILE, 0) + 1, _TILE)
    columns = np.arange(0, max(width - _TILE, 0) + 1, _TILE)
    places = [(y, x) for y in rows for x in columns]
    places = places[:: max(1, -(-len(places) // _MOST_TILES))]
    sums, counts = np.zeros(_PERIOD), np.zeros(_PERIOD)
    slopes, tiles = 0.0, 0
    for y, x in places:
        tile = window(int(y), int(x))
        if tile.std() < _LEAST_DEVIATION:  # a dark sky has no steps at any compression
            continue
        steps = np.abs(np.diff(tile, axis=1))
        slopes, tiles = slopes + float(steps.mean()), tiles + 1
        beyond = np.minimum(steps[:, 1:-1] - (steps[:, :-2] + steps[:, 2:]) / 2, _LARGEST).mean(axis=0)
        # The step between pixels k and k + 1 belongs to the block that begins at k + 1.
        begins = (x + 2 + np.arange(len(beyond))) % _PERIOD
        sums += np.bincount(begins, beyond, _PERIOD)
        counts += np.bincount(begins, minlength=_PERIOD)
    profile = sums / np.maximum(counts, 1)
    begin = int(profile.argmax())
    others = np.delete(profile, begin)
    step = float(profile[begin] - others.mean())
    slope = float(slopes / max(tiles, 1))
    shows = step >= _LEAST_STEP or (step >= _LEAST_STEP_OF_SOFT and step >= slope)
    return (begin, step) if shows and step >= _LEAST_SPREADS * float(others.std()) else None


def _smooth_edges(grey: _Floats, begin: int, step: float, left: int, width: int) -> None:
    """Turn the steps of one direction into ramps, in place; the first column of `grey` is number `left` of `width`."""
    edges = np.arange(begin, width, _PERIOD)
    edges = edges[(edges >= REACH) & (edges <= width - REACH)] - left
    edges = edges[(edges >= REACH) & (edges <= grey.shape[1] - REACH)]
    before = [grey[:, edges - 1 - k] for k in range(REACH)]
    after = [grey[:, edges + k] for k in range(REACH)]
    slope = ((before[0] - before[1]) + (after[1] - after[0])) / 2
    jump = after[0] - before[0] - slope
    jump *= np.clip(2 - np.abs(jump) / np.float32(_WIDEST_STEP * step), 0, 1)
    for k, fraction in enumerate(_RAMP):
        grey[:, edges - 1 - k] = before[k] + fraction * jump
        grey[:, edges + k] = after[k] - fraction * jump
