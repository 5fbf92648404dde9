"""Step 4 of the pyramid method: certain readings are propagated to where nothing could be read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from defocus.filters.box import block_average, block_sum
from defocus.filters.guided import GuidedUpsampling
from defocus.methods.pyramid.blur_reader import Readings
from defocus.methods.pyramid.parameters import PyramidParameters
from defocus.methods.pyramid.survey import colours
from defocus.propagation import GridSolution, solve_on_grid

__all__ = ["Filled", "fill"]

_ROWS = 512
"""Number of rows of readings that are filled at once."""
_SAMPLES = 4_000_000
"""Number of readings above which their median certainty is that of a regular sample."""
_LEAST_WEIGHT = 1e-4
"""Weight of a reading without certainty, so that the propagation always has a solution."""
_ROUNDS = (1e-3, 1e-3, 1e-4)
"""Relative tolerance of the solver in each round of the propagation. The first two results are used only as a further
colour of the guide."""
_NODE_RADIUS, _NODE_EPS = 2, 1e-4
"""Radius in nodes and regularisation of the upsampling from the nodes of the propagation to the readings."""
_FILL_WEIGHT = 0.05
"""Weight of the result of a round, relative to that of a certain reading, in the further colour of the next round."""


class Filled(NamedTuple):
    """Log2 of sigma in px of every reading, h x w float32 each.

    Attributes
    ----------
    after_one : after the first round, along colours alone.
    after_all : after all rounds, along what was read as well.
    """

    after_one: NDArray[np.float32]
    after_all: NDArray[np.float32]


def fill(
    readings: Readings,
    readable: NDArray[np.float16],
    guide: NDArray[np.uint16],
    parameters: PyramidParameters,
) -> Filled:
    """Step 4: return log2 of sigma of every reading, with uncertain ones filled in along the guide's colours.

    Parameters
    ----------
    readings : h x w.
    readable : h x w, factors of the readings' certainty, 0..1.
    guide : 3 x h x w, mean colours, 0..65535.
    parameters : see `PyramidParameters`.

    Returns
    -------
    Filled

    Examples
    --------
    >>> readings = Readings.empty((8, 12))
    >>> readings.log2_sigma[:] = 0
    >>> readings.certainty[:] = 0.9
    >>> readings.log2_sigma[:, 6:] = 5  # read without certainty
    >>> readings.certainty[:, 6:] = 0.1
    >>> guide = np.zeros((3, 8, 12), np.uint16)
    >>> filled = fill(readings, np.ones((8, 12), np.float16), guide, PyramidParameters())
    >>> abs(float(filled.after_all[4, 9])) < 0.1
    True
    """
    height, width = readings.log2_sigma.shape
    if min(height, width) < 3:
        return Filled(readings.log2_sigma, readings.log2_sigma)
    every = max(1, math.isqrt(height * width // _SAMPLES))
    sample = readings.certainty[::every, ::every] * readable[::every, ::every]
    least = min(parameters.least_certainty, float(np.median(sample)))
    wanted = math.ceil(math.sqrt(height * width / parameters.largest_grid))
    reduction = max(1, min(wanted, height // 3, width // 3))
    several = reduction * max(1, _ROWS // reduction)
    strips = [slice(top, top + several) for top in range(0, height, several)]

    def weight(rows: slice) -> NDArray[np.float32]:
        certainty = readings.certainty[rows] * readable[rows]
        excess = np.maximum((certainty - np.float32(least)) / np.float32(1 - least), 0)
        return np.maximum(excess ** np.float32(parameters.certainty_power), np.float32(_LEAST_WEIGHT))

    def on_nodes(values: Callable[[slice], Iterable[NDArray[Any]]], summed: Callable[..., Any]) -> NDArray[Any]:
        # Planes of C x rows x w, reduced to nodes.
        return np.concatenate(
            [np.stack([summed(plane, reduction) for plane in values(rows)]) for rows in strips], axis=1
        )

    def weighed(rows: slice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        each = weight(rows).astype(np.float64) / reduction**2
        return each, each * readings.log2_sigma[rows]

    # Weights are summed over a block: without the division, blocks would follow their readings more closely.
    total, weighted = on_nodes(weighed, block_sum)
    node_colours = on_nodes(lambda rows: colours(guide[:, rows]), block_average)
    first, filled = np.empty((height, width), np.float32), np.empty((height, width), np.float32)
    solution: GridSolution | None = None
    for number, rtol in enumerate(_ROUNDS):
        if number:
            further = on_nodes(lambda rows: filled[None, rows], block_average)
            nodes = np.concatenate([node_colours, np.float32(parameters.octave_as_colour) * further])
        else:
            nodes = node_colours
        solution = solve_on_grid(
            weighted[..., None],
            total,
            np.moveaxis(nodes, 0, 2),
            regularisation=parameters.matting_lambda,
            eps=parameters.matting_eps,
            rtol=rtol,
            similar=solution,
        )
        found = np.asarray(solution.values[..., 0], np.float32)
        lift = GuidedUpsampling(
            partial(_rows_of, found[None]),
            partial(_rows_of, nodes),
            (height, width),
            reduction=reduction,
            radius=_NODE_RADIUS,
            eps=_NODE_EPS,
        )
        for rows in strips:
            if reduction == 1:
                lifted = found[rows]
            else:
                planes = colours(guide[:, rows])
                if number:
                    further = np.float32(parameters.octave_as_colour) * filled[None, rows]
                    planes = np.concatenate([planes, further])
                lifted = lift.rows(rows.start, planes)[0]
            if number == 0:
                first[rows] = lifted
            if number < len(_ROUNDS) - 1:
                each = weight(rows)
                lifted = (each * readings.log2_sigma[rows] + _FILL_WEIGHT * lifted) / (each + _FILL_WEIGHT)
            filled[rows] = lifted
    return Filled(first, filled)


def _rows_of(planes: NDArray[np.floating], rows: slice) -> NDArray[np.floating]:
    return planes[:, rows]
