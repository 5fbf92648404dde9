"""Leave one generator out: networks trained on one aperture's blur, read on scenes of every aperture.

    python benchmarks/generators.py --photos ../shared/data/train -o generators --processes 2

Four networks of the pyramid method are trained by the package's own training, alike but for the kernels that blur their
scenes: Gaussian, disc, polygon, or all three. None is cut from a colour scene. Each network then reads the same test
scenes of every kernel. The photographs of the test scenes are set aside before any training: no network, and no curve
of confidence, has seen them.

A cell: relative error at seeds / over the full map, and the median of sigma / truth. Relative error is the mean of
|sigma / truth - 1| over the pixels of a scene whose truth is known (truths below 0.3 px count as 0.3, where the
method's range begins), then averaged over scenes; the median likewise; seeds are the method's own (confidence 0.5 and
more).

Small networks from few scenes: compare the cells with each other, not with the weights in the package. A training
that was killed goes on when it is started again with the same folder and options.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

import defocus
from defocus.evaluation import metrics
from defocus.methods.pyramid.method import SIGMA_RANGE
from defocus.runtime.atomic import write_text
from defocus.training.photographs import find_photographs, split_photographs
from defocus.training.pyramid.apertures import APERTURES
from defocus.training.pyramid.colour.scenes import KNOWN
from defocus.training.pyramid.fitting import PyramidTraining, train_network
from defocus.training.pyramid.scenes import LABEL_STEP, SceneRecipe, SceneSet, make_scenes
from defocus.training.pyramid.sources import read_source

TRAININGS = {name: (name,) for name in APERTURES} | {"all three": APERTURES}
TEST_SHARE = 0.2
TEST_SEED = 77
"""Of the choice of test photographs and of their scenes."""


@dataclass(frozen=True)
class Score:
    """Means over the scenes of one kernel; `scenes` counts those in which something is known.

    Attributes
    ----------
    scenes : how many.
    seeds, full : relative error at seeds (NaN if there are none) and over all pixels whose truth is known.
    ratio : median of sigma / truth.
    """

    scenes: int
    seeds: float
    full: float
    ratio: float


def score(weights: Path, scenes: SceneSet) -> Score:
    """Read every scene with the given weights."""
    at_seeds, full, ratio = [], [], []
    for pixels, log2, state in zip(scenes.pixels, scenes.log2_sigma, scenes.state, strict=True):
        if not (state == KNOWN).any():
            continue
        blocks = (LABEL_STEP, LABEL_STEP)
        truth = np.kron(np.maximum(np.exp2(log2.astype(np.float32)), SIGMA_RANGE[0]), np.ones(blocks, np.float32))
        known = np.kron(state == KNOWN, np.ones(blocks, bool))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a scene may be a bare wall
            found = defocus.estimate(pixels, method="pyramid", weights=weights)
        full.append(metrics.relative_error(found.sigma, truth, known))
        ratio.append(metrics.median_ratio(found.sigma, truth, known))
        seeds = known & np.isfinite(found.seeds.sigma)
        if seeds.any():
            at_seeds.append(metrics.relative_error(found.seeds.sigma, truth, seeds))
    mean = [float(np.mean(x)) if x else float("nan") for x in (at_seeds, full, ratio)]
    return Score(len(full), *mean)


def set_aside(photos: Path, output: Path, count: int) -> tuple[Path, list[Path]]:
    """A folder of links to the photographs to train on, and the photographs to test on.

    Parameters
    ----------
    photos : searched below for photographs.
    output : gets the folder, new each time.
    count : of photographs to use in all, drawn at random.
    """
    found = find_photographs(photos)
    chosen = np.random.default_rng(TEST_SEED).permutation(len(found))[:count]
    training, test = split_photographs([found[i] for i in sorted(chosen)], TEST_SHARE, TEST_SEED)
    links = output / "training-photographs"
    links.mkdir(parents=True, exist_ok=True)
    for leftover in links.iterdir():
        leftover.unlink()
    for number, path in enumerate(training):  # photographs of one name may come from several folders
        (links / f"{number:04}-{path.name}").symlink_to(path.resolve())
    return links, test


def say(name: str, step: str, share: float, words: str) -> None:
    """A line of a training's progress."""
    print(f"{name}: {step} {share:4.0%} {words}", file=sys.stderr, flush=True)


def table(scores: dict[str, dict[str, Score]]) -> str:
    """Markdown: a row for each training, a column for each kernel of the test scenes."""
    lines = ["| trained on | " + " | ".join(APERTURES) + " |", "|---" * (len(APERTURES) + 1) + "|"]
    for name, row in scores.items():
        cells = [f"{s.seeds:.3f} / {s.full:.3f}, {s.ratio:.2f}" for s in row.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is not trained yet, read, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder of sharp photographs, searched below")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of networks, scenes and figures")
    parser.add_argument("--photographs", type=int, default=200, help="to use, training and test together")
    parser.add_argument("--scenes", type=int, default=4096, help="to train each network on, of 256 x 256 px")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--test-scenes", type=int, default=200, help="of each kernel")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=2017)
    options = parser.parse_args(arguments)

    links, test = set_aside(options.photos, options.output, options.photographs)
    sources = [read_source(path) for path in test]
    scenes = {
        kernel: make_scenes(
            sources,
            [],
            options.test_scenes,
            SceneRecipe(kernels=(kernel,), colour_share=0),
            seed=TEST_SEED,
            processes=options.processes,
        )
        for kernel in APERTURES
    }
    standard = PyramidTraining(scenes=options.scenes, epochs=options.epochs, seed=options.seed)
    scores: dict[str, dict[str, Score]] = {}
    for name, kernels in TRAININGS.items():
        weights = options.output / f"{name.replace(' ', '-')}.onnx"
        parameters = replace(standard, recipe=SceneRecipe(kernels=kernels, colour_share=0))
        resume = weights.with_suffix(".run").exists()
        report = partial(say, name)
        train_network(links, weights, parameters, processes=options.processes, resume=resume, report=report)
        scores[name] = {kernel: score(weights, of) for kernel, of in scenes.items()}
        print(table(scores), file=sys.stderr, flush=True)
    words = (
        f"{options.scenes} scenes of {len(list(links.iterdir()))} photographs to train each network, {options.epochs} "
        f"epochs, seed {options.seed}; {options.test_scenes} test scenes of each kernel, of {len(test)} other "
        "photographs. Relative error at seeds / full map, median of sigma / truth."
    )
    text = f"{words}\n\n{table(scores)}\n"
    write_text(options.output / "generators.md", text)
    figures = {name: {kernel: vars(s) for kernel, s in row.items()} for name, row in scores.items()}
    write_text(options.output / "generators.json", json.dumps({"what": words, "scores": figures}, indent=1))
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
