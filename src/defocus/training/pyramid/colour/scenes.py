"""Colour scenes with bare surfaces, rooms and what photographs hold, and the blur of every pixel of them.

A scene is surfaces over one another, each blurred by its own amount in linear light by one lens, and then what a
camera, an editor and a file do to it. Its truth has three states: the blur is known; it is not (the photograph that a
surface shows is blurred itself); or what is seen there is never the lens's blur (camera shake, words, dots of print),
so that confidence has to be 0. All is drawn from a seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from defocus.evaluation.render import jpeg_round_trip
from defocus.methods.pyramid.weights import STRIDE
from defocus.optics.kernels import movement_kernel
from defocus.optics.light import linear_to_srgb, srgb_to_linear
from defocus.training.pyramid.apertures import APERTURES, Aperture, blurred, blurred_by_field
from defocus.training.pyramid.camera import (
    as_bytes,
    in_few_levels,
    in_grey,
    sharpened,
    sides_before_reduction,
    with_captions,
    with_film_grain,
    with_halftone,
    with_sensor_noise,
)
from defocus.training.pyramid.colour.recipe import CANVAS, SCENE, ColourSceneRecipe
from defocus.training.pyramid.colour.rooms import room
from defocus.training.pyramid.colour.surfaces import Surface, content, outline
from defocus.training.pyramid.drawing import distances_from_focus, log_uniform
from defocus.training.pyramid.sources import RESAMPLING, Source

__all__ = ["KNOWN", "NEVER", "SMALLEST", "UNKNOWN", "ColourScene", "render_colour_scene"]

_Floats = NDArray[np.float32]
_Flags = NDArray[np.bool_]

UNKNOWN, KNOWN, NEVER = 0, 1, 2
"""States of the truth: the blur is not known, it is known, and what is seen there is never the lens's blur."""
SMALLEST = 0.3
"""Smallest sigma of a scene's truth, px: the smallest of a map."""
_TOLERATED_OWN_BLUR = 1.1
"""Largest factor by which a source's own blur may increase the total blur of a pixel whose blur counts as known."""
_LARGEST_REDUCTION = 1.2
"""Largest factor by which a scene is made smaller; the canvas then has 11 px left around it."""
_SHAKES, _SHAKE_TURN = (6.0, 36.0), 17.0
"""Shortest and longest path of a movement, px, and standard deviation of the angle in degrees by which it bends."""
_SLANT_STEPS, _LEVEL_STEPS = 6, 3
"""Number of even blurs from which blur that changes along a surface is mixed, where it changes much and little."""


class ColourScene(NamedTuple):
    """A scene and its truth.

    Attributes
    ----------
    pixels : 448 x 448 x 3 uint8, sRGB.
    log2_sigma : 112 x 112 float16, log2 of sigma in px, of blocks of 4 px.
    state : 112 x 112 uint8: `UNKNOWN`, `KNOWN` or `NEVER`.
    """

    pixels: NDArray[np.uint8]
    log2_sigma: NDArray[np.float16]
    state: NDArray[np.uint8]


class _Truth(NamedTuple):
    """Blur by the lens and own blur of what is seen, px, and where neither is ever seen; H x W each."""

    sigma: _Floats
    own_blur: _Floats
    never: _Flags

    def at(self, rows: slice, columns: slice) -> _Truth:
        return _Truth(self.sigma[rows, columns], self.own_blur[rows, columns], self.never[rows, columns])

    def reduced(self) -> _Truth:
        """The truth at `SCENE` px; sigma shrinks by the geometric mean of the factors down and across."""
        shrink = np.float32(np.sqrt(self.sigma.size) / SCENE)
        sigma, own_blur, never = (_nearest(plane) for plane in self)
        return _Truth(np.asarray(sigma / shrink, np.float32), np.asarray(own_blur / shrink, np.float32), never)


def render_colour_scene(
    sources: Sequence[Source], recipe: ColourSceneRecipe, random: np.random.Generator
) -> ColourScene:
    """Return one scene.

    Parameters
    ----------
    sources : photographs in colour.
    recipe : see `ColourSceneRecipe`.
    random : source of the randomness, from which the scene follows.

    Examples
    --------
    >>> sources = [Source(np.full((200, 300, 3), 99, np.uint8), np.full((50, 75), 0.5, np.float16))]
    >>> scene = render_colour_scene(sources, ColourSceneRecipe(), np.random.default_rng(4))
    >>> scene.pixels.shape, scene.state.shape
    ((448, 448, 3), (112, 112))
    """
    aperture = Aperture.drawn(str(random.choice(APERTURES, p=recipe.apertures)), random)
    surfaces = room(sources, recipe, random) if random.random() < recipe.rooms else _layers(sources, recipe, random)
    night = random.random() < recipe.night
    shake = _shake(random) if random.random() < recipe.shaken else None
    moving = None
    if shake is not None and len(surfaces) > 1 and random.random() < 0.5:
        moving = int(random.integers(len(surfaces)))
    light, truth = _composed(surfaces, aperture, night, shake, moving, random)
    picture = np.moveaxis(linear_to_srgb(light, by_table=True), 0, 2)
    return _photographed(picture, truth, recipe, random)


def _shake(random: np.random.Generator) -> NDArray[np.float64]:
    """Blur of a point by a movement of the camera or of what it sees: a slightly bent line."""
    return movement_kernel(log_uniform(*_SHAKES, random), random.uniform(0, 180), random.normal(0, _SHAKE_TURN))


def _layers(sources: Sequence[Source], recipe: ColourSceneRecipe, random: np.random.Generator) -> list[Surface]:
    """One surface, or up to five over one another, the farthest first."""
    count = 1 if random.random() < recipe.single else int(random.integers(2, 6))
    sigmas = _sigmas(count, random)
    smallest, largest = min(map(abs, sigmas)), max(map(abs, sigmas))
    one_picture = count > 1 and random.random() < recipe.one_picture
    surfaces: list[Surface] = []
    for number, sigma in enumerate(sigmas):
        mask = outline(random) if number else None
        if number == 0 or not one_picture:
            shown = content(sources, smallest if one_picture else abs(sigma), recipe, random, mask)
        slanted = random.random() < (recipe.slanted if number else recipe.slanted_back)
        surfaces.append(Surface(shown, mask, _slant(sigma, 0.8 * largest + 0.3, random) if slanted else sigma))
    return surfaces


def _sigmas(count: int, random: np.random.Generator) -> list[float]:
    """Blur of surfaces in px, the farthest first: each at random, or by its distance from a plane of focus."""
    if count == 1:
        return [0.0 if random.random() < 0.06 else log_uniform(SMALLEST, 9, random)]
    largest = log_uniform(0.6, 9, random)
    if random.random() < 0.25:
        return [0.0 if random.random() < 0.25 else log_uniform(SMALLEST, largest, random) for _ in range(count)]
    return [float(each) for each in distances_from_focus(count, random) * largest]


def _slant(sigma: float, largest: float, random: np.random.Generator) -> _Floats:
    """Blur of a slanted surface, H x W px, `sigma` in the middle; most are floors or tables, which slant upwards."""
    y, x = np.mgrid[:CANVAS, :CANVAS] / CANVAS - 0.5
    angle = random.uniform(0, 2 * np.pi) if random.random() < 0.4 else np.pi / 2 + random.normal(0, 0.15)
    steepness = 1.4 * largest * log_uniform(0.1, 1, random)
    return np.asarray(sigma + steepness * (x * np.cos(angle) + y * np.sin(angle)), np.float32)


def _composed(
    surfaces: Sequence[Surface],
    aperture: Aperture,
    night: bool,
    shake: NDArray[np.float64] | None,
    moving: int | None,
    random: np.random.Generator,
) -> tuple[_Floats, _Truth]:
    """Linear light of surfaces over one another, 3 x H x W, and its truth; `moving` is the one that alone is shaken."""
    back = surfaces[0].content
    truth = _Truth(np.zeros((CANVAS, CANVAS), np.float32), back.own_blur, np.zeros((CANVAS, CANVAS), bool))
    composed = np.zeros((3, CANVAS, CANVAS), np.float32)
    light = srgb_to_linear(back.colours, by_table=True).astype(np.float32)
    if night:
        light = _with_lamps(light * np.float32(log_uniform(0.005, 0.3, random)), random)
    for number, surface in enumerate(surfaces):
        if surface.content is not back:  # surfaces of one picture show the same night
            light = srgb_to_linear(surface.content.colours, by_table=True).astype(np.float32)
        mask = np.ones((CANVAS, CANVAS), np.float32) if surface.mask is None else surface.mask
        planes = np.concatenate([np.moveaxis(light, 2, 0) * mask, mask[None]])
        planes = _through_lens(planes, surface.sigma, aperture)
        if number == moving and shake is not None:
            planes = blurred(planes, [shake])[0]
        composed = planes[:3] + (1 - np.clip(planes[3], 0, 1)) * composed
        inside = mask > 0.5
        truth = _Truth(
            np.where(inside, np.abs(np.asarray(surface.sigma, np.float32)), truth.sigma),
            np.where(inside, surface.content.own_blur, truth.own_blur),
            np.where(inside, number == moving, truth.never),
        )
    if shake is not None and moving is None:
        composed = blurred(composed, [shake])[0]
        truth = truth._replace(never=np.ones((CANVAS, CANVAS), bool))
    return composed, truth


def _through_lens(planes: _Floats, sigma: float | _Floats, aperture: Aperture) -> _Floats:
    if isinstance(sigma, float):
        return blurred(planes, [aperture.kernel(abs(sigma))])[0]
    size = np.abs(sigma)
    steps = _SLANT_STEPS if size.max() > 1.3 * size.min() + 0.3 else _LEVEL_STEPS
    return blurred_by_field(planes, size, aperture, steps)


def _with_lamps(light: _Floats, random: np.random.Generator) -> _Floats:
    """Linear light with 3 to 40 lamps of 1 to 5 px in it, up to 400 times as bright as white."""
    light = light.copy()
    for _ in range(int(log_uniform(3, 40, random))):
        y, x = random.integers(4, CANVAS - 4, 2)
        reach = int(random.integers(0, 3))
        colour = np.clip(random.normal(0.8, 0.25, 3), 0.05, 1)
        brightness = log_uniform(3, 400, random) / (2 * reach + 1) ** 2
        light[y - reach : y + reach + 1, x - reach : x + reach + 1] = brightness * colour
    return light


def _photographed(
    picture: _Floats, truth: _Truth, recipe: ColourSceneRecipe, random: np.random.Generator
) -> ColourScene:
    """What a camera, an editor and a file make of the picture behind a lens, `CANVAS` px wide."""
    height, width = sides_before_reduction(SCENE, recipe.reduced, _LARGEST_REDUCTION, random)
    top, left = (CANVAS - height) // 2, (CANVAS - width) // 2
    rows, columns = slice(top, top + height), slice(left, left + width)
    picture, truth = picture[rows, columns], truth.at(rows, columns)
    if random.random() < recipe.noisy:
        picture = with_sensor_noise(picture, recipe.noise, recipe.demosaiced, random)
    kind = random.random()
    if kind < recipe.film_grain:
        picture = with_film_grain(picture, random)
    elif kind < recipe.film_grain + recipe.very_noisy:
        noise = random.standard_normal(picture.shape, np.float32)
        picture = picture + np.float32(random.uniform(12, 28) / 255) * noise
    if (height, width) != (SCENE, SCENE):
        how = RESAMPLING[random.integers(len(RESAMPLING))]
        smaller = Image.fromarray(as_bytes(picture)).resize((SCENE, SCENE), how)
        picture, truth = np.asarray(smaller, np.float32) / np.float32(255), truth.reduced()
    if random.random() < recipe.sharpened:
        picture = sharpened(picture, random)
    if random.random() < recipe.few_levels:
        picture = in_few_levels(picture, random)
    if random.random() < recipe.grey:
        picture = in_grey(picture, random)
    never = truth.never
    kind = random.random()
    if recipe.captioned <= kind < recipe.captioned + recipe.halftone:
        picture = with_halftone(picture, random)
        never = np.ones_like(never)
    pixels = as_bytes(picture)
    if kind < recipe.captioned:
        pixels, covered = with_captions(pixels, random)
        never = never | covered
    return _labelled(_stored(pixels, recipe, random), truth._replace(never=never))


def _nearest(plane: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(Image.fromarray(plane).resize((SCENE, SCENE), Image.Resampling.NEAREST))


def _stored(pixels: NDArray[np.uint8], recipe: ColourSceneRecipe, random: np.random.Generator) -> NDArray[np.uint8]:
    """Pixels as a JPEG file has them, where they were stored as one or as two."""
    kind = random.random()
    qualities: list[int] = []
    if kind < recipe.jpeg:
        qualities = [int(random.integers(50, 99))]
    elif kind < recipe.jpeg + recipe.low_jpeg:
        qualities = [int(random.integers(5, 35))]
    elif kind < recipe.jpeg + recipe.low_jpeg + recipe.saved_twice:
        qualities = [int(random.integers(10, 60)), int(random.integers(60, 98))]
    for quality in qualities:
        pixels = jpeg_round_trip(pixels, quality, halved_chroma=random.random() < 0.5)
    return pixels


def _labelled(pixels: NDArray[np.uint8], truth: _Truth) -> ColourScene:
    """A scene with its truth at the middle of each block of 4 x 4 px."""
    middle = slice(STRIDE // 2 - 1, None, STRIDE)
    sigma, own_blur, never = truth.at(middle, middle)
    least = np.maximum(sigma, SMALLEST)
    known = np.hypot(least, own_blur) < _TOLERATED_OWN_BLUR * least
    state = np.where(never, NEVER, np.where(known, KNOWN, UNKNOWN)).astype(np.uint8)
    log2_sigma = np.log2(np.maximum(np.hypot(sigma, own_blur), SMALLEST))
    return ColourScene(pixels, log2_sigma.astype(np.float16), state)
