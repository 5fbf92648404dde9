"""What in a photograph is no evidence of its blur, though a patch of it looks like some.

Four things look like detail, or like a sharp edge, and say nothing of the lens: the edges of a JPEG's blocks, the
grain of film or of a noise reduction, the outlines of lamps out of focus, and areas of exactly one colour. Where one of
them is all there is to read, a map has to say that it does not know.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from defocus.evidence.blocks import without_block_edges
from defocus.evidence.discs import outlined_discs
from defocus.evidence.flat import one_colour
from defocus.evidence.grain import find_grain
from defocus.filters.box import block_average

__all__ = ["readability", "without_block_edges"]

_GRAIN_REACH = 2.5
"""Times the scale of the grain; readings of less blur, where there is nothing but grain, are readings of the grain."""
_GRAIN_READABILITY = 0.25
_MOSTLY_GRAIN = 0.85


def readability(
    grey: NDArray[np.float32], rgb: NDArray[np.float32], log2_sigma: NDArray[np.float32], stride: int
) -> NDArray[np.float32]:
    """Return how far readings of blur are readings of the lens: 1 as far as they say, 0 not at all.

    0 in areas of one colour and at the outlines of lamps out of focus, 0.25 where grain was read.

    Parameters
    ----------
    grey : H x W float32, luma 0..1, as the readings saw it.
    rgb : H x W x 3 float32, 0..1.
    log2_sigma : h x w, log2 of the sigma that was read, px; h = ceil(H / stride).
    stride : px a side that one reading stands for.

    Returns
    -------
    h x w float32, 0..1.
    """
    height, width = log2_sigma.shape
    readable = np.ones((height, width), np.float32)
    grain = find_grain(grey)
    if grain is not None:
        covered = grain.covers(grey, stride)[:height, :width]
        if covered.mean() > _MOSTLY_GRAIN:
            covered[:] = True  # the little that stands out of so much grain is grain on an edge
        readable[covered & (log2_sigma < np.log2(_GRAIN_REACH * grain.scale))] = _GRAIN_READABILITY
    readable[one_colour(grey, stride)[:height, :width]] = 0
    discs = outlined_discs(rgb)
    if discs.any():
        readable[block_average(discs.astype(np.float32), stride)[:height, :width] > 0] = 0
    return readable
