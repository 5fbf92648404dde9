"""Detection of image content that looks like evidence of blur and is none.

Five things look like detail, or like a sharp edge, and do not depend on the focus: the edges of a JPEG's blocks, the
grain of film or of a noise reduction, the outlines of lamps out of focus, areas of exactly one colour, and edges along
a movement. Where a photograph shows nothing else, the confidence of a map has to be low.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from defocus.evidence.discs import outlined_discs, reduction_for_discs
from defocus.evidence.flat import one_colour, varies
from defocus.evidence.grain import find_grain
from defocus.evidence.motion import find_motion, reduction_for_motion
from defocus.maps.motion import Motion
from defocus.photograph.regions import Region

__all__ = [
    "find_motion",
    "outlined_discs",
    "readability",
    "reduction_for_discs",
    "reduction_for_motion",
    "varies",
]

_GRAIN_REACH = 2.5
"""Largest ratio of a reading to the scale of the grain at which, in areas of grain alone, it is a reading of grain."""
_GRAIN_READABILITY = 0.25
"""Readability of such a reading."""
_ROWS = 512
"""Number of rows of readings that are multiplied at once."""
_MOSTLY_GRAIN = 0.85
"""Least fraction of the photograph with grain alone from which on all of it counts as grain."""


def readability(
    grey: Region,
    varying: NDArray[np.bool_],
    lamps: NDArray[np.bool_],
    log2_sigma: NDArray[np.float32],
    stride: int,
    motion: Motion,
) -> NDArray[np.float16]:
    """Return factors by which the confidence of readings of blur has to be multiplied.

    They are 0 in areas of one colour and at the outlines of lamps out of focus, 0.25 where grain was read, and 1
    elsewhere; times the probability that nothing has moved.

    Parameters
    ----------
    grey : luma, H x W, 0..1, from which blur was read.
    varying : h x w, blocks of `stride` px in which luma varies, by `varies`; h = ceil(H / stride).
    lamps : h x w, blocks that `outlined_discs` found.
    log2_sigma : h x w, log2 of the readings of sigma in px.
    stride : side in px of the block of pixels of one reading.
    motion : movement of the camera or of a subject.

    Returns
    -------
    h x w float16, 0..1.

    Examples
    --------
    >>> grey = np.random.default_rng(0).random((32, 64)).astype(np.float32)
    >>> grey[:, :32] = 0.5  # one colour on the left
    >>> log2_sigma = np.zeros((8, 16), np.float32)
    >>> motion = find_motion(grey, 1, grey.shape)
    >>> readability(grey, varies(grey, 4), np.zeros((8, 16), bool), log2_sigma, 4, motion)[4, [2, 13]]
    array([0., 1.], dtype=float16)
    """
    readable = np.ones(log2_sigma.shape, np.float16)
    grain = find_grain(grey)
    if grain is not None:
        covered = grain.covers(grey, stride)
        if covered.mean() > _MOSTLY_GRAIN:
            covered[:] = True  # the few remaining blocks are grain on an edge
        readable[covered & (log2_sigma < np.log2(_GRAIN_REACH * grain.scale))] = _GRAIN_READABILITY
    readable[one_colour(varying)] = 0
    readable[lamps] = 0
    if motion.sure.any():
        for top in range(0, len(readable), _ROWS):
            rows = slice(top, top + _ROWS)
            readable[rows] *= (1 - motion.of_pixels(rows, every=stride).sure).astype(np.float16)
    return readable
