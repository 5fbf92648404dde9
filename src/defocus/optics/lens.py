"""The lens and the camera: from the blur of a thing to its distance, and back (thin lens; see `defocus.depth`)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL.ExifTags import Base

from defocus.errors import ParameterError
from defocus.photograph import Photograph
from defocus.units import circle_of_confusion_from_sigma

__all__ = ["FARTHEST", "BlurredSide", "Lens", "lens_from_exif"]

BlurredSide = Literal["behind", "front"]
"""Where what is blurred lies, seen from the distance in focus."""
FARTHEST = 1000.0
"""m; farther, infinity among it, reads as this."""
_DIAGONAL_35MM = float(np.hypot(36, 24))
_MILLIMETRES = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
_SAME_SIZE, _SAME_SHAPE = 0.005, 0.01


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

    def depth(self, sigma: NDArray[np.floating], side: BlurredSide, width: int) -> NDArray[np.float64]:
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
        "focal_length": number(Base.FocalLength),
        "f_number": number(Base.FNumber),
        "focus_distance": number(Base.SubjectDistance),
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
    frame = number(Base.ExifImageWidth), number(Base.ExifImageHeight)
    if photograph.orientation > 4:
        frame = frame[1], frame[0]
    frame_width, frame_height = frame[0] or float(size[0]), frame[1] or float(size[1])
    resolution, unit = (
        number(Base.FocalPlaneXResolution),
        _MILLIMETRES.get(int(number(Base.FocalPlaneResolutionUnit) or 2)),
    )
    equivalent = number(Base.FocalLengthIn35mmFilm)
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
