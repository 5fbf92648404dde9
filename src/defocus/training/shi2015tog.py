"""The collection of edgelets of known blur, for the method after Shi, Tao, Xu, Jia, TOG 2015.

Photographs are blurred by Gaussians and made four times smaller. What is left of the lens' own blur is read at every
edge by the ratio of gradients (`defocus.edges.gradient_ratio`); an edgelet's sigma is both together,
sqrt(own^2 + applied^2). Ideal steps are added: below 1 px the labels from photographs are only good to 0.1 px.
Equally many edgelets of each blur are kept, as principal components of the collection.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from scipy.special import erf

from defocus.edges import canny, noise_deviation
from defocus.edges.gradient_ratio import edge_blur
from defocus.filters.box import block_average
from defocus.methods.shi2015tog.edgelets import edgelets
from defocus.methods.shi2015tog.method import EDGE_SIGMA, EDGE_THRESHOLDS, PRESETS, SIGMAS, choose, match
from defocus.methods.weights_file import write_array_weights
from defocus.optics.light import luma
from defocus.photograph import read_photograph
from defocus.runtime.atomic import write_text
from defocus.training.photographs import find_photographs, split_photographs
from defocus.training.trainer import TrainingOptions, TrainingProgress

__all__ = ["OPTIONS", "train"]

_PHOTOGRAPHS = 400
"""Largest number of photographs to train on."""
_REDUCTION = 4
"""Factor by which photographs are reduced, so that little of the lens's own blur remains."""
_HELD_OUT = 40
"""Largest number of photographs that are held out."""
_EDGELETS = 150
"""Largest number of edgelets of one photograph at one blur."""
_KEPT = 1300
"""Largest number of edgelets of each blur in the collection that come from photographs."""
_STEPS = 12
"""Number of pictures of an ideal step for each blur."""
_STEP_EDGELETS = 16
"""Largest number of edgelets of each of these pictures."""
_COMPONENTS = 14
"""Number of principal components."""
_LARGEST_OWN_BLUR = 0.55
"""Largest sigma in px of an edge of the reduced photograph that is used."""
_SURE_OWN_BLUR = 0.1
"""Largest standard deviation in px of that sigma."""
_LEAST_CONTRAST = 6 / 255
"""Least contrast of an edgelet of the collection."""
_NOISE = 1 / 255
"""Largest standard deviation of the noise that is added."""
_FINE, _COARSE = 0.7, 1.1
"""Re-blurs in px for the measurement of the photograph's own blur."""

_Floats = NDArray[np.float64]


OPTIONS: frozenset[str] = frozenset()


def train(photos: Path, out: Path, options: TrainingOptions, report: TrainingProgress) -> str:
    """Make the collection from the photographs below a folder; see `defocus.training.trainer.Trainer`."""
    seed = options.seed
    random = np.random.default_rng(seed)
    training, held_out = split_photographs(find_photographs(photos), 0.1, seed)
    training = [training[i] for i in random.permutation(len(training))][:_PHOTOGRAPHS]
    held_out = held_out[:_HELD_OUT]
    shape, sigma = _collect(training, random, "edgelets", report)
    kept = _equally_many(sigma, random)
    of_steps = [_ideal_steps(float(value), random) for value in SIGMAS]
    shape = np.concatenate([shape[kept], *of_steps])
    sigma = np.concatenate([sigma[kept], np.repeat(SIGMAS, [len(steps) for steps in of_steps])])
    mean = shape.mean(axis=0)
    _, _, components = np.linalg.svd(shape - mean, full_matrices=False)
    basis = components[:_COMPONENTS].T.astype(np.float32)
    codes = ((shape - mean) @ basis).astype(np.float16)

    seen_shape, seen_sigma = _collect(held_out, random, "held out", report)
    parameters = PRESETS["default"]
    cost = match(
        (seen_shape - mean) @ basis,
        cKDTree(codes.astype(np.float64)),
        sigma,
        parameters.neighbours,
        parameters.approximation,
    )
    rows, worst = _held_out_table(choose(cost), seen_sigma)

    card = {
        "command": f"defocus train --method shi2015tog --photos DIR --out {out.name} --seed {seed}",
        "note": options.note,
        "photographs": {"collection": len(training), "held out": len(held_out)},
        "edgelets": len(codes),
        "seed": seed,
    }
    arrays = {"mean": mean.astype(np.float32), "basis": basis, "codes": codes, "sigma": sigma.astype(np.float16)}
    write_array_weights(out, "shi2015tog", arrays, card)
    write_text(out.with_suffix(".md"), _model_card(card, rows))
    return f"the median over edgelets of {len(held_out)} held-out photographs is off by at most {worst:.0%}."


def _collect(
    photographs: Sequence[Path], random: np.random.Generator, step: str, report: TrainingProgress
) -> tuple[NDArray[np.float32], _Floats]:
    """Edgelets of the photographs at every blur: their shapes, n x 75, and their sigmas, n, of `SIGMAS`, px."""
    shapes, sigmas = [], []
    for index, path in enumerate(photographs):
        grey = luma(read_photograph(path).as_float(np.float32))
        if min(grey.shape) >= 32 * _REDUCTION:
            own = _own_blur(_smaller(grey))
            for applied in np.sqrt(np.maximum(SIGMAS**2 - 0.3**2, 0)):
                shape, sigma = _edgelets_of(grey, own, float(applied), random)
                shapes.append(shape)
                sigmas.append(sigma)
        report(step, (index + 1) / len(photographs), f"{index + 1} photographs")
    return np.concatenate(shapes), np.concatenate(sigmas)


def _ideal_steps(sigma: float, random: np.random.Generator) -> NDArray[np.float32]:
    """Return samples of edgelets, n x 75, of straight steps blurred by `sigma` px at random angles, with noise."""
    samples = []
    size = 48
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    for _ in range(_STEPS):
        angle, place = random.uniform(0, 2 * np.pi), random.uniform(-1, 1)
        across = np.cos(angle) * x + np.sin(angle) * y - place
        step = 0.5 + 0.2 * erf(across / np.sqrt(2) / sigma) + random.normal(0, _NOISE * random.random(), x.shape)
        edges = canny(step, *EDGE_THRESHOLDS, sigma=EDGE_SIGMA) & (np.hypot(x, y) < size / 3) & (np.abs(across) < 1)
        places = np.flatnonzero(edges)
        chosen = np.zeros(step.shape, bool)
        chosen.flat[random.choice(places, min(_STEP_EDGELETS, len(places)), replace=False)] = True
        samples.append(edgelets(step, chosen).samples)
    return np.concatenate(samples)


def _smaller(grey: _Floats) -> _Floats:
    return block_average(grey, _REDUCTION).astype(np.float64)


def _own_blur(grey: _Floats) -> _Floats:
    """Return the sigma of the nearest edge within 2 px if it is sharp and reliable, NaN elsewhere: H x W."""
    edges = canny(grey, *EDGE_THRESHOLDS, sigma=EDGE_SIGMA)
    blur = edge_blur(grey, edges, _FINE, _COARSE, noise=noise_deviation(grey), largest=5.0, average=1)
    sure = (blur.deviation < _SURE_OWN_BLUR) & (np.nan_to_num(blur.sigma, nan=np.inf) <= _LARGEST_OWN_BLUR)
    own = np.full(grey.shape, np.nan)
    own[edges] = np.where(sure, blur.sigma, np.nan)
    distance, (rows, columns) = ndimage.distance_transform_edt(~edges, return_indices=True)
    return np.where(distance <= 2, own[rows, columns], np.nan)


def _edgelets_of(
    grey: _Floats, own: _Floats, applied: float, random: np.random.Generator
) -> tuple[NDArray[np.float32], _Floats]:
    # Blurred before the photograph is reduced, where even the smallest Gaussian is many samples wide.
    blurred = _smaller(ndimage.gaussian_filter(grey, _REDUCTION * applied) if applied > 0 else grey)
    blurred = blurred + random.normal(0, _NOISE * random.random(), blurred.shape)
    sigma = np.hypot(own, applied)
    step = np.round(np.where(np.isfinite(sigma), sigma, 0), 1)
    edges = canny(blurred, *EDGE_THRESHOLDS, sigma=EDGE_SIGMA) & (step >= SIGMAS[0]) & (step <= SIGMAS[-1])
    places = np.flatnonzero(edges)
    chosen = np.zeros(blurred.shape, bool)
    chosen.flat[random.choice(places, min(_EDGELETS, len(places)), replace=False)] = True
    pieces = edgelets(blurred, chosen)
    clear = pieces.contrast >= _LEAST_CONTRAST
    return pieces.samples[clear], np.asarray(step[chosen][clear], np.float64)


def _equally_many(sigma: _Floats, random: np.random.Generator) -> NDArray[np.intp]:
    """Return indices of the same number of edgelets of each blur, or of all where there are fewer."""
    kept: list[NDArray[np.intp]] = []
    for value in SIGMAS:
        places: NDArray[np.intp] = np.flatnonzero(np.isclose(sigma, value))
        kept.append(random.choice(places, min(_KEPT, len(places)), replace=False))
    return np.concatenate(kept)


def _held_out_table(read: _Floats, sigma: _Floats) -> tuple[list[str], float]:
    """Rows of the card's table, and the largest relative error of the median from 0.5 to 2.5 px."""
    rows, worst = [], 0.0
    for value in SIGMAS[::3]:
        of = read[np.isclose(sigma, value)]
        if not len(of):
            continue
        median = float(np.median(of))
        rows.append(
            f"| {value:g} | {len(of)} | {median:.2f} | {np.median(np.abs(of - value)) / value:.0%} "
            f"| {np.mean(np.abs(of - value) <= np.maximum(0.15, 0.1 * value)):.0%} |"
        )
        if 0.5 <= value <= 2.5:
            worst = max(worst, abs(median / value - 1))
    return rows, worst


def _model_card(card: dict[str, object], rows: list[str]) -> str:
    photographs = card["photographs"]
    assert isinstance(photographs, dict)
    return "\n".join(
        [
            "# shi2015tog",
            "",
            "A collection of edgelets of known blur for the method after Shi, Tao, Xu, Jia, TOG 2015, made by this "
            "package.",
            "",
            *([str(card["note"]), ""] if card["note"] else []),
            "| what | value |",
            "|---|---|",
            f"| command | `{card['command']}` |",
            f"| photographs, four times smaller | {photographs['collection']}, {photographs['held out']} held out |",
            f"| edgelets | {card['edgelets']}, {_COMPONENTS} principal components |",
            "",
            "## Held-out photographs",
            "Single edgelets, before the propagation. Off: median relative error. Close: fraction within 0.15 px or a",
            "tenth.",
            "",
            "| sigma, px | edgelets | median read, px | off | close |",
            "|---|---|---|---|---|",
            *rows,
            "",
            "## Use and limits",
            "For sigma between 0.3 and 3 px at edges above the noise. The sigma of an example is the applied blur and",
            "the photograph's own, read by a ratio of gradients, in quadrature.",
            "",
        ]
    )
