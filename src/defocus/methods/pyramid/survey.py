"""What the pyramid method needs to know of all of a photograph before it reads blur, gathered in one pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from defocus.evidence import find_motion, outlined_discs, reduction_for_discs, reduction_for_motion, varies
from defocus.filters.box import block_average, block_sum
from defocus.maps.motion import Motion
from defocus.methods.pyramid.blur_reader import whole_level
from defocus.methods.pyramid.luma import PhotographLuma, mirrored, reduced
from defocus.methods.pyramid.weights import STRIDE
from defocus.photograph import Photograph
from defocus.runtime.cores import on_all_cores

__all__ = ["Survey", "colours", "survey_photograph"]

_SURVEYED = 128
"""Number of rows of the photograph that a thread surveys at once, a multiple of 128."""
_UNITS = 65535
"""Units of the guide's colours, which are held in 16 bits."""


@dataclass(frozen=True)
class Survey:
    """What is computed from all of a photograph before blur is read.

    Attributes
    ----------
    guide : 3 x h x w uint16, mean colour of each 4 x 4 px, 0..65535.
    coarse : luma of the first level of the pyramid that is read for the whole photograph at once.
    level : number of that level.
    small : luma for `find_motion`, reduced by `reduction_for_motion`.
    varying : bool h x w, whether luma varies within and around each 4 x 4 px.
    detail : h x w float16, standard deviation of luma within each 4 x 4 px, 0..1.
    darkest, brightest : limits of luma, 0..1.
    """

    guide: NDArray[np.uint16]
    coarse: NDArray[np.float32]
    level: int
    small: NDArray[np.float32]
    varying: NDArray[np.bool_]
    detail: NDArray[np.float16]
    darkest: float
    brightest: float

    def coarse_luma(self, number: int) -> NDArray[np.float32]:
        """Return the luma of a level that is read for the whole photograph at once."""
        return reduced(self.coarse, number - self.level)

    def motion(self, photograph: Photograph) -> Motion:
        """Return the movement of the camera or of a subject."""
        shape = (photograph.height, photograph.width)
        return find_motion(self.small, reduction_for_motion(*shape), shape)

    def lamps(self, photograph: Photograph) -> NDArray[np.bool_]:
        """Return which readings, bool h x w, are at lamps out of focus."""
        factor = reduction_for_discs(photograph.height, photograph.width, STRIDE)
        grid = self.varying.shape
        if factor < STRIDE:
            small = np.asarray(block_average(photograph.as_float(np.float32), factor), np.float32)
            discs = np.repeat(np.repeat(outlined_discs(small), factor, axis=0), factor, axis=1)
            return np.asarray(
                block_sum(discs[: photograph.height, : photograph.width].astype(np.uint8), STRIDE).astype(bool)
            )
        further = factor // STRIDE
        several = further * max(1, _SURVEYED // further)
        small = np.concatenate(
            [
                np.asarray(block_average(np.moveaxis(colours(self.guide[:, top : top + several]), 0, 2), further))
                for top in range(0, grid[0], several)
            ]
        )
        discs = np.repeat(np.repeat(outlined_discs(small), further, axis=0), further, axis=1)
        return discs[: grid[0], : grid[1]]


def survey_photograph(photograph: Photograph, grey: PhotographLuma) -> Survey:
    """Go through a photograph once, some rows at a time.

    Parameters
    ----------
    photograph : upright photograph in sRGB.
    grey : its luma.

    Examples
    --------
    >>> photograph = Photograph(np.full((480, 640, 3), 255, np.uint8))
    >>> survey = survey_photograph(photograph, PhotographLuma(photograph))
    >>> survey.guide.shape, survey.coarse.shape, survey.level, survey.brightest
    ((3, 120, 160), (32, 40), 4, 1.0)
    """
    height, width = grey.shape
    grid = (-(-height // STRIDE), -(-width // STRIDE))
    sides, level = whole_level(grey.shape)
    factor = reduction_for_motion(height, width)
    small = np.empty((-(-height // factor), -(-width // factor)), np.float32)
    guide = np.empty((3, *grid), np.uint16)
    varying = np.empty(grid, bool)
    detail = np.empty(grid, np.float16)
    coarse = np.empty((sides[0] >> level, sides[1] >> level), np.float32)

    def look(top: int) -> tuple[float, float]:
        rows = slice(top, min(top + _SURVEYED, sides[0]))
        # Beyond the photograph the pyramid has its mirror image.
        strip = mirrored(grey, rows, slice(0, sides[1]))
        coarse[rows.start >> level : rows.stop >> level] = reduced(strip, level)
        inner = strip[: max(height - top, 0), :width]
        if not inner.size:
            return 1.0, 0.0
        place = slice(top // STRIDE, top // STRIDE - (-len(inner) // STRIDE))
        small[top // factor : top // factor - (-len(inner) // factor)] = block_average(inner, factor)
        above = grey[top - 1 : top, :][0] if top else None
        varying[place] = varies(inner, STRIDE, above)
        mean = np.asarray(block_average(inner, STRIDE), np.float32)
        square = np.asarray(block_average(inner * inner, STRIDE), np.float32)
        detail[place] = np.sqrt(np.maximum(square - mean * mean, 0))
        rgb = photograph.as_float(np.float32, rows=slice(top, top + len(inner)))
        means = np.asarray(block_average(rgb, STRIDE), np.float32)
        guide[:, place] = np.rint(np.moveaxis(means, 2, 0) * np.float32(_UNITS)).astype(np.uint16)
        return float(inner.min()), float(inner.max())

    limits = on_all_cores(look, range(0, sides[0], _SURVEYED))
    darkest, brightest = min(low for low, _ in limits), max(high for _, high in limits)
    return Survey(guide, coarse, level, small, varying, detail, darkest, brightest)


def colours(guide: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return colours of the guide in 0..1.

    Examples
    --------
    >>> colours(np.array([0, 65535], np.uint16))
    array([0., 1.], dtype=float32)
    """
    return guide * np.float32(1 / _UNITS)
