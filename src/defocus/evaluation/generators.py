"""Data sets whose truth is exact because the blur was added: uniform, with noise, by regions, and by depth.

They are rendered by `defocus.evaluation.render` and `defocus.evaluation.aperture` with fixed seeds, so that every run
uses the same pixels.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from defocus.evaluation import aperture, render
from defocus.evaluation.bare_scenes import BARE_SCENES, bare_scene
from defocus.evaluation.datasets import DataSet, Example, read_picture
from defocus.evaluation.render import Kernel
from defocus.optics.kernels import best_fitting_sigma, disc_kernel, disc_radius
from defocus.units import disc_radius_from_sigma, sigma_from_disc_radius

__all__ = [
    "DISC_RADII",
    "SENSORS",
    "SHARP_SCENES",
    "aperture_rendered",
    "depth_rendered",
    "disc_depths",
    "disc_regions",
    "noisy",
    "sharp_pictures",
    "uniform",
]

_UNIFORM_SIGMAS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
"""Sigmas of the sets of uniform blur, px."""
_NOISE_SIGMAS = (0.0, 1.0, 2.0, 4.0)
"""Sigmas of the set `noise`, px."""
_NOISE_LEVELS = (0.0, 2.0, 5.0, 10.0)
"""Standard deviations of the white noise of the set `noise`, of 255."""
DISC_RADII = tuple(np.arange(0.5, 6.01, 0.25).tolist())
"""Radii of the discs of the set `rtf-like`, px: the 23 of the RTF set."""
_DISC_NOISE = (0.0, 1.0, 1.6)
"""Standard deviations of the white noise of the set `rtf-like`, of 255."""
_DISC_SCENES = ("steps", "ramp")
"""Kinds of scenes of the set `rtf-like`."""
_DISC_SHAPES = 8
"""Number of shapes in each scene."""
_DISC_PICTURE = (480, 640)
"""Largest height and width of the pictures of the set `rtf-like`, px; larger ones are cropped to their centre."""
_DEPTH_LARGEST = (2.0, 4.0)
"""Sigmas of the surface farthest out of focus, px."""
_APERTURE_SCENES = ("Aloe", "Baby2", "Cloth3", "Flowerpots", "Rocks1")
"""Scenes of the development set `depth` that are rendered through an aperture, at half their size."""
_APERTURE_LARGEST = (2.0, 4.0)
"""Sigmas of what is farthest out of focus in them, px."""
_BARE_SEEDS = range(3)
"""Seeds of the drawn rooms, of each kind."""
SENSORS: dict[str, tuple[float, int | None]] = {"clean": (0.0, None), "noise 2 + JPEG 92": (2 / 255, 92)}
"""Noise (a fraction of full scale) and JPEG quality that are applied to a rendering."""
SHARP_SCENES = ("Aloe", "Baby1", "Baby2", "Baby3", "Cloth1", "Cloth2", "Cloth4")
"""Scenes of the development set `depth` whose strong edges have a sigma of 0.45 px or less by the re-blur ratio."""
_SHARP_PICTURES = {
    "astronaut": 1, "brick": 2, "camera": 1, "coffee": 1, "grass": 1, "gravel": 2, "motorcycle_left": 2,
}  # fmt: skip
"""Pictures of scikit-image, with the factor by which they are reduced to be sharp (or, for motorcycle, small)."""


def uniform(
    name: str,
    sharp: Callable[[], Iterator[Example]],
    kernel: Kernel,
    sigmas: Sequence[float] = _UNIFORM_SIGMAS,
    *,
    linear_light: bool = True,
) -> DataSet:
    """Return sharp pictures, each blurred uniformly by every sigma.

    Parameters
    ----------
    name : name of the set.
    sharp : function that yields the pictures.
    kernel : "gaussian", or "disc": the one that the Gaussian of sigma best explains (`kernels.disc_radius`).
    sigmas : sigmas, px.
    linear_light : blur linear light, as a lens does, or the display-referred values.

    Returns
    -------
    DataSet of kind "sigma". The truth is the added blur, without the blur that the picture already had.
    """

    def examples() -> Iterator[Example]:
        for e in sharp():
            for sigma in sigmas:
                if kernel == "gaussian":
                    image = render.gaussian_blur(e.image, sigma, linear_light)
                else:
                    image = render.disc_blur(e.image, disc_radius(sigma), linear_light)
                yield _blurred_evenly(e, image, sigma, f"{sigma:g} px")

    light = "linear light" if linear_light else "display values"
    of_a_disc = " (of the best-fitting Gaussian)" if kernel == "disc" else ""
    span = f"{sigmas[0]:g} to {sigmas[-1]:g} px"
    description = f"Sharp pictures blurred as a whole in {light}, {kernel}, sigma{of_a_disc} {span}."
    return DataSet(name, "sigma", description, examples)


def noisy(
    name: str,
    sharp: Callable[[], Iterator[Example]],
    sigmas: Sequence[float] = _NOISE_SIGMAS,
    levels: Sequence[float] = _NOISE_LEVELS,
) -> DataSet:
    """Return sharp pictures, each blurred uniformly by every sigma (Gaussian, linear light), with every level of noise.

    Parameters
    ----------
    name : name of the set.
    sharp : function that yields the pictures.
    sigmas : sigmas, px; 0 leaves the picture as it is, whose own blur is unknown, so that no pixel of it is valid.
    levels : standard deviations of white Gaussian noise on the display values, of 255.

    Returns
    -------
    DataSet of kind "sigma"; the truth is the added blur. The seed of the noise is the example's name.
    """

    def examples() -> Iterator[Example]:
        for e in sharp():
            for sigma in sigmas:
                soft = render.gaussian_blur(e.image, sigma)
                for level in levels:
                    blurred = _blurred_evenly(e, soft, sigma, f"{sigma:g} px, noise {level:g}")
                    known = np.full(blurred.valid.shape, sigma > 0)
                    yield _with_noise(replace(blurred, valid=known), level)

    description = (
        f"Sharp pictures blurred as a whole in linear light, gaussian, sigma {', '.join(f'{s:g}' for s in sigmas)} px, "
        f"under white noise of {', '.join(f'{n:g}' for n in levels)} of 255: does noise read as sharpness? What was "
        "not blurred has no truth, only a reading."
    )
    return DataSet(name, "sigma", description, examples)


def disc_regions(
    name: str,
    sharp: Callable[[], Iterator[Example]],
    levels: Sequence[float] = _DISC_NOISE,
) -> DataSet:
    """Scenes like those of the RTF set (D'Andres et al., TIP 2016): discs of the authors' 23 radii, region by region.

    Each picture becomes two scenes: shapes over an even background ("steps"), and over one whose blur runs from one
    radius to another ("ramp"). Shapes are nearer than what they cover and occlude it (`render.render_depth`, linear
    light). Larger pictures are cut to their middle.

    Parameters
    ----------
    name : of the set.
    sharp : gives the pictures.
    levels : standard deviations of white Gaussian noise on the display values, of 255.

    Returns
    -------
    DataSet of kind "sigma": that of each disc on the pixel grid (`kernels.best_fitting_sigma`), within 5 % of the
    authors' table from a radius of 0.75 px on; a disc of 0.5 px is no blur. Scenes and noise are seeded by their names.
    """

    def examples() -> Iterator[Example]:
        for e in sharp():
            middle = tuple(
                slice((side - min(side, most)) // 2, (side + min(side, most)) // 2)
                for side, most in zip(e.image.shape, _DISC_PICTURE, strict=False)
            )
            picture = e.image[middle]
            everywhere = np.ones(picture.shape[:2], bool)
            for kind in _DISC_SCENES:
                seed = zlib.crc32(f"{e.name}@{kind}".encode())
                signed = disc_depths(picture.shape[:2], kind == "ramp", np.random.default_rng(seed))
                radii, which = np.unique(np.abs(signed), return_inverse=True)
                sigmas = np.array([best_fitting_sigma(disc_kernel(radius)) for radius in radii])
                sigma = sigmas[which].reshape(signed.shape)
                # One layer for every radius on either side of the focus: each is blurred by its own disc alone.
                scene = render.render_depth(
                    picture, np.sign(signed) * sigma, None, 0.0, float(sigma.max()), "disc", layers=2 * len(DISC_RADII)
                )
                for level in levels:
                    label, source = f"{e.name}@{kind}, noise {level:g}", e.source or e.name
                    condition = f"{kind}, noise {level:g}"
                    yield _with_noise(Example(label, scene.image, scene.sigma, everywhere, source, condition), level)

    description = (
        f"Scenes like the RTF set's: regions and ramps of disc blur, radius {DISC_RADII[0]:g} to {DISC_RADII[-1]:g} "
        f"px, linear light, occlusion rendered, white noise of {', '.join(f'{n:g}' for n in levels)} of 255; sigma "
        "is that of the best-fitting Gaussian of each disc."
    )
    return DataSet(name, "sigma", description, examples)


def disc_depths(shape: tuple[int, ...], ramp: bool, random: np.random.Generator) -> NDArray[np.float64]:
    """Draw a scene of `disc_regions`.

    Parameters
    ----------
    shape : H, W.
    ramp : whether the background's blur changes along it.
    random : generator of the random choices.

    Returns
    -------
    H x W: the radius of the disc at each pixel, px, one of `DISC_RADII`; negative behind the plane of focus, so that
    larger is nearer.
    """
    height, width = shape
    allowed = np.array([-r for r in reversed(DISC_RADII)] + list(DISC_RADII))
    y, x = np.mgrid[:height, :width].astype(np.float64)
    # Not the nearest values, so that something can lie before the background; a ramp spans 2.75 px and more.
    far, near = random.choice(allowed[:10]), random.choice(allowed[20:30])
    angle = random.uniform(0, 2 * np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    along = (along - along.min()) / max(float(np.ptp(along)), 1.0)
    plane = far + (near - far) * along if ramp else np.full(shape, random.choice(allowed[:30]))
    depths: NDArray[np.float64] = allowed[np.abs(plane[..., None] - allowed).argmin(axis=2)]
    for _ in range(_DISC_SHAPES):
        centre = random.uniform(0.1, 0.9, 2) * shape
        reach = random.uniform(0.12, 0.35) * min(shape)
        turn = np.arctan2(y - centre[0], x - centre[1])
        lobes, phase, depth_of_lobes = int(random.integers(2, 7)), random.uniform(0, 2 * np.pi), random.uniform(0, 0.4)
        outline = reach * (1 + depth_of_lobes * np.cos(lobes * turn + phase))
        inside = np.hypot(y - centre[0], x - centre[1]) <= outline
        depths = np.where(inside, np.maximum(depths, random.choice(allowed)), depths)
    return depths


def _blurred_evenly(e: Example, image: NDArray[np.uint8], sigma: float, condition: str) -> Example:
    everywhere = np.ones(e.truth.shape, bool)
    truth = np.full(e.truth.shape, sigma, np.float32)
    name = f"{e.name}@{condition.replace(' px', 'px')}"
    return Example(name, image, truth, everywhere, e.source or e.name, condition)


def _with_noise(e: Example, level: float) -> Example:
    """Return the example with white noise of `level` of 255, whose seed is its name."""
    if level == 0:
        return e
    return replace(e, image=render.add_noise(e.image, level / 255, zlib.crc32(e.name.encode())))


def depth_rendered(
    name: str,
    disparities: Callable[[], Iterator[Example]],
    kernel: Kernel = "gaussian",
    largest: Sequence[float] = _DEPTH_LARGEST,
) -> DataSet:
    """All-in-focus pictures with disparities, rendered with a focal plane each (`render.render_depth`).

    Parameters
    ----------
    name : of the set.
    disparities : gives pictures whose truth is disparity.
    kernel : "gaussian" or "disc".
    largest : px, sigma of what is farthest out of focus, one rendering each, clean and with noise and JPEG.

    Returns
    -------
    DataSet of kind "sigma"; unknown disparities do not count.
    """

    def examples() -> Iterator[Example]:
        for e in disparities():
            # Some scenes get their focus in front, some at the back, by a draw that depends on the name only.
            seed = zlib.crc32(e.name.encode())
            focus = float(np.quantile(e.truth[e.valid], np.random.default_rng(seed).uniform(0.05, 0.95)))
            for sigma in largest:
                for sensor, (noise, jpeg) in SENSORS.items():
                    scene = render.render_depth(
                        e.image, e.truth, e.valid, focus, sigma, kernel, noise=noise, jpeg=jpeg, seed=seed
                    )
                    label, condition = f"{e.name}@0..{sigma:g}px, {sensor}", f"0..{sigma:g} px, {sensor}"
                    yield Example(label, scene.image, scene.sigma, scene.valid, e.source or e.name, condition)

    description = (
        f"Scenes rendered from known disparities: layers back to front, linear light, {kernel}, sigma 0 to "
        f"{' or '.join(f'{s:g}' for s in largest)} px, clean and with noise of 2/255 and JPEG."
    )
    return DataSet(name, "sigma", description, examples)


def aperture_rendered(name: str, disparities: Callable[[], Iterator[Example]]) -> DataSet:
    """Return pictures with disparities, and drawn rooms, seen through an aperture.

    Parameters
    ----------
    name : of the set.
    disparities : gives pictures whose truth is disparity; five of the development set `depth` are taken, at half size.

    Returns
    -------
    DataSet of kind "sigma", by discs, the rooms also by Gaussians. The truth is the sigma of the Gaussian that fits
    best. Unknown disparities do not count.
    """

    def examples() -> Iterator[Example]:
        for e in disparities():
            if e.name not in _APERTURE_SCENES:
                continue
            picture = render.downscale(e.image, 2)
            disparity, known = render.downscale_disparity(e.truth, e.valid, 2)
            near = render.fill_unknown(disparity, known)
            seed = zlib.crc32(f"{e.name}@aperture".encode())
            signed = near - np.quantile(near[known], np.random.default_rng(seed).uniform(0.05, 0.95))
            signed /= np.abs(signed[known]).max()
            for largest in _APERTURE_LARGEST:
                # The radius of the disc, and so half of it, is what a lens makes proportional to the inverse distance.
                sigma = signed * disc_radius_from_sigma(largest) / 2
                condition = f"depth 0..{largest:g} px"
                image = aperture.render_picture(picture, sigma, "disc", noise=1.5 / 255, seed=seed)
                label = f"{e.name}@0..{largest:g}px"
                yield replace(_through_aperture(label, e.name, condition, image, sigma, "disc"), valid=known)
        yield from _bare_examples()

    description = (
        "Five scenes with known disparities, by discs, sigma 0 to "
        f"{' or '.join(f'{s:g}' for s in _APERTURE_LARGEST)} px, and drawn rooms with little texture, by Gaussians and "
        "discs, all seen through 256 points of an aperture, noise of 1.5/255."
    )
    return DataSet(name, "sigma", description, examples)


def _bare_examples() -> Iterator[Example]:
    kernels: tuple[Kernel, ...] = ("gaussian", "disc")
    for number, kind in enumerate(BARE_SCENES):
        for seed in _BARE_SEEDS:
            kernel = kernels[(number + seed) % 2]
            scene = bare_scene(kind, seed, kernel)
            yield _through_aperture(f"{kind} {seed + 1}, {kernel}", "", kind, scene.image, scene.signed_sigma, kernel)


def _through_aperture(
    name: str, source: str, condition: str, image: NDArray[np.uint8], signed: NDArray[np.float64], kernel: Kernel
) -> Example:
    """Return the example of a rendering by standard deviations of the aperture, `signed`."""
    deviation = np.abs(signed)
    truth = (sigma_from_disc_radius(2 * deviation) if kernel == "disc" else deviation).astype(np.float32)
    everywhere = np.ones(truth.shape, bool)
    return Example(name, image, truth, everywhere, source or name, condition)


def sharp_pictures(scenes: Callable[[], Iterator[Example]] | None = None) -> Iterator[Example]:
    """Sharp pictures to blur: those of scikit-image, where it is installed, and the sharp ones of `scenes`, in turn."""
    chosen = [e for e in scenes() if e.name in SHARP_SCENES] if scenes is not None else []
    for scene, picture in zip_longest(chosen, _scikit_image_pictures()):
        for e in (scene, picture):
            if e is not None:
                yield e


def _scikit_image_pictures() -> Iterator[Example]:
    try:
        import skimage
    except ImportError:
        return
    for name, factor in _SHARP_PICTURES.items():
        path = Path(skimage.__file__).parent / "data" / f"{name}.png"
        if path.is_file():
            image = render.downscale(read_picture(path), factor)
            shape = image.shape[:2]
            yield Example(name, image, np.zeros(shape, np.float32), np.ones(shape, bool), name)
