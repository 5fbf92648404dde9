"""Train the pyramid method's reader on rendered scenes, so that it can be killed at any time and resumed.

The network says of every reading how probable each bin of sigma is. The loss is the cross entropy with the true bin.
Where no blur of the lens is seen, it is that with equal probabilities of all bins, at less weight, so that certainty is
low there.
"""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from defocus.errors import ParameterError
from defocus.maps.accuracy import CONFIDENT, is_right
from defocus.methods.pyramid.weights import BINS, BINS_PER_LEVEL, LOG2_SHARPEST, STRIDE, PyramidWeights
from defocus.runtime.atomic import atomic_write, write_text
from defocus.training.photographs import find_photographs, split_photographs
from defocus.training.pyramid.calibration import calibrate
from defocus.training.pyramid.colour.scenes import KNOWN, NEVER, UNKNOWN
from defocus.training.pyramid.network import PyramidNetwork
from defocus.training.pyramid.scenes import (
    CORNERS,
    CROP,
    LABEL_STEP,
    SceneRecipe,
    SceneSet,
    make_scenes,
)
from defocus.training.pyramid.sources import Source, read_colour_source, read_source, read_sources
from defocus.training.run_folder import open_run_folder, render_missing
from defocus.training.trainer import TrainingProgress
from defocus.version import __version__

__all__ = ["HELD_OUT_SCENES", "PyramidScores", "PyramidTraining", "fit", "model_card", "train_network"]

_LEVELS = 5
"""Number of levels of the pyramid of a scene; the coarsest is 16 px wide."""
_COARSE_LEVEL_WEIGHT = 0.4
"""Weight of the loss of each coarser level relative to the finest, so that every level learns to read by itself."""
_FURTHER_RATE = 0.4
"""Learning rate of a training that continues from finished weights, as a fraction of that of a new one."""
_WINDOW, _RIM = 144, 8
"""Side in px of the window of a scene's finest level that a step reads, and width of its border that has no loss."""
_NEVER_WEIGHT = 0.3
"""Weight in the loss of places where no blur of the lens is seen, relative to those whose sigma is known."""
HELD_OUT_SCENES = 2048
"""Number of scenes for calibration and evaluation."""
_PART = 4096
"""Number of scenes in one file."""


@dataclass(frozen=True)
class PyramidTraining:
    """Everything that decides the result of a training.

    Attributes
    ----------
    recipe : what the scenes are made of.
    scenes : how many to render; all are kept on disk, 114 kB each.
    epochs, batch, learning_rate, weight_decay : of AdamW with a one-cycle learning rate.
    held_out : fraction of the photographs kept for validation; no training scene shows them.
    seed : of the scenes, the split, the first weights and the order.
    start : SHA-256 of the weights that the training goes on from; None for random ones.
    start_share : weight of the start in the average of these weights and those they were trained on to, 0..1: the
        average reads held-out scenes better than either (as Wortsman et al., CVPR 2022, found of classifiers).
    first : number of the first scene. A training that goes on from weights leaves out those that these have seen, which
        they read better than new scenes of the same photographs, so learn less from.
    """

    recipe: SceneRecipe = field(default_factory=SceneRecipe)
    scenes: int = 32 * 1024
    epochs: int = 3
    batch: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    held_out: float = 0.1
    seed: int = 2017
    start: str | None = None
    start_share: float = 0.5
    first: int = 0


@dataclass(frozen=True)
class PyramidScores:
    """How well whole maps of held-out scenes agree with their truth, wherever sigma is known.

    Attributes
    ----------
    scenes : how many.
    relative_error : mean of |sigma / truth - 1|.
    seeds_relative_error : the same where confidence is at least 0.5; None if it never is.
    absolute_error : mean of |sigma - truth|, px.
    right : fraction of pixels within a tenth of the truth, or 0.15 px.
    calibration_error : mean gap between confidence and how often it is right (10 bins), on scenes that the curve was
        not fitted to. Pixels that show no blur of the lens count as wrong.
    """

    scenes: int
    relative_error: float
    seeds_relative_error: float | None
    absolute_error: float
    right: float
    calibration_error: float


def train_network(
    folder: Path,
    out: Path,
    parameters: PyramidTraining,
    *,
    device: str = "cpu",
    processes: int = 1,
    resume: bool = False,
    start: Path | None = None,
    note: str = "",
    report: TrainingProgress = lambda step, fraction, figures: None,
) -> PyramidScores:
    """Render scenes, train, calibrate, and write the weights and their model card.

    Parameters
    ----------
    folder : photographs to cut layers from; what is out of focus in them is found and left out.
    out : the ONNX file to write; `out` with the suffix .md becomes the model card, and `out` with the suffix .run is a
        folder with scenes and checkpoints, which can be deleted afterwards.
    parameters : see `PyramidTraining`.
    device : "cpu" or "cuda".
    processes : photographs and scenes worked on at once.
    resume : go on with what is in the .run folder.
    start : weights to train further, an ONNX file of an earlier training with the same seed and photographs (or its
        training photographs may be among those held out now); None to begin with random ones.
    note : a sentence for the model card, such as where the photographs come from.
    report : receives the progress.

    Returns
    -------
    Scores on scenes of the held-out photographs.

    Raises
    ------
    DefocusError : no photographs, or a .run folder of another training.
    WeightsError : `start` is not such a file.
    """
    begun: PyramidWeights | None = None
    if start is not None:
        begun = PyramidWeights.load(start)
        parameters = replace(
            parameters,
            start=hashlib.sha256(start.read_bytes()).hexdigest(),
            learning_rate=_FURTHER_RATE * parameters.learning_rate,
            first=_scenes_seen(begun.card),
        )
    if device == "cuda" and not torch.cuda.is_available():
        raise ParameterError("PyTorch finds no CUDA device; use --device cpu.")
    photographs = split_photographs(find_photographs(folder), parameters.held_out, parameters.seed)
    run = open_run_folder(out, asdict(parameters), photographs[0] + photographs[1], resume=resume)
    first = parameters.first // _PART
    parts = [run / f"scenes-{first + number}.npz" for number in range(-(-parameters.scenes // _PART))]
    held_out = run / "scenes-held-out.npz"
    counts = [min(_PART, parameters.scenes - number * _PART) for number in range(len(parts))]
    seeds = [parameters.seed * 1000 + first + number for number in range(len(parts))]
    render = partial(_render, parameters=parameters, processes=processes, report=report)
    render(photographs[0], "training", parts, counts, seeds)
    render(photographs[1], "held-out", [held_out], [HELD_OUT_SCENES], [parameters.seed])
    checkpoint = run / "checkpoint.pt"
    network = fit(parts, parameters, begun, device=device, checkpoint=checkpoint, report=report).cpu()
    card: dict[str, Any] = {
        "name": out.stem,
        "defocus": __version__,
        "note": note,
        "photographs": {"training": len(photographs[0]), "held-out": len(photographs[1])},
        "parameters": asdict(parameters),
        "minutes": round(torch.load(checkpoint, map_location="cpu", weights_only=True)["seconds"] / 60, 1),
    }
    raw = run / "uncalibrated.onnx"
    network.weights(card).save(raw)
    card["calibration"], scores = _calibrate(raw, SceneSet.load(held_out), report)
    card["figures"] = asdict(scores)
    network.weights(card).save(out)
    write_text(out.with_suffix(".md"), model_card(card))
    return scores


def _scenes_seen(card: Mapping[str, Any]) -> int:
    """Number of the first scene, of whole files, that the training of a card has not seen."""
    seen = card.get("parameters", {})
    return -(-(seen.get("first", 0) + seen.get("scenes", 0)) // _PART) * _PART


def _render(
    photographs: Sequence[Path],
    name: str,
    parts: Sequence[Path],
    counts: Sequence[int],
    seeds: Sequence[int],
    *,
    parameters: PyramidTraining,
    processes: int,
    report: TrainingProgress,
) -> None:
    """Render the parts that are not there yet."""
    if all(part.exists() for part in parts):
        return

    def sources(kind: str, read: Callable[[Path], Source]) -> list[Source]:
        kept = parts[0].parent / f"sources-{name}-{kind}.npz"
        return read_sources(photographs, read, f"{name} photographs in {kind}", processes, kept, report)

    share = parameters.recipe.colour_share
    grey = sources("grey", read_source) if share < 1 else []
    colour = sources("colour", read_colour_source) if share > 0 else []

    def save(part: Path, count: int, seed: int, done: Callable[[int], None]) -> None:
        make_scenes(grey, colour, count, parameters.recipe, seed=seed, processes=processes, done=done).save(part)

    render_missing(parts, counts, seeds, save, f"{name} scenes", report)


def _calibrate(
    weights: Path, held_out: SceneSet, report: TrainingProgress
) -> tuple[dict[str, list[float]], PyramidScores]:
    """The curve from certainty to confidence, fitted to half of the scenes, and scores; its error is of the others."""
    from defocus.estimation import estimate

    certain, correct, sigma, truth, known, scene = [], [], [], [], [], []
    for number, pixels in enumerate(held_out.pixels):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a scene may be a bare wall
            defocus_map = estimate(pixels, method="pyramid", weights=weights)
        middle = slice(LABEL_STEP // 2, None, LABEL_STEP)
        counted = held_out.state[number] != UNKNOWN
        readable = held_out.state[number][counted] == KNOWN
        true = np.exp2(held_out.log2_sigma[number][counted].astype(np.float32))
        here = defocus_map.sigma[middle, middle][counted]
        certain.append(defocus_map.confidence[middle, middle][counted])
        sigma.append(here)
        truth.append(true)
        known.append(readable)
        correct.append(is_right(here, true) & readable)
        # The scenes of one colour scene stay together.
        scene.append(np.full(len(true), number // CORNERS))
        report("calibration", (number + 1) / len(held_out.pixels), "")
    confidence, hit = np.concatenate(certain), np.concatenate(correct)
    readable = np.concatenate(known)
    estimate_, true = np.concatenate(sigma)[readable], np.maximum(np.concatenate(truth), 0.3)[readable]
    curve = calibrate(confidence, hit, np.concatenate(scene) % 2 == 0)
    relative = np.abs(estimate_ / true - 1)
    seeds = curve(confidence[readable]) >= CONFIDENT
    scores = PyramidScores(
        scenes=len(held_out.pixels),
        relative_error=round(float(relative.mean()), 4),
        seeds_relative_error=round(float(relative[seeds].mean()), 4) if seeds.any() else None,
        absolute_error=round(float(np.abs(estimate_ - true).mean()), 4),
        right=round(float(hit[readable].mean()), 4),
        calibration_error=round(curve.error, 4),
    )
    return curve.for_card(), scores


def model_card(card: Mapping[str, Any]) -> str:
    """Return the card of a reader, of `PyramidWeights.card`, as Markdown."""
    figures, parameters = card["figures"], card["parameters"]
    at_seeds = figures["seeds_relative_error"]
    lines = [
        f"# {card['name']}",
        "",
        f"Weights of the pyramid method; trained by defocus {card['defocus']}.",
        "",
        *([card["note"], ""] if card["note"] else []),
        "| what | value |",
        "|---|---|",
        f"| command | `defocus train --method pyramid --photos DIR --out {card['name']}.onnx "
        f"--scenes {parameters['scenes']} --epochs {parameters['epochs']} --seed {parameters['seed']}"
        f"{' --start FILE' if parameters['start'] else ''}` |",
        *([f"| FILE, SHA-256 | {parameters['start']} |"] if parameters["start"] else []),
        f"| photographs | {card['photographs']['training']} to train, {card['photographs']['held-out']} held out |",
        f"| scenes | {parameters['scenes']:,} of 256 x 256 px to train, {figures['scenes']} held out |",
        f"| minutes of fitting | {card['minutes']} |",
        f"| seed | {parameters['seed']} |",
        "",
        "## Scenes of held-out photographs",
        "Whole maps against the truth, at every pixel whose truth is known, textureless ones included.",
        "",
        "| relative error | relative error where confidence >= 0.5 | MAE, px | right | calibration error |",
        "|---|---|---|---|---|",
        f"| {figures['relative_error']:.3f} | {'none' if at_seeds is None else f'{at_seeds:.3f}'} "
        f"| {figures['absolute_error']:.2f} "
        f"| {figures['right']:.3f} | {figures['calibration_error']:.3f} |",
        "",
        "Right: within a tenth of the truth, or 0.15 px.",
        "",
        "## Parameters",
        "```json",
        json.dumps(parameters, indent=2),
        "```",
        "",
        "## Use and limits",
        "For sigma between 0.3 and 32 px of blur by a lens: Gaussian, disc or polygon. Not for motion blur.",
        "",
    ]
    return "\n".join(lines)


def fit(
    parts: list[Path],
    parameters: PyramidTraining,
    start: PyramidWeights | None = None,
    *,
    device: str = "cpu",
    checkpoint: Path | None = None,
    report: TrainingProgress = lambda step, fraction, figures: None,
) -> PyramidNetwork:
    """Train one network.

    Parameters
    ----------
    parts : files of `SceneSet.save`.
    parameters : see `PyramidTraining`.
    start : weights to go on from, or None for random ones.
    device : "cpu" or "cuda".
    checkpoint : file to go on from if it exists, and to keep after each part.
    report : receives the progress.

    Returns
    -------
    The trained network, in evaluation mode; of one that went on from `start`, the mean of the two. The same seed gives
    the same network on the same kind of CPU.
    """
    torch.manual_seed(parameters.seed)
    network = PyramidNetwork()
    if start is not None:
        network.load_weights(start)
    network = network.to(device, memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=parameters.learning_rate, weight_decay=parameters.weight_decay
    )
    rounds = [(epoch, part) for epoch in range(parameters.epochs) for part in parts]
    sizes = {part: _count(part) for part in parts}
    steps = parameters.epochs * sum(sizes[part] // parameters.batch for part in parts)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, parameters.learning_rate, total_steps=steps, pct_start=0.1
    )
    first, spent, started = 0, 0.0, time.monotonic()
    if checkpoint is not None and checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        first, spent = state["round"], state["seconds"]
    step = sum(sizes[part] // parameters.batch for _, part in rounds[:first])
    running = 0.0
    for number, (epoch, part) in enumerate(rounds[first:], first):
        # Everything random in a round follows from its number, so a resumed training equals an uninterrupted one.
        random = np.random.default_rng((parameters.seed, number))
        scenes = SceneSet.load(part)
        order = random.permutation(sizes[part])
        for head in range(0, sizes[part] // parameters.batch * parameters.batch, parameters.batch):
            batch = np.sort(order[head : head + parameters.batch])
            pixels, targets, weights = _read_batch(scenes, batch, random)
            corner = random.integers(0, (CROP - _WINDOW) // 8 + 1, 2) * 8
            loss = _loss(network, pixels.to(device), targets.to(device), weights.to(device), corner)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            step += 1
            running += (loss.item() - running) * max(0.01, 1 / step)
            if step % 20 == 0 or step == steps:
                report("training", step / steps, f"epoch {epoch + 1} of {parameters.epochs}, loss {running:.3f}")
        if checkpoint is not None:
            state = {
                "network": network.state_dict(),
                "optimiser": optimiser.state_dict(),
                "schedule": schedule.state_dict(),
                "round": number + 1,
                "seconds": spent + time.monotonic() - started,
            }
            with atomic_write(checkpoint) as file:
                torch.save(state, file)
    if start is not None:
        for name, trained in network.state_dict().items():
            trained.lerp_(torch.from_numpy(start.parameters[name].copy()).to(trained), parameters.start_share)
    return network.eval()


def _count(part: Path) -> int:
    return len(SceneSet.load(part).pixels)


def _read_batch(
    scenes: SceneSet, rows: NDArray[np.integer], random: np.random.Generator | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels n x 1 x 256 x 256, target distributions n x 37 x 64 x 64 and their weights; turned if `random`."""
    pixels, log2, state = scenes.pixels[rows], scenes.log2_sigma[rows].astype(np.float32), scenes.state[rows]
    if random is not None:
        turn = int(random.integers(8))  # blur has no direction
        pixels, log2, state = (_turned(plane, turn) for plane in (pixels, log2, state))
        if random.random() < 0.3:
            pixels = 255 - pixels
    place = np.clip((log2 - LOG2_SHARPEST) * BINS_PER_LEVEL, 0, BINS - 1)
    places, states = (torch.from_numpy(np.ascontiguousarray(plane))[:, None] for plane in (place, state))
    bins = torch.arange(BINS, dtype=torch.float32)[None, :, None, None]
    never = states == NEVER
    weights = (states == KNOWN).float() + _NEVER_WEIGHT * never.float()
    # A sigma between two bins belongs to both, in proportion; four blocks of 2 px make one reading of 4 px.
    spread = torch.where(never, 1 / BINS, (1 - (places - bins).abs()).clamp(min=0)) * weights
    total = functional.avg_pool2d(weights, 2)
    targets = functional.avg_pool2d(spread, 2) / total.clamp(min=1e-6)
    grey = torch.from_numpy(np.ascontiguousarray(pixels))[:, None].float() / 255
    return grey, targets, total


def _turned(plane: NDArray[Any], turn: int) -> NDArray[Any]:
    mirrored = plane[..., ::-1] if turn >= 4 else plane
    return np.rot90(mirrored, turn % 4, axes=(1, 2))


def _coarser_targets(targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Targets and weights of the next coarser level, whose sigmas are half and whose readings are fourfold as large."""
    total = functional.avg_pool2d(weights, 2)
    pooled = functional.avg_pool2d(targets * weights, 2) / total.clamp(min=1e-6)
    sharpest = pooled[:, : BINS_PER_LEVEL + 1].sum(1, keepdim=True)
    beyond = torch.zeros_like(pooled[:, :BINS_PER_LEVEL])
    return torch.cat([sharpest, pooled[:, BINS_PER_LEVEL + 1 :], beyond], 1), total


def _loss(
    network: PyramidNetwork, pixels: Tensor, targets: Tensor, weights: Tensor, corner: NDArray[np.integer]
) -> Tensor:
    """Cross entropy of all levels; of the finest, only in the window at `corner` px and not on its rim."""
    window = (slice(corner[0], corner[0] + _WINDOW), slice(corner[1], corner[1] + _WINDOW))
    with torch.autocast(pixels.device.type, torch.bfloat16):
        levels = network(pixels.contiguous(memory_format=torch.channels_last), _LEVELS, window)
    loss = torch.zeros((), device=pixels.device)
    for level, logits in enumerate(levels):
        here, counted = targets, weights
        if level == 0:
            inner = tuple(slice((span.start + _RIM) // STRIDE, (span.stop - _RIM) // STRIDE) for span in window)
            here, counted = targets[:, :, *inner], weights[:, :, *inner]
            logits = logits[:, :, _RIM // STRIDE : -_RIM // STRIDE, _RIM // STRIDE : -_RIM // STRIDE]
        cross_entropy = -(functional.log_softmax(logits.float(), 1) * here).sum(1, keepdim=True)
        mean = (cross_entropy * counted).sum() / counted.sum().clamp(min=1)
        loss = loss + (1.0 if level == 0 else _COARSE_LEVEL_WEIGHT) * mean
        targets, weights = _coarser_targets(targets, weights)
    return loss
