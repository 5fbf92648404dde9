"""Synthetic ground truth: sharp photographs blurred by a known amount, uniformly or by depth.

Photographs are taken and returned as display-referred sRGB, H x W or H x W x 3, uint8, uint16 or float 0..1; the type
of the input is kept. They are blurred in linear light (`linear_light=True`, as a lens does) or in display-referred
values (`False`, as DHDE and most of the field make their training data).

The truth is the sigma of the Gaussian that best explains the kernel (`defocus.optics.kernels`), in px of the returned
image. It does not include the blur that the source picture already has.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from scipy import ndimage, signal

from defocus.errors import DefocusError
from defocus.optics.kernels import disc_kernel, disc_radius, gaussian_kernel
from defocus.optics.light import linear_to_srgb, srgb_to_linear

__all__ = [
    "DefocusedScene",
    "Kernel",
    "add_noise",
    "disc_blur",
    "downscale",
    "downscale_disparity",
    "fill_unknown",
    "gaussian_blur",
    "jpeg_round_trip",
    "render_depth",
]

_Floats = NDArray[np.float64]
_Picture = NDArray[Any]
Kernel = Literal["gaussian", "disc"]
"""Shape of the blur."""

# Neighbouring pixels whose disparities differ by less than this fraction of the scene's range lie on one surface.
_SAME_SURFACE = 0.04


class DefocusedScene(NamedTuple):
    """A picture with depth-dependent blur, and the true blur.

    Attributes
    ----------
    image : H x W x 3 uint8.
    sigma : H x W float32, px: blur of the surface that the sharp picture shows at the pixel.
    valid : H x W bool, False where the disparity was unknown and had to be filled in.

    Examples
    --------
    >>> sharp = np.zeros((4, 6, 3), np.uint8)
    >>> render_depth(sharp, np.ones((4, 6)), None, focus_disparity=0, max_sigma=2).sigma.max()
    np.float32(2.0)
    """

    image: NDArray[np.uint8]
    sigma: NDArray[np.float32]
    valid: NDArray[np.bool_]


def _to_unit(image: _Picture) -> _Floats:
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise DefocusError(f"A picture must be H x W or H x W x 3, not {image.shape}.")
    values: _Floats = image.astype(np.float64)
    return values / np.iinfo(image.dtype).max if np.issubdtype(image.dtype, np.integer) else values


def _like(values: _Floats, image: _Picture) -> _Picture:
    values = np.clip(values, 0.0, 1.0)
    if np.issubdtype(image.dtype, np.integer):
        return np.rint(values * np.iinfo(image.dtype).max).astype(image.dtype)
    return values.astype(image.dtype)


def _blur_plane(values: _Floats, sigma: float, kernel: Kernel) -> _Floats:
    """Blur the first two axes with a Gaussian of `sigma` px or the disc that it explains best; borders are mirrored."""
    if kernel == "disc":
        return _disc_blur_plane(values, disc_radius(sigma))
    weights = gaussian_kernel(sigma)
    if weights.size == 1:
        return values
    across = ndimage.convolve1d(values, weights, axis=1, mode="reflect")
    return np.asarray(ndimage.convolve1d(across, weights, axis=0, mode="reflect"))


def _disc_blur_plane(values: _Floats, radius: float) -> _Floats:
    disc = disc_kernel(radius)
    reach = disc.shape[0] // 2
    if reach == 0:
        return values
    rest = ((0, 0),) * (values.ndim - 2)
    padded = np.pad(values, ((reach, reach), (reach, reach), *rest), mode="symmetric")
    disc = disc.reshape(disc.shape + (1,) * len(rest))
    return np.asarray(signal.fftconvolve(padded, disc, "valid", axes=(0, 1)))


def _blurred(image: _Picture, blur: Callable[[_Floats, float], _Floats], size: float, linear_light: bool) -> _Picture:
    if size < 0:
        raise DefocusError(f"A blur must be 0 px or more, not {size}.")
    values = _to_unit(image)
    if linear_light:
        return _like(linear_to_srgb(blur(srgb_to_linear(values), size)), image)
    return _like(blur(values, size), image)


def gaussian_blur(image: _Picture, sigma: float, linear_light: bool = True) -> _Picture:
    """Blur a picture with a Gaussian of `sigma` px; borders are mirrored.

    Parameters
    ----------
    image : H x W or H x W x 3, uint8, uint16 or float 0..1.
    sigma : px, at least 0.
    linear_light : blur linear light (True) or the display-referred values (False).

    Returns
    -------
    The same shape and type.

    Raises
    ------
    DefocusError
        A negative sigma, or an array that is no picture.

    Examples
    --------
    >>> image = np.zeros((1, 7))
    >>> image[0, 3] = 1
    >>> gaussian_blur(image, 1.0, linear_light=False).round(2)
    array([[0.  , 0.05, 0.24, 0.4 , 0.24, 0.05, 0.  ]])
    """
    return _blurred(image, partial(_blur_plane, kernel="gaussian"), sigma, linear_light)


def disc_blur(image: _Picture, radius: float, linear_light: bool = True) -> _Picture:
    """Blur a picture with a uniform disc of `radius` px (`disc_kernel`); borders are mirrored.

    Parameters
    ----------
    image : H x W or H x W x 3, uint8, uint16 or float 0..1.
    radius : px, at least 0.
    linear_light : blur linear light (True) or the display-referred values (False).

    Returns
    -------
    The same shape and type. `kernels.disc_radius` gives the radius for a sigma.

    Raises
    ------
    DefocusError
        A negative radius, or an array that is no picture.

    Examples
    --------
    >>> image = np.zeros((7, 7))
    >>> image[3, 3] = 1
    >>> disc_blur(image, 2.0, linear_light=False)[3].round(2)
    array([0.  , 0.04, 0.08, 0.08, 0.08, 0.04, 0.  ])
    """
    return _blurred(image, _disc_blur_plane, radius, linear_light)


def add_noise(image: _Picture, sigma: float, seed: int) -> _Picture:
    """Add white Gaussian noise to the display-referred values, independently per pixel and channel.

    Parameters
    ----------
    image : H x W or H x W x 3, uint8, uint16 or float 0..1.
    sigma : standard deviation as a fraction of full scale: 2 / 255 for two grey levels.
    seed : seed of the noise.

    Returns
    -------
    The same shape and type, clipped to its range.

    Examples
    --------
    >>> noisy = add_noise(np.full((100, 100), 0.5), sigma=0.1, seed=0)
    >>> round(float(noisy.std()), 1)
    0.1
    """
    values = _to_unit(image)
    return _like(values + np.random.default_rng(seed).normal(0.0, sigma, values.shape), image)


def jpeg_round_trip(image: NDArray[np.uint8], quality: int, *, halved_chroma: bool = True) -> NDArray[np.uint8]:
    """Return a picture as it looks after being stored as JPEG.

    Parameters
    ----------
    image : H x W or H x W x 3 uint8.
    quality : 1..100.
    halved_chroma : store chroma at half the resolution of luma (4:2:0), or at the same (4:4:4).

    Returns
    -------
    uint8 of the same shape.

    Examples
    --------
    >>> jpeg_round_trip(np.full((8, 8), 100, np.uint8), quality=90)[0, 0]
    np.uint8(100)
    """
    stored = io.BytesIO()
    Image.fromarray(image).save(stored, "JPEG", quality=quality, subsampling="4:2:0" if halved_chroma else "4:4:4")
    stored.seek(0)
    with Image.open(stored) as opened:
        return np.asarray(opened)


def fill_unknown(disparity: ArrayLike, known: ArrayLike) -> _Floats:
    """Fill unknown disparities from the farther of the two known neighbours in the row.

    Holes of a stereo pair are mostly areas beside a foreground object that only one camera saw, and so belong to the
    background. Rows without any known value take that of the nearest known pixel.

    Parameters
    ----------
    disparity : H x W, larger = nearer.
    known : H x W, True where `disparity` holds a value.

    Returns
    -------
    H x W float64 without holes.

    Raises
    ------
    DefocusError
        No pixel is known.

    Examples
    --------
    >>> fill_unknown([[1.0, 0.0, 5.0]], known=[[True, False, True]])
    array([[1., 1., 5.]])
    """
    values, given = np.asarray(disparity, dtype=np.float64), np.asarray(known, dtype=bool)
    if not given.any():
        raise DefocusError("The disparity map has no known pixel, so no depth can be rendered.")
    columns = np.arange(values.shape[1])
    before = np.maximum.accumulate(np.where(given, columns, -1), axis=1)
    after = np.minimum.accumulate(np.where(given, columns, values.shape[1])[:, ::-1], axis=1)[:, ::-1]
    rows = np.arange(values.shape[0])[:, None]
    left = np.where(before >= 0, values[rows, np.maximum(before, 0)], np.inf)
    right = np.where(after < values.shape[1], values[rows, np.minimum(after, values.shape[1] - 1)], np.inf)
    filled = np.where(given, values, np.minimum(left, right))
    near = ndimage.distance_transform_edt(np.isinf(filled), return_distances=False, return_indices=True)
    return np.asarray(filled[tuple(near)])


def _layer_bounds(disparity: _Floats, layers: int) -> _Floats:
    """Return ascending bounds of the depth layers: one layer per distinct disparity where these are few enough."""
    distinct = np.unique(disparity)
    if distinct.size <= layers:
        return np.append(distinct, np.inf)
    return np.append(np.linspace(distinct[0], distinct[-1], layers + 1)[:-1], np.inf)


def render_depth(
    image: NDArray[np.uint8],
    disparity: ArrayLike,
    valid: ArrayLike | None,
    focus_disparity: float,
    max_sigma: float,
    kernel: Kernel = "gaussian",
    linear_light: bool = True,
    layers: int = 32,
    noise: float = 0.0,
    jpeg: int | None = None,
    seed: int = 0,
) -> DefocusedScene:
    """Render the defocus of an all-in-focus picture from its disparities.

    A thin lens blurs in proportion to the difference of inverse depths, that is of disparities: sigma is
    max_sigma |disparity - focus| / (the largest such difference among known pixels). The disparities are cut into
    layers, each blurred by one sigma (that of its mean difference) and composed over those behind it:

    1. For a layer, everything in front of its surface is removed, and picture and disparity behind are filled from
       the nearest pixel that is not in front. Pixels within 4 % of the disparity range count as the same surface,
       so slanted surfaces keep their own colours on both sides of a cut.
    2. Its colours are blur of (colour x mask) / blur of the mask of this surface, so that neither nearer nor farther
       surfaces bleed in.
    3. Its opacity is the blur of the mask "this layer or nearer". Farther layers show through the rest.

    Parameters
    ----------
    image : H x W x 3 uint8, sharp everywhere, display-referred sRGB.
    disparity : H x W, larger = nearer, any unit affine in inverse depth.
    valid : H x W, False where the disparity is unknown; None = all known. See `fill_unknown`.
    focus_disparity : disparity in focus, which need not occur in the picture.
    max_sigma : blur of the surface farthest out of focus, px.
    kernel : "gaussian", or "disc": the one that the Gaussian of the same sigma best explains (`kernels.disc_radius`).
    linear_light : blur linear light (True) or the display-referred values (False).
    layers : number of depth layers; the steps in sigma are about (blur range) / layers.
    noise : standard deviation of the noise added at the end, a fraction of full scale.
    jpeg : JPEG quality of a final round trip, or None.
    seed : seed of the noise.

    Returns
    -------
    DefocusedScene

    Raises
    ------
    DefocusError
        Shapes that do not agree, no known disparity, or a negative `max_sigma`.

    Examples
    --------
    >>> sharp = np.random.default_rng(0).integers(0, 255, (16, 20, 3)).astype(np.uint8)
    >>> disparity = np.repeat([[0.0, 4.0]], 10, axis=1).repeat(16, axis=0)  # left far, right near
    >>> scene = render_depth(sharp, disparity, None, focus_disparity=4.0, max_sigma=2.0)
    >>> scene.sigma[0, [0, -1]]
    array([2., 0.], dtype=float32)
    """
    given = np.asarray(disparity, dtype=np.float64)
    known = np.ones(given.shape, dtype=bool) if valid is None else np.asarray(valid, dtype=bool)
    if image.shape[:2] != given.shape or known.shape != given.shape:
        raise DefocusError(f"Picture {image.shape[:2]} and disparity {given.shape} must have one size.")
    if max_sigma < 0:
        raise DefocusError(f"A blur must be 0 px or more, not {max_sigma}.")
    depth = fill_unknown(given, known)
    largest = np.abs(given[known] - focus_disparity).max()
    px_per_disparity = max_sigma / largest if largest > 0 else 0.0

    values = _to_unit(image)
    if linear_light:
        values = srgb_to_linear(values)
    bounds = _layer_bounds(depth, layers)
    same_surface = _SAME_SURFACE * np.ptp(depth)
    composed = np.zeros_like(values)
    sigma = np.zeros(depth.shape, dtype=np.float32)
    behind_is_empty = True
    for lower, upper in pairwise(bounds):
        layer = (depth >= lower) & (depth < upper)
        if not layer.any():
            continue
        size = float(np.mean(np.abs(depth[layer] - focus_disparity))) * px_per_disparity
        sigma[layer] = size
        in_front = depth > depth[layer].max() + same_surface
        seen, surface = values, depth
        if in_front.any():
            near = ndimage.distance_transform_edt(in_front, return_distances=False, return_indices=True)
            seen, surface = values[tuple(near)], depth[tuple(near)]
        support = surface >= lower - same_surface
        colour = _normalised_blur(seen, support, partial(_blur_plane, sigma=size, kernel=kernel))
        if behind_is_empty:
            composed, behind_is_empty = colour, False
            continue
        opacity = _blur_plane((surface >= lower).astype(np.float64), size, kernel)[..., None]
        opacity = np.clip(opacity, 0.0, 1.0)
        composed = opacity * colour + (1 - opacity) * composed

    if linear_light:
        composed = linear_to_srgb(composed)
    rendered = _like(composed, image)
    if noise > 0:
        rendered = add_noise(rendered, noise, seed)
    picture = rendered.astype(np.uint8)
    if jpeg is not None:
        picture = jpeg_round_trip(picture, jpeg)
    return DefocusedScene(picture, sigma, known)


def _normalised_blur(values: _Floats, support: NDArray[np.bool_], blur: Callable[[_Floats], _Floats]) -> _Floats:
    """Blur only the pixels of `support`: blur(values * support) / blur(support)."""
    if support.all():
        return blur(values)
    weight = blur(support.astype(np.float64))[..., None]
    # FFT rounding leaves about 1e-16 beyond the blur's reach; opacity is as small there, so the colour does not matter.
    reached = weight > 1e-9
    mixed = blur(values * support[..., None])
    return np.where(reached, np.divide(mixed, weight, out=np.zeros_like(mixed), where=reached), values)


def downscale(image: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Reduce a picture by an integer factor: means over factor x factor blocks of display-referred values.

    Rows and columns that do not fill a block are cut off.

    Parameters
    ----------
    image : H x W or H x W x 3 uint8.
    factor : side of a block, px, at least 1.

    Returns
    -------
    H // factor x W // factor (x 3) uint8.

    Examples
    --------
    >>> downscale(np.array([[0, 10, 50], [20, 10, 50]], np.uint8), 2)
    array([[10]], dtype=uint8)
    """
    height, width = image.shape[0] // factor, image.shape[1] // factor
    whole = image[: height * factor, : width * factor]
    blocks = whole.reshape(height, factor, width, factor, *image.shape[2:])
    shrunk: NDArray[np.uint8] = np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)
    return shrunk


def downscale_disparity(
    disparity: ArrayLike, valid: ArrayLike, factor: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Reduce a disparity map by an integer factor, taking the nearest known surface of each block.

    Parameters
    ----------
    disparity : H x W, px of the given map.
    valid : H x W, False where unknown.
    factor : side of a block, px, at least 1.

    Returns
    -------
    disparity : H // factor x W // factor float32, px of the reduced map; 0 where unknown.
    valid : bool of the same shape, False where no pixel of the block is known.

    Examples
    --------
    >>> disparity = np.array([[2.0, 8.0], [2.0, 2.0]])
    >>> downscale_disparity(disparity, np.ones((2, 2), bool), 2)[0]
    array([[4.]], dtype=float32)
    """
    values = np.where(np.asarray(valid, dtype=bool), np.asarray(disparity, dtype=np.float32), -np.inf)
    height, width = values.shape[0] // factor, values.shape[1] // factor
    blocks = values[: height * factor, : width * factor].reshape(height, factor, width, factor)
    nearest = blocks.max(axis=(1, 3))
    known = np.isfinite(nearest)
    return np.where(known, nearest / factor, 0).astype(np.float32), known
