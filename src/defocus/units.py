"""Conversions between sigma and the radius or diameter of the blur disc.

A lens images a defocused point as a disc (the circle of confusion), and this package gives the sigma of the Gaussian
that best explains its blur. Which Gaussian goes with which disc is a convention, and several are in use:

========================  =============================================================================
``"best_fit"``            the default: the Gaussian whose blur of straight edges differs least from that of the disc
                          (the definition is in `defocus.optics.kernels`): sigma = 0.5428 radius = 0.2714 diameter.
                          Edges, because blur is seen at them, and because the table measured on photographs agrees
``"second_moment"``       equal variance: sigma = radius / 2 = diameter / 4, 8 % less than by the best fit
``"dandres"``             best-fitting Gaussian as measured on photographs, table of D'Andres et al., IEEE TIP 2016, for
                          radii of 0.5..6 px: about radius / 1.83. Its discs have the area of a pixel in them, hence
                          up to 2 % more than by the default from 3 px on. For files in its authors' units
``"syndof"``              sigma = (diameter - 1) / 4, SYNDOF of Lee et al., CVPR 2019: one pixel is sharp
========================  =============================================================================

The default is the ratio of the continuous disc, as the lens makes it. A photograph adds the area of its pixels: a disc
of radius 1 px drawn on the pixel grid has a sigma of 0.66 px, not 0.54, one of 2 px has 1.12, not 1.09, and from 4 px
on the difference is below 0.9 %. `defocus.optics.kernels.disc_radius` is the inverse for discs on the pixel grid.

All lengths are in px of the photograph. Every function takes a number or an array of any shape and returns float64 of
the same shape.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from defocus.errors import ParameterError
from defocus.optics.kernels import DISC_RATIO

__all__ = [
    "DiameterRule",
    "RadiusRule",
    "circle_of_confusion_from_sigma",
    "disc_radius_from_sigma",
    "sigma_from_circle_of_confusion",
    "sigma_from_disc_radius",
]

RadiusRule = Literal["best_fit", "second_moment", "dandres"]
"""Convention that relates sigma to the radius of a disc."""
DiameterRule = Literal["best_fit", "second_moment", "syndof"]
"""Convention that relates sigma to the diameter of a disc."""

# The table of D'Andres et al. 2016, published with the RTF data set, with (0, 0) added so that no blur stays no blur.
_DANDRES_RADIUS = np.concatenate([[0.0], np.arange(0.5, 6.01, 0.25)])
_DANDRES_SIGMA = np.array(
    "0 .3 .5 .65 .775 .875 .975 1.125 1.275 1.375 1.525 1.65 1.8 1.925 2.05 2.2 2.325 2.45 2.6 2.725 2.875 "
    "3 3.15 3.275".split(),
    dtype=np.float64,
)


def sigma_from_disc_radius(radius: ArrayLike, rule: RadiusRule = "best_fit") -> NDArray[np.float64]:
    """Return the sigma that corresponds to a uniform disc of `radius`.

    Parameters
    ----------
    radius : px, 0 or more; a number or an array of any shape.
    rule : "best_fit" (0.5428 radius), "second_moment" (radius / 2) or "dandres" (linear between the table's entries,
        the last ratio beyond 6 px).

    Returns
    -------
    px, float64 of the shape of `radius`.

    Raises
    ------
    ParameterError
        If the rule is unknown or a radius is negative or not finite.

    Examples
    --------
    >>> sigma_from_disc_radius([1.0, 4.0]).round(3)
    array([0.543, 2.171])
    >>> sigma_from_disc_radius([1.0, 4.0], rule="second_moment")
    array([0.5, 2. ])
    >>> sigma_from_disc_radius([1.0, 4.0], rule="dandres")
    array([0.65, 2.2 ])
    """
    r = _lengths("radius", radius)
    if rule == "best_fit":
        return r * DISC_RATIO
    if rule == "second_moment":
        return r / 2
    if rule == "dandres":
        return _interpolate(r, _DANDRES_RADIUS, _DANDRES_SIGMA)
    raise ParameterError(f"There is no rule {rule!r} for radii: choose best_fit, second_moment or dandres.")


def disc_radius_from_sigma(sigma: ArrayLike, rule: RadiusRule = "best_fit") -> NDArray[np.float64]:
    """Return the radius of the uniform disc that corresponds to `sigma`; the inverse of `sigma_from_disc_radius`.

    Parameters
    ----------
    sigma : px, 0 or more; a number or an array of any shape.
    rule : "best_fit", "second_moment" or "dandres".

    Returns
    -------
    px, float64 of the shape of `sigma`.

    Raises
    ------
    ParameterError
        If the rule is unknown or a sigma is negative or not finite.

    Examples
    --------
    >>> disc_radius_from_sigma([0.0, 0.5, 2.0]).round(2)
    array([0.  , 0.92, 3.68])
    """
    s = _lengths("sigma", sigma)
    if rule == "best_fit":
        return s / DISC_RATIO
    if rule == "second_moment":
        return s * 2
    if rule == "dandres":
        return _interpolate(s, _DANDRES_SIGMA, _DANDRES_RADIUS)
    raise ParameterError(f"There is no rule {rule!r} for radii: choose best_fit, second_moment or dandres.")


def sigma_from_circle_of_confusion(diameter: ArrayLike, rule: DiameterRule = "best_fit") -> NDArray[np.float64]:
    """Return the sigma that corresponds to a circle of confusion of `diameter`.

    Parameters
    ----------
    diameter : px, 0 or more; a number or an array of any shape.
    rule : "best_fit" (0.2714 diameter), "second_moment" (diameter / 4) or "syndof" ((diameter - 1) / 4, and 0 below
        1 px).

    Returns
    -------
    px, float64 of the shape of `diameter`.

    Raises
    ------
    ParameterError
        If the rule is unknown or a diameter is negative or not finite.

    Examples
    --------
    >>> sigma_from_circle_of_confusion([1.0, 9.0]).round(2)
    array([0.27, 2.44])
    >>> sigma_from_circle_of_confusion([1.0, 9.0], rule="syndof")
    array([0., 2.])
    """
    c = _lengths("diameter", diameter)
    if rule == "best_fit":
        return c / 2 * DISC_RATIO
    if rule == "second_moment":
        return c / 4
    if rule == "syndof":
        return np.maximum(c - 1, 0) / 4
    raise ParameterError(f"There is no rule {rule!r} for diameters: choose best_fit, second_moment or syndof.")


def circle_of_confusion_from_sigma(sigma: ArrayLike, rule: DiameterRule = "best_fit") -> NDArray[np.float64]:
    """Return the diameter of the circle of confusion that corresponds to `sigma`.

    Parameters
    ----------
    sigma : px, 0 or more; a number or an array of any shape.
    rule : "best_fit" (3.684 sigma), "second_moment" (4 sigma) or "syndof" (4 sigma + 1).

    Returns
    -------
    px, float64 of the shape of `sigma`.

    Raises
    ------
    ParameterError
        If the rule is unknown or a sigma is negative or not finite.

    Examples
    --------
    >>> circle_of_confusion_from_sigma([0.0, 2.0]).round(2)
    array([0.  , 7.37])
    """
    s = _lengths("sigma", sigma)
    if rule == "best_fit":
        return s / DISC_RATIO * 2
    if rule == "second_moment":
        return s * 4
    if rule == "syndof":
        return s * 4 + 1
    raise ParameterError(f"There is no rule {rule!r} for diameters: choose best_fit, second_moment or syndof.")


def _lengths(name: str, values: ArrayLike) -> NDArray[np.float64]:
    lengths = np.asarray(values, dtype=np.float64)
    if not np.all((lengths >= 0) & (lengths < np.inf)):
        raise ParameterError(f"{name} must be finite and 0 or more: check the values for negative ones and NaN.")
    return lengths


def _interpolate(
    values: NDArray[np.float64], known: NDArray[np.float64], wanted: NDArray[np.float64]
) -> NDArray[np.float64]:
    beyond = values * (wanted[-1] / known[-1])
    return np.where(values > known[-1], beyond, np.interp(values, known, wanted))
