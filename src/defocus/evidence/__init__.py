"""Detection of image content that looks like evidence of blur and is none.

Four things look like detail, or like a sharp edge, and do not depend on the lens: the edges of a JPEG's blocks, the
grain of film or of a noise reduction, the outlines of lamps out of focus, and areas of exactly one colour. Where a
photograph shows nothing else, the confidence of a map has to be low.
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
"""Largest ratio of a reading to the scale of the grain at which, in areas of grain alone, it is a reading of grain."""
_GRAIN_READABILITY = 0.25
"""Readability of such a reading."""
_MOSTLY_GRAIN = 0.85
"""Least fraction of the photograph with grain alone from which on all of it counts as grain."""


def readability(
    grey: NDArray[np.float32], rgb: NDArray[np.float32], log2_sigma: NDArray[np.float32], stride: int
) -> NDArray[np.float32]:
    """Return factors by which the confidence of readings of blur has to be multiplied.

    They are 0 in areas of one colour and at the outlines of lamps out of focus, 0.25 where grain was read, and 1
    elsewhere.

    Parameters
    ----------
    grey : H x W float32, luma 0..1, from which blur was read.
    rgb : H x W x 3 float32, 0..1.
    log2_sigma : h x w, log2 of the readings of sigma in px; h = ceil(H / stride).
    stride : side in px of the block of pixels of one reading.

    Returns
    -------
    h x w float32, 0..1.

    Examples
    --------
    >>> rgb = np.random.default_rng(0).random((32, 64, 3)).astype(np.float32)
    >>> rgb[:, :32] = 0.5  # one colour on the left
    >>> readability(rgb[..., 0], rgb, np.zeros((8, 16), np.float32), stride=4)[4, [2, 13]]
    array([0., 1.], dtype=float32)
    """
    height, width = log2_sigma.shape
    readable = np.ones((height, width), np.float32)
    grain = find_grain(grey)
    if grain is not None:
        covered = grain.covers(grey, stride)[:height, :width]
        if covered.mean() > _MOSTLY_GRAIN:
            covered[:] = True  # the few remaining blocks are grain on an edge
        readable[covered & (log2_sigma < np.log2(_GRAIN_REACH * grain.scale))] = _GRAIN_READABILITY
    readable[one_colour(grey, stride)[:height, :width]] = 0
    discs = outlined_discs(rgb)
    if discs.any():
        readable[block_average(discs.astype(np.float32), stride)[:height, :width] > 0] = 0
    return readable
