"""Where to look in a photograph, and what is to be said of its sharpness, in words: only what its map knows."""

from __future__ import annotations

from typing import Literal, NamedTuple

from defocus.applications.rank import Sharpness, subject_area
from defocus.photograph.exif import Exif

__all__ = ["FocusPoint", "focus_point", "why"]

_AT_THE_LEAST = 1.05
"""Sigma up to this many times the least that can be told is said to be below it."""


class FocusPoint(NamedTuple):
    """Where to look first.

    Attributes
    ----------
    x, y : fractions 0..1 of the upright frame, from its upper left corner.
    why : "AF point", what the camera wrote that it focused on, or "sharpest region".
    """

    x: float
    y: float
    why: Literal["AF point", "sharpest region"]


def focus_point(tags: Exif, size: tuple[int, int], sharpness: Sharpness | None = None) -> FocusPoint | None:
    """Return where to look first: where the camera says that it focused, or else where the photograph is sharpest.

    Read are EXIF SubjectArea and SubjectLocation, which phones and some cameras write, and the maker's notes of Canon,
    Sony, Panasonic and Fujifilm, and of Nikon's cameras where they tell a place (`defocus.photograph.maker_note`).

    Parameters
    ----------
    tags : EXIF of the photograph.
    size : width and height, px, of the upright photograph.
    sharpness : what was measured of it; None where nothing has been yet.

    Returns
    -------
    FocusPoint, or None where neither is known.

    Examples
    --------
    >>> focus_point(Exif(), (6000, 4000)) is None
    True
    """
    area = subject_area(tags, size)
    if area is not None:
        return FocusPoint(area.left + area.width / 2, area.top + area.height / 2, "AF point")
    if sharpness is None or sharpness.sharpest_at is None:
        return None
    return FocusPoint(*sharpness.sharpest_at, "sharpest region")


def why(sharpness: Sharpness) -> str:
    """Return in words what was measured of a photograph, most important first.

    Parameters
    ----------
    sharpness : of the photograph.

    Examples
    --------
    >>> import numpy as np
    >>> import defocus
    >>> photo = np.random.default_rng(1).integers(0, 256, (60, 90, 3), np.uint8)
    >>> why(defocus.sharpness(defocus.estimate(photo), photo))
    'sharpest 0.3 px or less at the centre; 100 % in focus'
    """
    s = sharpness
    parts = [] if not s.shaken else ["shaken" + (f" by about {s.shake_length:.0f} px" if s.shake_length else "")]
    if s.in_focus is None or s.sharpest_sigma is None:
        return "; ".join([*parts, f"no detail: blur can be read in {_percent(s.readable)} of it"])
    least = s.sharpest_sigma <= _AT_THE_LEAST * s.least_sigma
    sharpest = f"sharpest {s.sharpest_sigma:.1f} px" + (" or less" if least else "")
    parts.append(sharpest if s.sharpest_at is None else f"{sharpest} {_place(*s.sharpest_at)}")
    parts.append(f"{_percent(s.in_focus)} in focus")
    if s.subject_by == "given":
        subject = "cannot be read" if s.subject_sigma is None else f"{s.subject_sigma:.1f} px"
        parts.append(f"subject {subject}")
    return "; ".join(parts)


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.0f} %"


def _place(x: float, y: float) -> str:
    """In which ninth of the frame a point lies."""
    across = "left" if x < 1 / 3 else "right" if x > 2 / 3 else ""
    down = "top" if y < 1 / 3 else "bottom" if y > 2 / 3 else ""
    return "at the " + (" ".join(filter(None, (down, across))) or "centre")
