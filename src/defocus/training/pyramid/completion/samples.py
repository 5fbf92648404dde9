"""What the completion learns from: the evidence in scenes and photographs, and the truth about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from defocus.errors import DefocusError
from defocus.evaluation.datasets import Example
from defocus.methods.pyramid.blur_reader import BlurReader
from defocus.methods.pyramid.completion import Evidence, evidence_planes, range_of
from defocus.methods.pyramid.completion_weights import CHANNELS
from defocus.methods.pyramid.filling import fill
from defocus.methods.pyramid.luma import PhotographLuma
from defocus.methods.pyramid.method import read_blur
from defocus.methods.pyramid.parameters import PyramidParameters
from defocus.methods.pyramid.survey import survey_photograph
from defocus.methods.pyramid.weights import STRIDE
from defocus.photograph import Photograph
from defocus.runtime.atomic import atomic_write
from defocus.runtime.cores import single_blas_thread
from defocus.runtime.processes import run_in_order
from defocus.training.pyramid.colour.recipe import SCENE, ColourSceneRecipe
from defocus.training.pyramid.colour.scenes import KNOWN, SMALLEST, UNKNOWN, render_colour_scene
from defocus.training.pyramid.sources import Source

__all__ = ["CROP", "Sample", "Samples", "example_sample", "read_evidence", "save_scene_samples", "stacked"]

CROP = 96
"""Side in readings of the part of a sample that a step of the training sees, a multiple of `COARSEST`."""
_GRID = SCENE // STRIDE
_RECORD = np.dtype(
    [
        ("planes", "f2", (CHANNELS, _GRID, _GRID)),
        ("propagated", "f2", (_GRID, _GRID)),
        ("log2_sigma", "f2", (_GRID, _GRID)),
        ("state", "u1", (_GRID, _GRID)),
    ]
)
"""A scene's sample in a file; 439 kB."""
_CHUNK = 8
"""Number of scenes that a process renders at once."""


@dataclass(frozen=True)
class Sample:
    """The evidence in a picture and the truth about it, on the grid of readings of 4 x 4 px; n of them by `stacked`.

    Attributes
    ----------
    planes : 15 x h x w float16 or float32, what the network takes, by `evidence_planes`.
    propagated : h x w, log2 of sigma in px after all rounds of the propagation, of which the map is where a reading is
        certain (`share_of_propagated`).
    log2_sigma : h x w, log2 of the true sigma in px.
    state : h x w uint8, one of `defocus.training.pyramid.colour.scenes.UNKNOWN`, `KNOWN` and `NEVER`.
    """

    planes: NDArray[np.floating]
    propagated: NDArray[np.floating]
    log2_sigma: NDArray[np.floating]
    state: NDArray[np.uint8]

    def at(self, rows: slice, columns: slice) -> Sample:
        """Return a part."""
        return self._changed(lambda plane: plane[..., rows, columns])

    def mirrored(self) -> Sample:
        """Return the mirror image, left for right."""
        return self._changed(lambda plane: plane[..., ::-1])

    def upside_down(self) -> Sample:
        """Return the mirror image, top for bottom."""
        return self._changed(lambda plane: plane[..., ::-1, :])

    def transposed(self) -> Sample:
        """Return rows as columns."""
        return self._changed(lambda plane: np.swapaxes(plane, -1, -2))

    def _changed(self, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Sample:
        return Sample(change(self.planes), change(self.propagated), change(self.log2_sigma), change(self.state))


class Samples:
    """Samples of scenes in files of `save_scene_samples`, which are read when they are needed.

    Parameters
    ----------
    files : in the order of the samples' numbers.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._parts = [np.load(file, mmap_mode="r") for file in files]
        self._ends = np.cumsum([len(part) for part in self._parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, number: int) -> Sample:
        part = int(np.searchsorted(self._ends, number, side="right"))
        record = self._parts[part][number - (self._ends[part - 1] if part else 0)]
        return Sample(record["planes"], record["propagated"], record["log2_sigma"], record["state"])


def read_evidence(photograph: Photograph, reader: BlurReader) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what the network takes of a photograph, and what it is mixed with, as an estimate computes them.

    Parameters
    ----------
    photograph : H x W px.
    reader : network whose readings are to be completed.

    Returns
    -------
    planes : 15 x h x w float32, h = ceil(H / 4), by `evidence_planes`.
    propagated : h x w float32, log2 of sigma in px after all rounds of the propagation.

    Examples
    --------
    >>> noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    >>> planes, propagated = read_evidence(Photograph(noise), BlurReader())
    >>> planes.shape, propagated.shape
    ((15, 24, 32), (24, 32))
    """
    grey = PhotographLuma(photograph)
    survey = survey_photograph(photograph, grey)
    readings, readable, _ = read_blur(photograph, grey, survey, reader, PyramidParameters())
    propagated = fill(readings, readable, survey.guide, PyramidParameters())
    evidence = Evidence(readings, readable, survey.guide, survey.detail, propagated)
    everywhere = slice(None)
    planes = evidence_planes(evidence, range_of(readings, readable), everywhere, everywhere)
    return planes, propagated.after_all


def save_scene_samples(
    sources: Sequence[Source],
    count: int,
    recipe: ColourSceneRecipe,
    path: Path,
    *,
    reader: Path | None,
    seed: int,
    processes: int = 1,
    done: Callable[[int], None] = lambda step: None,
) -> None:
    """Render scenes, read their blur, and write the samples to one file, whole or not at all.

    Parameters
    ----------
    sources : photographs in colour.
    count : number of scenes.
    recipe : see `ColourSceneRecipe`.
    path : the .npy file.
    reader : weights of the network whose readings are to be completed; None for this package's.
    seed : scene number i follows from the seed and i alone.
    processes : number of scenes rendered at once.
    done : called with the number of scenes that were finished since the last call.

    Examples
    --------
    >>> sources = [Source(np.full((200, 300, 3), 99, np.uint8), np.full((50, 75), 0.5, np.float16))]
    >>> save_scene_samples(sources, 1, ColourSceneRecipe(), Path("scenes.npy"), reader=None, seed=1)
    >>> Samples([Path("scenes.npy")])[0].planes.shape
    (15, 112, 112)
    """
    chunks = [range(start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK)]
    render = partial(_render_chunk, recipe=recipe, reader=reader, seed=seed)
    records = np.empty(count, _RECORD)
    rendered = run_in_order(chunks, render, processes, prepare=partial(_share_sources, sources))
    for chunk, some in zip(chunks, rendered, strict=True):
        records[chunk.start : chunk.stop] = some
        done(len(chunk))
    with atomic_write(path) as file:
        np.save(file, records)


_shared: list[Source] = []


def _share_sources(sources: Sequence[Source]) -> None:
    _shared[:] = sources


def _render_chunk(chunk: range, recipe: ColourSceneRecipe, reader: Path | None, seed: int) -> NDArray[np.void]:
    records = np.empty(len(chunk), _RECORD)
    network = BlurReader(reader)
    with single_blas_thread():
        for record, number in zip(records, chunk, strict=True):
            scene = render_colour_scene(_shared, recipe, np.random.default_rng((seed, number)))
            record["planes"], record["propagated"] = read_evidence(Photograph(scene.pixels), network)
            record["log2_sigma"], record["state"] = scene.log2_sigma, scene.state
    return records


def example_sample(example: Example, reader: BlurReader) -> Sample:
    """Return the sample of a photograph whose sigma in px was measured.

    Parameters
    ----------
    example : photograph with its truth, of the kind "sigma".
    reader : network whose readings are to be completed.

    Raises
    ------
    DefocusError
        If the photograph is smaller than what a step of the training sees, 384 px.

    Examples
    --------
    >>> noise = np.random.default_rng(0).integers(0, 256, (384, 400, 3), np.uint8)
    >>> sigma = np.full((384, 400), 0.5)
    >>> sample = example_sample(Example("noise", noise, sigma, sigma > 0), BlurReader())
    >>> sample.planes.shape, float(sample.log2_sigma[0, 0]), int(sample.state[0, 0])
    ((15, 96, 100), -1.0, 1)
    """
    height, width = example.truth.shape
    if min(height, width) < CROP * STRIDE:
        raise DefocusError(
            f"{example.name} has {width} x {height} px; photographs with truth need {CROP * STRIDE} px a side."
        )
    middle = slice(STRIDE // 2 - 1, None, STRIDE)
    # Beyond its last rows and columns a photograph is what it is in these.
    borders = [(0, -side % STRIDE) for side in (height, width)]
    truth, valid = (np.pad(plane, borders, mode="edge")[middle, middle] for plane in (example.truth, example.valid))
    planes, propagated = read_evidence(Photograph(example.image), reader)
    return Sample(
        planes.astype(np.float16),
        propagated.astype(np.float16),
        np.log2(np.maximum(truth, SMALLEST)).astype(np.float16),
        np.where(valid, KNOWN, UNKNOWN).astype(np.uint8),
    )


def stacked(samples: Iterable[Sample]) -> Sample:
    """Return samples of one size as arrays of n x 15 x h x w and n x h x w, float32.

    Examples
    --------
    >>> plane = np.zeros((8, 8), np.float32)
    >>> stacked([Sample(np.zeros((15, 8, 8), np.float16), plane, plane, plane.astype(np.uint8))] * 2).planes.shape
    (2, 15, 8, 8)
    """
    each = list(samples)
    return Sample(
        np.stack([sample.planes for sample in each]).astype(np.float32),
        np.stack([sample.propagated for sample in each]).astype(np.float32),
        np.stack([sample.log2_sigma for sample in each]).astype(np.float32),
        np.stack([sample.state for sample in each]),
    )
