"""Blur that differs from pixel to pixel, with occlusion: the scene is split into layers, composed from back to front.

More blur counts as farther away, so the sharp subject stands in front. The colours of a layer are blurred without those
of nearer layers (normalised by the layer's own blurred mask), so that nothing of a sharp subject bleeds into a blurred
background, and are composed with the blurred mask of "this layer or nearer" as opacity. Neighbouring layers have
overlapping triangular weights, so that slanted surfaces show no bands.

The picture is processed in tiles, each with a margin as wide as the largest blur in it reaches: memory is bounded and
tile borders do not show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from defocus.errors import ParameterError
from defocus.optics.kernels import disc_kernel, disc_radius, polygon_kernel
from defocus.runtime.cores import available_cores

__all__ = [
    "APERTURES",
    "RATIO",
    "SMALLEST",
    "TILE",
    "Aperture",
    "Layers",
    "aperture_kernel",
    "blur_by_layers",
    "enlarged",
]

Aperture = Literal["disc", "hexagon", "gaussian"]
"""Shape of the blur of a point."""
APERTURES: tuple[Aperture, ...] = ("disc", "hexagon", "gaussian")
_Floats = NDArray[np.float32]

TILE = 512
"""Side of a tile, px."""
SMALLEST = 0.35
"""Sigma in px below which a pixel counts as sharp."""
RATIO = 1.3
"""Ratio of the sigmas of neighbouring layers."""
_SAME_SURFACE = 2.0
"""Half the width of a layer's triangular weight, in layers: so near, colours may mix, as on a slanted surface."""
_FINE_SIGMA = 3.0
"""Largest sigma in px that is computed at full resolution."""
_BLOCK = 8
"""Largest side in px of the blocks that strong blur is computed on."""
_REACH = {"disc": 2.2, "hexagon": 2.6, "gaussian": 3.5}
"""Radius of each aperture's kernel, in sigmas."""


@dataclass(frozen=True)
class Layers:
    """The layers that a scene is split into.

    Attributes
    ----------
    sigmas : sigma of each layer, px, ascending; the first is 0.

    Examples
    --------
    >>> layers = Layers.up_to(1.0)
    >>> layers.sigmas.round(2)
    array([0.  , 0.35, 0.43, 0.53, 0.66, 0.81, 1.  ])
    >>> layers.place(np.array([[0.0, 0.35, 1.0]]))
    array([[0., 1., 6.]], dtype=float32)
    """

    sigmas: NDArray[np.float64]

    @classmethod
    def up_to(cls, largest: float) -> Layers:
        """Return the layers for sigmas from 0 to `largest` px.

        Examples
        --------
        >>> Layers.up_to(0.3).sigmas
        array([0.])
        """
        if largest <= SMALLEST:
            return cls(np.array([0.0]))
        count = int(np.ceil(np.log(largest / SMALLEST) / np.log(RATIO))) + 1
        return cls(np.concatenate([[0.0], np.geomspace(SMALLEST, max(largest, SMALLEST * 1.01), count)]))

    def place(self, sigma: NDArray[np.floating]) -> _Floats:
        """Return the position of each sigma among the layers: 1.5 lies midway between layers 1 and 2.

        Parameters
        ----------
        sigma : H x W, px, 0 or more.

        Returns
        -------
        H x W float32, from 0 to the number of layers less 1.

        Examples
        --------
        >>> Layers(np.array([0.0, 1.0, 2.0])).place(np.array([[0.5, 2.0]]))
        array([[0.5, 2. ]], dtype=float32)
        """
        return np.interp(sigma, self.sigmas, np.arange(len(self.sigmas))).astype(np.float32)


def blur_by_layers(
    light: Callable[[tuple[slice, slice]], _Floats],
    sigma: NDArray[np.float32],
    aperture: Aperture,
    write: Callable[[tuple[slice, slice], _Floats], None],
    progress: Callable[[float], None] = lambda fraction: None,
) -> None:
    """Blur a picture tile by tile.

    Parameters
    ----------
    light : function that returns the linear light of a window (two slices), h x w x 3 float32.
    sigma : H x W, px, blur to add at every pixel.
    aperture : shape of the blur; all shapes are best explained by the Gaussian of sigma.
    write : function that takes a window of the result and its linear light, h x w x 3 float32.
    progress : called with the fraction of the work done, 0..1.

    Raises
    ------
    ParameterError
        If there is no such aperture.

    Examples
    --------
    >>> light = np.zeros((9, 9, 3), np.float32)
    >>> light[4, 4] = 1
    >>> blurred = np.empty_like(light)
    >>> blur_by_layers(light.__getitem__, np.full((9, 9), 1.0, np.float32), "disc", blurred.__setitem__)
    >>> blurred[4, 2:7, 0].round(2)
    array([0.03, 0.1 , 0.1 , 0.1 , 0.03], dtype=float32)
    """
    if aperture not in APERTURES:
        raise ParameterError(f"aperture must be one of {', '.join(APERTURES)}, not {aperture!r}.")
    layers = Layers.up_to(float(sigma.max()))
    windows = list(_windows(sigma.shape))

    def work(window: tuple[slice, slice]) -> None:
        # What is farther cannot cover what is sharp, so a sharp tile stays as it is.
        if len(layers.sigmas) == 1 or float(sigma[window].max()) == 0:
            write(window, light(window))
            return
        reach = int(np.ceil(_REACH[aperture] * _largest_near(sigma, window, aperture)))
        # On the grid of the largest blocks, so that every tile averages the same ones.
        outer = tuple(
            slice(max((s.start - reach) // _BLOCK * _BLOCK, 0), min(-(-(s.stop + reach) // _BLOCK) * _BLOCK, size))
            for s, size in zip(window, sigma.shape, strict=True)
        )
        blurred = _compose(light((outer[0], outer[1])), layers.place(sigma[outer]), layers, aperture)
        inner = tuple(slice(s.start - o.start, s.stop - o.start) for s, o in zip(window, outer, strict=True))
        write(window, blurred[inner])

    with ThreadPoolExecutor(available_cores()) as pool:
        for done, _ in enumerate(pool.map(work, windows)):
            progress((done + 1) / len(windows))


def _windows(shape: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    for top in range(0, shape[0], TILE):
        for left in range(0, shape[1], TILE):
            yield slice(top, min(top + TILE, shape[0])), slice(left, min(left + TILE, shape[1]))


def _largest_near(sigma: NDArray[np.float32], window: tuple[slice, slice], aperture: Aperture) -> float:
    """Return the largest sigma in px among the pixels whose blur can reach into the window."""
    largest = float(sigma[window].max())
    for _ in range(2):
        reach = int(np.ceil(_REACH[aperture] * largest))
        wider = tuple(slice(max(s.start - reach, 0), s.stop + reach) for s in window)
        largest = float(sigma[wider].max())
    return largest


def _compose(light: _Floats, place: _Floats, layers: Layers, aperture: Aperture) -> _Floats:
    """Compose the layers, the most blurred one first."""
    lowest, highest = int(np.floor(place.min())), int(np.ceil(place.max()))
    composed: _Floats | None = None
    for layer in range(highest, lowest - 1, -1):
        own = np.clip(1 - np.abs(place - layer) / _SAME_SURFACE, 0, 1)
        nearer = np.clip(layer + 1 - place, 0, 1)
        if not (own > 1 - 1 / _SAME_SURFACE).any():  # no pixel within one layer of it
            continue
        sigma = float(layers.sigmas[layer])
        if sigma == 0:
            opacity = nearer[..., None]
            return light if composed is None else opacity * light + (1 - opacity) * composed
        planes = np.concatenate([light * own[..., None], own[..., None], nearer[..., None]], axis=2)
        blurred = _blur(planes, sigma, aperture)
        weight = blurred[..., 3:4]
        # Far from every pixel of this layer its colour is not used, because nearer layers are opaque there.
        colour = np.where(
            weight > 1e-4, blurred[..., :3] / np.maximum(weight, 1e-4), 0 if composed is None else composed
        )
        if composed is None:
            composed = np.where(weight > 1e-4, colour, light)
            continue
        opacity = np.clip(blurred[..., 4:5], 0, 1) * (weight > 1e-4)
        composed = opacity * colour + (1 - opacity) * composed
    return light if composed is None else composed


def _blur(planes: _Floats, sigma: float, aperture: Aperture) -> _Floats:
    """Blur h x w x C by sigma; large blurs on blocks of pixels, where they are as smooth as on pixels."""
    factor = 1
    while factor < _BLOCK and sigma >= factor * _FINE_SIGMA:
        factor *= 2  # blocks of one size fit into those of the next
    if factor == 1:
        return _kernel_blur(planes, sigma, aperture)
    height, width = planes.shape[:2]
    rows, columns = -height % factor, -width % factor
    padded = np.pad(planes, ((0, rows), (0, columns), (0, 0)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // factor, factor, padded.shape[1] // factor, factor, -1)
    small = blocks.mean(axis=(1, 3), dtype=np.float32)
    # Averaging and linear interpolation blur too: a box and a triangle of the block's width.
    rest = np.sqrt(max(sigma**2 - (factor**2 - 1) / 12 - (factor**2) / 6, 0.05)) / factor
    return enlarged(_kernel_blur(small, float(rest), aperture), factor)[:height, :width]


def enlarged(small: _Floats, factor: int) -> _Floats:
    """Enlarge an array of block means by linear interpolation between the centres of the blocks.

    Parameters
    ----------
    small : h x w x C float32.
    factor : side of a block, px.

    Returns
    -------
    (h factor) x (w factor) x C float32.

    Examples
    --------
    >>> enlarged(np.array([[[0.0], [1.0]]], np.float32), 2)[..., 0]
    array([[0.  , 0.25, 0.75, 1.  ],
           [0.  , 0.25, 0.75, 1.  ]], dtype=float32)
    """
    for axis in (0, 1):
        size = small.shape[axis]
        at = np.clip((np.arange(size * factor) + 0.5) / factor - 0.5, 0, size - 1)
        low = np.minimum(at.astype(np.intp), max(size - 2, 0))
        fraction = (at - low).astype(np.float32).reshape([-1 if k == axis else 1 for k in range(3)])
        first = np.take(small, low, axis=axis)
        small = first + fraction * (np.take(small, np.minimum(low + 1, size - 1), axis=axis) - first)
    return small


def _kernel_blur(planes: _Floats, sigma: float, aperture: Aperture) -> _Floats:
    if aperture == "gaussian" or sigma < 0.6:
        blurred = ndimage.gaussian_filter1d(planes, sigma, axis=0, mode="nearest", truncate=3.5)
        return np.asarray(ndimage.gaussian_filter1d(blurred, sigma, axis=1, mode="nearest", truncate=3.5))
    kernel = aperture_kernel(sigma, aperture)
    reach = kernel.shape[0] // 2
    padded = np.pad(planes, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    size = [fft.next_fast_len(n, real=True) for n in padded.shape[:2]]
    spectrum = fft.rfft2(kernel, size)
    height, width = planes.shape[:2]
    blurred = np.empty_like(planes)
    for channel in range(planes.shape[2]):
        product = fft.rfft2(padded[..., channel], size) * spectrum
        whole = fft.irfft2(product, size)
        blurred[..., channel] = whole[2 * reach : 2 * reach + height, 2 * reach : 2 * reach + width]
    return np.maximum(blurred, 0)


def aperture_kernel(sigma: float, aperture: Aperture) -> _Floats:
    """Return the blur of a point through the aperture.

    Parameters
    ----------
    sigma : px, above 0: that of the Gaussian that best explains the kernel (`defocus.optics.kernels`).
    aperture : "disc" or "hexagon".

    Returns
    -------
    n x n float32, n odd, sum 1.

    Examples
    --------
    >>> aperture_kernel(1.0, "disc")[2].round(2)
    array([0.03, 0.1 , 0.1 , 0.1 , 0.03], dtype=float32)
    """
    kernel = disc_kernel(disc_radius(sigma)) if aperture == "disc" else polygon_kernel(sigma, blades=6)
    return kernel.astype(np.float32)
