"""The public data sets: figures that anybody can make again, with nothing but this package and scikit-image.

Sharp pictures are blurred by known amounts: photographs that come inside the wheel of scikit-image (`PHOTOGRAPHS`, all
CC0 or in the public domain, so nothing is downloaded), and pictures that are drawn here (`DRAWINGS`), which no lens has
blurred. Everything follows from their names: every run sees the same pixels.

======================  ==========================================================================================
set                     what is done to each picture, and its truth
======================  ==========================================================================================
public-gaussian         blurred as a whole by a Gaussian of 0.5 to 8 px; the sigma
public-disc             blurred as a whole by discs of 1 to 4 px; the sigma of the Gaussian that best explains them
public-ramp             a plane that runs through the focus, 0 to 6 px, by Gaussians, and by discs under noise and JPEG
public-layers           a shape of one picture before another, one of the two blurred by 1.5 or 4 px
public-masks            the pictures of `public-layers`; which layer is the blurred one (True = blurred)
public-content          grain, frames, lamps, captions, camera shake and others (`content`); the blur under them
======================  ==========================================================================================

Truths are sigmas of best-fitting Gaussians in px of the picture. They hold the blur that was added, not what a
photograph had before.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from defocus.errors import DefocusError
from defocus.evaluation import generators, render
from defocus.evaluation.content import content
from defocus.evaluation.datasets import DataSet, Example, read_picture
from defocus.evaluation.render import Kernel

Floats = NDArray[np.float64]

NAME = "public"
"""What `open_data` and `defocus benchmark --data` take for these sets."""
LARGEST = (384, 512)
"""px, rows and columns: of larger photographs the middle is taken; drawings have this size."""
GAUSSIANS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""px, sigma over whole pictures."""
DISCS = (1.0, 2.0, 4.0)
"""px, sigma of the discs over whole pictures: that of their best-fitting Gaussian."""
RAMP = 6.0
"""px, sigma at the end of a ramp that is farther out of focus."""
RAMP_LAYERS = 32
RAMPS: tuple[tuple[str, Kernel, float, int | None], ...] = (
    ("gaussian", "gaussian", 0.0, None),
    ("disc, noise 2, JPEG 92", "disc", 2 / 255, 92),
)
"""Label, kernel, noise as a share of full scale, JPEG quality."""
LAYERS: tuple[tuple[str, float, Kernel], ...] = (
    ("background", 1.5, "gaussian"),
    ("background", 4.0, "disc"),
    ("foreground", 1.5, "disc"),
    ("foreground", 4.0, "gaussian"),
)
"""What is blurred, its sigma in px, the kernel."""
_OVERSAMPLING = 4


@dataclass(frozen=True)
class PublicPhotograph:
    """A photograph in the wheel of scikit-image.

    Attributes
    ----------
    name : of its file, without ending.
    factor : whole number by which it is made smaller, so that it is sharp.
    author, licence : as the documentation of `skimage.data` gives them.
    """

    name: str
    factor: int
    author: str
    licence: str


PHOTOGRAPHS = (
    PublicPhotograph("astronaut", 1, "NASA", "public domain"),
    PublicPhotograph("brick", 2, "CC0Textures", "CC0"),
    PublicPhotograph("coffee", 1, "Rachel Michetti", "CC0"),
    PublicPhotograph("grass", 1, "linolafett", "CC0"),
    PublicPhotograph("gravel", 2, "CC0Textures", "CC0"),
    PublicPhotograph("camera", 1, "Lav Varshney", "CC0"),
)


def public_sets() -> list[DataSet]:
    """Open the public data sets.

    Returns
    -------
    The sets of this module's table.

    Raises
    ------
    DefocusError
        If scikit-image is not installed, or its wheel lacks one of the photographs.
    """
    _folder_of_scikit_image()
    return [
        generators.uniform("public-gaussian", sharp_pictures, "gaussian", GAUSSIANS),
        generators.uniform("public-disc", sharp_pictures, "disc", DISCS),
        DataSet(
            "public-ramp",
            "sigma",
            f"Planes that run through the focus, sigma 0 to {RAMP:g} px, by Gaussians, and by discs under noise of "
            "2/255 and JPEG.",
            ramps,
        ),
        DataSet(
            "public-layers",
            "sigma",
            "A shape of one picture before another, one of the two in focus, the other blurred by 1.5 or 4 px; linear "
            "light, occlusion rendered.",
            layers,
        ),
        DataSet(
            "public-masks",
            "mask",
            "The pictures of public-layers; blurred is the layer that is out of focus.",
            masks,
        ),
        content("public-content", sharp_pictures),
    ]


def sharp_pictures() -> Iterator[Example]:
    """Give the photographs and the drawings in turn; truth is 0 everywhere, the blur added so far."""
    for photograph, name in zip_longest(PHOTOGRAPHS, DRAWINGS):
        if photograph is not None:
            yield _sharp(photograph.name, _read(photograph))
        if name is not None:
            yield _sharp(name, draw(name))


def ramps() -> Iterator[Example]:
    """Give every sharp picture as a plane whose blur changes along it, through the focus."""
    for e in sharp_pictures():
        random = np.random.default_rng(zlib.crc32(f"{e.name}@ramp".encode()))
        height, width = e.truth.shape
        y, x = np.mgrid[:height, :width].astype(np.float64)
        angle = random.uniform(0, 2 * np.pi)
        along = x * np.cos(angle) + y * np.sin(angle)
        along = (along - along.min()) / np.ptp(along)
        focus = float(random.uniform(0.2, 0.8))
        for label, kernel, noise, jpeg in RAMPS:
            scene = render.render_depth(
                e.image,
                along,
                None,
                focus,
                RAMP,
                kernel,
                layers=RAMP_LAYERS,
                noise=noise,
                jpeg=jpeg,
                seed=zlib.crc32(f"{e.name}@{label}".encode()),
            )
            yield replace(e, name=f"{e.name}@ramp, {label}", image=scene.image, truth=scene.sigma, condition=label)


def layers() -> Iterator[Example]:
    """Give every sharp picture behind a shape that is cut from the next one; one of the two is blurred."""
    pictures = list(sharp_pictures())
    for back, front in zip(pictures, [*pictures[1:], pictures[0]], strict=True):
        shape = back.truth.shape
        random = np.random.default_rng(zlib.crc32(f"{back.name}@layers".encode()))
        inside = _outline(shape, random)
        rows, columns = (np.arange(n) % m for n, m in zip(shape, front.truth.shape, strict=True))
        joined = np.where(inside[..., None], front.image[np.ix_(rows, columns)], back.image)
        for blurred, sigma, kernel in LAYERS:
            focus = 1.0 if blurred == "background" else 0.0
            scene = render.render_depth(joined, inside, None, focus, sigma, kernel)
            label = f"{blurred} {sigma:g} px, {kernel}"
            yield replace(back, name=f"{back.name}@{label}", image=scene.image, truth=scene.sigma, condition=label)


def masks() -> Iterator[Example]:
    """Give the pictures of `layers` with a mask for their truth, True where they are blurred."""
    for e in layers():
        yield replace(e, truth=e.truth > 0)


def draw(name: str) -> NDArray[np.uint8]:
    """Draw one of `DRAWINGS`, `LARGEST` in size; pixels are means over their area, of display values.

    Raises
    ------
    DefocusError
        If there is no drawing of that name.
    """
    if name not in DRAWINGS:
        raise DefocusError(f"There is no drawing {name!r}: choose of {', '.join(DRAWINGS)}.")
    return _drawn(name).copy()


@cache
def _drawn(name: str) -> NDArray[np.uint8]:
    return DRAWINGS[name](np.random.default_rng(zlib.crc32(name.encode())))


def _draw_leaves(random: np.random.Generator) -> NDArray[np.uint8]:
    """Discs of all sizes that cover each other: the dead leaves model of natural pictures."""
    canvas = _canvas()
    for _ in range(4000):
        # The number of discs goes with the radius to the power of -3, as that of things in photographs does.
        radius = 4.0 / np.sqrt(random.uniform((4.0 / 90) ** 2, 1.0)) * _OVERSAMPLING
        _paint(canvas, random, radius, partial(_within_disc, radius=radius))
    return render.downscale(canvas, _OVERSAMPLING)


def _draw_polygons(random: np.random.Generator) -> NDArray[np.uint8]:
    """Polygons of three to seven sides that cover each other: straight edges in all directions."""
    canvas = _canvas()
    for _ in range(500):
        radius = random.uniform(6, 60) * _OVERSAMPLING
        sides = int(random.integers(3, 8))
        turn = random.uniform(0, 2 * np.pi) + np.arange(sides) * 2 * np.pi / sides
        inside = partial(_within_polygon, turn=turn, reach=radius * np.cos(np.pi / sides))
        _paint(canvas, random, radius, inside)
    return render.downscale(canvas, _OVERSAMPLING)


def _within_disc(x: Floats, y: Floats, radius: float) -> NDArray[np.bool_]:
    return np.asarray(np.hypot(x, y) <= radius)


def _within_polygon(x: Floats, y: Floats, turn: Floats, reach: float) -> NDArray[np.bool_]:
    """Whether a place is nearer than `reach` to the middle in the direction of every side."""
    return np.asarray(np.max([x * np.cos(t) + y * np.sin(t) for t in turn], axis=0) <= reach)


def _draw_stars(random: np.random.Generator) -> NDArray[np.uint8]:
    """Siemens stars in two colours each: edges as close together as the place on the spoke says."""
    side = LARGEST[0] // 3 * _OVERSAMPLING
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    turn = np.arctan2(y, x)
    canvas = _canvas()
    for top in range(0, canvas.shape[0], side):
        for left in range(0, canvas.shape[1], side):
            spokes = np.sin(int(random.integers(6, 19)) * turn + random.uniform(0, 2 * np.pi)) > 0
            dark, light = random.integers(10, 110, 3), random.integers(140, 246, 3)
            canvas[top : top + side, left : left + side] = np.where(spokes[..., None], light, dark)
    return render.downscale(canvas, _OVERSAMPLING)


def _draw_texture(random: np.random.Generator) -> NDArray[np.uint8]:
    """Noise whose amplitude falls with frequency as that of photographs does: texture without any edge."""
    height, width = LARGEST
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1.0
    values = np.empty((height, width, 3))
    shared = random.normal(size=LARGEST)
    for channel in range(3):
        white = 0.9 * shared + 0.4 * random.normal(size=LARGEST)
        values[..., channel] = np.fft.irfft2(np.fft.rfft2(white) / frequency, LARGEST)
    values = 0.45 + 0.16 * (values - values.mean()) / values.std()
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


DRAWINGS: dict[str, Callable[[np.random.Generator], NDArray[np.uint8]]] = {
    "leaves": _draw_leaves,
    "polygons": _draw_polygons,
    "stars": _draw_stars,
    "texture": _draw_texture,
}


def _canvas() -> NDArray[np.uint8]:
    return np.full((LARGEST[0] * _OVERSAMPLING, LARGEST[1] * _OVERSAMPLING, 3), 128, np.uint8)


def _paint(
    canvas: NDArray[np.uint8],
    random: np.random.Generator,
    radius: float,
    inside: Callable[[Floats, Floats], NDArray[np.bool_]],
) -> None:
    """Give one shape of `radius` a place and a colour, and lay it over what is there."""
    height, width = canvas.shape[:2]
    row, column = random.uniform(0, height), random.uniform(0, width)
    colour = random.integers(8, 248, 3).astype(np.uint8)
    top, left = max(int(row - radius) - 1, 0), max(int(column - radius) - 1, 0)
    part = canvas[top : int(row + radius) + 2, left : int(column + radius) + 2]
    y, x = np.mgrid[: part.shape[0], : part.shape[1]] + 0.5
    part[inside(x + left - column, y + top - row)] = colour


def _outline(shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.bool_]:
    """Draw the inside of a shape with lobes that covers a quarter to a third of a picture."""
    height, width = shape
    y, x = np.mgrid[:height, :width].astype(np.float64)
    y, x = y - random.uniform(0.4, 0.6) * height, x - random.uniform(0.4, 0.6) * width
    lobes, phase = int(random.integers(2, 6)), random.uniform(0, 2 * np.pi)
    reach = np.sqrt(random.uniform(0.25, 0.33) * height * width / np.pi)
    inside: NDArray[np.bool_] = np.hypot(y, x) <= reach * (1 + 0.25 * np.cos(lobes * np.arctan2(y, x) + phase))
    return inside


def _sharp(name: str, image: NDArray[np.uint8]) -> Example:
    shape = image.shape[:2]
    return Example(name, image, np.zeros(shape, np.float32), np.ones(shape, bool), name)


def _read(photograph: PublicPhotograph) -> NDArray[np.uint8]:
    path = _folder_of_scikit_image() / f"{photograph.name}.png"
    image = render.downscale(read_picture(path), photograph.factor)
    rows, columns = (
        slice((side - min(side, most)) // 2, (side + min(side, most)) // 2)
        for side, most in zip(image.shape, LARGEST, strict=False)
    )
    return image[rows, columns]


def _folder_of_scikit_image() -> Path:
    try:
        import skimage
    except ImportError:
        raise DefocusError(
            "The public data sets take their photographs from scikit-image, which is not installed: "
            "pip install scikit-image."
        ) from None
    folder = Path(skimage.__file__).parent / "data"
    missing = [p.name for p in PHOTOGRAPHS if not (folder / f"{p.name}.png").is_file()]
    if missing:
        raise DefocusError(
            f"The scikit-image that is installed comes without the photograph {missing[0]}, which the public "
            "data sets need: pip install --upgrade scikit-image."
        )
    return folder
