"""What the colour scenes are made of that train both networks of the pyramid method."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CANVAS", "SCENE", "ColourSceneRecipe"]

SCENE = 448
"""Side of a scene, px."""
_MARGIN = 56
"""Width in px of the margin around a scene that is rendered too, so that blur reaches in from outside."""
CANVAS = SCENE + 2 * _MARGIN
"""Side of a scene with its margin, px."""


@dataclass(frozen=True)
class ColourSceneRecipe:
    """Shares of what training scenes consist of, each 0..1; a share is that of all scenes unless it says otherwise.

    Attributes
    ----------
    apertures : shares of Gaussians, discs and polygons; one scene has one aperture.
    rooms : a wall, a floor and things that stand on it, see `defocus.training.pyramid.colour.rooms`.
    single : of the other scenes, those of a single surface; the others have two to five over one another.
    one_picture : of those with several surfaces, those whose surfaces all show the same picture, so that only the blur
        changes at their borders.
    slanted_back, slanted : of the surfaces behind all others and of the others, those whose blur changes along them.
    bare, drawn, half_bare : of the surfaces, those without detail, those with drawn shapes, and those that show a
        photograph in a part and are bare in the rest. The others show a photograph.
    rounded : of the bare surfaces that lie over others, those that are shaded like a rounded body.
    night : darkness with lamps.
    shaken : camera shake of 6 to 36 px; in half of them, where there are several surfaces, only one of these moves.
    reduced : made smaller by up to 1.2; half of these by other factors across than down.
    noisy : sensor noise, whose standard deviation is up to `noise` of 255; small ones are more frequent.
    noise : see `noisy`.
    demosaiced : of the noise, what is correlated between neighbours, as after demosaicing.
    film_grain, very_noisy : grain of film, and white noise with a standard deviation of 12 to 28 of 255.
    sharpened : with an unsharp mask over them.
    few_levels, grey : with few levels of each colour, and without colour.
    captioned, halftone : with words over them, and with the dots of print. Where a scene has these, or is shaken, blur
        is not that of the lens, and confidence has to be 0.
    jpeg, low_jpeg, saved_twice : stored as JPEG of quality 50 to 98, of 5 to 34, and of 10 to 59 and then of 60 to 97.
    """

    apertures: tuple[float, float, float] = (0.25, 0.30, 0.45)
    rooms: float = 0.22
    single: float = 0.3
    one_picture: float = 0.12
    slanted_back: float = 0.4
    slanted: float = 0.2
    bare: float = 0.30
    drawn: float = 0.06
    half_bare: float = 0.16
    rounded: float = 0.5
    night: float = 0.06
    shaken: float = 0.05
    reduced: float = 0.2
    noisy: float = 0.6
    noise: float = 10.0
    demosaiced: float = 0.4
    film_grain: float = 0.07
    very_noisy: float = 0.03
    sharpened: float = 0.06
    few_levels: float = 0.03
    grey: float = 0.04
    captioned: float = 0.04
    halftone: float = 0.015
    jpeg: float = 0.40
    low_jpeg: float = 0.08
    saved_twice: float = 0.05
