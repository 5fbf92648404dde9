"""The lens and the camera: from the blur of an object to its distance, and back (thin lens; see `defocus.depth`)."""

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
from defocus.units import circle_of_confusion_from_sigma, sigma_from_circle_of_confusion

__all__ = ["FARTHEST", "BlurredSide", "Lens", "lens_from_exif"]

BlurredSide = Literal["behind", "front"]
"""Whether what is blurred lies behind the distance in focus or in front of it."""
FARTHEST = 1000.0
"""Largest distance in m that is returned; anything farther, and infinity, becomes this."""
_DIAGONAL_35MM = float(np.hypot(36, 24))
"""Diagonal in mm of a 35-mm frame."""
_MILLIMETRES = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
"""Length in mm of each unit that EXIF's FocalPlaneResolutionUnit numbers."""
_SAME_SIZE, _SAME_SHAPE = 0.005, 0.01
"""Relative tolerances within which the photograph has the size, and the aspect ratio, that the EXIF states."""


@dataclass(frozen=True)
class Lens:
    """The lens and camera settings of a photograph.

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

    Examples
    --------
    >>> import defocus
    >>> lens = defocus.Lens(focal_length=50, f_number=1.8, focus_distance=2, sensor_width=36)
    >>> sigma = lens.sigma(np.array([2.0, 3.0, 10.0]), width=6000)  # px
    >>> sigma.round(1)
    array([ 0. , 10.7, 25.8])
    >>> lens.depth(sigma, side="behind", width=6000).round(2)  # m
    array([ 2.,  3., 10.])
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
        """Return the distance of what is blurred by `sigma`.

        Parameters
        ----------
        sigma : px, 0 or more, any shape.
        side : "behind" or "front" of the distance in focus.
        width : width of the photograph, px.

        Returns
        -------
        m, float64 of the shape of `sigma`, 1000 at most.

        Raises
        ------
        ParameterError
            If a sigma is negative or not finite.

        Examples
        --------
        >>> Lens(50, 1.8, 2, 36).depth(np.array([0.0, 10.0]), "front", width=6000).round(2)
        array([2.  , 1.53])
        """
        circle = circle_of_confusion_from_sigma(sigma) * self.sensor_width / width
        f, distance = self.focal_length, self.focus_distance * 1000
        fraction = circle * self.f_number * (distance - f) / f**2
        below = np.asarray(1 - fraction if side == "behind" else 1 + fraction)
        metres: NDArray[np.float64] = np.where(below > 0, self.focus_distance / np.maximum(below, 1e-9), FARTHEST)
        return np.minimum(metres, FARTHEST)

    def sigma(self, depth: NDArray[np.floating], width: int) -> NDArray[np.float64]:
        """Return the blur of what lies at a distance: the inverse of `depth`.

        Parameters
        ----------
        depth : m, above 0, any shape.
        width : width of the photograph, px.

        Returns
        -------
        px, float64 of the shape of `depth`.

        Examples
        --------
        >>> Lens(50, 1.8, 2, 36).sigma(np.array([1.0, 2.0, 4.0]), width=6000).round(1)
        array([32.2,  0. , 16.1])
        """
        f, distance = self.focal_length, self.focus_distance * 1000
        z = np.asarray(depth, np.float64) * 1000
        circle = f**2 / self.f_number * np.abs(z - distance) / (z * (distance - f))
        return sigma_from_circle_of_confusion(circle * width / self.sensor_width)


def lens_from_exif(photograph: Photograph, given: Mapping[str, float | None] | None = None) -> Lens | list[str]:
    """Return the lens of a photograph: the given fields, and the others from its EXIF.

    The sensor's width comes from the 35-mm equivalent of the focal length, or else from the resolution of the focal
    plane.

    Parameters
    ----------
    photograph : as it was read, with its EXIF.
    given : any of the fields of `Lens`; None entries count as not given.

    Returns
    -------
    Lens, or the names of the fields that are not known.

    Warns
    -----
    UserWarning
        If the EXIF is of a picture of another size, so that the photograph may be a part of it.

    Raises
    ------
    ParameterError
        If a field is out of its range; see `Lens`.

    Examples
    --------
    >>> from defocus.photograph import photograph_from_array
    >>> photograph = photograph_from_array(np.zeros((40, 60, 3)))
    >>> lens_from_exif(photograph, {"focal_length": 50, "sensor_width": 36})
    ['f_number', 'focus_distance']
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
    """Return the width of the part of the sensor that the photograph shows, mm; None where the EXIF does not say.

    From the 35-mm equivalent of the focal length, or the resolution of the focal plane. Both are of the whole frame. A
    photograph of another aspect ratio is a part of the frame; one of the same ratio and another size may be a part or
    a smaller copy, and is taken for a copy. Both cases are reported by a warning.
    """
    size = photograph.width, photograph.height
    # The tags describe the frame as the camera took it, before it was turned upright.
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
