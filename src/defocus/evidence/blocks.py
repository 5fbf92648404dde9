"""The edges of a JPEG's blocks: found by their period of 8 px, and taken out before the blur is read.

Strong compression leaves steps between blocks of 8 x 8 px, which read as sharp edges however blurred the photograph
is. Wherever the photograph was cropped or saved again, they keep their period, so they are found in the pixels and not
in the file.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["without_block_edges"]

_Floats = NDArray[np.float32]

_PERIOD = 8
_LEAST_STEP = 2.5 / 255
"""Mean step over the edges of blocks, beyond what is usual between neighbours, from which on they are taken out. Of the
qualities of JPEG 25 and below it is more; of 50 and above less."""
_LEAST_STEP_OF_SOFT = 1.5 / 255
"""The same where it exceeds the mean step between all neighbours: in soft photographs mild blocks are all there is."""
_LEAST_SPREADS = 2.0
"""Times the spread of the other seven places of the period that the step has to be, so that a tiled facade is none."""
_WIDEST_STEP = 3.0
"""Times the mean step; up to it a step is of the blocks, from twice it on it is of the photograph."""
_TILE, _MOST_TILES, _LEAST_DEVIATION = 64, 600, 4 / 255
_LARGEST = 20 / 255
_RAMP = (np.array([3.5, 2.5, 1.5, 0.5]) / 8).astype(np.float32)


def without_block_edges(grey: _Floats) -> _Floats:
    """Return luma without the steps between a JPEG's blocks; luma itself where there are none.

    A step between two blocks becomes a ramp over four pixels on each side, so that blocks of one colour become what
    they were sampled from. Steps much larger than the usual one are edges of the photograph, and stay.

    Parameters
    ----------
    grey : H x W float32, 0..1.

    Returns
    -------
    H x W float32
        The very array where the compression is mild.
    """
    if min(grey.shape) < 4 * _PERIOD:
        return grey
    along_rows, along_columns = _grid(grey), _grid(grey.T)
    if along_rows is None or along_columns is None:
        return grey
    smooth = grey.copy()
    _smooth_edges(smooth, *along_rows)
    _smooth_edges(smooth.T, *along_columns)
    return smooth


def _grid(grey: _Floats) -> tuple[int, float] | None:
    """Where along the rows blocks begin, 0..7, and the mean step there; None where no period of 8 px shows."""
    height, width = grey.shape
    rows = np.arange(0, max(height - _TILE, 0) + 1, _TILE)
    columns = np.arange(0, max(width - _TILE, 0) + 1, _TILE)
    places = [(y, x) for y in rows for x in columns]
    places = places[:: max(1, -(-len(places) // _MOST_TILES))]
    sums, counts = np.zeros(_PERIOD), np.zeros(_PERIOD)
    slopes, tiles = 0.0, 0
    for y, x in places:
        tile = grey[y : y + _TILE, x : x + _TILE]
        if tile.std() < _LEAST_DEVIATION:  # a dark sky has no steps, and says nothing of the compression
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


def _smooth_edges(grey: _Floats, begin: int, step: float) -> None:
    """Turn the steps of one direction into ramps, in place."""
    reach = len(_RAMP)
    edges = np.arange(begin, grey.shape[1], _PERIOD)
    edges = edges[(edges >= reach) & (edges <= grey.shape[1] - reach)]
    before = [grey[:, edges - 1 - k] for k in range(reach)]
    after = [grey[:, edges + k] for k in range(reach)]
    slope = ((before[0] - before[1]) + (after[1] - after[0])) / 2
    jump = after[0] - before[0] - slope
    jump *= np.clip(2 - np.abs(jump) / np.float32(_WIDEST_STEP * step), 0, 1)
    for k, fraction in enumerate(_RAMP):
        grey[:, edges - 1 - k] = before[k] + fraction * jump
        grey[:, edges + k] = after[k] - fraction * jump
