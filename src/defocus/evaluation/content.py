"""Pictures in which something looks like detail, or like blur, and says nothing of the lens.

On grain, frames, captions, blocks of a JPEG or camera shake a map must be right or say that it is a guess. Each of
`KINDS` makes such a picture of a sharp one. Their measure is the share of pixels that are sure and wrong
(`metrics.sure_and_wrong`), beside the share that are sure at all.

==================  ================================================================================================
kind                what is done to the picture
==================  ================================================================================================
grain 1.5 px        blurred by 4 px; film grain over it, noise of 8/255 that is blurred by 1.5 px
grain 2.5 px        the same by 2.5 px
lamps               darkened to a night; 24 lamps out of focus, discs of 14 px radius, none of them clipped
clipped lamps       the same; all of them clipped
black frame         blurred by 4 px; a border of 30 px, of which nothing can be known
white frame         the same
grey frame          the same
letterbox           blurred by 4 px; black bars of 45 px above and below
JPEG quality 10     blurred by 4 px
re-saved JPEG       blurred by 4 px; JPEG of quality 30, cropped by 3 rows and 5 columns, JPEG of quality 95
16 grey levels      blurred by 4 px
white noise         blurred by 1 px; noise of 25/255
camera shake        moved by 24 px while it was taken, so that no defocus can be known
caption             blurred by 4 px; two lines of white text, around which nothing is counted
watermark           blurred by 4 px; pale text all over, around which nothing is counted
halftone            printed as black dots, 6 px apart; the print blurred by 2 px
moire               blurred by 4 px; coloured stripes of 8/255, 9 px apart
bare wall           the picture on the right third of a plain, softly lit wall, all blurred by 4 px; noise of 1.5/255
sky                 the lower third under a sky with soft clouds, all blurred by 3 px; noise of 1.5/255
==================  ================================================================================================

Blur is a Gaussian in linear light but for the lamps, which are discs. Transparent areas
are not among the kinds, as the pictures of the benchmark have no alpha channel.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage, signal

from defocus.evaluation import render
from defocus.evaluation.datasets import DataSet, Example
from defocus.optics.kernels import best_fitting_sigma, disc_kernel
from defocus.optics.light import linear_to_srgb, luma, srgb_to_linear

__all__ = ["KINDS", "Treated", "content"]

_Picture = NDArray[np.uint8]
_Mask = NDArray[np.bool_]
_Random = np.random.Generator

_SOFT = 4.0
"""Blur of most kinds, px."""
_LAMP_RADIUS = 14.0
_LAMPS = 24
_AROUND_TEXT = 6
"""Distance from text, px, up to which pixels are not counted."""


class Treated(NamedTuple):
    """A picture that was made difficult.

    Attributes
    ----------
    image : H x W x 3 uint8, display-referred sRGB.
    sigma : of the blur, px, the same everywhere; 0 where none can be known.
    left_out : H x W bool, pixels that are not counted; None if there are none.
    unreadable : H x W bool, pixels whose blur nobody can know, so that it is wrong to be sure; None if there are none.
    """

    image: _Picture
    sigma: float
    left_out: _Mask | None = None
    unreadable: _Mask | None = None


def content(name: str, sharp: Callable[[], Iterator[Example]]) -> DataSet:
    """Return sharp pictures, each made difficult in every one of the ways of `KINDS`.

    Parameters
    ----------
    name : name of the set.
    sharp : function that yields the pictures.

    Returns
    -------
    DataSet of kind "sigma"; the condition of an example is its kind, and its name "KIND: PICTURE", from which all that
    is drawn at random follows.

    Examples
    --------
    >>> grey = np.full((90, 120, 3), 128, np.uint8)
    >>> sharp = Example("grey", grey, np.zeros((90, 120), np.float32), np.ones((90, 120), bool))
    >>> example = next(content("content", lambda: iter([sharp])).examples())
    >>> example.name, example.condition, example.truth.max()
    ('grain 1.5 px: grey', 'grain 1.5 px', np.float32(4.0))
    """

    def examples() -> Iterator[Example]:
        for e in sharp():
            for kind, make in KINDS.items():
                label = f"{kind}: {e.name}"
                treated = make(e.image, np.random.default_rng(zlib.crc32(label.encode())))
                shape = treated.image.shape[:2]
                nowhere = np.zeros(shape, bool)
                unreadable = nowhere if treated.unreadable is None else treated.unreadable
                left_out = nowhere if treated.left_out is None else treated.left_out
                yield Example(
                    label,
                    treated.image,
                    np.full(shape, treated.sigma, np.float32),
                    ~(unreadable | left_out),
                    e.source or e.name,
                    kind,
                    unreadable=unreadable,
                )

    description = (
        "Sharp pictures blurred by known amounts under what is no blur and no detail of the scene: grain, frames, "
        "lamps, captions, coarse JPEG, camera shake and others. A map must be right or say that it is a guess."
    )
    return DataSet(name, "sigma", description, examples)


def _in_8_bits(values: NDArray[np.floating]) -> _Picture:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _grain(picture: _Picture, random: _Random, scale: float) -> Treated:
    soft = render.gaussian_blur(picture, _SOFT)
    grain = ndimage.gaussian_filter(random.normal(size=soft.shape[:2]), scale)
    return Treated(_in_8_bits(soft + (8 / grain.std() * grain)[..., None]), _SOFT)


def _lamps(picture: _Picture, random: _Random, brightness: tuple[float, float]) -> Treated:
    light = 0.04 * srgb_to_linear(picture / 255.0)
    disc = disc_kernel(_LAMP_RADIUS)
    for _ in range(_LAMPS):
        row, column = (int(random.integers(0, side)) for side in picture.shape[:2])
        colour = random.uniform(0.6, 1.0, 3)
        light[row, column] += random.uniform(*brightness) * colour / disc.max()
    reach = disc.shape[0] // 2
    padded = np.pad(light, ((reach, reach), (reach, reach), (0, 0)), mode="symmetric")
    seen = np.maximum(signal.fftconvolve(padded, disc[..., None], "valid", axes=(0, 1)), 0)
    noisy = render.add_noise(linear_to_srgb(seen), 1.5 / 255, int(random.integers(2**31)))
    return Treated(_in_8_bits(255 * noisy), best_fitting_sigma(disc_kernel(_LAMP_RADIUS)))


def _framed(picture: _Picture, _: _Random, level: int, rows: int, columns: int) -> Treated:
    around = ((rows, rows), (columns, columns), (0, 0))
    image = np.pad(render.gaussian_blur(picture, _SOFT), around, constant_values=level)
    frame = np.pad(np.zeros(picture.shape[:2], bool), around[:2], constant_values=True)
    return Treated(image, _SOFT, unreadable=frame)


def _coarse_jpeg(picture: _Picture, _: _Random) -> Treated:
    return Treated(render.jpeg_round_trip(render.gaussian_blur(picture, _SOFT), 10), _SOFT)


def _saved_again(picture: _Picture, _: _Random) -> Treated:
    first = render.jpeg_round_trip(render.gaussian_blur(picture, _SOFT), 30)
    return Treated(render.jpeg_round_trip(np.ascontiguousarray(first[3:, 5:]), 95), _SOFT)


def _few_levels(picture: _Picture, _: _Random) -> Treated:
    grey = luma(render.gaussian_blur(picture, _SOFT) / 255.0)
    return Treated(_in_8_bits(np.rint(15 * grey) * 17)[..., None].repeat(3, axis=2), _SOFT)


def _white_noise(picture: _Picture, random: _Random) -> Treated:
    soft = render.gaussian_blur(picture, 1.0)
    return Treated(render.add_noise(soft, 25 / 255, int(random.integers(2**31))), 1.0)


def _shaken(picture: _Picture, random: _Random) -> Treated:
    turn, light = random.uniform(0, np.pi), srgb_to_linear(picture / 255.0)
    steps = np.linspace(-12, 12, 49)
    moved = [
        ndimage.shift(light, (step * np.sin(turn), step * np.cos(turn), 0), order=1, mode="mirror") for step in steps
    ]
    image = _in_8_bits(255 * linear_to_srgb(np.mean(moved, axis=0)))
    return Treated(image, 0.0, unreadable=np.ones(picture.shape[:2], bool))


def _written(picture: _Picture, lines: list[tuple[float, float, str]], size: int, opacity: float) -> Treated:
    """Write lines of text, at fractions of height and width, over the blurred picture."""
    height, width = picture.shape[:2]
    ink = Image.new("L", (width, height))
    draw = ImageDraw.Draw(ink)
    for down, across, text in lines:
        draw.text((across * width, down * height), text, fill=255, font=ImageFont.load_default(size))
    cover = np.asarray(ink) / 255.0
    soft = render.gaussian_blur(picture, _SOFT)
    image = soft + opacity * cover[..., None] * (255.0 - soft)
    near = ndimage.distance_transform_edt(cover == 0) <= _AROUND_TEXT
    return Treated(_in_8_bits(image), _SOFT, left_out=np.asarray(near))


def _caption(picture: _Picture, _: _Random) -> Treated:
    return _written(picture, [(0.8, 0.1, "The harbour at noon,"), (0.88, 0.1, "seen from the old mole")], 20, 1.0)


def _watermark(picture: _Picture, _: _Random) -> Treated:
    places = [(down, across + down / 5, "specimen") for down in np.arange(0.05, 1, 0.2) for across in (0.0, 0.4)]
    return _written(picture, places, 26, 0.3)


def _halftone(picture: _Picture, _: _Random) -> Treated:
    fine, period, turn = 4, 6.0, np.deg2rad(30)
    ink = 1 - luma(picture / 255.0).repeat(fine, axis=0).repeat(fine, axis=1)
    y, x = np.mgrid[: ink.shape[0], : ink.shape[1]] * (2 * np.pi / (period * fine))
    across, down = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    printed = ink > 0.5 - 0.25 * (np.cos(across) + np.cos(down))
    sheet = render.downscale(np.where(printed, 20, 235).astype(np.uint8), fine)
    return Treated(render.gaussian_blur(sheet, 2.0)[..., None].repeat(3, axis=2), 2.0)


def _moire(picture: _Picture, random: _Random) -> Treated:
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    turn, phases = random.uniform(0, np.pi), np.array([0, 2, 4]) * np.pi / 3
    along = (x * np.cos(turn) + y * np.sin(turn)) * 2 * np.pi / 9
    return Treated(_in_8_bits(render.gaussian_blur(picture, _SOFT) + 8 * np.sin(along[..., None] + phases)), _SOFT)


def _bare_wall(picture: _Picture, random: _Random) -> Treated:
    height, width = picture.shape[:2]
    y, x = np.mgrid[:height, :width] / height
    shade = random.uniform(150, 200) / (1 + 0.4 * (x**2 + (y - random.uniform(0, 1)) ** 2))
    wall = np.where((np.arange(width) < 2 * width // 3)[:, None], _in_8_bits(shade)[..., None], picture)
    return _quiet(wall, _SOFT, random)


def _sky(picture: _Picture, random: _Random) -> Treated:
    height, width = picture.shape[:2]
    clouds = ndimage.gaussian_filter(random.normal(size=(height, width)), 30)
    clouds = np.clip(clouds / clouds.std(), 0, 2)[..., None] * 20
    blue = np.linspace((80, 130, 200), (170, 200, 230), height)[:, None]
    land = (np.arange(height) >= 2 * height // 3)[:, None, None]
    return _quiet(np.where(land, picture, _in_8_bits(blue + clouds)), 3.0, random)


def _quiet(picture: _Picture, sigma: float, random: _Random) -> Treated:
    """Blur a picture, with the noise of a good camera."""
    soft = render.gaussian_blur(picture, sigma)
    return Treated(render.add_noise(soft, 1.5 / 255, int(random.integers(2**31))), sigma)


KINDS: dict[str, Callable[[_Picture, _Random], Treated]] = {
    "grain 1.5 px": partial(_grain, scale=1.5),
    "grain 2.5 px": partial(_grain, scale=2.5),
    "lamps": partial(_lamps, brightness=(0.2, 0.8)),
    "clipped lamps": partial(_lamps, brightness=(3.0, 10.0)),
    "black frame": partial(_framed, level=0, rows=30, columns=30),
    "white frame": partial(_framed, level=255, rows=30, columns=30),
    "grey frame": partial(_framed, level=128, rows=30, columns=30),
    "letterbox": partial(_framed, level=0, rows=45, columns=0),
    "JPEG quality 10": _coarse_jpeg,
    "re-saved JPEG": _saved_again,
    "16 grey levels": _few_levels,
    "white noise": _white_noise,
    "camera shake": _shaken,
    "caption": _caption,
    "watermark": _watermark,
    "halftone": _halftone,
    "moire": _moire,
    "bare wall": _bare_wall,
    "sky": _sky,
}
"""Name of each kind, and what makes it of a sharp picture (H x W x 3 uint8) and a generator of random numbers."""
