"""Train the DHDE network on synthetic patches, so that it can be killed at any time and resumed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from defocus.errors import ParameterError
from defocus.methods.dhde.classifier import cnn_patches
from defocus.methods.dhde.weights import BLUR_LABELS
from defocus.runtime.atomic import atomic_write, write_text
from defocus.training.dhde.network import ALL_FEATURES, DHDENetwork, standardisation
from defocus.training.dhde.patches import PatchRecipe, PatchSet, make_patches
from defocus.training.photographs import find_photographs, split_photographs
from defocus.training.run_folder import open_run_folder
from defocus.training.trainer import TrainingProgress
from defocus.version import __version__

__all__ = ["Scores", "TrainingParameters", "calibrated_temperature", "fit", "predict", "score", "train_network"]


@dataclass(frozen=True)
class TrainingParameters:
    """Everything that decides the result of a training.

    Attributes
    ----------
    recipe : how the patches are made.
    epochs, batch, learning_rate, weight_decay, dropout : of AdamW with a one-cycle learning rate.
    label_spread : each label's target is spread over its neighbours by a Gaussian of this many labels; 0 for none.
    held_out : fraction of the photographs kept for validation; their patches are never trained on.
    features : which features the classifier sees.
    scales : "large", "small" or both.
    seed : of the patches, the split, the first weights and the order.
    """

    recipe: PatchRecipe = field(default_factory=PatchRecipe)
    epochs: int = 10
    batch: int = 512
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    dropout: float = 0.1
    label_spread: float = 0.5
    held_out: float = 0.1
    features: tuple[str, ...] = ALL_FEATURES
    scales: tuple[str, ...] = ("large", "small")
    seed: int = 2017


@dataclass(frozen=True)
class Scores:
    """How well the labels of held-out photographs' patches are read; patches beyond the labels' range are left out.

    Attributes
    ----------
    patches : how many.
    top1, within_one : fraction of patches whose most probable label is right, or at most one label off, 0..1.
    argmax_error, mean_error : mean absolute error in px of the most probable label, and of the mean over labels.
    calibration_error : mean gap between the probability of the most probable label and how often it is right (10 bins).
    """

    patches: int
    top1: float
    within_one: float
    argmax_error: float
    mean_error: float
    calibration_error: float


def train_network(
    folder: Path,
    out: Path,
    parameters: TrainingParameters,
    *,
    device: str = "cpu",
    processes: int = 1,
    resume: bool = False,
    note: str = "",
    report: TrainingProgress = lambda step, fraction, figures: None,
) -> Scores:
    """Make patches, train, validate, and write the weights and their model card.

    Parameters
    ----------
    folder : sharp photographs.
    out : the ONNX file to write; `out` with the suffix .md becomes the model card, and `out` with the suffix .run is a
        folder with patches and checkpoints, which can be deleted afterwards.
    parameters : see `TrainingParameters`.
    device : "cpu" or "cuda".
    processes : photographs worked on at once while patches are made.
    resume : go on from the checkpoint in the .run folder, if there is one.
    note : a sentence for the model card, such as where the photographs come from.
    report : receives the progress.

    Returns
    -------
    Scores on the held-out photographs.

    Raises
    ------
    DefocusError : no photographs, no edges, or a checkpoint of another training.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ParameterError("PyTorch finds no CUDA device; use --device cpu.")
    training, held_out = split_photographs(find_photographs(folder), parameters.held_out, parameters.seed)
    run = open_run_folder(out, asdict(parameters), training + held_out, resume=resume)
    sets = {}
    for index, (name, photographs) in enumerate((("training", training), ("held-out", held_out))):
        stored = run / f"patches-{name}.npz"
        if not stored.exists():
            patches_made = 0

            def count(step: int, name: str = name, total: int = len(photographs)) -> None:
                nonlocal patches_made
                patches_made += step
                report(f"{name} patches", patches_made / total, f"{patches_made} of {total} photographs")

            seed = parameters.seed + index
            make_patches(photographs, parameters.recipe, seed=seed, processes=processes, done=count).save(stored)
        sets[name] = PatchSet.load(stored)
    started = time.monotonic()
    network = fit(sets["training"], parameters, device=device, checkpoint=run / "checkpoint.pt", report=report)
    probabilities, labels, beyond = predict(network, sets["held-out"], parameters.scales, device)
    temperature = calibrated_temperature(probabilities[~beyond], labels[~beyond])
    tempered = _tempered(probabilities, temperature)
    scores = score(tempered[~beyond], labels[~beyond])
    card = {
        "name": out.stem,
        "method": "DHDE, Park et al., CVPR 2017",
        "defocus": __version__,
        "note": note,
        "photographs": {"training": len(training), "held-out": len(held_out)},
        "patches": {name: len(patches) for name, patches in sets.items()},
        "parameters": asdict(parameters),
        "temperature": temperature,
        "figures": {"all": asdict(scores), **_scores_by_scale(tempered, labels, beyond, sets["held-out"], parameters)},
        "minutes": round((time.monotonic() - started) / 60, 1),
    }
    network.cpu().weights(card, temperature).save(out)
    write_text(out.with_suffix(".md"), _model_card(card))
    return scores


def fit(
    patches: PatchSet,
    parameters: TrainingParameters,
    *,
    device: str = "cpu",
    checkpoint: Path | None = None,
    report: TrainingProgress = lambda step, fraction, figures: None,
) -> DHDENetwork:
    """Train one network.

    Parameters
    ----------
    patches : to train on.
    parameters : see `TrainingParameters`.
    device : "cpu" or "cuda".
    checkpoint : file to go on from if it exists, and to keep after each epoch.
    report : receives the progress.

    Returns
    -------
    The trained network, in evaluation mode. The same seed gives the same network on the same kind of CPU.
    """
    torch.manual_seed(parameters.seed)
    torch.use_deterministic_algorithms(True, warn_only=device != "cpu")
    empty = np.zeros((0, patches.large_features.shape[1]), dtype=np.float32)
    mean, deviation = standardisation(
        patches.large_features if "large" in parameters.scales else empty,
        patches.small_features if "small" in parameters.scales else empty,
    )
    network = DHDENetwork(mean, deviation, features=parameters.features, dropout=parameters.dropout).to(device)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=parameters.learning_rate, weight_decay=parameters.weight_decay
    )
    rows = _rows(patches, parameters.scales)
    steps_per_epoch = -(-len(rows) // parameters.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, parameters.learning_rate, total_steps=steps_per_epoch * parameters.epochs, pct_start=0.15
    )
    targets = torch.from_numpy(_spread_labels(parameters.label_spread)).to(device)
    first_epoch = 0
    if checkpoint is not None and checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        first_epoch = state["epoch"]
    for epoch in range(first_epoch, parameters.epochs):
        # Everything random in an epoch follows from its number, so a resumed training equals an uninterrupted one.
        torch.manual_seed(parameters.seed * 1000 + epoch)
        random = np.random.default_rng((parameters.seed, epoch))
        network.train()
        running = 0.0
        for step, batch in enumerate(_batches(random.permutation(rows), parameters.batch)):
            pixels, features, labels = _read_batch(patches, batch, random)
            loss = functional.cross_entropy(network(pixels.to(device), features.to(device)), targets[labels.to(device)])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            running += (loss.item() - running) / (step + 1)
            if step % 20 == 0 or step + 1 == steps_per_epoch:
                fraction = (epoch * steps_per_epoch + step + 1) / (steps_per_epoch * parameters.epochs)
                report("training", fraction, f"epoch {epoch + 1} of {parameters.epochs}, loss {running:.3f}")
        if checkpoint is not None:
            state = {
                "network": network.state_dict(),
                "optimiser": optimiser.state_dict(),
                "schedule": schedule.state_dict(),
                "epoch": epoch + 1,
            }
            with atomic_write(checkpoint) as file:
                torch.save(state, file)
    return network.eval()


def _rows(patches: PatchSet, scales: Sequence[str]) -> NDArray[np.int64]:
    """Row numbers of the patches in use: large ones count from 0, small ones go on after the last large one."""
    large = np.arange(len(patches.large)) if "large" in scales else np.arange(0)
    small = len(patches.large) + np.arange(len(patches.small)) if "small" in scales else np.arange(0)
    return np.concatenate([large, small])


def _batches(rows: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _read_batch(
    patches: PatchSet, rows: NDArray[np.int64], random: np.random.Generator | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels (n x 3 x 27 x 27 float), hand-crafted features and labels of rows; turned and mirrored if `random`."""
    large = rows[rows < len(patches.large)]
    small = rows[rows >= len(patches.large)] - len(patches.large)
    pixels = np.concatenate([cnn_patches(patches.large[large]), cnn_patches(patches.small[small])])
    if random is not None:
        # Blur has no direction: a mirrored or turned patch has the same label and (all but) the same features.
        turns = random.integers(0, 8, len(pixels))
        for turn in range(1, 8):
            pixels[turns == turn] = _turned(pixels[turns == turn], turn)
    features = np.concatenate([patches.large_features[large], patches.small_features[small]])
    labels = np.concatenate([patches.large_labels[large], patches.small_labels[small]]).astype(np.int64)
    return torch.from_numpy(np.ascontiguousarray(pixels)), torch.from_numpy(features), torch.from_numpy(labels)


def _turned(pixels: NDArray[np.float32], turn: int) -> NDArray[np.float32]:
    """One of the 8 ways to turn and mirror patches."""
    mirrored = pixels[..., ::-1] if turn >= 4 else pixels
    return np.rot90(mirrored, turn % 4, axes=(2, 3))


def _spread_labels(spread: float) -> NDArray[np.float32]:
    """Target distribution of every label, 11 x 11."""
    labels = np.arange(len(BLUR_LABELS))
    if spread == 0:
        return np.eye(len(labels), dtype=np.float32)
    targets = np.exp(-((labels[:, None] - labels[None, :]) ** 2) / (2 * spread**2))
    return (targets / targets.sum(axis=1, keepdims=True)).astype(np.float32)


def predict(
    network: DHDENetwork, patches: PatchSet, scales: Sequence[str], device: str = "cpu"
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]:
    """Probabilities (n x 11), true labels (n) and whether the blur is beyond the labels (n), large patches first."""
    rows = _rows(patches, scales)
    probabilities = []
    with torch.no_grad():
        for batch in _batches(rows, 2048):
            pixels, features, _ = _read_batch(patches, batch)
            probabilities.append(
                functional.softmax(network(pixels.to(device), features.to(device)), dim=1).cpu().numpy()
            )
    labels = np.concatenate([patches.large_labels, patches.small_labels])[rows].astype(np.int64)
    beyond = np.concatenate([patches.large_beyond, patches.small_beyond])[rows]
    return np.concatenate(probabilities), labels, beyond


def score(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> Scores:
    """Figures of merit of label probabilities (n x 11) against true labels (n)."""
    sigma = np.array(BLUR_LABELS)
    best = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    right = best == labels
    bins = np.minimum((confidence * 10).astype(int), 9)
    gaps = [abs(confidence[bins == b].mean() - right[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    return Scores(
        patches=len(labels),
        top1=round(float(right.mean()), 4),
        within_one=round(float((np.abs(best - labels) <= 1).mean()), 4),
        argmax_error=round(float(np.abs(sigma[best] - sigma[labels]).mean()), 4),
        mean_error=round(float(np.abs(probabilities @ sigma - sigma[labels]).mean()), 4),
        calibration_error=round(float(sum(gaps)), 4),
    )


def calibrated_temperature(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """The temperature at which the true labels of held-out patches are most likely (Guo et al., ICML 2017)."""
    temperatures = np.geomspace(0.3, 3, 93)
    likelihoods = [
        np.log(_tempered(probabilities, t)[np.arange(len(labels)), labels] + 1e-12).mean() for t in temperatures
    ]
    return round(float(temperatures[int(np.argmax(likelihoods))]), 3)


def _tempered(probabilities: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    logarithm = np.log(probabilities.astype(np.float64) + 1e-12) / temperature
    powered = np.exp(logarithm - logarithm.max(axis=1, keepdims=True))
    return np.asarray(powered / powered.sum(axis=1, keepdims=True))


def _scores_by_scale(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    beyond: NDArray[np.bool_],
    patches: PatchSet,
    parameters: TrainingParameters,
) -> dict[str, Any]:
    if len(parameters.scales) < 2:
        return {}
    is_large = np.arange(len(labels)) < len(patches.large)
    return {
        name: asdict(score(probabilities[chosen & ~beyond], labels[chosen & ~beyond]))
        for name, chosen in (("large", is_large), ("small", ~is_large))
    }


def _command(card: dict[str, Any]) -> str:
    """The command line that trains these weights again."""
    parameters, standard = card["parameters"], asdict(TrainingParameters())
    options = f"--epochs {parameters['epochs']} --seed {parameters['seed']}"
    options += f" --patches {parameters['recipe']['patches_per_label']}"
    # Anything else can only be changed from Python, which the table of parameters shows.
    if parameters["recipe"]["edges_after_blur"] != standard["recipe"]["edges_after_blur"]:
        options += " --released-recipe"
    return f"defocus train --method dhde --photos DIR --out {card['name']}.onnx {options}"


def _model_card(card: dict[str, Any]) -> str:
    """The model card as Markdown."""
    figures = card["figures"]
    lines = [
        f"# {card['name']}",
        "",
        f"Weights of {card['method']}; trained by defocus {card['defocus']}.",
        "",
        *([card["note"], ""] if card["note"] else []),
        "| what | value |",
        "|---|---|",
        f"| command | `{_command(card)}` |",
        f"| photographs | {card['photographs']['training']} to train, {card['photographs']['held-out']} held out |",
        f"| patches | {card['patches']['training']:,} to train, {card['patches']['held-out']:,} held out |",
        f"| minutes of fitting | {card['minutes']} |",
        f"| temperature | {card['temperature']} |",
        f"| seed | {card['parameters']['seed']} |",
        "",
        "## Held-out photographs",
        "Patches with one of the 11 labels (sigma 0.50 to 2.00 px), made by the recipe below; chance is 0.091.",
        "",
        "| patches | number | top-1 | within one label | MAE arg-max, px | MAE mean, px | calibration error |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in figures.items():
        lines.append(
            f"| {name} | {row['patches']:,} | {row['top1']:.3f} | {row['within_one']:.3f} | {row['argmax_error']:.3f} "
            f"| {row['mean_error']:.3f} | {row['calibration_error']:.3f} |"
        )
    lines += ["", "## Parameters", "```json", json.dumps(card["parameters"], indent=2), "```", ""]
    lines += [
        "## Use and limits",
        "For sigma between 0.5 and 2.0 px at edges; sharper reads as 0.5, blurrier as 2.0. Not for motion blur.",
        "Patches come from synthetic Gaussian blur; lens blur reads as the Gaussian nearest to it.",
        "",
    ]
    return "\n".join(lines)
