"""Training of the two small networks that tell blur by movement (`defocus.evidence.motion`).

    python -m defocus.training.motion --photos DIR --out motion.npz --every 2

They are no method's weights, so `defocus train` does not make them; those in the package are `motion.npz` beside
`defocus.evidence.motion`. Of the folder, every other photograph by name is left for tests, and of the others
`--every 2` takes every other one: with 800 photographs, 200 are trained on, in some minutes. Each is looked at as it
is, with noise and JPEG, out of focus, shaken, shaken and out of focus, and with a subject that moved before it. One in
six of them is held out, and tells how sure the networks' answers are: their odds are calibrated on it, and then set to
a world in which three blocks in a hundred, and one photograph in twenty, have moved.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize, signal

from defocus.errors import DefocusError
from defocus.evaluation.render import jpeg_round_trip
from defocus.evidence.motion import (
    BLOCK,
    CERTAINTIES,
    FEATURES,
    WEIGHTS,
    through,
    window_spectra,
)
from defocus.filters.box import block_average
from defocus.optics.kernels import disc_kernel, movement_kernel
from defocus.optics.light import linear_to_srgb, luma, srgb_to_linear
from defocus.photograph import read_photograph
from defocus.runtime.atomic import atomic_write
from defocus.training.photographs import find_photographs

__all__ = ["Example", "examples_of", "train"]

_Floats = NDArray[np.floating]

_LARGEST_SIDE, _LEAST_SIDE = 640, 192
"""Largest and least length in px of the sides of a training photograph; more is cut off."""
_LENGTHS = (6.0, 40.0)
"""Shortest and longest movement, px."""
_MOST_TURN = 35.0
"""Largest turn of the path of a movement, degrees."""
_MOST_NOISE, _QUALITIES = 3.0 / 255, (0, 75, 85, 92, 96)
"""Largest standard deviation of the noise, and qualities of JPEG; 0 for none."""
_MOVED, _STILL = 0.9, 0.02
"""Fractions of a block that a moving subject covers, from which on it has moved, and up to which it has not."""
_HIDDEN = (32, 16)
"""Sizes of the hidden layers."""
_EPOCHS, _BATCH, _RATE, _DECAY, _DROPPED = 8, 512, 4e-3, 1e-3, 0.1
_PRIORS = {"block": 0.03, "camera": 0.05}
"""Fraction of the blocks, and of the photographs, of the world that have moved."""
_HELD_OUT = 6
"""One in this many photographs is held out."""


class Example(NamedTuple):
    """A photograph made for training.

    Attributes
    ----------
    grey : luma, H x W float32, 0..1.
    moved : fraction by which each pixel shows something that moved, H x W, 0..1.
    camera : whether the camera has moved.
    """

    grey: NDArray[np.float32]
    moved: _Floats
    camera: bool


@dataclass(frozen=True, eq=False)
class _Seen:
    """What the networks see of an example, and what they have to answer for each block."""

    features: NDArray[np.float32]
    moved: NDArray[np.float64]
    camera: bool


def examples_of(sharp: _Floats, other: _Floats, random: np.random.Generator) -> Iterator[Example]:
    """Give a photograph still, out of focus and moved in several ways.

    Parameters
    ----------
    sharp : luma, H x W, 0..1.
    other : luma of another photograph, h x w, from which a moving subject is cut.
    random : source of chance.

    Examples
    --------
    >>> picture = np.random.default_rng(0).random((200, 240))
    >>> [example.camera for example in examples_of(picture, picture, np.random.default_rng(0))]
    [False, False, False, False, True, True, True, False]
    """
    light, still, all_of_it = srgb_to_linear(sharp), np.zeros(sharp.shape), np.ones(sharp.shape)
    yield Example(sharp.astype(np.float32), still, camera=False)
    yield Example(_taken(light, random), still, camera=False)
    gaussian = ndimage.gaussian_filter(light, random.uniform(0.5, 4))
    yield Example(_taken(gaussian, random), still, camera=False)
    yield Example(_taken(_blurred(light, disc_kernel(random.uniform(1, 8))), random), still, camera=False)
    for _ in range(2):
        yield Example(_taken(_blurred(light, _movement(random)), random), all_of_it, camera=True)
    soft = ndimage.gaussian_filter(_blurred(light, _movement(random)), random.uniform(0.6, 1.2))
    yield Example(_taken(soft, random), all_of_it, camera=True)
    height, width = sharp.shape
    y, x = np.mgrid[:height, :width]
    middle = random.uniform(0.3, 0.7), random.uniform(0.3, 0.7)
    radii = random.uniform(0.25, 0.45), random.uniform(0.2, 0.4)
    inside = np.hypot((y / height - middle[0]) / radii[0], (x / width - middle[1]) / radii[1]) < 1
    down, across = (max(have - there, 0) for have, there in zip(sharp.shape, other.shape, strict=True))
    subject = srgb_to_linear(np.pad(other, ((0, down), (0, across)), mode="symmetric")[:height, :width])
    kernel = _movement(random)
    covered = np.clip(_blurred(inside.astype(np.float64), kernel), 0, 1)
    behind = light if random.random() < 0.5 else ndimage.gaussian_filter(light, random.uniform(0.5, 3))
    mixed = _blurred(subject * inside, kernel) + (1 - covered) * behind
    yield Example(_taken(mixed, random), covered, camera=False)


def _movement(random: np.random.Generator) -> _Floats:
    length = math.exp(random.uniform(*np.log(_LENGTHS)))
    return movement_kernel(length, random.uniform(0, 180), random.uniform(-_MOST_TURN, _MOST_TURN))


def _blurred(plane: _Floats, kernel: _Floats) -> _Floats:
    down, across = (side // 2 for side in kernel.shape)
    padded = np.pad(plane, ((down, down), (across, across)), mode="symmetric")
    return np.asarray(signal.fftconvolve(padded, kernel, mode="valid"))


def _taken(light: _Floats, random: np.random.Generator) -> NDArray[np.float32]:
    """Return what a camera makes of linear light: display values with noise, and mostly JPEG."""
    shown = linear_to_srgb(np.clip(light, 0, 1))
    shown = shown + random.normal(0, random.uniform(0, _MOST_NOISE), shown.shape)
    pixels = np.rint(np.clip(shown, 0, 1) * 255).astype(np.uint8)
    quality = int(random.choice(_QUALITIES))
    if quality:
        pixels = jpeg_round_trip(np.repeat(pixels[..., None], 3, axis=2), quality)[..., 0]
    return (pixels / 255).astype(np.float32)


def _look(example: Example) -> _Seen:
    features = window_spectra(example.grey).features
    return _Seen(features, np.asarray(block_average(example.moved, BLOCK)), example.camera)


def _read(path: Path) -> _Floats | None:
    grey = luma(read_photograph(path).as_float(np.float64)[:_LARGEST_SIDE, :_LARGEST_SIDE])
    return grey if min(grey.shape) >= _LEAST_SIDE else None


def _seen_of(paths: list[Path], random: np.random.Generator) -> list[_Seen]:
    photographs = [grey for grey in map(_read, paths) if grey is not None]
    seen = []
    for grey in photographs:
        other = photographs[int(random.integers(len(photographs)))]
        seen += [_look(example) for example in examples_of(grey, other, random)]
    return seen


def _table(seen: list[_Seen], name: str) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return what a network sees of each block, and what it has to answer."""
    features, answers = [], []
    for each in seen:
        clear = (each.moved <= _STILL) | (each.moved >= _MOVED)
        features.append(each.features[clear][:, : CERTAINTIES[name] * FEATURES])
        answers.append(each.moved[clear] >= _MOVED if name == "block" else np.full(clear.sum(), each.camera))
    return np.concatenate(features), np.concatenate(answers)


def _fit(features: NDArray[np.float32], answers: NDArray[np.bool_], seed: int) -> list[NDArray[np.float32]]:
    """Return the layers of a network, matrix and bias in turn, that takes features as they are."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    mean, deviation = features.mean(axis=0), features.std(axis=0) + np.float32(1e-3)
    inputs = torch.from_numpy((features - mean) / deviation)
    targets = torch.from_numpy(answers.astype(np.float32))
    sizes = (features.shape[1], *_HIDDEN, 1)
    linear = [nn.Linear(before, after) for before, after in pairwise(sizes)]
    network = nn.Sequential(nn.Dropout(_DROPPED), linear[0], nn.ReLU(), linear[1], nn.ReLU(), linear[2])
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=_DECAY)
    steps = _EPOCHS * len(inputs) // _BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, steps)
    for _ in range(steps):
        chosen = torch.randint(0, len(inputs), (_BATCH,))
        loss = nn.functional.binary_cross_entropy_with_logits(network(inputs[chosen])[:, 0], targets[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    layers = [part.detach().numpy() for each in linear for part in (each.weight.T, each.bias)]
    layers[1] = layers[1] - (mean / deviation) @ layers[0]
    layers[0] = layers[0] / deviation[:, None]
    return [np.ascontiguousarray(layer, np.float32) for layer in layers]


def _odds(logits: NDArray[Any], answers: NDArray[np.bool_], prior: float) -> NDArray[np.float64]:
    """Return factor and offset that make logits those of a world in which a fraction `prior` has moved."""

    def loss(line: NDArray[np.float64]) -> float:
        odds = line[0] * logits + line[1]
        return float((np.logaddexp(0, odds) - answers * odds).mean() + 1e-3 * (line[0] - 1) ** 2)

    factor, offset = optimize.minimize(loss, np.array([1.0, 0.0]), method="Nelder-Mead").x
    share = answers.mean()
    return np.array([factor, offset + math.log(prior / (1 - prior)) - math.log(share / (1 - share))])


def train(photos: Path, out: Path, every: int = 1, seed: int = 0) -> str:
    """Train both networks and write their weights.

    Parameters
    ----------
    photos : folder of sharp photographs, of which every other one is used.
    out : .npz file to write.
    every : use every n-th of these.
    seed : seed of the random choices.

    Returns
    -------
    What was measured on the photographs that were held out, a sentence for each network.

    Raises
    ------
    DefocusError
        If the folder is missing or has too few photographs.
    """
    random = np.random.default_rng(seed)
    paths = find_photographs(photos)[::2][::every]
    held_out = paths[::_HELD_OUT]
    fitted = _seen_of([path for path in paths if path not in held_out], random)
    checked = _seen_of(held_out, random)
    arrays: dict[str, NDArray[Any]] = {}
    said = []
    for name in CERTAINTIES:
        layers = _fit(*_table(fitted, name), seed)
        if name == "block":
            features, answers = _table(checked, name)
            logits = through(layers, features)
        else:
            logits = np.array([through(layers, each.features).mean() for each in checked])
            answers = np.array([each.camera for each in checked])
        odds = _odds(logits, answers, _PRIORS[name])
        sure = odds[0] * logits + odds[1] >= 0
        said.append(
            f"{name}: of {answers.sum()} that moved {sure[answers].mean():.1%} are found, of {(~answers).sum()} others "
            f"{sure[~answers].mean():.2%} are taken for moved."
        )
        arrays |= {f"{name}.{n}": layer for n, layer in enumerate(layers)} | {f"{name}.odds": odds}
    with atomic_write(out) as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    return "\n".join(said)


def main() -> None:
    """Train by the command line's options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True, help="folder of sharp photographs")
    parser.add_argument(
        "--out", type=Path, required=True, help=f"file of weights to write; {WEIGHTS.name} in the package"
    )
    parser.add_argument("--every", type=int, default=1, help="use every n-th of the photographs to train on")
    arguments = parser.parse_args()
    try:
        said = train(arguments.photos, arguments.out, arguments.every)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        parser.exit(1, "Training needs PyTorch: pip install 'defocus[train]'.\n")
    except (DefocusError, OSError) as error:
        parser.exit(1, f"{error}\n")
    sys.stdout.write(said + "\n")


if __name__ == "__main__":
    main()
