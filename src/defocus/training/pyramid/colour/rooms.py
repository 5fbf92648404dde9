"""Rooms: a wall, a floor whose blur grows along it, and things that stand on it with their shadows.

What stands on a floor is as blurred as the floor where it touches it. A wall is as blurred as the end of the floor.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from defocus.training.pyramid.colour.recipe import CANVAS, ColourSceneRecipe
from defocus.training.pyramid.colour.surfaces import Content, Surface, content, drawn_mask
from defocus.training.pyramid.drawing import DRAWN, log_uniform
from defocus.training.pyramid.sources import Source

__all__ = ["room"]

_Floats = NDArray[np.float32]

_BARE = ColourSceneRecipe(bare=1.0)
"""Recipe of a floor without pattern."""
_BARE_FLOORS = 0.5
"""Share of floors that are bare whatever the recipe says."""


def room(sources: Sequence[Source], recipe: ColourSceneRecipe, random: np.random.Generator) -> list[Surface]:
    """Return the surfaces of a room: first the wall and the floor, then one to four things, the farthest first.

    The floor is a plane before a pinhole, so its inverse depth grows evenly below the horizon, and its blur with the
    difference of that from the plane of focus.

    Parameters
    ----------
    sources : photographs in colour.
    recipe : shares of what the surfaces show.
    random : source of the randomness.

    Examples
    --------
    >>> sources = [Source(np.full((200, 300, 3), 99, np.uint8), np.full((50, 75), 0.5, np.float16))]
    >>> surfaces = room(sources, ColourSceneRecipe(), np.random.default_rng(1))
    >>> surfaces[0].mask is None, all(thing.mask is not None for thing in surfaces[1:])
    (True, True)
    """
    y = np.repeat(np.arange(CANVAS, dtype=np.float32)[:, None] / CANVAS, CANVAS, axis=1)
    horizon, nearest = random.uniform(0.2, 0.6), random.uniform(0.6, 1.6)
    largest = log_uniform(0.8, 9, random)
    focus = random.uniform(0, nearest)  # inverse depth, 0 at the wall
    px_per_depth = largest / max(focus, nearest - focus)

    def blur(depth: NDArray[np.floating] | float) -> NDArray[np.floating]:
        return (np.asarray(depth, np.float32) - np.float32(focus)) * np.float32(px_per_depth)

    floor = y > horizon
    depth = np.where(floor, (y - horizon) / (1 - horizon) * nearest, 0)
    wall = content(sources, float(abs(blur(0.0))), recipe, random)
    ground = content(sources, max(0.3 * largest, 0.5), _BARE if random.random() < _BARE_FLOORS else recipe, random)
    shade = np.ones((CANVAS, CANVAS), np.float32)
    things: list[Surface] = []
    for foot in np.sort(random.uniform(horizon + 0.03, 1.05, int(random.integers(1, 5)))):
        inverse = (foot - horizon) / (1 - horizon) * nearest
        scale = (0.35 + inverse / nearest) * CANVAS  # nearer things are larger
        width, height = (high * scale for high in (log_uniform(0.05, 0.3, random), log_uniform(0.08, 0.5, random)))
        middle = random.uniform(0, CANVAS)
        mask = _standing(middle, foot * CANVAS, width, height, random)
        sigma: float | _Floats = float(blur(inverse))
        shown = content(sources, abs(float(blur(inverse))), recipe, random, mask)
        if random.random() < 0.3:  # it leans towards the eye or away from it
            sigma = np.asarray(sigma + (y - foot) * random.normal(0, 0.2) * largest, np.float32)
        things.append(Surface(shown, mask, sigma))
        shade *= 1 - np.float32(random.uniform(0.1, 0.6)) * _shadow(middle, foot * CANVAS, width, random)
    colours = np.where(floor[..., None], ground.colours, wall.colours) * shade[..., None]
    back = Content(np.asarray(np.clip(colours, 0, 1), np.float32), np.where(floor, ground.own_blur, wall.own_blur))
    return [Surface(back, None, np.asarray(blur(depth), np.float32)), *things]


def _standing(middle: float, foot: float, width: float, height: float, random: np.random.Generator) -> _Floats:
    """Opacity, H x W, of a box, an ellipse or a rounded box that stands at `foot` px; all lengths in px."""
    picture = Image.new("L", (CANVAS * DRAWN,) * 2, 0)
    draw = ImageDraw.Draw(picture)
    box = tuple(DRAWN * side for side in (middle - width / 2, foot - height, middle + width / 2, foot))
    kind = random.random()
    if kind < 0.4:
        draw.rectangle(box, fill=255)
    elif kind < 0.7:
        draw.ellipse(box, fill=255)
    else:
        draw.rounded_rectangle(box, radius=DRAWN * 0.3 * min(width, height), fill=255)
    return drawn_mask(picture)


def _shadow(middle: float, foot: float, width: float, random: np.random.Generator) -> _Floats:
    """Soft shadow at the foot of a thing, H x W, 0..1."""
    picture = Image.new("L", (CANVAS, CANVAS), 0)
    box = (middle - 0.7 * width, foot - 0.15 * width, middle + 0.7 * width, foot + 0.2 * width)
    ImageDraw.Draw(picture).ellipse(box, fill=255)
    soft = ndimage.gaussian_filter(np.asarray(picture, np.float32) / 255, log_uniform(2, 14, random))
    return np.asarray(soft, np.float32)
