"""Train the pyramid method's network on rendered scenes, so that it can be killed at any time and resumed."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from defocus.atomic import atomic_write, write_text
from defocus.errors import DefocusError, ParameterError
from defocus.network.pyramid_weights import BINS, BINS_PER_LEVEL, LOG2_SHARPEST
from defocus.training.photographs import Report, find_photographs, split_photographs
from defocus.training.pyramid_network import PyramidNetwork
from defocus.training.scenes import SceneRecipe, SceneSet, Source, make_scenes, read_source
from defocus.version import __version__

LEVELS = 5
"""Of the pyramid over a scene: the coarsest is 16 px wide."""
COARSE_LEVEL_WEIGHT = 0.4
"""Of each coarser level's loss beside the finest one's: every level must read well by itself."""
HELD_OUT_SCENES = 512
PART = 4096
"""Scenes in one file."""
_WITHIN = (0.1, 0.15)
"""A reading counts as right within this share of sigma, or within this many px."""


@dataclass(frozen=True)
class PyramidTraining:
    """Everything that decides the result of a training.

    Attributes
    ----------
    recipe : what the scenes are made of.
    scenes : how many to render; all are kept on disk, 114 kB each.
    epochs, batch, learning_rate, weight_decay : of AdamW with a one-cycle learning rate.
    held_out : share of the photographs kept for validation; no training scene shows them.
    seed : of the scenes, the split, the first weights and the order.
    """

    recipe: SceneRecipe = field(default_factory=SceneRecipe)
    scenes: int = 24 * 1024
    epochs: int = 4
    batch: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    held_out: float = 0.1
    seed: int = 2026


def fit(
    parts: list[Path],
    parameters: PyramidTraining,
    *,
    device: str = "cpu",
    checkpoint: Path | None = None,
    report: Report = lambda step, fraction, words: None,
) -> PyramidNetwork:
    """Train one network.

    Parameters
    ----------
    parts : files of `SceneSet.save`.
    parameters : see `PyramidTraining`.
    device : "cpu" or "cuda".
    checkpoint : file to go on from if it exists, and to keep after each part.
    report : receives the progress.

    Returns
    -------
    The trained network, in evaluation mode. The same seed gives the same network on the same kind of CPU.
    """
    torch.manual_seed(parameters.seed)
    network = PyramidNetwork().to(device, memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=parameters.learning_rate, weight_decay=parameters.weight_decay
    )
    rounds = [(epoch, part) for epoch in range(parameters.epochs) for part in parts]
    sizes = {part: _count(part) for part in parts}
    steps = parameters.epochs * sum(sizes[part] // parameters.batch for part in parts)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, parameters.learning_rate, total_steps=steps, pct_start=0.1)
    first = 0
    if checkpoint is not None and checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        first = state["round"]
    step = sum(sizes[part] // parameters.batch for _, part in rounds[:first])
    running = 0.0
    for number, (epoch, part) in enumerate(rounds[first:], first):
        # Everything random in a round follows from its number, so a resumed training equals an uninterrupted one.
        random = np.random.default_rng((parameters.seed, number))
        scenes = SceneSet.load(part)
        order = random.permutation(sizes[part])
        for start in range(0, sizes[part] // parameters.batch * parameters.batch, parameters.batch):
            batch = np.sort(order[start : start + parameters.batch])
            pixels, targets, weights = _read_batch(scenes, batch, random)
            loss = _loss(network, pixels.to(device), targets.to(device), weights.to(device))
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
            }
            with atomic_write(checkpoint) as file:
                torch.save(state, file)
    return network.eval()


def _count(part: Path) -> int:
    return len(SceneSet.load(part).pixels)


def _read_batch(
    scenes: SceneSet, rows: NDArray[np.integer], random: np.random.Generator | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels n x 1 x 256 x 256, target distributions n x 37 x 64 x 64 and their weights; turned if `random`."""
    pixels, log2, valid = scenes.pixels[rows], scenes.log2_sigma[rows].astype(np.float32), scenes.valid[rows]
    if random is not None:
        turn = int(random.integers(8))  # blur has no direction
        pixels, log2, valid = (_turned(plane, turn) for plane in (pixels, log2, valid))
        if random.random() < 0.3:
            pixels = 255 - pixels
    place = np.clip((log2 - LOG2_SHARPEST) * BINS_PER_LEVEL, 0, BINS - 1)
    places = torch.from_numpy(np.ascontiguousarray(place))[:, None]
    bins = torch.arange(BINS, dtype=torch.float32)[None, :, None, None]
    known = torch.from_numpy(np.ascontiguousarray(valid))[:, None].float()
    # A sigma between two bins belongs to both, in proportion; four blocks of 2 px make one reading of 4 px.
    spread = (1 - (places - bins).abs()).clamp(min=0) * known
    total = functional.avg_pool2d(known, 2)
    targets = functional.avg_pool2d(spread, 2) / total.clamp(min=1e-6)
    grey = torch.from_numpy(np.ascontiguousarray(pixels))[:, None].float() / 255
    return grey, targets, total


def _turned(plane: NDArray[Any], turn: int) -> NDArray[Any]:
    mirrored = plane[..., ::-1] if turn >= 4 else plane
    return np.rot90(mirrored, turn % 4, axes=(1, 2))


def coarser_targets(targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Targets and weights of the next coarser level, whose sigmas are half and whose readings are fourfold as large."""
    total = functional.avg_pool2d(weights, 2)
    pooled = functional.avg_pool2d(targets * weights, 2) / total.clamp(min=1e-6)
    sharpest = pooled[:, : BINS_PER_LEVEL + 1].sum(1, keepdim=True)
    beyond = torch.zeros_like(pooled[:, :BINS_PER_LEVEL])
    return torch.cat([sharpest, pooled[:, BINS_PER_LEVEL + 1 :], beyond], 1), total


def _loss(network: PyramidNetwork, pixels: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    with torch.autocast(pixels.device.type, torch.bfloat16):
        found = network(pixels.contiguous(memory_format=torch.channels_last), LEVELS)
    loss = torch.zeros((), device=pixels.device)
    for level, logits in enumerate(found):
        cross_entropy = -(functional.log_softmax(logits.float(), 1) * targets).sum(1, keepdim=True)
        mean = (cross_entropy * weights).sum() / weights.sum().clamp(min=1)
        loss = loss + (1.0 if level == 0 else COARSE_LEVEL_WEIGHT) * mean
        targets, weights = coarser_targets(targets, weights)
    return loss
