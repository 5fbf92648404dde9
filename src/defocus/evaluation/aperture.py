"""Defocus as a lens makes it: a scene seen from many points of the aperture.

From each point the scene is one sharp view, in which everything is shifted by its distance from the plane of focus and
the nearest thing covers what lies behind it. The photograph is the mean of the views in linear light, the convolution
of nothing: slanted surfaces, and surfaces of which only a part of the aperture sees something, come out right by
construction. `defocus.evaluation.render.render_depth` composes blurred layers instead, which takes a tenth of the time
and is exact for surfaces that face the camera only.

Surfaces are given on a grid that is `OVERSAMPLING` times as fine as the picture, so that shifts come in thirds of a
pixel. The middle sample of a pixel lies at its centre.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.special import ndtri
from scipy.stats import qmc

from defocus.errors import DefocusError
from defocus.evaluation.render import Kernel, add_noise
from defocus.optics.light import linear_to_srgb, srgb_to_linear

__all__ = ["OVERSAMPLING", "Surface", "aperture_points", "expose", "render_picture", "render_surfaces"]

OVERSAMPLING = 3
"""Samples of a surface along each side of a pixel; odd, so that one lies at its centre."""
_POINTS = 256
"""Number of points of the aperture."""
_STEP = 0.25
"""px: a larger difference of the blur between neighbouring pixels is the outline of a nearer thing."""
_REACH = 3.0
"""What a point of the aperture may be from its middle, in standard deviations."""


class Surface(NamedTuple):
    """A surface of a scene, also where others cover it.

    Attributes
    ----------
    colour : 3H x 3W x 3, linear light, 0..1.
    signed_sigma : 3H x 3W, px of the picture (not of this grid): standard deviation of the blur, negative behind the
        plane of focus. A thin lens makes it grow with the inverse of the distance, so larger is nearer.
    present : 3H x 3W bool, False where the surface is not.

    Examples
    --------
    >>> wall = Surface(np.full((6, 9, 3), 0.5), np.full((6, 9), -2.0), np.ones((6, 9), bool))
    >>> render_surfaces([wall]).shape
    (2, 3, 3)
    """

    colour: NDArray[np.floating]
    signed_sigma: NDArray[np.floating]
    present: NDArray[np.bool_]


def aperture_points(kernel: Kernel = "gaussian", number: int = _POINTS) -> NDArray[np.float64]:
    """Return points that fill an aperture evenly, whose standard deviation is 1 along either axis.

    Parameters
    ----------
    kernel : "gaussian", whose points are denser in the middle, or "disc" of radius 2.
    number : of points, a power of 2.

    Returns
    -------
    number x 4 float64. The first two columns are the point; the other two, 0..1, are a place within the area of a
    pixel, so that points and places together are evenly spread. All are of Sobol's sequence (1967).

    Raises
    ------
    DefocusError
        If the number is no power of 2, of which alone the sequence is balanced.

    Examples
    --------
    >>> points = aperture_points("disc")[:, :2]
    >>> points.std(axis=0).round(6), bool(np.hypot(*points.T).max() < 2.02)
    (array([1., 1.]), True)
    """
    if number < 4 or number & (number - 1):
        raise DefocusError(f"The number of points of an aperture is a power of 2 from 4 on, not {number}.")
    # The sequence begins at 0, 0; half a step moves its points to the middle of their cells.
    places: NDArray[np.float64] = qmc.Sobol(4, scramble=False).random(number) + 0.5 / number
    if kernel == "gaussian":
        points = ndtri(places[:, :2])
    else:
        radius, turn = 2 * np.sqrt(places[:, 0]), 2 * np.pi * places[:, 1]
        points = np.stack([radius * np.cos(turn), radius * np.sin(turn)], axis=1)
    points = (points - points.mean(axis=0)) / points.std(axis=0)
    return np.concatenate([points, places[:, 2:]], axis=1)


def render_surfaces(
    surfaces: Sequence[Surface], kernel: Kernel = "gaussian", *, photosites: bool = True, points: int = _POINTS
) -> NDArray[np.float64]:
    """Render a scene through an aperture.

    What a view does not see, because the scene ends there, does not count: let surfaces reach beyond the borders by 3
    times their sigma, and cut that off.

    Parameters
    ----------
    surfaces : of the scene, of one size, a multiple of `OVERSAMPLING`.
    kernel : "gaussian", or "disc" of radius 2 sigma.
    photosites : take means over the area of each pixel, as a sensor does (True), or the light at its centre, for
        colours that a sensor has averaged already (False).
    points : number of points of the aperture, a power of 2.

    Returns
    -------
    H x W x 3 float64, linear light.

    Raises
    ------
    DefocusError
        If the sizes differ or are no multiple of `OVERSAMPLING`, or no surface is seen at some pixel.

    Examples
    --------
    >>> grey = Surface(np.full((6, 6, 3), 0.5), np.zeros((6, 6)), np.ones((6, 6), bool))
    >>> render_surfaces([grey])[0, 0]
    array([0.5, 0.5, 0.5])
    """
    shape = surfaces[0].present.shape
    for surface in surfaces:
        shapes = (surface.colour.shape[:2], surface.signed_sigma.shape, surface.present.shape)
        if set(shapes) != {shape} or shape[0] % OVERSAMPLING or shape[1] % OVERSAMPLING:
            raise DefocusError(
                f"Surfaces must have one size, a multiple of {OVERSAMPLING} along either side, not {shapes}."
            )
    height, width = (side // OVERSAMPLING for side in shape)
    rows, columns, shifts, colours = _far_to_near(surfaces)
    aperture = aperture_points(kernel, points)
    margin = int(np.ceil(np.abs(aperture[:, :2]).max() * np.abs(shifts).max())) + 1
    # Half a sample more, so that cutting off the fraction rounds.
    rows, columns = rows + np.float32(margin + 0.5), columns + np.float32(margin + 0.5)
    row_starts = [_pixels(shape[0], margin, offset) * width for offset in range(OVERSAMPLING)]  # below 0 for none
    pixel_columns = [_pixels(shape[1], margin, offset) for offset in range(OVERSAMPLING)]
    total = np.zeros((height * width, 3))
    seen = np.zeros(height * width)
    nearest = np.empty(height * width, np.intp)
    for across, down, *place in aperture:
        off_row, off_column = (int(p * OVERSAMPLING) if photosites else OVERSAMPLING // 2 for p in place)
        # Only what falls on this view's sample of each pixel is recorded; no other filter is added.
        start = row_starts[off_row][(rows + np.float32(down) * shifts).astype(np.intp)]
        hits = np.flatnonzero(start >= 0)
        column = pixel_columns[off_column][(columns[hits] + np.float32(across) * shifts[hits]).astype(np.intp)]
        on_sample = column >= 0
        hits, pixels = hits[on_sample], start[hits[on_sample]] + column[on_sample]
        nearest.fill(-1)
        # Of several samples at one pixel the last stays, which is the nearest.
        nearest[pixels] = hits
        visible = nearest >= 0
        total[visible] += colours[nearest[visible]]
        seen += visible
    if not seen.all():
        raise DefocusError("A scene must show some surface at every pixel: put a wall behind everything.")
    return np.asarray(total / seen[:, None]).reshape(height, width, 3)


def _far_to_near(surfaces: Sequence[Surface]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return rows, columns, shifts by a standard deviation of the aperture, and colours of all samples, far ones first.

    Lengths are in samples, float32.
    """
    at = [np.nonzero(surface.present) for surface in surfaces]
    rows, columns = (np.concatenate([places[axis] for places in at]).astype(np.float32) for axis in (0, 1))
    shifts = np.concatenate([s.signed_sigma[p] for s, p in zip(surfaces, at, strict=True)]) * OVERSAMPLING
    colours = np.concatenate([s.colour[p] for s, p in zip(surfaces, at, strict=True)])
    order = np.argsort(shifts, kind="stable")
    return rows[order], columns[order], shifts[order].astype(np.float32), colours[order].astype(np.float32)


def _pixels(size: int, margin: int, offset: int) -> NDArray[np.int64]:
    """Return, for each place from -margin to size + margin, the pixel of which it is the sample number `offset`.

    Where a place is outside 0..size - 1, or another sample of its pixel, the number is -1.
    """
    places = np.arange(-margin, size + margin + 1)
    recorded = (places % OVERSAMPLING == offset) & (places >= 0) & (places < size)
    return np.where(recorded, places // OVERSAMPLING, -1)


def render_picture(
    image: NDArray[np.uint8],
    signed_sigma: ArrayLike,
    kernel: Kernel = "gaussian",
    *,
    noise: float = 0.0,
    seed: int = 0,
    points: int = _POINTS,
) -> NDArray[np.uint8]:
    """Render the defocus of a picture that is sharp everywhere.

    Colours are interpolated between pixels by cubic splines, in linear light. Blur is not, so that its steps from one
    object to the next stay steps. What lies behind a nearer object is made up: the surface beside it goes on, in a
    mirror image. So does the picture beyond its borders.

    Parameters
    ----------
    image : H x W x 3 uint8, display-referred sRGB.
    signed_sigma : H x W, px; see `Surface`.
    kernel : "gaussian", or "disc" of radius 2 sigma.
    noise : standard deviation of white noise on the display values, a fraction of full scale.
    seed : of the noise.
    points : number of points of the aperture, a power of 2.

    Returns
    -------
    H x W x 3 uint8, display-referred sRGB.

    Raises
    ------
    DefocusError
        If picture and blur differ in size.

    Examples
    --------
    >>> black_and_white = np.repeat(np.array([[[0] * 3, [255] * 3]], np.uint8), 8, axis=1).repeat(8, axis=0)
    >>> blurred = render_picture(black_and_white, np.full((8, 16), 1.5))
    >>> bool((np.diff(blurred[4, 4:12, 0].astype(int)) > 0).all())
    True
    """
    sigma = np.asarray(signed_sigma, dtype=np.float64)
    if image.shape != (*sigma.shape, 3):
        raise DefocusError(f"Picture {image.shape} and blur {sigma.shape} must have one size, the picture 3 channels.")
    beyond = int(np.ceil(_REACH * np.abs(sigma).max()))
    light = np.pad(srgb_to_linear(image / 255.0), ((beyond, beyond), (beyond, beyond), (0, 0)), mode="symmetric")
    sigma = np.pad(sigma, beyond, mode="symmetric")
    hidden, rows, columns = _hidden(sigma)
    surfaces = [
        Surface(_finer(light), _repeated(sigma), np.ones([side * OVERSAMPLING for side in sigma.shape], bool)),
        Surface(_finer(light[rows, columns]), _repeated(sigma[rows, columns]), _repeated(hidden)),
    ]
    seen = render_surfaces(surfaces, kernel, photosites=False, points=points)
    return expose(seen[beyond : beyond + image.shape[0], beyond : beyond + image.shape[1]], noise, seed)


def _repeated(plane: NDArray[Any]) -> NDArray[Any]:
    return plane.repeat(OVERSAMPLING, axis=0).repeat(OVERSAMPLING, axis=1)


def _finer(light: NDArray[np.float64]) -> NDArray[np.float64]:
    finer = ndimage.zoom(light, (OVERSAMPLING, OVERSAMPLING, 1), order=3, mode="reflect", grid_mode=True)
    return np.asarray(finer)


def _hidden(sigma: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.intp], NDArray[np.intp]]:
    """Tell where a surface goes on behind a nearer one, as far as the aperture may see it.

    Returns
    -------
    hidden : H x W.
    rows, columns : H x W, the place of the farther surface that is shown there.
    """
    farther = np.zeros(sigma.shape, bool)
    for one, other in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])):
        step = sigma[one] - sigma[other]
        farther[other] |= step > _STEP
        farther[one] |= step < -_STEP
    rows, columns = np.mgrid[: sigma.shape[0], : sigma.shape[1]]
    if not farther.any():
        return farther, rows, columns
    distance, nearest = ndimage.distance_transform_edt(~farther, return_indices=True)
    row, column = np.asarray(nearest)
    reach = 2 * _REACH * np.abs(sigma).max()
    hidden = (distance <= reach) & (sigma > sigma[row, column] + _STEP / 2)
    height, width = sigma.shape
    mirrored_row, mirrored_column = 2 * row - rows, 2 * column - columns
    within = (mirrored_row >= 0) & (mirrored_row < height) & (mirrored_column >= 0) & (mirrored_column < width)
    mirrored_row, mirrored_column = np.where(within, mirrored_row, row), np.where(within, mirrored_column, column)
    same = np.abs(sigma[mirrored_row, mirrored_column] - sigma[row, column]) <= _STEP
    return hidden, np.where(same, mirrored_row, row), np.where(same, mirrored_column, column)


def expose(light: NDArray[np.floating], noise: float = 0.0, seed: int = 0) -> NDArray[np.uint8]:
    """Return linear light as a picture of 8 bits.

    Parameters
    ----------
    light : H x W x 3, linear light; what is outside 0..1 is clipped.
    noise : standard deviation of white noise on the display values, a fraction of full scale.
    seed : of the noise.

    Returns
    -------
    H x W x 3 uint8, display-referred sRGB.

    Examples
    --------
    >>> expose(np.full((1, 1, 3), 0.5))
    array([[[188, 188, 188]]], dtype=uint8)
    """
    values = linear_to_srgb(np.clip(light, 0, 1))
    if noise > 0:
        values = add_noise(values, noise, seed)
    return np.rint(values * 255).astype(np.uint8)
