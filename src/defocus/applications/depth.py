"""Depth from defocus: in metres where the lens is known, else relative.

Thin lens: a point at z metres makes a disc of diameter c = (f^2 / N) |z - z_f| / (z (z_f - f)) on the sensor, f the
focal length, N the f-number, z_f the distance in focus; in px four sigma (`defocus.units`). So

    z = z_f / (1 - c N (z_f - f) / f^2)  behind the plane of focus,    z_f / (1 + ...)  in front of it.

Two things the photograph does not tell: on which side a blurred thing lies, and whether its texture is soft by nature.
One side is taken for the whole photograph.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from defocus.applications.map_of import map_in_px
from defocus.errors import ParameterError
from defocus.methods.shi2015tog import order_cue, relative_depth
from defocus.photograph import Photograph, PhotographLike, as_photograph
from defocus.progress import Progress
from defocus.units import circle_of_confusion_from_sigma

if TYPE_CHECKING:
    from defocus.defocus_map import DefocusMap

Side = Literal["behind", "front", "auto"]
SIDES: tuple[Side, ...] = ("behind", "front", "auto")
FARTHEST = 1000.0
"""m; farther, infinity among it, reads as this."""
FLOOR = 0.5
"""px, sigma that a method reads in focus; taken off in squares before the lens equation."""
UNCERTAIN_PX, UNCERTAIN_SHARE = 0.15, 0.1
_DIAGONAL_35MM = float(np.hypot(36, 24))
_FOCAL_LENGTH, _F_NUMBER, _DISTANCE, _FOCAL_LENGTH_35MM = 0x920A, 0x829D, 0x9206, 0xA405
_PLANE_X_RESOLUTION, _PLANE_UNIT, _PIXELS_X, _PIXELS_Y = 0xA20E, 0xA210, 0xA002, 0xA003
_MILLIMETRES = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
_SAME_SIZE, _SAME_SHAPE = 0.005, 0.01
AMBIGUITIES = (
    "Blur does not tell whether a thing lies before or behind the plane of focus (one side is taken for all), nor "
    "whether its texture is soft by nature."
)


@dataclass(frozen=True)
class Lens:
    """The camera as it stood.

    Attributes
    ----------
    focal_length : mm, of the lens itself, not its 35-mm equivalent.
    f_number : aperture.
    focus_distance : m, from the lens to what is in focus; larger than the focal length.
    sensor_width : mm, along the photograph's width.

    Raises
    ------
    ParameterError
        If one is not positive, or the distance not larger than the focal length.
    """

    focal_length: float
    f_number: float
    focus_distance: float
    sensor_width: float

    def __post_init__(self) -> None:
        for name in ("focal_length", "f_number", "focus_distance", "sensor_width"):
            if not 0 < getattr(self, name) < np.inf:
                raise ParameterError(f"{name} must be above 0, not {getattr(self, name)}.")
        if self.focus_distance * 1000 <= self.focal_length:
            raise ParameterError(
                f"focus_distance is in metres and larger than the focal length: {self.focus_distance} m is not "
                f"more than {self.focal_length} mm."
            )

    def depth(self, sigma: NDArray[np.floating], side: Side, width: int) -> NDArray[np.float64]:
        """Distance in m of what is blurred by `sigma` px in a photograph `width` px wide; `FARTHEST` at most."""
        circle = circle_of_confusion_from_sigma(sigma) * self.sensor_width / width
        f, distance = self.focal_length, self.focus_distance * 1000
        share = circle * self.f_number * (distance - f) / f**2
        below = np.asarray(1 - share if side == "behind" else 1 + share)
        metres: NDArray[np.float64] = np.where(below > 0, self.focus_distance / np.maximum(below, 1e-9), FARTHEST)
        return np.minimum(metres, FARTHEST)

    def sigma(self, depth: NDArray[np.floating], width: int) -> NDArray[np.float64]:
        """Blur in px of what lies at `depth` m: the inverse of `depth`."""
        f, distance = self.focal_length, self.focus_distance * 1000
        z = np.asarray(depth, np.float64) * 1000
        circle = f**2 / self.f_number * np.abs(z - distance) / (z * (distance - f))
        return np.asarray(circle * width / self.sensor_width / 4)


def lens_from_exif(photograph: Photograph, given: Mapping[str, float | None] | None = None) -> Lens | list[str]:
    """The lens of a photograph: what was given, and the rest from its EXIF.

    The sensor's width comes from the resolution of the focal plane, or from the 35-mm equivalent of the focal length.

    Parameters
    ----------
    photograph : with the path of its file.
    given : any of the fields of `Lens`; None entries count as not given.

    Warns
    -----
    UserWarning
        If the EXIF is of a picture of another size, so that the photograph may be a part of it.

    Returns
    -------
    Lens, or the names of the fields that are not known.
    """
    tags = photograph.tags

    def number(tag: int) -> float | None:
        value = tags.number(tag)
        return value if value is not None and 0 < value < 1e6 else None

    fields: dict[str, float | None] = {
        "focal_length": number(_FOCAL_LENGTH),
        "f_number": number(_F_NUMBER),
        "focus_distance": number(_DISTANCE),
    }
    fields |= {k: v for k, v in (given or {}).items() if v is not None}
    if fields.get("sensor_width") is None:
        fields["sensor_width"] = _sensor_width(photograph, number, fields["focal_length"])
    known = {k: v for k, v in fields.items() if v is not None}
    missing = [k for k in fields if k not in known]
    return missing if missing else Lens(**known)


def _sensor_width(
    photograph: Photograph, number: Callable[[int], float | None], focal_length: float | None
) -> float | None:
    """Width of the part of the sensor that the photograph shows, mm; None where the EXIF does not say.

    From the 35-mm equivalent of the focal length, or the resolution of the focal plane. Both are of the whole frame: a
    photograph of another shape is a part of it, and is said to be. One of the same shape and another size may be a
    part or a smaller copy; it is taken for a copy, and that is said too.
    """
    size = photograph.width, photograph.height
    # As the camera took it: the tags are of the frame before it was turned.
    frame = number(_PIXELS_X), number(_PIXELS_Y)
    if photograph.orientation > 4:
        frame = frame[1], frame[0]
    frame_width, frame_height = frame[0] or float(size[0]), frame[1] or float(size[1])
    resolution, unit = number(_PLANE_X_RESOLUTION), _MILLIMETRES.get(int(number(_PLANE_UNIT) or 2))
    equivalent = number(_FOCAL_LENGTH_35MM)
    if equivalent and focal_length:
        whole = _DIAGONAL_35MM * focal_length / equivalent * frame_width / math.hypot(frame_width, frame_height)
    elif resolution and unit:
        whole = frame_width / resolution * unit
    else:
        return None
    if abs(size[0] / frame_width - 1) < _SAME_SIZE and abs(size[1] / frame_height - 1) < _SAME_SIZE:
        return whole
    part = whole * size[0] / frame_width
    sizes = (
        f"The EXIF is of {frame_width:.0f} x {frame_height:.0f} pixels, and the photograph has {size[0]} x {size[1]}"
    )
    if abs(size[0] / size[1] / (frame_width / frame_height) - 1) >= _SAME_SHAPE:
        warnings.warn(f"{sizes}: it is taken for a part of the frame, {part:.1f} mm of the sensor wide.", stacklevel=3)
        return part
    warnings.warn(
        f"{sizes}: it is taken for a smaller copy of the whole frame. If it is a part of it, distances are wrong: give "
        f"the sensor's width along it, {part:.1f} mm.",
        stacklevel=3,
    )
    return whole


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
    side: Side
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
    progress : called with a step and the share done.

    Returns
    -------
    Depth

    Raises
    ------
    ParameterError
        If side or floor are none of these, the map is a score without unit or of another size.
    """
    report = progress if progress is not None else lambda step, share: None
    if side not in SIDES:
        raise ParameterError(f"side must be one of {', '.join(SIDES)}, not {side!r}.")
    if not 0 <= floor < np.inf:
        raise ParameterError(f"floor must be 0 px or more, not {floor}.")
    photograph = as_photograph(photo)
    found = map_in_px(photograph, defocus_map, lambda step, share: report(step, 0.9 * share))
    report("depth", 0.9)
    taken: Side = side
    if side == "auto":
        taken = "behind" if order_cue(found.sigma) == "sharp near" else "front"
    if lens is None:
        order = "sharp near" if taken == "behind" else "sharp far"
        relative = found.relative_depth if side == "auto" else None
        if relative is None:
            relative = relative_depth(found.sigma, photograph.as_float(np.float32), order)
        report("done", 1.0)
        return Depth(relative, None, None, found.confidence, "relative", taken, None)

    def metres(sigma: NDArray[Any]) -> NDArray[np.float32]:
        blur = np.sqrt(np.maximum(sigma.astype(np.float64) ** 2 - floor**2, 0))
        return lens.depth(blur, taken, photograph.width).astype(np.float32)

    off = np.maximum(UNCERTAIN_PX, UNCERTAIN_SHARE * found.sigma)
    bounds = [metres(np.maximum(found.sigma - off, 0)), metres(found.sigma + off)]
    if taken == "front":
        bounds.reverse()
    report("done", 1.0)
    return Depth(metres(found.sigma), bounds[0], bounds[1], found.confidence, "m", taken, lens)
