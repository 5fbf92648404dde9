"""The map that guides an application: the one given, or an estimate; and how far an edit may go by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from defocus.errors import ParameterError
from defocus.filters import guided_upsample
from defocus.filters.box import block_average
from defocus.maps.accuracy import CONFIDENT
from defocus.optics.layered_blur import enlarged

if TYPE_CHECKING:
    from defocus.maps.defocus_map import DefocusMap
    from defocus.photograph import Photograph
    from defocus.progress import Progress

STRENGTH_BLOCK, STRENGTH_RADIUS, STRENGTH_EPS, STRENGTH_STRIP = 4, 6, 1e-3, 256
"""Block size in px, radius in blocks and regularisation of the guided filter of `edit_strength`, and the rows it works
on at once."""
FOCUS_PERCENTILE, FOCUS_MARGIN, LEAST_FOCUS_SIGMA, LARGEST_FOCUS_SIGMA = 5.0, 7 / 6, 0.6, 1.2
"""What `sigma_in_focus` takes for the blur of the sharpest parts: percentile, factor, and its limits in px."""
LEAST_CONFIDENT = 0.05
"""Least fraction of confident pixels from which alone the sharpest parts are taken."""


def map_or_estimate(
    photograph: Photograph, defocus_map: DefocusMap | None, progress: Progress | None = None
) -> DefocusMap:
    """Return the map given, or estimate it by the default method.

    Raises
    ------
    ParameterError
        If it is not of the photograph's size.
    """
    if defocus_map is None:
        from defocus.estimation import estimate

        return estimate(photograph, progress=progress)
    if defocus_map.sigma.shape != photograph.pixels.shape[:2]:
        raise ParameterError(
            f"The map is {defocus_map.sigma.shape[1]} x {defocus_map.sigma.shape[0]}, the photograph "
            f"{photograph.width} x {photograph.height}: estimate it anew."
        )
    return defocus_map


def map_or_estimate_in_px(
    photograph: Photograph, defocus_map: DefocusMap | None, progress: Progress | None = None
) -> DefocusMap:
    """As `map_or_estimate`, for applications that need sigma in px.

    Raises
    ------
    ParameterError
        If the map is a score without unit, or not of the photograph's size.
    """
    if defocus_map is not None and defocus_map.unit != "px":
        raise ParameterError(
            f"The map of {defocus_map.method} is a {defocus_map.unit} without px: use one of a method that gives sigma."
        )
    return map_or_estimate(photograph, defocus_map, progress)


def sigma_in_focus(defocus_map: DefocusMap) -> float:
    """Sigma that the sharpest parts of the photograph have, px.

    It is the 5th percentile of the confident pixels (of all, if few are confident), plus a sixth for the noise of the
    map. It is at least 0.6 px, by which the detail of a sharp photograph differs, and at most 1.2 px, so that a
    photograph that is blurred throughout stays so.
    """
    sigma, confidence = defocus_map.sigma[::4, ::4], defocus_map.confidence[::4, ::4]
    read = sigma[confidence >= CONFIDENT]
    values = read if len(read) >= LEAST_CONFIDENT * sigma.size else sigma
    sharpest = float(np.percentile(values, FOCUS_PERCENTILE)) * FOCUS_MARGIN
    return min(max(sharpest, LEAST_FOCUS_SIGMA), LARGEST_FOCUS_SIGMA)


def sigma_beyond_focus(defocus_map: DefocusMap) -> NDArray[np.float32]:
    """Sigma without that of the sharpest parts (`sigma_in_focus`), subtracted in squares: H x W, px, 0 in focus."""
    floor = sigma_in_focus(defocus_map)
    return np.sqrt(np.maximum(defocus_map.sigma**2 - np.float32(floor**2), 0)).astype(np.float32)


def edit_strength(photograph: Photograph, defocus_map: DefocusMap, unsure: float, sure: float) -> NDArray[np.float32]:
    """How strong an edit may be at every pixel, by the confidence of the map: H x W float32, 0 (none) to 1 (full).

    The strength rises with the confidence from `unsure` to `sure`, and follows the colours of the photograph (guided
    filter, He, Sun, Tang, TPAMI 2013), so that what was read at an object's edges holds for the object, and an edit
    fades out along objects and not through them. Where the confidence is less than half of `unsure` it is 0.

    Parameters
    ----------
    photograph : H x W.
    defocus_map : its map.
    unsure, sure : confidence at which nothing of an edit is left, and at which all of it is.
    """
    rises = np.clip((defocus_map.confidence - np.float32(unsure)) / np.float32(sure - unsure), 0, 1)
    guide = _coarse(photograph)
    along = guided_upsample(
        np.asarray(block_average(rises, STRENGTH_BLOCK), np.float32),
        guide,
        guide,
        reduction=1,
        radius=STRENGTH_RADIUS,
        eps=STRENGTH_EPS,
    )
    height, width = rises.shape
    known = np.clip(2 * defocus_map.confidence / np.float32(unsure) - 1, 0, 1, out=rises)
    smooth = enlarged(np.clip(along, 0, 1)[..., None], STRENGTH_BLOCK)[:height, :width, 0]
    return np.asarray(np.minimum(smooth, known, out=known), np.float32)


def _coarse(photograph: Photograph) -> NDArray[np.float32]:
    """Means over blocks of the photograph, 0..1; strip by strip, as a large photograph in floats takes much memory."""
    pixels = photograph.pixels
    full = np.float32(1 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max)
    strips = (pixels[top : top + STRENGTH_STRIP].astype(np.float32) for top in range(0, len(pixels), STRENGTH_STRIP))
    blocks = np.concatenate([np.asarray(block_average(strip, STRENGTH_BLOCK), np.float32) for strip in strips])
    return np.asarray(blocks / full, np.float32)
