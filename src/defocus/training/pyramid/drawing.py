"""Random numbers, outlines and fields that training scenes are drawn from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

__all__ = [
    "DRAWN",
    "distances_from_focus",
    "grain",
    "log_uniform",
    "mirrored_window",
    "outline_of",
    "overlapping_shapes",
    "ring",
    "smooth_noise",
]

_Floats = NDArray[np.float32]

DRAWN = 3
"""How many times larger shapes are drawn than they are used: each pixel then holds the area it shares with them."""


def log_uniform(low: float, high: float, random: np.random.Generator) -> float:
    """Return a random number whose logarithm is uniform.

    Parameters
    ----------
    low, high : limits, above 0.
    random : source of the randomness.

    Examples
    --------
    >>> 0.1 <= log_uniform(0.1, 10, np.random.default_rng(0)) <= 10
    True
    """
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


def distances_from_focus(count: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Return how far layers are from a plane of focus, the farthest first, as blur grows with it: the largest is 1.

    Layers lie at random inverse depths. The plane of focus is at one of them, or anywhere.

    Parameters
    ----------
    count : number of layers, 2 or more.
    random : source of the randomness.

    Returns
    -------
    `count` numbers from -1 to 1; the sign is the side of the plane of focus.

    Examples
    --------
    >>> float(abs(distances_from_focus(3, np.random.default_rng(0))).max())
    1.0
    """
    inverse_depths = np.sort(random.random(count))
    focus = inverse_depths[random.integers(count)] if random.random() < 0.7 else random.random()
    distance = inverse_depths - focus
    return np.asarray(distance / max(float(np.abs(distance).max()), 1e-6))


def ring(x: float, y: float, reach: ArrayLike, angles: NDArray[np.floating]) -> list[tuple[float, float]]:
    """Return the corners of a polygon around a point, as Pillow draws it.

    Parameters
    ----------
    x, y : the point, px.
    reach : distance of the corners from it, px: one number, or one for each corner.
    angles : of the corners, radians.

    Examples
    --------
    >>> [(round(x), round(y)) for x, y in ring(10, 20, 5, np.array([0, np.pi / 2]))]
    [(15, 20), (10, 25)]
    """
    return list(zip(x + reach * np.cos(angles), y + reach * np.sin(angles), strict=True))


def smooth_noise(knots: int, side: int, random: np.random.Generator) -> _Floats:
    """Return a smooth random field: bicubic interpolation of normally distributed numbers on a coarse grid.

    Parameters
    ----------
    knots : number of rows and of columns of the coarse grid.
    side : of the field, px.
    random : source of the randomness.

    Returns
    -------
    side x side float32.

    Examples
    --------
    >>> smooth_noise(3, 64, np.random.default_rng(0)).shape
    (64, 64)
    """
    coarse = Image.fromarray(random.standard_normal((knots, knots), np.float32))
    return np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), np.float32)


def outline_of(field: _Floats, threshold: float) -> _Floats:
    """Return where a smooth field is above a threshold, with an edge of one pixel, as an area that a sensor averages.

    Parameters
    ----------
    field : H x W.
    threshold : value of the field at the edge.

    Returns
    -------
    H x W float32, opacity 0..1.

    Examples
    --------
    >>> outline_of(np.float32([[0, 1, 2, 3]] * 2), 1.25)
    array([[0.  , 0.25, 1.  , 1.  ],
           [0.  , 0.25, 1.  , 1.  ]], dtype=float32)
    """
    slope = np.hypot(*np.gradient(field))
    return np.asarray(np.clip((field - threshold) / np.maximum(slope, 1e-6) + 0.5, 0, 1), np.float32)


def grain(shape: Sequence[int], sigma: float, random: np.random.Generator) -> _Floats:
    """Return noise of standard deviation 1 whose neighbours are correlated by a Gaussian.

    Parameters
    ----------
    shape : H, W, or H, W and the number of colours, which are independent of one another.
    sigma : of the Gaussian, px.
    random : source of the randomness.

    Returns
    -------
    float32 of that shape.

    Examples
    --------
    >>> round(float(grain((100, 100), 0.7, np.random.default_rng(0)).std()), 3)
    1.0
    """
    noise = random.standard_normal(tuple(shape), np.float32)
    noise = ndimage.gaussian_filter(noise, sigma, mode="reflect", axes=(0, 1))
    return np.asarray(noise / noise.std(), np.float32)


def mirrored_window(picture: NDArray[np.floating], offset: Iterable[int], side: int) -> _Floats:
    """Return a square window of a picture that continues as its mirror image beyond its borders.

    Parameters
    ----------
    picture : H x W, or H x W x 3.
    offset : any row and column. The window begins there, or at the remainder where the picture is not left.
    side : of the window, px.

    Returns
    -------
    side x side, or side x side x 3, float32.

    Examples
    --------
    >>> mirrored_window(np.array([[1.0, 2.0]]), (0, 0), 4)[0]
    array([1., 2., 2., 1.], dtype=float32)
    """
    index = []
    for length, start in zip(picture.shape[:2], offset, strict=True):
        free = length - side
        first = int(start) % (free + 1) if free > 0 else int(start) % (2 * length)
        place = (first + np.arange(side)) % (2 * length)
        index.append(np.minimum(place, 2 * length - 1 - place))
    return np.ascontiguousarray(picture[np.ix_(*index)], np.float32)


def overlapping_shapes(side: int, mode: Literal["L", "RGB"], random: np.random.Generator) -> _Floats:
    """Return a picture of overlapping shapes, sharp to the pixel: polygons and discs, or strokes as of letters.

    Parameters
    ----------
    side : of the picture, px.
    mode : "L" for grey, "RGB" for colours.
    random : source of the randomness.

    Returns
    -------
    side x side, or side x side x 3, float32, 0..1, display-referred.

    Examples
    --------
    >>> overlapping_shapes(64, "RGB", np.random.default_rng(0)).shape
    (64, 64, 3)
    """
    whole = side * DRAWN

    def colour() -> tuple[int, ...]:
        return tuple(int(value) for value in random.integers(0, 256, len(mode)))

    picture = Image.new(mode, (whole, whole), colour())
    draw = ImageDraw.Draw(picture)
    strokes = random.random() < 0.3
    smallest = log_uniform(2, 12, random)
    for _ in range(int(log_uniform(30, 500, random))):
        x, y = random.uniform(0, whole, 2)
        radius = min(DRAWN * (smallest * random.pareto(2.0) + 1), whole / 3)
        number = int(random.integers(3, 9))
        corners = ring(x, y, radius, np.sort(random.uniform(0, 2 * np.pi, number)))
        fill = colour()
        if strokes:
            draw.line(corners[:3], fill, width=int(DRAWN * log_uniform(1, 6, random)))
        elif number == 8:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill)
        else:
            draw.polygon(corners, fill)
    return np.asarray(picture.reduce(DRAWN), np.float32) / np.float32(255)
