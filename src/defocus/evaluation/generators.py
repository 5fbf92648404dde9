"""Data sets whose truth is exact because the blur was added: uniform, and by depth.

Built on `defocus.evaluation.render`; seeded, so that every run sees the same pixels.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np

from defocus.evaluation import render
from defocus.evaluation.datasets import DataSet, Example, read_picture
from defocus.evaluation.render import Kernel

UNIFORM_SIGMAS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
"""px."""
DEPTH_LARGEST = (2.0, 4.0)
"""px, sigma of the surface farthest out of focus."""
SENSORS: dict[str, tuple[float, int | None]] = {"clean": (0.0, None), "noise 2 + JPEG 92": (2 / 255, 92)}
"""What is done to a rendering at the end: noise (a share of full scale), JPEG quality."""
SHARP_SCENES = ("Aloe", "Baby1", "Baby2", "Baby3", "Cloth1", "Cloth2", "Cloth4")
"""Of the development set `depth`, those whose strong edges read 0.45 px or less by the re-blur ratio."""
SHARP_PICTURES = {
    "astronaut": 1, "brick": 2, "camera": 1, "coffee": 1, "grass": 1, "gravel": 2, "motorcycle_left": 2,
}  # fmt: skip
"""Of the pictures that come with scikit-image, with the factor that makes them sharp (or, for motorcycle, small)."""


def uniform(
    name: str,
    sharp: Callable[[], Iterator[Example]],
    kernel: Kernel,
    sigmas: Sequence[float] = UNIFORM_SIGMAS,
    *,
    linear_light: bool = True,
) -> DataSet:
    """Sharp pictures, each blurred as a whole by every sigma.

    Parameters
    ----------
    name : of the set.
    sharp : gives the pictures.
    kernel : "gaussian", or "disc" of radius 2 sigma, whose standard deviation is sigma.
    sigmas : px.
    linear_light : blur light, as a lens does, or the display-referred values.

    Returns
    -------
    DataSet of kind "sigma". The truth is what was added; blur that the picture had is not in it.
    """

    def examples() -> Iterator[Example]:
        for e in sharp():
            for sigma in sigmas:
                if kernel == "gaussian":
                    image = render.gaussian_blur(e.image, sigma, linear_light)
                else:
                    image = render.disc_blur(e.image, 2 * sigma, linear_light)
                truth = np.full(e.truth.shape, sigma, np.float32)
                yield Example(f"{e.name}@{sigma:g}px", image, truth, np.ones(e.truth.shape, bool), e.source or e.name)

    light = "linear light" if linear_light else "display values"
    words = f"Sharp pictures blurred as a whole in {light}, {kernel}, sigma {sigmas[0]:g} to {sigmas[-1]:g} px."
    return DataSet(name, "sigma", words, examples)


def depth_rendered(
    name: str,
    disparities: Callable[[], Iterator[Example]],
    kernel: Kernel = "gaussian",
    largest: Sequence[float] = DEPTH_LARGEST,
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
                    label = f"{e.name}@0..{sigma:g}px, {sensor}"
                    yield Example(label, scene.image, scene.sigma, scene.valid, e.source or e.name)

    words = (
        f"Scenes rendered from known disparities: layers back to front, linear light, {kernel}, sigma 0 to "
        f"{' or '.join(f'{s:g}' for s in largest)} px, clean and with noise of 2/255 and JPEG."
    )
    return DataSet(name, "sigma", words, examples)


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
    for name, factor in SHARP_PICTURES.items():
        path = Path(skimage.__file__).parent / "data" / f"{name}.png"
        if path.is_file():
            image = render.downscale(read_picture(path), factor)
            shape = image.shape[:2]
            yield Example(name, image, np.zeros(shape, np.float32), np.ones(shape, bool), name)
