"""What happens to a picture behind the lens: noise, grain, sharpening, few grey levels, captions and dots of print.

Pictures are display-referred, H x W or H x W x 3, float32 0..1 unless a function says otherwise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from defocus.training.pyramid.drawing import grain, log_uniform

__all__ = [
    "as_bytes",
    "in_few_levels",
    "in_grey",
    "sharpened",
    "sides_before_reduction",
    "with_captions",
    "with_film_grain",
    "with_halftone",
    "with_sensor_noise",
]

_Floats = NDArray[np.float32]
_Bytes = NDArray[np.uint8]

_CAPTION_MARGIN = 4
"""Width in px around a caption within which blur is not that of the lens."""


def as_bytes(picture: _Floats) -> _Bytes:
    """Return a picture as uint8, rounded and clipped.

    Examples
    --------
    >>> as_bytes(np.float32([[0, 0.5, 1.2]]))
    array([[  0, 128, 255]], dtype=uint8)
    """
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def with_sensor_noise(
    picture: _Floats, largest: float, demosaiced_share: float, random: np.random.Generator
) -> _Floats:
    """Return a picture with the noise of a sensor, white or correlated between neighbours as demosaicing leaves it.

    Parameters
    ----------
    picture : H x W or H x W x 3.
    largest : largest standard deviation, of 255; small ones are more frequent.
    demosaiced_share : how often it is correlated, 0..1.
    random : source of the randomness.

    Examples
    --------
    >>> grey = np.full((64, 64), 0.5, np.float32)
    >>> noisy = with_sensor_noise(grey, 10.0, 0.4, np.random.default_rng(0))
    >>> 0 < float(noisy.std()) < 10 / 255
    True
    """
    size = largest / 255 * random.random() ** 2
    noise = random.standard_normal(picture.shape, np.float32)
    if random.random() < demosaiced_share:
        noise = ndimage.gaussian_filter(noise, random.uniform(0.4, 0.8), mode="reflect", axes=(0, 1))
        noise /= noise.std()
    # Photon noise grows with the light, and the display curve shrinks it again: a little more in the shadows.
    if random.random() < 0.5:
        noise *= 1.3 - 0.6 * picture
    return np.asarray(picture + size * noise, np.float32)


def with_film_grain(picture: _Floats, random: np.random.Generator) -> _Floats:
    """Return a colour picture with grain of 0.7 to 3 px and 2 to 11 of 255, of one colour or of three.

    Examples
    --------
    >>> grainy = with_film_grain(np.full((64, 64, 3), 0.5, np.float32), np.random.default_rng(0))
    >>> 2 / 255 < float(grainy.std()) < 11 / 255
    True
    """
    size = log_uniform(0.7, 3, random)
    colours = 3 if random.random() < 0.4 else 1
    noise = grain((*picture.shape[:2], colours), size, random)
    return np.asarray(picture + np.float32(random.uniform(2, 11) / 255) * noise, np.float32)


def sides_before_reduction(side: int, share: float, largest: float, random: np.random.Generator) -> tuple[int, int]:
    """Return height and width in px of what becomes a square picture, perhaps by other factors across than down.

    Parameters
    ----------
    side : of the square, px.
    share : how often a picture is reduced at all, 0..1; half of these by other factors across than down.
    largest : factor, 1 or more.
    random : source of the randomness.

    Examples
    --------
    >>> sides_before_reduction(448, 0.0, 1.2, np.random.default_rng(0))
    (448, 448)
    """
    if random.random() >= share:
        return side, side
    down, across = random.uniform(1, largest, 2)
    return round(side * down), round(side * (across if random.random() < 0.5 else down))


def sharpened(picture: _Floats, random: np.random.Generator) -> _Floats:
    """Return a picture with an unsharp mask of 0.5 to 1.2 px over it, as cameras and editors leave it.

    Examples
    --------
    >>> step = np.float32([[0, 0, 0, 0.5, 1, 1, 1]] * 7)
    >>> float(sharpened(step, np.random.default_rng(0)).max()) > 1  # the bright line beside an edge
    True
    """
    soft = ndimage.gaussian_filter(picture, random.uniform(0.5, 1.2), mode="reflect", axes=(0, 1))
    return np.asarray(picture + np.float32(log_uniform(0.15, 1.2, random)) * (picture - soft), np.float32)


def in_few_levels(picture: _Floats, random: np.random.Generator) -> _Floats:
    """Return a picture with 8 to 33 levels of each colour.

    Examples
    --------
    >>> ramp = np.linspace(0, 1, 1000, dtype=np.float32)[:, None]
    >>> 8 <= np.unique(in_few_levels(ramp, np.random.default_rng(0))).size <= 33
    True
    """
    steps = int(random.integers(7, 33))
    return np.asarray(np.rint(np.clip(picture, 0, 1) * steps) / steps, np.float32)


def in_grey(picture: _Floats, random: np.random.Generator) -> _Floats:
    """Return a colour picture in grey, H x W x 3: by the mean of its colours or by its luma.

    Examples
    --------
    >>> grey = in_grey(np.float32([[[1, 0, 0]]]), np.random.default_rng(0))
    >>> bool(grey[0, 0, 0] == grey[0, 0, 2])
    True
    """
    weights = np.asarray([1 / 3] * 3 if random.random() < 0.5 else [0.3, 0.59, 0.11], np.float32)
    return np.repeat((picture @ weights)[..., None], 3, axis=2)


def with_captions(pixels: _Bytes, random: np.random.Generator) -> tuple[_Bytes, NDArray[np.bool_]]:
    """Return a picture with one to three words over it, and where they and their surroundings are.

    Parameters
    ----------
    pixels : H x W x 3 uint8.
    random : source of the randomness.

    Returns
    -------
    The picture, and H x W bool.

    Examples
    --------
    >>> plain = np.zeros((200, 300, 3), np.uint8)
    >>> pixels, covered = with_captions(plain, np.random.default_rng(0))
    >>> bool(pixels[covered].any()), bool(pixels[~covered].any())
    (True, False)
    """
    height, width = pixels.shape[:2]
    picture = Image.fromarray(pixels)
    draw = ImageDraw.Draw(picture)
    covered = np.zeros((height, width), bool)
    for _ in range(int(random.integers(1, 4))):
        font = ImageFont.load_default(int(log_uniform(10, 60, random)))
        place = (int(random.integers(width - 40)), int(random.integers(height - 40)))
        text = "".join(chr(letter) for letter in random.integers(ord("A"), ord("Z") + 1, random.integers(3, 14)))
        left, top, right, bottom = (round(limit) for limit in draw.textbbox(place, text, font=font))
        draw.text(place, text, font=font, fill=tuple(int(value) for value in random.integers(0, 256, 3)))
        margin = _CAPTION_MARGIN
        covered[max(top - margin, 0) : bottom + margin, max(left - margin, 0) : right + margin] = True
    return np.asarray(picture), covered


def with_halftone(picture: _Floats, random: np.random.Generator) -> _Floats:
    """Return a colour picture under a grid of dots with a period of 2.2 to 5 px, as of print, a screen or moiré.

    Examples
    --------
    >>> dotted = with_halftone(np.full((64, 64, 3), 0.5, np.float32), np.random.default_rng(0))
    >>> 0.02 < float(np.ptp(dotted)) < 0.5
    True
    """
    period, angle = log_uniform(2.2, 5, random), random.uniform(0, np.pi)
    y, x = np.indices(picture.shape[:2])
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    dots = np.cos(2 * np.pi * along / period) + np.cos(2 * np.pi * across / period)
    return np.asarray(picture + random.uniform(0.02, 0.12) * dots[..., None], np.float32)
