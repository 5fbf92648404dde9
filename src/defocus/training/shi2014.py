"""Learned filters and naive Bayes of Shi, Xu, Jia, CVPR 2014, from sharp photographs and blurred copies of them.

Classes are patches with detail of sharp photographs, and the same patches after a blur of 1 to 6 px (Gaussian or disc,
in linear light) with a little noise. The filters are those whose response differs most in power between the
classes: the first eigenvectors of Fisher's criterion for classes of mean 0, C_sharp w = l C_blurred w.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import linalg, ndimage

from defocus.evaluation import render
from defocus.methods.shi2014.features import FEATURE_NAMES, STRIDE, discriminative_features
from defocus.methods.shi2014.method import PATCH_SIZES, probability_of_blur
from defocus.methods.weights_file import write_array_weights
from defocus.optics.light import luma
from defocus.photograph import read_photograph
from defocus.runtime.atomic import write_text
from defocus.training.photographs import find_photographs, split_photographs
from defocus.training.trainer import TrainingOptions, TrainingProgress

__all__ = ["OPTIONS", "train"]

_PHOTOGRAPHS = 150
_HELD_OUT = 30
"""Largest numbers of photographs to train on and to hold out: more change the figures by less than a percent."""
_PATCHES = 300
"""Largest number of patches of a photograph for each class."""
_FILTERS = 2
"""Number of filters."""
_LEAST_DEVIATION = 0.06
"""Least standard deviation, 0..1, of a patch with detail."""
_BLURS = (1.0, 6.0)
"""Smallest and largest sigma in px of the blurred copies, whose logarithm is distributed uniformly."""
_NOISE = 1 / 255
"""Largest standard deviation of the noise that is added."""
_LONGEST_SIDE = 512
"""Largest width and height in px; larger photographs are cropped."""

_Floats = NDArray[np.float64]


OPTIONS: frozenset[str] = frozenset()


def train(photos: Path, out: Path, options: TrainingOptions, report: TrainingProgress) -> str:
    """Train on the photographs below a folder; see `defocus.training.trainer.Trainer`."""
    seed = options.seed
    random = np.random.default_rng(seed)
    training, held_out = split_photographs(find_photographs(photos), 0.1, seed)
    training = [training[i] for i in random.permutation(len(training))][:_PHOTOGRAPHS]
    held_out = held_out[:_HELD_OUT]
    pairs = {path: _sharp_and_blurred(path, random) for path in [*training, *held_out]}

    arrays: dict[str, _Floats] = {}
    rows, accuracies = [], []
    for size in PATCH_SIZES:
        filters = _learn_filters([pairs[path] for path in training], size, random)
        examples: list[tuple[list[_Floats], list[_Floats]]] = []
        for number, paths in enumerate((training, held_out)):
            classes: tuple[list[_Floats], list[_Floats]] = ([], [])
            for index, path in enumerate(paths):
                sharp, blurred = pairs[path]
                chosen = _detailed(sharp, random)
                for of_class, grey in zip(classes, (blurred, sharp), strict=True):
                    of_class.append(discriminative_features(grey, size, filters)[chosen])
                done = (index + 1 + number * len(training)) / (len(training) + len(held_out))
                report(f"features, {size} px", done, f"{index + 1} photographs")
            examples.append(classes)
        seen = [np.concatenate(of_class) for of_class in examples[0]]
        arrays[f"filters_{size}"] = filters.astype(np.float32)
        arrays[f"classes_{size}"] = np.array([[e.mean(axis=0), e.var(axis=0)] for e in seen])
        blurred_score, sharp_score = (
            probability_of_blur(np.concatenate(of_class), arrays[f"classes_{size}"]) for of_class in examples[1]
        )
        accuracy = float((np.mean(blurred_score > 0.5) + np.mean(sharp_score <= 0.5)) / 2)
        accuracies.append(accuracy)
        alone = [_accuracy_alone(examples[1], arrays[f"classes_{size}"], i) for i in range(len(FEATURE_NAMES))]
        rows.append(f"| {size} | {accuracy:.3f} | " + " | ".join(f"{a:.3f}" for a in alone) + " |")

    card = {
        "command": f"defocus train --method shi2014 --photos DIR --out {out.name} --seed {seed}",
        "note": options.note,
        "photographs": {"training": len(training), "held out": len(held_out)},
        "seed": seed,
    }
    write_array_weights(out, "shi2014", arrays, card)
    write_text(out.with_suffix(".md"), _model_card(card, rows))
    figures = ", ".join(f"{a:.3f} ({s} px)" for a, s in zip(accuracies, PATCH_SIZES, strict=True))
    return f"accuracy on {len(held_out)} held-out photographs {figures}."


def _learn_filters(pairs: list[tuple[_Floats, _Floats]], size: int, random: np.random.Generator) -> _Floats:
    """size^2 x 2: the filters with the largest ratio of power on sharp patches to power on blurred ones."""
    covariances = []
    for which in (0, 1):
        patches = []
        for pair in pairs:
            windows = sliding_window_view(pair[which], (size, size))
            at = random.integers(0, windows.shape[0], 100), random.integers(0, windows.shape[1], 100)
            cut = windows[at].reshape(100, -1)
            patches.append(cut - cut.mean(axis=1, keepdims=True))
        stacked = np.concatenate(patches)
        covariances.append(stacked.T @ stacked / len(stacked))
    # White noise of the size of the photographs' keeps directions without any power from winning.
    floor = _NOISE**2 * np.eye(size**2)
    _, vectors = linalg.eigh(covariances[0] + floor, covariances[1] + floor)
    filters = vectors[:, : -_FILTERS - 1 : -1]
    return np.asarray(filters / np.linalg.norm(filters, axis=0))


def _sharp_and_blurred(path: Path, random: np.random.Generator) -> tuple[_Floats, _Floats]:
    """The photograph in grey, 0..1, and a copy blurred by a random kernel, both with a little noise of their own."""
    rgb = read_photograph(path).as_float(np.float64)[:_LONGEST_SIDE, :_LONGEST_SIDE]
    sigma = float(np.exp(random.uniform(*np.log(_BLURS))))
    blurred = render.gaussian_blur(rgb, sigma) if random.random() < 0.5 else render.disc_blur(rgb, 2 * sigma)
    noise = _NOISE * random.random()
    sharp_grey, blurred_grey = (np.clip(luma(p) + random.normal(0, noise, p.shape[:2]), 0, 1) for p in (rgb, blurred))
    return sharp_grey, blurred_grey


def _detailed(sharp: _Floats, random: np.random.Generator) -> NDArray[np.bool_]:
    """Return a limited number of positions of the features' grid where the sharp photograph has detail, h x w bool."""
    mean = ndimage.uniform_filter(sharp, 15)
    deviation = np.sqrt(np.maximum(ndimage.uniform_filter(sharp**2, 15) - mean**2, 0))
    rows, columns = (np.minimum(np.arange(0, n, STRIDE) + STRIDE // 2, n - 1) for n in sharp.shape)
    detailed = deviation[np.ix_(rows, columns)] > _LEAST_DEVIATION
    places = np.flatnonzero(detailed)
    chosen = np.zeros(detailed.size, bool)
    chosen[random.choice(places, min(_PATCHES, len(places)), replace=False)] = True
    return chosen.reshape(detailed.shape)


def _accuracy_alone(classes: tuple[list[_Floats], list[_Floats]], fitted: _Floats, index: int) -> float:
    blurred, sharp = (
        probability_of_blur(np.concatenate(c)[:, index : index + 1], fitted[:, :, index : index + 1]) for c in classes
    )
    return float((np.mean(blurred > 0.5) + np.mean(sharp <= 0.5)) / 2)


def _model_card(card: dict[str, object], rows: list[str]) -> str:
    photographs = card["photographs"]
    assert isinstance(photographs, dict)
    names = " | ".join(FEATURE_NAMES)
    return "\n".join(
        [
            "# shi2014",
            "",
            "Local filters and naive Bayes of Shi, Xu, Jia, CVPR 2014, trained by this package.",
            "",
            *([str(card["note"]), ""] if card["note"] else []),
            "| what | value |",
            "|---|---|",
            f"| command | `{card['command']}` |",
            f"| photographs | {photographs['training']} to train, {photographs['held out']} held out |",
            f"| blur | {_BLURS[0]:g} to {_BLURS[1]:g} px, Gaussian and disc, linear light; noise up to 1/255 |",
            "",
            "## Held-out photographs",
            "Fraction of patches with detail classified right, mean of both classes; chance is .5. All features",
            "together, then each alone.",
            "",
            f"| patch, px | naive Bayes | {names} |",
            "|---|" + "---|" * (len(FEATURE_NAMES) + 1),
            *rows,
            "",
            "## Use and limits",
            "A score, not a sigma: blur below 1 px was not among the examples. Smooth things look blurred to it.",
            "",
        ]
    )
