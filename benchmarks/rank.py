"""`defocus rank` and variance of Laplacian on photographs whose share in focus is known.

    python benchmarks/rank.py --data ../shared/data/dev

Bursts: each scene is rendered with four focal planes and three amounts of blur (farthest surface 2, 4 and 8 px;
Gaussian, then discs), twelve frames. Scenes: the sharp photographs of scikit-image, laid on a tilted plane, and, with
--data, the sharp ones of the development set `depth` with their own disparities. Conditions: clean; noise of 2 and of 5
of 255; and mixed, every frame with an exposure of its own (0.35 to 1 of the light) and noise of its own (0 to 5).

Truth is the share of the frame blurred by 1 px or less, or of a box of a third of the sides, at a place of each scene's
own. Measures: the share in focus that `defocus.sharpness` gives, minus the mean sigma of the map, variance of the
Laplacian of the luma, and that divided by the luma's variance. Within a scene: how often the first is the best (within
a hundredth of its share), and Kendall's tau-b. Across scenes: share of pairs of frames of different scenes, a tenth
apart or more, that stand in the right order, and tau-b of all frames.
"""

from __future__ import annotations

import argparse
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.stats import kendalltau

import defocus
from defocus.evaluation import generators, render
from defocus.evaluation.datasets import Example, read_depth
from defocus.optics.light import linear_to_srgb, luma, srgb_to_linear

PLANES = (0.05, 0.35, 0.65, 0.95)
"""Quantiles of the scene's disparities."""
LARGEST = {2.0: "gaussian", 4.0: "disc", 8.0: "disc"}
"""px, and the kernel."""
CONDITIONS = ("clean", "noise 2", "noise 5", "mixed")
MEASURES = ("share in focus", "mean sigma", "variance of Laplacian", "the same / variance of luma")
THRESHOLD = 1.0
APART = 0.1
BEST_WITHIN = 0.01


def scenes(data: Path | None) -> Iterator[Example]:
    """Sharp pictures with disparities."""
    for e in read_depth(data) if data is not None else ():
        if e.name in generators.SHARP_SCENES:
            yield e
    for e in generators.sharp_pictures():
        height, width = e.truth.shape
        image = e.image if e.image.ndim == 3 else np.repeat(e.image[..., None], 3, axis=2)
        plane = np.linspace(0, 32, height, dtype=np.float32)[:, None].repeat(width, axis=1)
        yield Example(e.name, image, plane, e.valid, e.name)


def frames(e: Example) -> Iterator[tuple[NDArray[np.uint8], render.DefocusedScene]]:
    """Each rendering, in the light of an exposure of its own, and as it is."""
    random = np.random.default_rng(zlib.crc32(e.name.encode()))
    for quantile in PLANES:
        for largest, kernel in LARGEST.items():
            focus = float(np.quantile(e.truth[e.valid], quantile))
            scene = render.render_depth(e.image, e.truth, e.valid, focus, largest, kernel)
            light = random.uniform(0.35, 1) * srgb_to_linear(scene.image / 255.0)
            yield np.rint(255 * linear_to_srgb(light)).astype(np.uint8), scene


def laplacian(image: NDArray[np.uint8]) -> tuple[float, float]:
    """Variance of the Laplacian of the luma, and that divided by the luma's variance."""
    grey = luma(image.astype(np.float64))
    variance = float(ndimage.laplace(grey).var())
    return variance, variance / max(float(grey.var()), 1e-9)


def measured(image: NDArray[np.uint8], box: tuple[float, float, float, float]) -> NDArray[np.float64]:
    """2 x 4: the frame and the box, by every measure of `MEASURES`, larger is sharper."""
    m = defocus.estimate(image)
    s = defocus.sharpness(m, threshold=THRESHOLD, subject=box)
    inside = window(box, image.shape)
    rows = (
        (s.in_focus or 0.0, -float(m.sigma.mean()), *laplacian(image)),
        (s.subject_in_focus or 0.0, -float(m.sigma[inside].mean()), *laplacian(image[inside])),
    )
    return np.array(rows)


def window(box: tuple[float, float, float, float], shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The box in px."""
    height, width = shape[:2]
    top, left = round(box[1] * height), round(box[0] * width)
    return slice(top, top + round(box[3] * height)), slice(left, left + round(box[2] * width))


def table(title: str, truth: NDArray[np.float64], scores: NDArray[np.float64], scene: NDArray[np.int64]) -> None:
    """Print one table.

    Parameters
    ----------
    title : of the region.
    truth : n, share in focus of each frame.
    scores : conditions x n x measures.
    scene : n, index of the scene.
    """
    print(f"\n{title}\n")
    print("| condition | measure | best first | tau, within | pairs right, across | tau, all |\n|" + "---|" * 6)
    first, second = np.triu_indices(len(truth), 1)
    pairs = (scene[first] != scene[second]) & (np.abs(truth[first] - truth[second]) >= APART)
    first, second = first[pairs], second[pairs]
    for condition, of_condition in zip(CONDITIONS, scores, strict=True):
        for measure, values in zip(MEASURES, of_condition.T, strict=True):
            bursts = [(truth[scene == k], values[scene == k]) for k in np.unique(scene)]
            bursts = [(t, v) for t, v in bursts if np.ptp(t) > 0]
            best = np.mean([t[np.argmax(v)] >= t.max() - BEST_WITHIN for t, v in bursts])
            tau = np.mean([kendalltau(t, v).statistic for t, v in bursts if np.ptp(v) > 0])
            right = np.mean((values[first] > values[second]) == (truth[first] > truth[second]))
            print(
                f"| {condition} | {measure} | {best:.0%} | {tau:.2f} | {right:.0%} "
                f"| {kendalltau(truth, values).statistic:.2f} |"
            )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="root folder of the development sets; without it scikit-image's only")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    truth: list[tuple[float, float]] = []
    scores: list[list[NDArray[np.float64]]] = []
    scene: list[int] = []
    for number, e in enumerate(scenes(arguments.data)):
        random = np.random.default_rng(number)
        box = (*random.uniform(0, 2 / 3, 2), 1 / 3, 1 / 3)
        inside = window(box, e.truth.shape)
        for dimmed, rendered in frames(e):
            seed = len(truth)
            shots = (
                rendered.image,
                render.add_noise(rendered.image, 2 / 255, seed),
                render.add_noise(rendered.image, 5 / 255, seed),
                render.add_noise(dimmed, random.uniform(0, 5) / 255, seed),
            )
            sharp = rendered.sigma <= THRESHOLD
            counted = rendered.valid
            truth.append((sharp[counted].mean(), sharp[inside][counted[inside]].mean()))
            scores.append([measured(shot, box) for shot in shots])
            scene.append(number)
    shares, found, of = np.array(truth), np.array(scores), np.array(scene)
    low, high = shares[:, 0].min(), shares[:, 0].max()
    print(f"{len(of)} frames of {of.max() + 1} scenes, {low:.0%} to {high:.0%} in focus")
    for region, title in enumerate(("The frame", "A box")):
        table(title, shares[:, region], found[:, :, region].swapaxes(0, 1), of)


if __name__ == "__main__":
    main()
