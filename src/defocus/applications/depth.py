"""Depth from defocus: in metres where the lens is known, else relative.

Thin lens: a point at z metres makes a disc of diameter c = (f^2 / N) |z - z_f| / (z (z_f - f)) on the sensor, f the
focal length, N the f-number, z_f the distance in focus; in px 3.68 sigma (`defocus.units`). So

    z = z_f / (1 - c N (z_f - f) / f^2)  behind the plane of focus,    z_f / (1 + ...)  in front of it.

Two things the photograph does not tell: on which side a blurred thing lies, and whether its texture is soft by nature.
One side is taken for the whole photograph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from defocus.applications.guide import map_or_estimate_in_px
from defocus.errors import ParameterError
from defocus.maps.accuracy import tolerance
from defocus.methods.shi2015tog.method import order_cue, relative_depth
from defocus.optics.lens import BlurredSide, Lens
from defocus.photograph import PhotographLike, as_photograph
from defocus.progress import Progress

if TYPE_CHECKING:
    from defocus.maps.defocus_map import DefocusMap

Side = Literal["behind", "front", "auto"]
SIDES: tuple[Side, ...] = ("behind", "front", "auto")
FLOOR = 0.5
"""Sigma in px that a method reads where the photograph is in focus; subtracted in squares before the lens equation."""
AMBIGUITIES = (
    "Blur does not tell whether a thing lies before or behind the plane of focus (one side is taken for all), nor "
    "whether its texture is soft by nature."
)


@dataclass(frozen=True, eq=False)
class Depth:
    """How far away every pixel is.

    Attributes
    ----------
    depth : float32 H x W, m or, relative, 0 (nearest) to 1 (farthest).
    nearest, farthest : float32 H x W, m: what an error of sigma of 0.15 px or a tenth would make of it; None if
        relative.
    confidence : float32 H x W, 0..1, the map's.
    unit : "m" or "relative".
    side : "behind" or "front": where what is blurred was taken to lie.
    lens : None if relative.
    """

    depth: NDArray[np.float32]
    nearest: NDArray[np.float32] | None
    farthest: NDArray[np.float32] | None
    confidence: NDArray[np.float32]
    unit: Literal["m", "relative"]
    side: BlurredSide
    lens: Lens | None


def depth(
    photo: PhotographLike,
    defocus_map: DefocusMap | None = None,
    *,
    lens: Lens | None = None,
    side: Side = "auto",
    floor: float = FLOOR,
    progress: Progress | None = None,
) -> Depth:
    """Return how far away every pixel of a photograph is.

    Parameters
    ----------
    photo : path, array, PIL image or `Photograph`.
    defocus_map : its map, in px; estimated by the default method if None.
    lens : the camera; None for relative depth.
    side : "behind" the plane of focus, in "front" of it, or "auto": behind, unless blur clearly grows downwards in the
        frame, where the foreground is.
    floor : px, what the map reads in focus.
    progress : called with the name of the step and the fraction of the work done, 0..1.

    Returns
    -------
    Depth

    Raises
    ------
    ParameterError
        If side or floor are none of these, the map is a score without unit or of another size.

    Examples
    --------
    >>> import defocus
    >>> photo = np.random.default_rng(1).integers(0, 256, (60, 90, 3), np.uint8)
    >>> lens = defocus.Lens(focal_length=50, f_number=2, focus_distance=1.5, sensor_width=36)
    >>> d = defocus.depth(photo, lens=lens, side="behind")
    >>> d.unit, d.depth.shape, round(float(np.median(d.depth)), 1)  # all in focus
    ('m', (60, 90), 1.5)
    """
    report = progress if progress is not None else lambda step, fraction: None
    if side not in SIDES:
        raise ParameterError(f"side must be one of {', '.join(SIDES)}, not {side!r}.")
    if not 0 <= floor < np.inf:
        raise ParameterError(f"floor must be 0 px or more, not {floor}.")
    photograph = as_photograph(photo)
    defocus_map = map_or_estimate_in_px(photograph, defocus_map, lambda step, fraction: report(step, 0.9 * fraction))
    report("depth", 0.9)
    taken = side if side != "auto" else _side_by_order(defocus_map.sigma)
    if lens is None:
        order = "sharp near" if taken == "behind" else "sharp far"
        relative = defocus_map.relative_depth if side == "auto" else None
        if relative is None:
            relative = relative_depth(defocus_map.sigma, photograph.as_float(np.float32), order)
        report("done", 1.0)
        return Depth(relative, None, None, defocus_map.confidence, "relative", taken, None)

    def metres(sigma: NDArray[Any]) -> NDArray[np.float32]:
        blur = np.sqrt(np.maximum(sigma.astype(np.float64) ** 2 - floor**2, 0))
        return lens.depth(blur, taken, photograph.width).astype(np.float32)

    off = tolerance(defocus_map.sigma)
    bounds = [metres(np.maximum(defocus_map.sigma - off, 0)), metres(defocus_map.sigma + off)]
    if taken == "front":
        bounds.reverse()
    report("done", 1.0)
    return Depth(metres(defocus_map.sigma), bounds[0], bounds[1], defocus_map.confidence, "m", taken, lens)


def _side_by_order(sigma: NDArray[np.float32]) -> BlurredSide:
    """Where what is blurred lies, by how blur changes from the bottom to the top of the frame."""
    return "behind" if order_cue(sigma) == "sharp near" else "front"
