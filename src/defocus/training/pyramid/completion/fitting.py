"""Train the completion of the pyramid method, so that it can be killed at any time and resumed.

The network says of every reading log2 of sigma, how far off it expects that to be, and how probable it is to be right.
The loss is the negative log-likelihood of a Laplace distribution where sigma is known, and half of the cross entropy of
being right (`defocus.maps.accuracy`), which nothing is where no blur of the lens is seen.

A few thousand scenes are soon learned by heart, and photographs are read worse then. So each is seen about six times,
with channels left out, colours changed, noise in all that the network takes, and sizes of blur shifted.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from defocus.errors import DefocusError, ParameterError
from defocus.evaluation.datasets import CameraPart, Example, read_camera
from defocus.maps.accuracy import CONFIDENT, is_right
from defocus.methods.pyramid.blur_reader import BlurReader
from defocus.methods.pyramid.completion import share_of_propagated
from defocus.methods.pyramid.completion_weights import COARSEST
from defocus.methods.pyramid.weights import STRIDE, PyramidWeights
from defocus.methods.registry import find_method
from defocus.runtime.atomic import atomic_write, write_text
from defocus.training.photographs import find_photographs, split_photographs
from defocus.training.pyramid.calibration import Calibration, calibrate, calibration_error
from defocus.training.pyramid.colour.recipe import SCENE, ColourSceneRecipe
from defocus.training.pyramid.colour.scenes import KNOWN, NEVER, UNKNOWN
from defocus.training.pyramid.completion.network import CompletionNetwork
from defocus.training.pyramid.completion.samples import (
    CROP,
    Sample,
    Samples,
    example_sample,
    save_scene_samples,
    stacked,
)
from defocus.training.pyramid.fitting import model_card
from defocus.training.pyramid.sources import read_colour_source, read_sources
from defocus.training.run_folder import open_run_folder, render_missing
from defocus.training.trainer import TrainingProgress
from defocus.version import __version__

__all__ = ["HELD_OUT_SCENES", "CompletionScores", "CompletionTraining", "fit", "steps_for", "train_completion"]

HELD_OUT_SCENES = 512
"""Number of scenes for calibration and evaluation."""
_PART = 512
"""Number of scenes in one file."""
_CHECKPOINT_STEPS = 500
"""Number of steps after which a checkpoint is written."""
_WARM_UP_STEPS = 100
"""Number of steps in which the learning rate rises."""
_LEAST_RATE = 1e-6
"""Learning rate at the end."""
_LOG_SCALES = (-4.0, 3.0)
"""Limits of the logarithm of the error that the network expects."""
_ODDS_WEIGHT = 0.5
"""Weight of the cross entropy of being right in the loss."""
_MEMORY = 0.995
"""Share of the mean of the weights that one step leaves as it was; less in the first steps."""
_COLOURS = 3
"""Number of planes with colours, which come first."""
_LOG2_PLANES = (3, 4, 12, 13, 14)
"""Numbers of the planes with half of log2 of a sigma; others have differences of such, or none."""
_PROPAGATED, _CERTAINTY, _READABLE = 4, 6, 10
"""Numbers of the planes with half of log2 of the propagated sigma, and with the certainty of readings and how far each
is evidence of the lens, as 2 x - 1."""
_TIMES_SEEN = 6
"""Number of times that each scene is seen, if the number of steps is not given."""
_OTHER_SIZES = (0.9, 1.2, 1.5)
"""Sizes to which a photograph with truth is scaled, beside its own."""


@dataclass(frozen=True)
class CompletionTraining:
    """Everything that decides the result of a training.

    Attributes
    ----------
    recipe : what the scenes are made of.
    scenes : number of scenes to render; all are kept on disk, 439 kB each.
    steps, batch, learning_rate, weight_decay : of AdamW; the rate falls by a cosine.
    truth_share : share of the steps that learn from photographs with truth, if there are any.
    dropped : share of the channels of each level of the network that a step leaves out.
    dimmed, grey : shares of the pictures whose contrast of colours is lowered, to nothing at the least, and of those
        whose colours are replaced by their mean.
    noise : standard deviation of the noise that is added to all planes that the network takes.
    octave_shift : standard deviation of the octaves by which all sigmas of a picture, read and true, are multiplied.
    held_out : fraction of the photographs kept for validation; no training scene shows them.
    seed : of the scenes, the split, the first weights and the order.
    reader : SHA-256 of the weights file whose reader makes the readings.
    """

    recipe: ColourSceneRecipe = field(default_factory=ColourSceneRecipe)
    scenes: int = 8 * 1024
    steps: int = 3_072
    batch: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    truth_share: float = 0.2
    dropped: float = 0.15
    dimmed: float = 0.3
    grey: float = 0.1
    noise: float = 0.03
    octave_shift: float = 0.15
    held_out: float = 0.1
    seed: int = 2017
    reader: str = ""


def steps_for(scenes: int, batch: int = CompletionTraining.batch) -> int:
    """Return the number of steps in which each of a number of scenes is seen six times.

    Examples
    --------
    >>> steps_for(8 * 1024) == CompletionTraining.steps
    True
    """
    return max(1, round(_TIMES_SEEN * scenes / batch))


@dataclass(frozen=True)
class CompletionScores:
    """How well the completed readings of held-out scenes agree with their truth, one by one, as a map has them.

    Attributes
    ----------
    scenes : number of scenes.
    error_octaves : mean of |log2 of sigma - that of the truth|.
    propagated_error_octaves : the same of what was propagated, which is what the network begins with.
    confident_error_octaves : the same as the first where confidence is at least 0.5; None if it never is.
    right : fraction of readings within a tenth of the truth, or 0.15 px.
    calibration_error : mean gap between confidence and how often it is right (10 bins), on scenes and photographs that
        the curve was not fitted to. Readings that show no blur of the lens count as wrong.
    """

    scenes: int
    error_octaves: float
    propagated_error_octaves: float
    confident_error_octaves: float | None
    right: float
    calibration_error: float


def train_completion(
    folder: Path,
    out: Path,
    parameters: CompletionTraining,
    *,
    start: Path | None = None,
    truths: Path | None = None,
    device: str = "cpu",
    processes: int = 1,
    resume: bool = False,
    note: str = "",
    report: TrainingProgress = lambda step, fraction, figures: None,
) -> CompletionScores:
    """Render scenes, read them, train, calibrate, and write the weights and their model card.

    Parameters
    ----------
    folder : photographs that surfaces of scenes show; what is out of focus in them is found and left out.
    out : the ONNX file to write, with the reader of `start` and the new completion; `out` with the suffix .md becomes
        the model card, and `out` with the suffix .run is a folder with scenes and checkpoints, which can be deleted
        afterwards.
    parameters : see `CompletionTraining`; `reader` is filled in.
    start : weights whose reader makes the readings; None for this package's. A completion in them is replaced.
    truths : folder that has `camera/`, see `defocus.evaluation.datasets.read_camera`. Its photographs for training are
        learned from too, each at four sizes, and confidence is calibrated on those for choosing as well as on scenes;
        None for scenes alone.
    device : "cpu" or "cuda".
    processes : number of photographs and scenes worked on at once.
    resume : go on with what is in the .run folder.
    note : a sentence for the model card, such as where the photographs come from.
    report : receives the progress.

    Returns
    -------
    Scores on scenes of the held-out photographs.

    Raises
    ------
    DefocusError
        If there are no photographs, no truths where they are said to be, or the .run folder is of another training.
    WeightsError
        If `start` is not such a file.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ParameterError("PyTorch finds no CUDA device; use --device cpu.")
    weights_file = find_method("pyramid").weights_file(start)
    assert weights_file is not None
    begun = PyramidWeights.load(weights_file)
    parameters = replace(parameters, reader=hashlib.sha256(weights_file.read_bytes()).hexdigest())
    photographs = split_photographs(find_photographs(folder), parameters.held_out, parameters.seed)
    examples, choosing = ([], []) if truths is None else (_examples(truths, "training"), _examples(truths, "choosing"))
    run = open_run_folder(
        out,
        {**asdict(parameters), "truths": [example.name for example in examples]},
        photographs[0] + photographs[1],
        resume=resume,
    )
    parts = [run / f"scenes-{number}.npy" for number in range(-(-parameters.scenes // _PART))]
    held_out = run / "scenes-held-out.npy"
    render = partial(_render, parameters=parameters, reader=start, processes=processes, report=report)
    counts = [min(_PART, parameters.scenes - number * _PART) for number in range(len(parts))]
    seeds = [parameters.seed * 1000 + number for number in range(len(parts))]
    render(photographs[0], "training", parts, counts, seeds)
    render(photographs[1], "held-out", [held_out], [HELD_OUT_SCENES], [parameters.seed])
    reader = BlurReader(start)
    scaled = [each for example in examples for each in _at_four_sizes(example)]
    measured = _read_examples(scaled, reader, "training photographs with truth", report)
    checkpoint = run / "checkpoint.pt"
    network = fit(Samples(parts), measured, parameters, device=device, checkpoint=checkpoint, report=report)
    checked = _read_examples(choosing, reader, "calibration photographs with truth", report)
    calibration, scores = _evaluate(network, Samples([held_out]), checked, reader, device, report)
    card: dict[str, Any] = {
        "name": out.stem,
        "defocus": __version__,
        "note": note,
        "photographs": {"training": len(photographs[0]), "held-out": len(photographs[1]), "truths": len(examples)},
        "parameters": asdict(parameters),
        "minutes": round(torch.load(checkpoint, map_location="cpu", weights_only=True)["seconds"] / 60, 1),
        "calibration": calibration,
        "figures": asdict(scores),
    }
    replace(begun, completion=network.weights(card)).save(out)
    # A reader that was not trained by this package's command has no figures to show.
    of_reader = f"{model_card(begun.card)}\n" if "figures" in begun.card else ""
    write_text(out.with_suffix(".md"), of_reader + _model_card(card))
    return scores


def _examples(truths: Path, part: CameraPart) -> list[Example]:
    examples = list(read_camera(truths, part))
    if not examples:
        raise DefocusError(f"{truths / 'camera'} has too few photographs to learn from; leave out --truths.")
    return examples


def _read_examples(
    examples: Sequence[Example], reader: BlurReader, step: str, report: TrainingProgress
) -> list[Sample]:
    samples = []
    for number, example in enumerate(examples, 1):
        samples.append(example_sample(example, reader))
        report(step, number / len(examples), f"{number} of {len(examples)}")
    return samples


def _at_four_sizes(example: Example) -> Iterator[Example]:
    """Yield a photograph with truth as it is, and made smaller and larger as far as the crops of a step allow."""
    yield example
    for factor in _OTHER_SIZES:
        height, width = (round(factor * side) for side in example.truth.shape)
        if min(height, width) < CROP * STRIDE:
            continue
        image = Image.fromarray(example.image).resize((width, height), Image.Resampling.LANCZOS)
        truth, valid = (
            np.asarray(Image.fromarray(plane.astype(np.float32)).resize((width, height), Image.Resampling.NEAREST))
            for plane in (example.truth, example.valid)
        )
        yield replace(example, image=np.asarray(image), truth=truth * np.float32(factor), valid=valid > 0)


def _render(
    photographs: Sequence[Path],
    name: str,
    parts: Sequence[Path],
    counts: Sequence[int],
    seeds: Sequence[int],
    *,
    parameters: CompletionTraining,
    reader: Path | None,
    processes: int,
    report: TrainingProgress,
) -> None:
    """Render the parts that are not there yet."""
    if all(part.exists() for part in parts):
        return
    kept = parts[0].parent / f"sources-{name}.npz"
    sources = read_sources(photographs, read_colour_source, f"{name} photographs", processes, kept, report)

    def save(part: Path, count: int, seed: int, done: Callable[[int], None]) -> None:
        save_scene_samples(
            sources, count, parameters.recipe, part, reader=reader, seed=seed, processes=processes, done=done
        )

    render_missing(parts, counts, seeds, save, f"{name} scenes", report)


def fit(
    scenes: Samples,
    measured: Sequence[Sample],
    parameters: CompletionTraining,
    *,
    device: str = "cpu",
    checkpoint: Path | None = None,
    report: TrainingProgress = lambda step, fraction, figures: None,
) -> CompletionNetwork:
    """Train the network.

    Parameters
    ----------
    scenes : samples of scenes, by their numbers.
    measured : samples of photographs with truth; may be empty.
    parameters : see `CompletionTraining`.
    device : "cpu" or "cuda".
    checkpoint : file to go on from if it exists, and to keep after every 500 steps.
    report : receives the progress.

    Returns
    -------
    The network with the mean of the weights of the latest steps, in evaluation mode. The same seed gives the same
    network on the same kind of CPU.
    """
    torch.manual_seed(parameters.seed)
    network = CompletionNetwork(parameters.dropped).to(device, memory_format=torch.channels_last)
    mean = {name: value.clone() for name, value in network.state_dict().items()}
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=parameters.learning_rate, weight_decay=parameters.weight_decay
    )
    first, spent, started = 0, 0.0, time.monotonic()
    if checkpoint is not None and checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        network.load_state_dict(state["network"])
        mean = state["mean"]
        optimiser.load_state_dict(state["optimiser"])
        first, spent = state["step"], state["seconds"]
    running = 0.0
    for step in range(first, parameters.steps):
        # Everything random in a step follows from its number, so a resumed training equals an uninterrupted one.
        random = np.random.default_rng((parameters.seed, step))
        torch.manual_seed(int(random.integers(2**31)))  # for the channels that are left out
        batch = _batch(scenes, measured, parameters, random)
        for group in optimiser.param_groups:
            group["lr"] = _rate(step, parameters)
        loss = _loss(network, *(tensor.to(device) for tensor in batch))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        memory = min(_MEMORY, (2 + step) / (11 + step))
        with torch.no_grad():
            for name, value in network.state_dict().items():
                mean[name].lerp_(value, 1 - memory)
        running += (loss.item() - running) * max(0.01, 1 / (step - first + 1))
        if (step + 1) % 20 == 0 or step + 1 == parameters.steps:
            report("training", (step + 1) / parameters.steps, f"step {step + 1}, loss {running:.3f}")
        if checkpoint is not None and ((step + 1) % _CHECKPOINT_STEPS == 0 or step + 1 == parameters.steps):
            state = {
                "network": network.state_dict(),
                "mean": mean,
                "optimiser": optimiser.state_dict(),
                "step": step + 1,
                "seconds": spent + time.monotonic() - started,
            }
            with atomic_write(checkpoint) as file:
                torch.save(state, file)
    network.load_state_dict(mean)
    return network.eval()


def _rate(step: int, parameters: CompletionTraining) -> float:
    """Learning rate of a step."""
    falling = 0.5 * (1 + np.cos(np.pi * step / parameters.steps))
    return float(parameters.learning_rate * min(1.0, (step + 1) / _WARM_UP_STEPS) * falling) + _LEAST_RATE


class _Batch(NamedTuple):
    """Tensors of a step: planes n x 15 x 96 x 96, and log2 of the true sigma and its state, n x 96 x 96."""

    planes: Tensor
    log2_sigma: Tensor
    state: Tensor


def _batch(
    scenes: Samples, measured: Sequence[Sample], parameters: CompletionTraining, random: np.random.Generator
) -> _Batch:
    """Crops of scenes, or of photographs with truth, mirrored, turned, and changed as `CompletionTraining` says."""
    if measured and random.random() < parameters.truth_share:
        chosen = [measured[number] for number in random.integers(0, len(measured), parameters.batch)]
    else:
        chosen = [scenes[int(number)] for number in random.integers(0, len(scenes), parameters.batch)]
    crops = []
    for sample in chosen:
        top, left = (int(random.integers(0, side - CROP + 1)) for side in sample.state.shape)
        crops.append(sample.at(slice(top, top + CROP), slice(left, left + CROP)))
    batch = stacked(crops)
    # Photographs that stand on their heads are rarer than their mirror images.
    for likely, change in ((0.5, Sample.mirrored), (0.25, Sample.upside_down), (0.25, Sample.transposed)):
        if random.random() < likely:
            batch = change(batch)
    colours = batch.planes[:, :_COLOURS]
    if random.random() < 0.5:
        colours = colours[:, random.permutation(_COLOURS)]
    if random.random() < 0.2:
        colours = -colours  # a negative; the planes hold colours from -0.5 to 0.5
    count = len(colours)
    contrast = np.where(random.random(count) < parameters.dimmed, random.random(count), 1)
    grey = random.random(count) < parameters.grey
    colours = np.where(grey[:, None, None, None], colours.mean(1, keepdims=True), colours)
    planes = np.concatenate([contrast[:, None, None, None] * colours, batch.planes[:, _COLOURS:]], axis=1)
    octaves = random.normal(0, parameters.octave_shift, count)[:, None, None]
    planes[:, _LOG2_PLANES] += 0.5 * octaves[:, None]
    planes += parameters.noise * random.standard_normal(planes.shape, np.float32)
    changed = (planes.astype(np.float32), (batch.log2_sigma + octaves).astype(np.float32), batch.state)
    return _Batch(*(torch.from_numpy(np.ascontiguousarray(each)) for each in changed))


def _loss(network: CompletionNetwork, planes: Tensor, log2_sigma: Tensor, state: Tensor) -> Tensor:
    found = network(planes.contiguous(memory_format=torch.channels_last))
    known, counted = (state == KNOWN).float(), (state != UNKNOWN).float()
    scale = found.log_scale.clamp(*_LOG_SCALES)
    likelihood = (found.log2_sigma - log2_sigma).abs() * torch.exp(-scale) + scale
    right = _is_right(found.log2_sigma, log2_sigma, state).to(planes.device)
    entropy = functional.binary_cross_entropy_with_logits(found.odds, right.float(), reduction="none")
    return _mean_where(known, likelihood) + _ODDS_WEIGHT * _mean_where(counted, entropy)


def _mean_where(chosen: Tensor, values: Tensor) -> Tensor:
    return (values * chosen).sum() / chosen.sum().clamp(min=1)


def _is_right(log2_sigma: Tensor, truth: Tensor, state: Tensor) -> Tensor:
    """Whether sigma is right; nothing is where no blur of the lens is seen."""
    sigma, true = (torch.exp2(each.detach()).cpu().numpy() for each in (log2_sigma, truth))
    return torch.from_numpy(is_right(sigma, true)) & (state != NEVER).cpu()


def _evaluate(
    network: CompletionNetwork,
    held_out: Samples,
    photographs: Sequence[Sample],
    reader: BlurReader,
    device: str,
    report: TrainingProgress,
) -> tuple[dict[str, list[float]], CompletionScores]:
    """The curve from the network's probability to confidence, and the scores of held-out scenes.

    Where a reading is certain, a map has what was propagated instead of what the network says. So the curve tells how
    often the mixture is right, and a reading counts for it as far as the network does. The curve is fitted to every
    other scene and photograph; all photographs together have as much weight as all scenes.
    """
    seen = []
    samples = len(held_out) + len(photographs)
    for number in range(samples):
        sample = held_out[number] if number < len(held_out) else photographs[number - len(held_out)]
        seen.append(_seen(network, sample, reader, device))
        report("calibration", (number + 1) / samples, "")
    scenes, others = _Seen.of_all(seen[: len(held_out)]), _Seen.of_all(seen)
    weight = np.concatenate(
        [
            np.full(each.right.size, 1 / max(1, sum(part.right.size for part in group)))
            for group in (seen[: len(held_out)], seen[len(held_out) :])
            for each in group
        ]
    )
    fitted = np.concatenate([np.full(each.right.size, number % 2 == 0) for number, each in enumerate(seen)])
    curve = calibrate(others.probability, others.right, fitted, weight * (1 - others.share))
    confidence = others.confidence(curve)
    confident = scenes.known & (confidence[: scenes.right.size] >= CONFIDENT)
    scores = CompletionScores(
        scenes=len(held_out),
        error_octaves=_mean(scenes.error[scenes.known]),
        propagated_error_octaves=_mean(scenes.error_before[scenes.known]),
        confident_error_octaves=_mean(scenes.error[confident]) if confident.any() else None,
        right=_mean(scenes.right[scenes.known]),
        calibration_error=round(calibration_error(confidence[~fitted], others.right[~fitted], weight[~fitted]), 4),
    )
    return curve.for_card(), scores


class _Seen(NamedTuple):
    """Readings of a sample whose truth is known, or that show no blur of the lens; n each.

    Attributes
    ----------
    probability : of the network.
    share : how far the map is what was propagated instead.
    confidence_of_reading : with which the rest is mixed by that share.
    right : whether the mixture is right.
    error, error_before : |log2 of sigma - that of the truth| of the mixture, and of what the network began with.
    known : whether the truth is known.
    """

    probability: NDArray[np.float32]
    share: NDArray[np.float32]
    confidence_of_reading: NDArray[np.float32]
    right: NDArray[np.bool_]
    error: NDArray[np.float32]
    error_before: NDArray[np.float32]
    known: NDArray[np.bool_]

    @classmethod
    def of_all(cls, several: Sequence[_Seen]) -> _Seen:
        return cls(*(np.concatenate(each) for each in zip(*several, strict=True)))

    def confidence(self, curve: Calibration) -> NDArray[np.float64]:
        """Confidence as a map has it."""
        own = curve(self.probability)
        return own + self.share * (self.confidence_of_reading - own)


def _seen(network: CompletionNetwork, sample: Sample, reader: BlurReader, device: str) -> _Seen:
    height, width = (side // COARSEST * COARSEST for side in sample.state.shape)
    batch = stacked([sample.at(slice(height), slice(width))])
    with torch.no_grad():
        found = network(torch.from_numpy(batch.planes).to(device))
    log2_sigma = found.log2_sigma.cpu().numpy()
    certainty = np.asarray((batch.planes[:, _CERTAINTY] + 1) * (batch.planes[:, _READABLE] + 1) / 4, np.float32)
    share = np.asarray(share_of_propagated(certainty), np.float32)
    mixture = log2_sigma + share * (batch.propagated - log2_sigma)
    right = _is_right(*(torch.from_numpy(each) for each in (mixture, batch.log2_sigma, batch.state))).numpy()
    counted = batch.state != UNKNOWN
    return _Seen(
        torch.sigmoid(found.odds).cpu().numpy()[counted],
        share[counted],
        reader.confidence(certainty)[counted],
        right[counted],
        np.abs(mixture - batch.log2_sigma)[counted],
        np.abs(2 * batch.planes[:, _PROPAGATED] - batch.log2_sigma)[counted],
        batch.state[counted] == KNOWN,
    )


def _mean(values: NDArray[Any]) -> float:
    return round(float(values.mean()), 4)


def _model_card(card: dict[str, Any]) -> str:
    """The model card as Markdown."""
    figures, parameters, photographs = card["figures"], card["parameters"], card["photographs"]
    confident = figures["confident_error_octaves"]
    lines = [
        f"# {card['name']}: completion",
        "",
        f"Weights of the completion of the pyramid method; trained by defocus {card['defocus']}.",
        "",
        *([card["note"], ""] if card["note"] else []),
        "| what | value |",
        "|---|---|",
        f"| command | `defocus train --part completion --photos DIR --out {card['name']}.onnx "
        f"--scenes {parameters['scenes']} --steps {parameters['steps']} --seed {parameters['seed']} --start FILE"
        f"{' --truths DIR' if photographs['truths'] else ''}` |",
        f"| FILE, whose reader is kept, SHA-256 | {parameters['reader']} |",
        f"| photographs | {photographs['training']} to train, {photographs['held-out']} held out |",
        f"| photographs with measured sigma to train | {photographs['truths']} |",
        f"| scenes | {parameters['scenes']:,} of {SCENE} x {SCENE} px to train, {figures['scenes']} held out |",
        f"| minutes of fitting | {card['minutes']} |",
        f"| seed | {parameters['seed']} |",
        "",
        "## Scenes of held-out photographs",
        "Readings of 4 x 4 px against the truth, wherever that is known, textureless surfaces included. An octave is a",
        "factor of two.",
        "",
        "| error, octaves | the same where confidence >= 0.5 | error as propagated | right | calibration error |",
        "|---|---|---|---|---|",
        f"| {figures['error_octaves']:.3f} | {'none' if confident is None else f'{confident:.3f}'} "
        f"| {figures['propagated_error_octaves']:.3f} | {figures['right']:.3f} | {figures['calibration_error']:.3f} |",
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
