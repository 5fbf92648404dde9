"""Surfaces of colour scenes: what they show, where they end, and how blurred they are.

Colours are display-referred, H x W x 3 float32, 0..1, with H = W = `CANVAS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from defocus.training.pyramid.colour.recipe import CANVAS, ColourSceneRecipe
from defocus.training.pyramid.drawing import (
    DRAWN,
    grain,
    log_uniform,
    mirrored_window,
    outline_of,
    overlapping_shapes,
    ring,
    smooth_noise,
)
from defocus.training.pyramid.sources import Source

__all__ = ["Content", "Surface", "content", "drawn_mask", "outline"]

_Floats = NDArray[np.float32]

_SHARP = 0.55
"""Sigma in px that the pyramid method reads at the sharpest edges of photographs, which counts as no blur."""


class Content(NamedTuple):
    """What a surface shows.

    Attributes
    ----------
    colours : H x W x 3 float32, display-referred, 0..1.
    own_blur : H x W float32, sigma in px of the blur that it has before any is added.
    """

    colours: _Floats
    own_blur: _Floats


@dataclass(frozen=True)
class Surface:
    """A part of a scene with its place in the depth of field.

    Attributes
    ----------
    content : what it shows.
    mask : H x W float32, its opacity before blur, 0..1; None for one that fills the scene.
    sigma : blur by the lens, px, a number or H x W float32. Its sign says on which side of the plane of focus it is.
    """

    content: Content
    mask: _Floats | None
    sigma: float | _Floats


def content(
    sources: Sequence[Source],
    sigma: float,
    recipe: ColourSceneRecipe,
    random: np.random.Generator,
    mask: _Floats | None = None,
) -> Content:
    """Return what a surface shows: a photograph, drawn shapes, a bare surface, or a photograph that ends in one.

    Parameters
    ----------
    sources : photographs in colour.
    sigma : blur that it will get, px; the less, the sharper a photograph has to be, and the more it is reduced.
    recipe : shares of the kinds.
    random : source of the randomness.
    mask : H x W, opacity of the surface, after which a rounded body is shaded.

    Examples
    --------
    >>> sources = [Source(np.full((200, 300, 3), 99, np.uint8), np.full((50, 75), 0.5, np.float16))]
    >>> shown = content(sources, 2.0, ColourSceneRecipe(), np.random.default_rng(0))
    >>> shown.colours.shape, shown.own_blur.shape
    ((560, 560, 3), (560, 560))
    """
    kind = random.random()
    if kind < recipe.bare:
        return Content(_bare(recipe, random, mask), np.zeros((CANVAS, CANVAS), np.float32))
    kind -= recipe.bare
    if kind < recipe.drawn:
        return Content(overlapping_shapes(CANVAS, "RGB", random), np.zeros((CANVAS, CANVAS), np.float32))
    kind -= recipe.drawn
    colours, own_blur = _photograph(sources, sigma, random)
    if kind < recipe.half_bare:
        field = smooth_noise(int(random.integers(2, 5)), CANVAS, random)
        above = (field > 0.4 * random.normal()).astype(np.float32)
        shown = np.clip(ndimage.gaussian_filter(above, log_uniform(0.5, 3, random)), 0, 1)
        colours = colours * shown[..., None] + _bare(recipe, random) * (1 - shown[..., None])
        own_blur = own_blur * shown
    if random.random() < 0.25:  # a dim or a faint subject
        middle, contrast = np.float32(random.uniform(0.1, 0.9)), np.float32(log_uniform(0.1, 1, random))
        colours = middle + contrast * (colours - colours.mean())
    if random.random() < 0.3:
        colours = np.clip(colours, 0, 1) ** np.float32(log_uniform(0.6, 1.7, random))
    return Content(np.asarray(np.clip(colours, 0, 1), np.float32), own_blur)


def _photograph(sources: Sequence[Source], sigma: float, random: np.random.Generator) -> tuple[_Floats, _Floats]:
    source = sources[int(random.integers(len(sources)))]
    # Shrinking makes a source sharper; only small blur needs that, and large blur wants large structures.
    if sigma < 1.2:
        shrink = random.uniform(1.4, 2.4)
    elif sigma < 3:
        shrink = random.uniform(1.0, 2.0)
    else:
        shrink = random.uniform(0.6, 2.0)
    colours, own, shrink = source.reduced(shrink, random)
    own_blur = np.sqrt(np.maximum(own**2 - _SHARP**2, 0)) / np.float32(shrink)
    planes = [colours, own_blur]
    if random.random() < 0.5:
        planes = [plane[:, ::-1] for plane in planes]
    if random.random() < 0.2:
        planes = [plane[::-1, ::-1] for plane in planes]
    offset = random.integers(0, 4096, 2)
    first, second = (mirrored_window(plane, offset, CANVAS) for plane in planes)
    return first, second


def _bare(recipe: ColourSceneRecipe, random: np.random.Generator, mask: _Floats | None = None) -> _Floats:
    """A wall, a sky, a cheek: a colour under soft light, perhaps with a soft shadow and faint texture."""
    hue = random.random(3)
    saturation = random.uniform(0, 0.6)
    colour = random.uniform(0.08, 0.95) * (1 - saturation + saturation * hue / hue.max())
    colours = colour.astype(np.float32) * (1 + _light(random)[..., None])
    if mask is not None and random.random() < recipe.rounded:
        colours = colours * _roundness(mask, random)[..., None]
    if random.random() < 0.35:  # a shadow
        field = smooth_noise(int(random.integers(2, 5)), CANVAS, random)
        within = (field > 0.5 * random.normal()).astype(np.float32)
        depth = np.float32(random.uniform(0.1, 0.55))
        colours = colours * (1 - depth * ndimage.gaussian_filter(within, log_uniform(2, 30, random)))[..., None]
    if random.random() < 0.4:  # plaster, paper, skin
        texture = grain((CANVAS, CANVAS), log_uniform(0.3, 2, random), random)
        colours = colours + np.float32(log_uniform(0.001, 0.02, random)) * texture[..., None]
    return np.asarray(np.clip(colours, 0, 1), np.float32)


def _light(random: np.random.Generator) -> _Floats:
    """How much more light than on average falls on each pixel of a surface, as a fraction: H x W."""
    y, x = np.mgrid[:CANVAS, :CANVAS] / CANVAS - 0.5
    kind = random.random()
    if kind < 0.35:
        return smooth_noise(int(random.integers(2, 5)), CANVAS, random) * np.float32(random.uniform(0, 0.3))
    if kind < 0.6:
        slopes = random.normal(0, log_uniform(0.02, 0.5, random), 2)
        return np.asarray(slopes[0] * x + slopes[1] * y, np.float32)
    if kind < 0.8:  # a lamp near by
        (left, top), reach = random.uniform(-0.4, 0.4, 2), random.uniform(0.2, 1.0)
        share = 1 / (1 + ((x - left) ** 2 + (y - top) ** 2) / reach**2)
        return np.asarray(random.uniform(0.2, 0.9) * (share - 0.5), np.float32)
    return np.zeros((CANVAS, CANVAS), np.float32)


def _roundness(mask: _Floats, random: np.random.Generator) -> _Floats:
    """Shade of a body that bends away from the eye towards its outline, lit from one side: factors, H x W."""
    inward = ndimage.distance_transform_edt(mask > 0.5)
    reach = min(float(inward.max()), random.uniform(15, 120)) + 1e-3
    facing = np.sqrt(1 - (1 - np.clip(inward / reach, 0, 1)) ** 2)
    down, right = np.gradient(ndimage.gaussian_filter(inward, 3))
    angle = random.uniform(0, 2 * np.pi)
    aside = (1 - facing) * (right * np.cos(angle) + down * np.sin(angle))
    return np.asarray(np.clip(0.35 + 0.55 * facing + 0.35 * aside, 0.03, 1.4), np.float32)


def outline(random: np.random.Generator) -> _Floats:
    """Return the opacity of a surface before blur: a blob, ellipses, rectangles, polygons or strokes.

    Returns
    -------
    H x W float32, 0..1.

    Examples
    --------
    >>> mask = outline(np.random.default_rng(0))
    >>> mask.shape, float(mask.max())
    ((560, 560), 1.0)
    """
    kind = random.random()
    if kind < 0.3:
        field = ndimage.gaussian_filter(
            smooth_noise(int(random.integers(3, 10)), CANVAS, random), log_uniform(1, 10, random)
        )
        return outline_of(field, float(np.quantile(field, random.uniform(0.3, 0.85))))
    picture = Image.new("L", (CANVAS * DRAWN,) * 2, 0)
    draw = ImageDraw.Draw(picture)
    for _ in range(int(random.integers(1, 4 if kind < 0.8 else 8))):
        x, y = random.uniform(0.1, 0.9, 2) * (CANVAS * DRAWN)
        if kind < 0.5:
            draw.polygon(_ellipse(x, y, random), 255)
        elif kind < 0.65:
            draw.polygon(_rectangle(x, y, random), 255)
        else:
            angles = np.sort(random.uniform(0, 2 * np.pi, int(random.integers(3, 10))))
            reach = DRAWN * log_uniform(20, 180, random) * random.uniform(0.5, 1.2, len(angles))
            corners = ring(x, y, reach, angles)
            if kind < 0.85:
                draw.polygon(corners, 255)
            else:  # twigs, wires, railings
                draw.line(corners, 255, width=int(DRAWN * log_uniform(2, 24, random)), joint="curve")
    return drawn_mask(picture)


def drawn_mask(picture: Image.Image) -> _Floats:
    """Return the opacity, `CANVAS` x `CANVAS`, of a picture in grey that is `DRAWN` times as large.

    Examples
    --------
    >>> drawn_mask(Image.new("L", (CANVAS * DRAWN,) * 2, 255)).min()
    np.float32(1.0)
    """
    return np.asarray(picture.reduce(DRAWN), np.float32) / np.float32(255)


def _ellipse(x: float, y: float, random: np.random.Generator) -> list[tuple[float, float]]:
    axes = [DRAWN * log_uniform(25, 220, random) for _ in range(2)]
    around = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    return _turned(x, y, axes[0] * np.cos(around), axes[1] * np.sin(around), random.uniform(0, np.pi))


def _rectangle(x: float, y: float, random: np.random.Generator) -> list[tuple[float, float]]:
    wide, high = (DRAWN * log_uniform(20, 250, random) for _ in range(2))
    # Half of them stand nearly upright, as things that people build do.
    turn = random.uniform(0, np.pi) if random.random() < 0.5 else random.normal(0, 0.05)
    return _turned(x, y, wide * np.array([-1, 1, 1, -1]), high * np.array([-1, -1, 1, 1]), turn)


def _turned(
    x: float, y: float, across: NDArray[np.floating], down: NDArray[np.floating], turn: float
) -> list[tuple[float, float]]:
    """Corners around a point, turned by an angle in radians."""
    cos, sin = np.cos(turn), np.sin(turn)
    return list(zip(x + across * cos - down * sin, y + across * sin + down * cos, strict=True))
