"""The map an application works with: the one that was given, checked, or an estimate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from defocus.errors import ParameterError

if TYPE_CHECKING:
    from defocus.defocus_map import DefocusMap
    from defocus.photograph import Photograph
    from defocus.progress import Progress

FOCUS_PERCENTILE, FOCUS_MARGIN, LARGEST_FOCUS_SIGMA = 5.0, 7 / 6, 1.2


def map_of(photograph: Photograph, defocus_map: DefocusMap | None, progress: Progress | None = None) -> DefocusMap:
    """Return the map given, or estimate it by the default method.

    Raises
    ------
    ParameterError
        If it is not of the photograph's size.
    """
    if defocus_map is None:
        from defocus.estimate import estimate

        return estimate(photograph, progress=progress)
    if defocus_map.sigma.shape != photograph.pixels.shape[:2]:
        raise ParameterError(
            f"The map is {defocus_map.sigma.shape[1]} x {defocus_map.sigma.shape[0]}, the photograph "
            f"{photograph.width} x {photograph.height}: estimate it anew."
        )
    return defocus_map


def map_in_px(photograph: Photograph, defocus_map: DefocusMap | None, progress: Progress | None = None) -> DefocusMap:
    """As `map_of`, for applications that need sigma in px.

    Raises
    ------
    ParameterError
        If the map is a score without unit, or not of the photograph's size.
    """
    if defocus_map is not None and defocus_map.unit != "px":
        raise ParameterError(
            f"The map of {defocus_map.method} is a {defocus_map.unit} without px: use one of a method that gives sigma."
        )
    return map_of(photograph, defocus_map, progress)


def defocus_alone(found: DefocusMap) -> NDArray[np.float32]:
    """Sigma less what the sharpest parts of the photograph have too, in squares: H x W, px, 0 in focus.

    The sharpest: the 5th percentile, a sixth above it for the map's own noise; not above 1.2 px, so that a photograph
    that is blurred throughout stays so.
    """
    floor = min(float(np.percentile(found.sigma[::4, ::4], FOCUS_PERCENTILE)) * FOCUS_MARGIN, LARGEST_FOCUS_SIGMA)
    return np.sqrt(np.maximum(found.sigma**2 - np.float32(floor**2), 0)).astype(np.float32)
