"""Photographs that training scenes are made of, with the blur that they have themselves."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from defocus.estimation import estimate
from defocus.methods.pyramid.parameters import PyramidParameters
from defocus.optics.light import luma
from defocus.photograph import Photograph, read_photograph
from defocus.runtime.atomic import atomic_write
from defocus.runtime.processes import run_in_order
from defocus.training.trainer import TrainingProgress

__all__ = [
    "RESAMPLING",
    "Source",
    "load_sources",
    "read_colour_source",
    "read_source",
    "read_sources",
    "save_sources",
]

_BLOCK = 4
"""Side in px of the blocks whose own blur is stored."""
_LEAST_SIDE = 130
"""Smallest side in px to which a source is reduced."""
RESAMPLING = (Image.Resampling.BOX, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
"""Filters that reduce pictures, none wider than a pixel (second moment), so that sharp pictures stay sharp."""


@dataclass(frozen=True)
class Source:
    """A photograph to cut layers from.

    Attributes
    ----------
    pixels : uint8, H x W of luma, or H x W x 3 of colours.
    own_blur : h x w float16, sigma in px of blocks of 4 px a side: what the photograph is blurred by itself.
    """

    pixels: NDArray[np.uint8]
    own_blur: NDArray[np.float16]

    def reduced(
        self, shrink: float, random: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
        """Return the photograph made smaller by a filter drawn at random, the shorter side not below 130 px.

        Parameters
        ----------
        shrink : factor wanted; below 1 the photograph is enlarged.
        random : source of the randomness.

        Returns
        -------
        display : h x w or h x w x 3, 0..1.
        own_blur : h x w, in px of the photograph as it was.
        shrink : factor that was taken.

        Examples
        --------
        >>> source = Source(np.full((300, 400), 51, np.uint8), np.full((75, 100), 0.5, np.float16))
        >>> display, own_blur, shrink = source.reduced(4.0, np.random.default_rng(0))
        >>> display.shape, own_blur.shape, round(shrink, 2)
        ((130, 173), (130, 173), 2.31)
        """
        height, width = self.pixels.shape[:2]
        shrink = min(shrink, min(height, width) / _LEAST_SIDE)
        size = (round(width / shrink), round(height / shrink))
        how = RESAMPLING[random.integers(len(RESAMPLING))]
        display = np.asarray(Image.fromarray(self.pixels).resize(size, how), np.float32) / np.float32(255)
        own_blur = Image.fromarray(self.own_blur.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
        return display, np.asarray(own_blur, np.float32), shrink


def save_sources(sources: Sequence[Source], path: Path) -> None:
    """Write sources to one .npz file, whole or not at all."""
    arrays: dict[str, NDArray[Any]] = {f"pixels{i}": source.pixels for i, source in enumerate(sources)}
    arrays |= {f"own_blur{i}": source.own_blur for i, source in enumerate(sources)}
    with atomic_write(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # the stub takes the names for its own options


def load_sources(path: Path) -> list[Source]:
    """Read what `save_sources` wrote."""
    with np.load(path) as stored:
        return [Source(stored[f"pixels{i}"], stored[f"own_blur{i}"]) for i in range(len(stored.files) // 2)]


def read_source(path: Path) -> Source:
    """Return a photograph as luma, with the map of its own blur by the method `dhde`."""
    photograph = read_photograph(path)
    grey = luma(photograph.as_float())
    return Source(_as_bytes(grey), _own_blur(photograph, "dhde"))


def read_colour_source(path: Path) -> Source:
    """Return a photograph in colour, with the map of its own blur by the method `pyramid` without its completion."""
    photograph = read_photograph(path)
    own_blur = _own_blur(photograph, "pyramid", PyramidParameters(completion=False))
    return Source(_as_bytes(photograph.as_float(np.float32)), own_blur)


def read_sources(
    paths: Sequence[Path],
    read: Callable[[Path], Source],
    step: str,
    processes: int,
    kept: Path,
    report: TrainingProgress,
) -> list[Source]:
    """Read photographs in several processes, or what an earlier call has kept.

    Parameters
    ----------
    paths : of the photographs.
    read : `read_source` or `read_colour_source`.
    step : name of the step in the progress.
    processes : number of photographs read at once.
    kept : the .npz file that keeps the sources; if it exists, it is read instead.
    report : called with the progress.
    """
    if kept.exists():
        return load_sources(kept)
    sources = []
    for number, source in enumerate(run_in_order(paths, read, processes), 1):
        sources.append(source)
        report(step, number / len(paths), f"{number} of {len(paths)}")
    save_sources(sources, kept)
    return sources


def _as_bytes(display: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.rint(display * 255).astype(np.uint8)


def _own_blur(photograph: Photograph, method: str, parameters: PyramidParameters | None = None) -> NDArray[np.float16]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a photograph without edges is a source all the same
        sigma = estimate(photograph, method=method, parameters=parameters).sigma
    height, width = (side // _BLOCK for side in sigma.shape)
    blocks = sigma[: _BLOCK * height, : _BLOCK * width].reshape(height, _BLOCK, width, _BLOCK)
    return blocks.mean((1, 3)).astype(np.float16)
