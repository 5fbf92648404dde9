"""Tiles in few sizes, for devices that compile the network for each size anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from defocus.methods.pyramid.weights import STRIDE
from defocus.methods.session import Session

__all__ = ["AtBorder", "run_in_few_shapes"]

AtBorder = tuple[tuple[bool, bool], tuple[bool, bool]]
"""For rows and for columns: whether a tile begins, and whether it ends, where its level of the pyramid does."""
_MARGIN = 64
"""Width in px of the margins of a tile, both together."""
_STEP = 256
"""A side of a tile that can be chosen is a multiple of this and the margins, px."""


def run_in_few_shapes(
    session: Session, outputs: Sequence[str], inputs: Mapping[str, Any], at_border: AtBorder
) -> list[NDArray[np.float32]]:
    """Run the network on a tile, enlarged to one of few sizes if the session wants that.

    A tile is enlarged by zeros beyond its margins, whose readings are cut off anyway, so the others stay as they are.
    At the border of a level there is no margin: zeros there would change the readings, as they are not what the
    network's own layers put there. A level that is no larger than a tile therefore keeps its size.

    Parameters
    ----------
    session : the network.
    outputs : names of those that are wanted, of "state" and "logits".
    inputs : as the network takes them; sides of `pixels` are multiples of 8 px.
    at_border : where the tile has no margin.

    Returns
    -------
    The outputs, of the size that they have without enlargement.
    """
    if not session.wants_few_shapes:
        return session.run(outputs, inputs)
    height, width = inputs["pixels"].shape[2:]
    added = [_added(side, *ends) for side, ends in zip((height, width), at_border, strict=True)]
    enlarged = dict(inputs)
    for name, scale in (("pixels", 1), ("coarse_state", 8), ("coarse_logits", 8)):
        enlarged[name] = np.pad(
            inputs[name], [(0, 0), (0, 0), *((before // scale, after // scale) for before, after in added)]
        )
    rows, columns = (
        slice(before // STRIDE, (before + side) // STRIDE)
        for (before, _), side in zip(added, (height, width), strict=True)
    )
    return [output[:, :, rows, columns] for output in session.run(outputs, enlarged)]


def _added(side: int, begins: bool, ends: bool) -> tuple[int, int]:
    """Return how many px are added before and after a side that begins, or ends, at the border of its level."""
    missing = (_MARGIN - side) % _STEP
    if not ends:
        return 0, missing
    return (0, 0) if begins else (missing, 0)
