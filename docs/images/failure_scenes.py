"""Scenes on which a defocus map is wrong or knows nothing: photographs of scikit-image, treated in a known way.

Each has a truth where one is known, so that what the map says can be held against it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import data, filters

from defocus.evaluation.render import add_noise, gaussian_blur, jpeg_round_trip
from defocus.units import sigma_from_disc_radius

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class FailureScene:
    """A photograph that is hard to read.

    Attributes
    ----------
    title : for the table.
    picture : H x W x 3.
    where : the pixels that the figures are about; None for all.
    sigma : their true blur in px, where it is one and known.
    """

    title: str
    picture: Picture
    where: NDArray[np.bool_] | None = None
    sigma: float | None = None


def bare_wall() -> FailureScene:
    """A plain, evenly lit wall with the sensor's noise fills the left half; right of it the cat, blurred by 4 px."""
    cat = gaussian_blur(np.ascontiguousarray(data.chelsea()[:, 90:330]), 4.0)
    shade = np.linspace(150, 175, cat.shape[1])[None, :, None] + np.linspace(12, 0, len(cat))[:, None, None]
    wall = add_noise(np.rint(np.broadcast_to(shade, cat.shape) * (1, 0.97, 0.92)).astype(np.uint8), 1.5 / 255, 1)
    picture = np.concatenate([wall, cat], axis=1)
    where = np.zeros(picture.shape[:2], bool)
    where[:, : wall.shape[1] - 10] = True
    return FailureScene("bare wall beside a blurred subject", picture, where)


def clear_sky() -> FailureScene:
    """The launch towers before a clear sky: nothing in the sky says how sharp it is."""
    picture = data.rocket()
    where = np.zeros(picture.shape[:2], bool)
    where[:50, 130:500] = True
    return FailureScene("clear sky, far from the towers", picture, where)


def _lamps(places: list[tuple[int, int]], title: str, radius: int = 22) -> FailureScene:
    dark = 0.25 * gaussian_blur(data.coffee(), radius / 2).astype(np.float64)
    rows, columns = np.mgrid[: dark.shape[0], : dark.shape[1]]
    rng = np.random.default_rng(4)
    near = np.zeros(dark.shape[:2], bool)
    for row, column in places:
        distance = np.hypot(rows - row, columns - column)
        light = rng.uniform((150, 110, 50), (220, 180, 130))
        dark += np.clip(radius + 0.5 - distance, 0, 1)[..., None] * light
        near |= np.abs(distance - radius) <= 6
    picture = np.clip(np.rint(ndimage.gaussian_filter(dark, (0.4, 0.4, 0))), 0, 255).astype(np.uint8)
    return FailureScene(title, picture, near, float(sigma_from_disc_radius(radius)))


def lamps_apart() -> FailureScene:
    """Discs of lamps out of focus that stand apart from each other: their outlines are recognised."""
    places = [(90 + 110 * r, 80 + 110 * c + 40 * (r % 2)) for r in range(3) for c in range(5)]
    return _lamps(places, "outlines of lamps that stand apart")


def lamps_overlapping() -> FailureScene:
    """The same lamps, overlapping each other and cut by the border of the picture."""
    rng = np.random.default_rng(6)
    inside = [(int(rng.normal(200, 70)), int(rng.normal(300, 110))) for _ in range(22)]
    border = [(0, 60), (4, 320), (396, 130), (399, 480), (150, 0), (300, 598)]
    return _lamps(inside + border, "outlines of lamps that overlap or are cut by the border")


def camera_shake() -> FailureScene:
    """A photograph in focus, moved along a line of 17 px while it was exposed."""
    kernel = np.zeros((19, 19))
    for step in np.linspace(-8, 8, 200):
        kernel[round(9 + 0.45 * step), round(9 + 0.89 * step)] += 1
    kernel /= kernel.sum()
    picture = np.stack([ndimage.convolve(p.astype(np.float64), kernel) for p in np.moveaxis(data.astronaut(), 2, 0)], 2)
    return FailureScene("camera shake of 17 px, in focus", np.clip(np.rint(picture), 0, 255).astype(np.uint8))


def film_grain() -> FailureScene:
    """A photograph blurred by 4 px under film grain of 8 of 255."""
    soft = gaussian_blur(data.coffee(), 4.0)
    grain = ndimage.gaussian_filter(np.random.default_rng(5).normal(size=soft.shape[:2]), 1.5)
    grainy = soft + (8 * grain / grain.std())[..., None]
    return FailureScene("film grain", np.clip(np.rint(grainy), 0, 255).astype(np.uint8), None, 4.0)


def not_sharpened() -> FailureScene:
    """A photograph blurred by 1 px, to compare the next one with."""
    return FailureScene("blurred by 1 px", gaussian_blur(data.astronaut(), 1.0), None, 1.0)


def sharpening() -> FailureScene:
    """A photograph blurred by 1 px and then sharpened strongly: an unsharp mask of radius 1 px and amount 2."""
    soft = gaussian_blur(data.astronaut(), 1.0)
    sharpened = filters.unsharp_mask(soft, 1.0, 2.0, channel_axis=2)
    return FailureScene("the same, sharpened strongly", np.rint(255 * sharpened).astype(np.uint8), None, 1.0)


def letterbox() -> FailureScene:
    """A photograph blurred by 2 px between black bars."""
    soft = gaussian_blur(data.coffee(), 2.0)[60:340]
    picture = np.pad(soft, ((60, 60), (0, 0), (0, 0)))
    where = np.zeros(picture.shape[:2], bool)
    where[:58] = where[-58:] = True
    return FailureScene("black bars", picture, where)


def jpeg_blocks() -> FailureScene:
    """A photograph blurred by 4 px, saved as JPEG of quality 8."""
    soft = gaussian_blur(data.chelsea(), 4.0)
    return FailureScene("JPEG of quality 8", jpeg_round_trip(soft, 8), None, 4.0)


def even_gravel() -> FailureScene:
    """Gravel that fills the frame, blurred as a whole by 2 px, cannot be told from film grain."""
    gravel = np.repeat(data.gravel()[..., None], 3, axis=2)
    return FailureScene("gravel that fills the frame", gaussian_blur(gravel, 2.0), None, 2.0)


def soft_by_nature() -> FailureScene:
    """The back of an eye, in focus: its dark spot is smooth by nature."""
    picture = np.ascontiguousarray(data.retina()[300:1100:2, 200:1200:2])
    where = np.zeros(picture.shape[:2], bool)
    where[190:250, 225:310] = True
    return FailureScene("smooth spot of a sharp photograph", picture, where)


SCENES: dict[str, Callable[[], FailureScene]] = {
    scene.__name__: scene
    for scene in (
        bare_wall,
        clear_sky,
        lamps_apart,
        lamps_overlapping,
        camera_shake,
        film_grain,
        even_gravel,
        not_sharpened,
        sharpening,
        jpeg_blocks,
        letterbox,
        soft_by_nature,
    )
}
