"""Training scenes for the pyramid method: layers of known blur over one another, as a lens and a camera render them.

A scene is a crop of grey pixels with the blur of every pixel. Its layers are photographs, shrunk until they are sharp
enough for the blur they get, or textures made to order; random shapes cut them out; each is blurred in linear light by
its own amount and laid over those behind it. Noise, demosaicing, a reduction in size, sharpening and JPEG follow.
Other scenes are parts of colour scenes, as luma. All is drawn from a seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import fft, ndimage

from defocus.evaluation.render import jpeg_round_trip
from defocus.methods.pyramid.weights import STRIDE
from defocus.optics.light import linear_to_srgb, luma, srgb_to_linear
from defocus.runtime.atomic import atomic_write
from defocus.runtime.cores import single_blas_thread
from defocus.runtime.processes import run_in_order
from defocus.training.pyramid.apertures import APERTURES, SHARPEST, Aperture, blurred, blurred_by_field
from defocus.training.pyramid.camera import as_bytes, sharpened, sides_before_reduction, with_sensor_noise
from defocus.training.pyramid.colour.recipe import ColourSceneRecipe
from defocus.training.pyramid.colour.scenes import KNOWN, UNKNOWN, render_colour_scene
from defocus.training.pyramid.drawing import (
    DRAWN,
    distances_from_focus,
    log_uniform,
    mirrored_window,
    outline_of,
    overlapping_shapes,
    ring,
    smooth_noise,
)
from defocus.training.pyramid.sources import RESAMPLING, Source

__all__ = [
    "CANVAS",
    "CORNERS",
    "CROP",
    "LABEL_STEP",
    "Scene",
    "SceneRecipe",
    "SceneSet",
    "corners_of_colour_scene",
    "make_scenes",
    "render_scene",
]

_Floats = NDArray[np.float32]

CROP = 256
"""Side of a scene, px."""
LABEL_STEP = 2
"""Side in px of the blocks whose blur is stored."""
CORNERS = 4
"""Number of scenes that are cut from one colour scene, one at each of its corners."""
_CHUNK = 64
"""Number of scenes that a process renders at once, a multiple of `CORNERS`."""
_MARGIN = 64
"""Width in px of the margin around a scene that is rendered too, so that blur reaches in from outside."""
CANVAS = CROP + 2 * _MARGIN
"""Side of a scene with its margin, px."""
_SMALLEST, _LARGEST = 0.3, 26.0
"""Smallest and largest sigma in px of layers that are not in focus."""
_RAMP_STEPS = 8
"""Number of even blurs from which blur that changes along a layer is mixed."""
_OWN_BLUR_FLOOR = 0.5
"""Sigma in px that is measured at the sharpest edges of sources."""
_TOLERATED_OWN_BLUR = 1.08
"""Largest factor by which the source's own blur may increase the total blur of a pixel that is used."""
_LARGEST_REDUCTION = 1.375
"""Largest factor by which a picture is reduced afterwards; the canvas then has 16 px left around the scene."""


@dataclass(frozen=True)
class SceneRecipe:
    """What training scenes are made of.

    Attributes
    ----------
    kernels : which apertures may blur: "gaussian", "disc", "polygon" (a lens's blades, with a brighter or darker rim).
    layered_share : fraction of scenes with occluders; the others are one photograph, blurred evenly or along a ramp.
    one_picture_share : fraction of the scenes with occluders whose layers all show the same picture, so that only the
        blur changes at their borders.
    ramp_share : fraction of the layers behind all others whose blur changes along them.
    noise_share : fraction of scenes with sensor noise; its standard deviation is drawn up to `noise` (of 255).
    noise : see `noise_share`.
    demosaiced_share : fraction of the noise that is correlated between neighbours, as after demosaicing.
    reduced_share : fraction of scenes made smaller after the noise, by up to `_LARGEST_REDUCTION`; half of these by
        other factors across than down, as photographs forced into a square are.
    sharpened_share : fraction of scenes with an unsharp mask over them, noise included, as cameras and editors leave
        them.
    jpeg_share : fraction stored as JPEG of quality 50 to 98.
    colour_share : fraction of all scenes that are cut from the luma of colour scenes; everything above is about the
        others. Colour scenes have hardly any blur above 9 px, which a network that sees nothing else forgets to read.
    colour : see `ColourSceneRecipe`.
    """

    kernels: tuple[str, ...] = APERTURES
    layered_share: float = 0.7
    one_picture_share: float = 0.2
    ramp_share: float = 0.3
    noise_share: float = 0.6
    noise: float = 12.0
    demosaiced_share: float = 0.4
    reduced_share: float = 0.25
    sharpened_share: float = 0.05
    jpeg_share: float = 0.45
    colour_share: float = 0.75
    colour: ColourSceneRecipe = field(default_factory=ColourSceneRecipe)


class Scene(NamedTuple):
    """A scene and its truth.

    Attributes
    ----------
    pixels : 256 x 256 uint8, display-referred luma.
    log2_sigma : 128 x 128 float16, log2 of sigma in px, of blocks of 2 px a side.
    state : 128 x 128 uint8: `UNKNOWN`, `KNOWN` or `NEVER` of `defocus.training.pyramid.colour.scenes`.
    """

    pixels: NDArray[np.uint8]
    log2_sigma: NDArray[np.float16]
    state: NDArray[np.uint8]


@dataclass(frozen=True)
class SceneSet:
    """Scenes with their truth; n of each.

    Attributes
    ----------
    pixels : n x 256 x 256 uint8, display-referred luma.
    log2_sigma : n x 128 x 128 float16, of blocks of 2 px a side.
    state : n x 128 x 128 uint8, as in `Scene`.
    """

    pixels: NDArray[np.uint8]
    log2_sigma: NDArray[np.float16]
    state: NDArray[np.uint8]

    def save(self, path: Path) -> None:
        """Write an .npz file, whole or not at all."""
        with atomic_write(path) as file:
            np.savez(file, pixels=self.pixels, log2_sigma=self.log2_sigma, state=self.state)

    @staticmethod
    def load(path: Path) -> SceneSet:
        """Read what `save` wrote."""
        with np.load(path) as stored:
            return SceneSet(stored["pixels"], stored["log2_sigma"], stored["state"])


def make_scenes(
    sources: Sequence[Source],
    colour_sources: Sequence[Source],
    count: int,
    recipe: SceneRecipe,
    *,
    seed: int,
    processes: int = 1,
    done: Callable[[int], None] = lambda step: None,
) -> SceneSet:
    """Render scenes: first those that are cut from colour scenes, then the others.

    Parameters
    ----------
    sources : photographs in grey to cut layers from; may be empty if all scenes are cut from colour scenes.
    colour_sources : photographs in colour; may be empty if no scene is cut from colour scenes.
    count : of scenes. The number of those from colour scenes is rounded down to a multiple of `CORNERS`; each of these
        in a row are of one colour scene.
    recipe : see `SceneRecipe`.
    seed : scene number i follows from the seed, i and its kind alone.
    processes : scenes rendered at once.
    done : called with the number of scenes that were finished since the last call.

    Examples
    --------
    >>> own_blur = np.full((50, 75), 0.5, np.float16)
    >>> grey, colour = (Source(np.full(shape, 99, np.uint8), own_blur) for shape in ((200, 300), (200, 300, 3)))
    >>> scenes = make_scenes([grey], [colour], 6, SceneRecipe(), seed=1)
    >>> scenes.pixels.shape, scenes.state.shape
    ((6, 256, 256), (6, 128, 128))
    """
    scenes = SceneSet(
        np.empty((count, CROP, CROP), np.uint8),
        np.empty((count, CROP // LABEL_STEP, CROP // LABEL_STEP), np.float16),
        np.empty((count, CROP // LABEL_STEP, CROP // LABEL_STEP), np.uint8),
    )
    chunks = [range(start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK)]
    of_colour = int(count * recipe.colour_share) // CORNERS * CORNERS
    render = partial(_render_chunk, of_colour=of_colour, recipe=recipe, seed=seed)
    rendered = run_in_order(chunks, render, processes, prepare=partial(_share_sources, sources, colour_sources))
    for chunk, some in zip(chunks, rendered, strict=True):
        scenes.pixels[chunk], scenes.log2_sigma[chunk], scenes.state[chunk] = some.pixels, some.log2_sigma, some.state
        done(len(chunk))
    return scenes


_shared: dict[str, Sequence[Source]] = {}


def _share_sources(grey: Sequence[Source], colour: Sequence[Source]) -> None:
    _shared.update(grey=grey, colour=colour)


def _render_chunk(chunk: range, of_colour: int, recipe: SceneRecipe, seed: int) -> SceneSet:
    scenes: list[Scene] = []
    with single_blas_thread():
        for number in chunk:
            if number >= of_colour:
                scenes.append(render_scene(_shared["grey"], recipe, np.random.default_rng((seed, number))))
            elif number % CORNERS == 0:
                # The last number keeps them apart from the completion's scenes, which its reader must not have seen.
                random = np.random.default_rng((seed, number, 1))
                scenes += corners_of_colour_scene(_shared["colour"], recipe.colour, random)
    pixels, log2_sigma, state = (np.stack(planes) for planes in zip(*scenes, strict=True))
    return SceneSet(pixels, log2_sigma, state)


def corners_of_colour_scene(
    sources: Sequence[Source], recipe: ColourSceneRecipe, random: np.random.Generator
) -> list[Scene]:
    """Return four scenes, in grey: the corners of one colour scene, which share a strip of 64 px in the middle.

    Parameters
    ----------
    sources : photographs in colour.
    recipe : see `ColourSceneRecipe`.
    random : source of the randomness.

    Examples
    --------
    >>> sources = [Source(np.full((200, 300, 3), 99, np.uint8), np.full((50, 75), 0.5, np.float16))]
    >>> scenes = corners_of_colour_scene(sources, ColourSceneRecipe(), np.random.default_rng(4))
    >>> len(scenes), scenes[0].pixels.shape
    (4, (256, 256))
    """
    whole = render_colour_scene(sources, recipe, random)
    grey = as_bytes(luma(whole.pixels.astype(np.float32) / 255, np.float32))
    blocks = STRIDE // LABEL_STEP  # the truth of a colour scene is of blocks of 4 px
    log2_sigma = whole.log2_sigma.repeat(blocks, 0).repeat(blocks, 1)
    state = whole.state.repeat(blocks, 0).repeat(blocks, 1)
    sides, sides_of_truth = ((slice(side), slice(-side, None)) for side in (CROP, CROP // LABEL_STEP))
    places = zip(product(sides, sides), product(sides_of_truth, sides_of_truth), strict=True)
    return [Scene(grey[place], log2_sigma[of_truth], state[of_truth]) for place, of_truth in places]


def render_scene(sources: Sequence[Source], recipe: SceneRecipe, random: np.random.Generator) -> Scene:
    """Return a scene of layers in grey; its truth is known or unknown, but not never readable.

    Parameters
    ----------
    sources : photographs in grey.
    recipe : see `SceneRecipe`; its shares of colour scenes do not count here.
    random : source of the randomness.
    """
    kernel = recipe.kernels[random.integers(len(recipe.kernels))]
    occluders = int(random.integers(1, 5)) if random.random() < recipe.layered_share else 0
    sigmas = _layer_sigmas(occluders + 1, random)
    one_picture = random.random() < recipe.one_picture_share
    light, own = far = _layer(sources, min(sigmas) if one_picture else sigmas[0], random)
    blur = np.full(light.shape, sigmas[0], np.float32)
    if random.random() < recipe.ramp_share:
        blur = _ramp(sigmas[0], random)
        composed = blurred_by_field(light[None], blur, Aperture.drawn(kernel, random), _RAMP_STEPS)[0]
    else:
        (composed,) = blurred(light[None], [_drawn_kernel(kernel, sigmas[0], random)])[0]
    for sigma in sigmas[1:]:
        light, own_here = far if one_picture else _layer(sources, sigma, random)
        mask = _shape(light, random)
        shown, opacity = blurred(np.stack([light * mask, mask]), [_drawn_kernel(kernel, sigma, random)])[0]
        composed = shown + (1 - np.clip(opacity, 0, 1)) * composed
        inside = mask > 0.5
        blur = np.where(inside, np.float32(sigma), blur)
        own = np.where(inside, own_here, own)
    height, width = sides_before_reduction(CROP, recipe.reduced_share, _LARGEST_REDUCTION, random)
    top, left = (CANVAS - height) // 2, (CANVAS - width) // 2
    crop = slice(top, top + height), slice(left, left + width)
    shrink = np.float32(np.sqrt(height * width) / CROP)
    blur, own = (
        np.asarray(Image.fromarray(plane[crop]).resize((CROP, CROP), Image.Resampling.NEAREST), np.float32) / shrink
        for plane in (blur, own)
    )
    whole = np.hypot(np.maximum(blur, _SMALLEST), own)
    known = whole < _TOLERATED_OWN_BLUR * np.maximum(blur, _SMALLEST)
    step = LABEL_STEP
    blocks = (CROP // step, step, CROP // step, step)
    log2 = np.log2(np.maximum(np.where(known, np.hypot(blur, own), blur), SHARPEST))
    return Scene(
        _camera(linear_to_srgb(composed[crop], by_table=True), recipe, random),
        log2.reshape(blocks)[:, 0, :, 0].astype(np.float16),
        np.where(known.reshape(blocks).all((1, 3)), KNOWN, UNKNOWN).astype(np.uint8),
    )


def _layer_sigmas(count: int, random: np.random.Generator) -> list[float]:
    """Blur of the layers, the farthest first: each at random, or by its distance from a plane of focus."""
    if count == 1:
        return [0.0 if random.random() < 0.06 else log_uniform(_SMALLEST, _LARGEST, random)]
    largest = log_uniform(0.8, _LARGEST * 0.7, random)
    if random.random() < 0.4:
        drawn = [log_uniform(_SMALLEST, largest, random) for _ in range(count)]
        return [0.0 if random.random() < 0.25 else sigma for sigma in drawn]
    return [abs(float(each)) * largest for each in distances_from_focus(count, random)]


def _layer(sources: Sequence[Source], sigma: float, random: np.random.Generator) -> tuple[_Floats, _Floats]:
    """Linear light of a layer that fills the canvas, and the blur it has before any is added (px, both H x W)."""
    kind = random.random()
    if kind < 0.80:
        display, own = _photograph_texture(sources, sigma, random)
    elif kind < 0.93:
        display, own = _made_texture(random), np.zeros((CANVAS, CANVAS), np.float32)
    else:
        display, own = _smooth_surface(random), np.zeros((CANVAS, CANVAS), np.float32)
    if random.random() < 0.3:  # a dim or a faint subject
        middle, contrast = float(random.uniform(0.1, 0.9)), log_uniform(0.08, 1.0, random)
        display = np.float32(middle) + np.float32(contrast) * (display - display.mean())
    if random.random() < 0.4:
        display = np.clip(display, 0, 1) ** np.float32(log_uniform(0.6, 1.7, random))
    return srgb_to_linear(display, by_table=True), own


def _photograph_texture(
    sources: Sequence[Source], sigma: float, random: np.random.Generator
) -> tuple[_Floats, _Floats]:
    source = sources[int(random.integers(len(sources)))]
    # Shrinking makes a source sharper; only small blur needs that, and large blur wants large structures.
    if sigma < 1.2:
        shrink = random.uniform(1.4, 2.6)
    elif sigma < 3:
        shrink = random.uniform(1.0, 2.2)
    else:
        shrink = random.uniform(0.6, 2.2)
    display, own_blur, shrink = source.reduced(shrink, random)
    beyond = np.maximum(own_blur**2 - _OWN_BLUR_FLOOR**2, 0)
    # The estimator's range ends at 2 px: what reads nearly that may be anything.
    own = np.where(beyond > 1.75**2, 6.0, np.sqrt(beyond)) / np.float32(shrink)
    turn, mirror = int(random.integers(4)), random.random() < 0.5
    planes = []
    offset = random.integers(0, 4096, 2)
    for plane in (display, own):
        turned = np.rot90(plane[:, ::-1] if mirror else plane, turn)
        planes.append(mirrored_window(turned, offset, CANVAS))
    return planes[0], planes[1]


def _made_texture(random: np.random.Generator) -> _Floats:
    """Overlapping shapes, letters' strokes, stripes or noise: sharp to the pixel."""
    kind = random.random()
    if kind < 0.6:
        return overlapping_shapes(CANVAS, "L", random)
    if kind < 0.8:
        slope = random.uniform(0.5, 1.6)
        white = fft.rfft2(random.standard_normal((CANVAS, CANVAS), np.float32))
        y, x = np.meshgrid(fft.fftfreq(CANVAS), fft.rfftfreq(CANVAS), indexing="ij")
        noise = fft.irfft2(white / np.maximum(np.hypot(x, y), 1 / CANVAS) ** slope, s=(CANVAS, CANVAS))
        return np.asarray(0.5 + random.uniform(0.05, 0.25) * noise / noise.std(), np.float32)
    y, x = np.mgrid[:CANVAS, :CANVAS]
    angle, period = random.uniform(0, np.pi), log_uniform(4, 60, random)
    along = (x * np.cos(angle) + y * np.sin(angle)) / period
    if random.random() < 0.5:
        along = np.hypot(x - random.uniform(0, CANVAS), y - random.uniform(0, CANVAS)) / period
    # The step of a stripe is one pixel wide, as the sensor's averaging makes it.
    stripes = np.clip((np.abs(along % 1 - 0.5) - 0.25) * period, -0.5, 0.5)
    return np.asarray(0.5 + random.uniform(0.2, 0.95) * stripes, np.float32)


def _smooth_surface(random: np.random.Generator) -> _Floats:
    """A wall, a sky, a cheek: nothing to read blur from."""
    y, x = np.mgrid[:CANVAS, :CANVAS] / CANVAS - 0.5
    slopes = random.normal(0, log_uniform(0.01, 0.4, random), 5)
    surface = slopes[0] * x + slopes[1] * y + slopes[2] * x * y + slopes[3] * x**2 + slopes[4] * y**2
    return np.asarray(random.uniform(0.05, 0.95) + surface, np.float32)


def _shape(light: _Floats, random: np.random.Generator) -> _Floats:
    """Opacity of an occluder before blur, 0..1: a blob, a polygon, strokes, or a contour of its own picture."""
    kind = random.random()
    if kind < 0.4:
        knots = int(random.integers(4, 14))
        smooth = ndimage.gaussian_filter(smooth_noise(knots, CANVAS, random), log_uniform(1, 12, random))
        return outline_of(smooth, np.quantile(smooth, random.uniform(0.3, 0.8)))
    if kind < 0.6:
        smooth = ndimage.gaussian_filter(light, log_uniform(2, 8, random))
        mask = outline_of(smooth, np.quantile(smooth, random.uniform(0.3, 0.7)))
        return mask if random.random() < 0.5 else 1 - mask
    scale = DRAWN
    picture = Image.new("L", (CANVAS * scale,) * 2, 0)
    draw = ImageDraw.Draw(picture)
    for _ in range(int(random.integers(1, 6))):
        x, y = random.uniform(0, CANVAS * scale, 2)
        radius = scale * log_uniform(15, 150, random)
        angles = np.sort(random.uniform(0, 2 * np.pi, int(random.integers(3, 10))))
        reach = radius * random.uniform(0.5, 1.2, len(angles))
        corners = ring(x, y, reach, angles)
        if kind < 0.85:
            draw.polygon(corners, 255)
        else:  # twigs, wires, railings
            draw.line(corners, 255, width=int(scale * log_uniform(2, 24, random)), joint="curve")
    return np.asarray(picture.reduce(scale), np.float32) / np.float32(255)


def _ramp(sigma: float, random: np.random.Generator) -> _Floats:
    """Blur that changes evenly along a direction, as on a floor; px, H x W, `sigma` at one end."""
    y, x = np.mgrid[:CANVAS, :CANVAS] / CANVAS - 0.5
    angle = random.uniform(0, 2 * np.pi)
    along = (x * np.cos(angle) + y * np.sin(angle)) / np.sqrt(2) + 0.5
    other = min(log_uniform(_SMALLEST, 10.0, random), 4 * max(sigma, 1))
    signed = random.random() < 0.3  # through the plane of focus
    return np.asarray(np.abs(sigma + along * ((-other if signed else other) - sigma)), np.float32)


def _camera(picture: _Floats, recipe: SceneRecipe, random: np.random.Generator) -> NDArray[np.uint8]:
    """Sensor noise, white or as demosaicing leaves it, a reduction to CROP x CROP px, an unsharp mask, and JPEG."""
    if random.random() < recipe.noise_share:
        picture = with_sensor_noise(picture, recipe.noise, recipe.demosaiced_share, random)
    if picture.shape != (CROP, CROP):
        how = RESAMPLING[random.integers(len(RESAMPLING))]
        picture = np.asarray(Image.fromarray(np.clip(picture, 0, 1)).resize((CROP, CROP), how))
    if random.random() < recipe.sharpened_share:
        picture = sharpened(picture, random)
    grey = as_bytes(picture)
    if random.random() < recipe.jpeg_share:
        grey = jpeg_round_trip(grey, int(random.integers(50, 99)))
    return grey


def _drawn_kernel(kind: str, sigma: float, random: np.random.Generator) -> NDArray[np.float64]:
    """Kernel of an aperture that is drawn for one layer; what is in focus needs none."""
    return Aperture.drawn(kind, random).kernel(sigma) if sigma >= SHARPEST else np.ones((1, 1))
