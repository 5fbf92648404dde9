"""Dictionary and count-to-sigma curve of JNB (Shi, Xu, Jia, CVPR 2015), from sharp photographs.

Photographs are halved in size, where their own blur is below half a pixel. The dictionary is learnt on patches of them
blurred by 2 px, by turns of orthogonal matching pursuit and least squares (method of optimal directions: Engan, Aase,
Husoy, ICASSP 1999). The curve is the mean count over textured patches of other photographs, blurred by known sigmas.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import ndimage

from defocus.filters.box import block_average
from defocus.methods.shi2015jnb.method import (
    LEAST_LENGTH,
    MOST_ATOMS,
    PATCH,
    RELATIVE_TOLERANCE,
    TOLERANCES,
    patch_tolerance,
    sigma_of_count,
)
from defocus.methods.shi2015jnb.sparse_code import atoms_needed
from defocus.methods.weights_file import write_array_weights
from defocus.optics.light import luma
from defocus.photograph import read_photograph
from defocus.runtime.atomic import write_text
from defocus.training.photographs import find_photographs, split_photographs
from defocus.training.trainer import TrainingOptions, TrainingProgress

__all__ = ["OPTIONS", "train"]

_ATOMS = 128
"""Number of atoms of the dictionary."""
_DICTIONARY_BLUR = 2.0
"""Sigma in px of the blur of the patches that the dictionary is trained on."""
_ROUNDS = 8
"""Number of rounds of the training of the dictionary."""
_DICTIONARY_PHOTOGRAPHS = 300
"""Largest number of photographs for the dictionary."""
_DICTIONARY_PATCHES = 60
"""Largest number of patches of each photograph for the dictionary."""
_CURVE_PATCHES = 400
"""Largest number of patches of each photograph for each point of the curve."""
_SIGMAS = (0.3, 0.4, 0.5, 0.625, 0.75, 0.875, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0)
"""Sigmas of the points of the curve, px."""


OPTIONS: frozenset[str] = frozenset()


def train(photos: Path, out: Path, options: TrainingOptions, report: TrainingProgress) -> str:
    """Train on the photographs below a folder; see `defocus.training.trainer.Trainer`."""
    seed = options.seed
    random = np.random.default_rng(seed)
    training, held_out = split_photographs(find_photographs(photos), 0.1, seed)
    order = [training[i] for i in random.permutation(len(training))]
    # The curve is measured on photographs the dictionary has not seen, as new photographs are.
    half = min(_DICTIONARY_PHOTOGRAPHS, len(order) // 2) or 1
    for_dictionary, for_curve = order[:half], order[half:] or order
    examples = []
    for index, path in enumerate(for_dictionary):
        blurred = ndimage.gaussian_filter(_sharp_grey(path), _DICTIONARY_BLUR)
        examples.append(_textured_patches(blurred, _DICTIONARY_PATCHES, random))
        report("patches", (index + 1) / len(for_dictionary), f"{index + 1} photographs")
    dictionary = _learn_dictionary(np.concatenate(examples), random, report)

    counts = _count_by_sigma(for_curve, dictionary, random, "curve", report)
    curves = {kind: _falling(np.nanmean(counts[kind], axis=0)) for kind in TOLERANCES}
    seen = _count_by_sigma(held_out, dictionary, random, "held out", report)
    sigmas = np.array(_SIGMAS)
    read: dict[str, NDArray[np.float64]] = {
        kind: sigma_of_count(seen[kind], sigmas, curves[kind]) for kind in TOLERANCES
    }
    rows, worst = _held_out_table(sigmas, seen, read)

    card = {
        "command": f"defocus train --method shi2015jnb --photos DIR --out {out.name} --seed {seed}",
        "note": options.note,
        "photographs": {
            "dictionary": len(for_dictionary),
            "curve": len(for_curve),
            "held out": len(held_out),
        },
        "seed": seed,
    }
    arrays: dict[str, NDArray[np.floating]] = {"dictionary": dictionary.astype(np.float32), "sigma": sigmas}
    write_array_weights(out, "shi2015jnb", arrays | {f"count_{kind}": curves[kind] for kind in TOLERANCES}, card)
    write_text(out.with_suffix(".md"), _model_card(card, rows))
    return f"the median over {len(held_out)} held-out photographs is off by at most {worst:.0%} from 0.5 to 2 px."


def _sharp_grey(path: Path) -> NDArray[np.float32]:
    """Return the grey photograph, 0..1, at half size."""
    rgb = read_photograph(path).as_float(np.float32)
    return np.asarray(block_average(luma(rgb), 2), dtype=np.float32)


def _textured_patches(grey: NDArray[np.float32], number: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Up to `number` patches (n x 64, less their mean) that are long enough to count as texture."""
    windows = sliding_window_view(grey, (PATCH, PATCH))
    rows, columns = (random.integers(0, size, 4 * number) for size in windows.shape[:2])
    patches = windows[rows, columns].reshape(-1, PATCH * PATCH)
    patches = patches - patches.mean(axis=1, keepdims=True)
    return patches[np.linalg.norm(patches, axis=1) >= LEAST_LENGTH][:number]


def _learn_dictionary(
    patches: NDArray[np.float32], random: np.random.Generator, report: TrainingProgress
) -> NDArray[np.float64]:
    """A 64 x 128 dictionary of unit atoms in which the patches need few."""
    from sklearn.linear_model import orthogonal_mp_gram

    examples = patches.astype(np.float64)
    examples /= np.linalg.norm(examples, axis=1, keepdims=True)
    dictionary = examples[random.choice(len(examples), _ATOMS, replace=len(examples) < _ATOMS)].T
    for turn in range(_ROUNDS):
        codes = orthogonal_mp_gram(
            dictionary.T @ dictionary,
            dictionary.T @ examples.T,
            tol=RELATIVE_TOLERANCE**2,
            norms_squared=np.ones(len(examples)),
        )
        gram = codes @ codes.T
        dictionary = examples.T @ codes.T @ np.linalg.pinv(gram + 1e-3 * np.eye(_ATOMS))
        length = np.linalg.norm(dictionary, axis=0)
        unused = (length < 1e-6) | ((codes != 0).sum(axis=1) < 5)
        dictionary[:, unused] = examples[random.choice(len(examples), int(unused.sum()))].T
        dictionary /= np.linalg.norm(dictionary, axis=0)
        report("dictionary", (turn + 1) / _ROUNDS, f"{(codes != 0).sum(axis=0).mean():.2f} atoms a patch")
    return np.asarray(dictionary)


def _count_by_sigma(
    photographs: Sequence[Path],
    dictionary: NDArray[np.float64],
    random: np.random.Generator,
    step: str,
    report: TrainingProgress,
) -> dict[str, NDArray[np.float64]]:
    """Return the mean count over textured patches: for each tolerance, photographs x sigmas; NaN without texture."""
    atoms = dictionary.astype(np.float32)
    counts: dict[str, NDArray[np.float64]] = {
        kind: np.full((len(photographs), len(_SIGMAS)), np.nan) for kind in TOLERANCES
    }
    for row, path in enumerate(photographs):
        grey = _sharp_grey(path)
        for column, sigma in enumerate(_SIGMAS):
            patches = _textured_patches(ndimage.gaussian_filter(grey, sigma), _CURVE_PATCHES, random)
            if len(patches) < _CURVE_PATCHES // 8:
                continue
            for kind in TOLERANCES:
                tolerance = patch_tolerance(np.linalg.norm(patches, axis=1), kind)
                counts[kind][row, column] = atoms_needed(patches, atoms, tolerance, MOST_ATOMS).mean()
        report(step, (row + 1) / len(photographs), f"{row + 1} photographs")
    return counts


def _falling(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the counts made strictly decreasing, so that the curve can be inverted."""
    return np.minimum.accumulate(counts) - 1e-6 * np.arange(len(counts))


def _held_out_table(
    sigmas: NDArray[np.float64], counts: dict[str, NDArray[np.float64]], read: dict[str, NDArray[np.float64]]
) -> tuple[list[str], float]:
    """Rows of the card's table, and the largest relative error of the median from 0.5 to 2 px, relative tolerance."""
    rows = []
    for column, sigma in enumerate(sigmas):
        cells = []
        for kind in TOLERANCES:
            readings = read[kind][:, column]
            off = np.nanmedian(np.abs(readings - sigma)) / sigma
            cells += [
                f"{np.nanmean(counts[kind][:, column]):.1f}",
                f"{np.nanmedian(readings):.2f}",
                f"{off:.0%}",
            ]
        rows.append(f"| {sigma:g} | " + " | ".join(cells) + " |")
    within = (sigmas >= 0.5) & (sigmas <= 2)
    error = np.abs(np.nanmedian(read["relative"], axis=0) / sigmas - 1)
    return rows, float(error[within].max())


def _model_card(card: dict[str, object], rows: list[str]) -> str:
    photographs = card["photographs"]
    assert isinstance(photographs, dict)
    return "\n".join(
        [
            "# shi2015jnb",
            "",
            "Dictionary (64 x 128) and count-to-sigma curves of JNB, Shi, Xu, Jia, CVPR 2015, trained by this package.",
            "",
            *([str(card["note"]), ""] if card["note"] else []),
            "| what | value |",
            "|---|---|",
            f"| command | `{card['command']}` |",
            f"| photographs, at half size | {photographs['dictionary']} for the dictionary, {photographs['curve']} for "
            f"the curve, {photographs['held out']} held out |",
            "",
            "## Held-out photographs",
            "Blurred by a Gaussian of sigma in display values. Count: mean over textured patches of a photograph, then",
            "over photographs. Read: median over photographs of the curve at a photograph's mean count. Off: median of",
            "its relative error. First the relative tolerance (the default), then the absolute one (preset `paper`).",
            "",
            "| sigma, px | count | read, px | off | count, absolute | read, px | off |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            "## Use and limits",
            "For sigma between 0.3 and 4 px where there is texture above the noise. Above 2.5 px counts differ by less",
            "than one atom. Photographs with blur of their own read that blur too.",
            "",
        ]
    )
