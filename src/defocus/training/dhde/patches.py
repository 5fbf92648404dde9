"""Training patches of known blur, cut from a folder of sharp photographs (Park et al., CVPR 2017).

A sharp photograph is blurred with a Gaussian of each label's sigma, and patches are cut at the edges that remain. Where
the recipe departs from the released one (`RELEASED`), docs/research/training.md says why and what it brings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from defocus.edges import canny, gradient_maxima
from defocus.edges.canny import smoothed_gradient
from defocus.errors import DefocusError
from defocus.evaluation.render import jpeg_round_trip
from defocus.methods.dhde.edges import EDGE_NONE, EDGE_STRONG, edge_scales, value_channel
from defocus.methods.dhde.features.layout import LARGE, SMALL, HandCrafted
from defocus.methods.dhde.features.patches import PatchReader, pad_edges
from defocus.methods.dhde.weights import BLUR_LABELS
from defocus.photograph import read_photograph
from defocus.runtime.atomic import atomic_write
from defocus.runtime.cores import single_blas_thread
from defocus.runtime.processes import run_in_order

__all__ = ["RELEASED", "PatchRecipe", "PatchSet", "make_patches"]

_SCALES = (LARGE, SMALL)
_MIN_SIDE = 96
_SRGB_EXPONENT = 2.2


@dataclass(frozen=True)
class PatchRecipe:
    """How training patches are made.

    Attributes
    ----------
    patches_per_label : patches from each photograph, for each label and each of the two scales.
    weak_thresholds, strong_thresholds : Canny pairs at which large and small patches are cut.
    edges_after_blur : look for edges in the degraded photograph, as an estimate does, instead of in the sharp one.
    largest_source_sigma : only at edges whose blur in the source, by Zhuo & Sim's gradient ratio, is below this
        (px); infinite takes every edge.
    half_size_share : fraction of the (photograph, label) pairs made from the photograph at half size, which is sharper.
    beyond_share : fraction of the first and last label's patches with a blur beyond them (sigma 0..0.5 and 2..6 px), so
        that the end classes mean "or less" and "or more".
    linear_light_share : fraction blurred in linear light instead of in display values.
    dimmed_share : fraction with contrast lowered by a factor of 0.15 to 1.
    noise : largest standard deviation of the added Gaussian noise, of 255; each pair draws from 0..noise.
    jpeg_share : fraction saved as JPEG of quality 60 to 98.
    """

    patches_per_label: int = 32
    weak_thresholds: tuple[float, float] = (0.117, 0.176)
    strong_thresholds: tuple[float, float] = (0.234, 0.351)
    edges_after_blur: bool = True
    largest_source_sigma: float = 0.7
    half_size_share: float = 0.3
    beyond_share: float = 0.35
    linear_light_share: float = 0.3
    dimmed_share: float = 0.5
    noise: float = 2.5
    jpeg_share: float = 0.4


RELEASED = PatchRecipe(
    weak_thresholds=(0.234, 0.351),
    strong_thresholds=(0.468, 0.702),
    edges_after_blur=False,
    largest_source_sigma=float("inf"),
    half_size_share=0.0,
    beyond_share=0.0,
    linear_light_share=0.0,
    dimmed_share=0.0,
    noise=0.0,
    jpeg_share=0.0,
)
"""The released scripts' recipe: thresholds twice those of an estimate, blur of display values, nothing else."""


@dataclass(frozen=True)
class PatchSet:
    """Patches of both scales with their labels; the rows of a scale belong together.

    Attributes
    ----------
    large : n x 3 x 27 x 27 uint8, and `small`, m x 3 x 15 x 15 uint8: RGB pixels.
    large_features, small_features : n x 120 and m x 120 float32, the hand-crafted features.
    large_labels, small_labels : n and m uint8, index into `BLUR_LABELS`.
    large_beyond, small_beyond : n and m bool, true where the blur is beyond the labels' range.
    """

    large: NDArray[np.uint8]
    small: NDArray[np.uint8]
    large_features: NDArray[np.float32]
    small_features: NDArray[np.float32]
    large_labels: NDArray[np.uint8]
    small_labels: NDArray[np.uint8]
    large_beyond: NDArray[np.bool_]
    small_beyond: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.large) + len(self.small)

    def save(self, path: Path) -> None:
        """Write an .npz file, whole or not at all."""
        with atomic_write(path) as file:
            np.savez(file, **asdict(self))

    @staticmethod
    def load(path: Path) -> PatchSet:
        """Read what `save` wrote."""
        with np.load(path) as stored:
            return PatchSet(**{field.name: stored[field.name] for field in fields(PatchSet)})

    @staticmethod
    def joined(parts: Sequence[PatchSet]) -> PatchSet:
        """One set of many, in their order."""
        return PatchSet(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(PatchSet)})


def make_patches(
    photographs: Sequence[Path],
    recipe: PatchRecipe,
    *,
    seed: int,
    processes: int = 1,
    done: Callable[[int], None] | None = None,
) -> PatchSet:
    """Patches of all labels from all photographs.

    Parameters
    ----------
    photographs : files; a file that cannot be read raises.
    recipe : how to make them.
    seed : the same seed gives the same patches, whatever `processes`.
    processes : photographs worked on at once.
    done : called with 1 after each photograph.

    Returns
    -------
    PatchSet; large and small patches are balanced per photograph and label, so a photograph where strong edges run out
    gives fewer of both.

    Raises
    ------
    DefocusError : no photograph gave any patch.
    """
    work = list(zip(photographs, np.random.SeedSequence(seed).spawn(len(photographs)), strict=True))
    parts: list[PatchSet] = []
    for part in run_in_order(work, partial(_photograph_patches, recipe=recipe), processes):
        if part is not None:
            parts.append(part)
        if done is not None:
            done(1)
    if not parts:
        raise DefocusError("No photograph has edges sharp enough to train on; use sharp photographs of 200 px or more.")
    return PatchSet.joined(parts)


def _photograph_patches(job: tuple[Path, np.random.SeedSequence], *, recipe: PatchRecipe) -> PatchSet | None:
    path, seed = job
    random = np.random.default_rng(seed)
    photograph = read_photograph(path).as_float(np.float64)
    sources = {1: photograph}
    if min(photograph.shape[:2]) >= 2 * _MIN_SIDE:
        height, width = (side // 2 * 2 for side in photograph.shape[:2])
        sources[2] = photograph[:height, :width].reshape(height // 2, 2, width // 2, 2, 3).mean(axis=(1, 3))
    trusted = {factor: _sharp_places(source, recipe.largest_source_sigma) for factor, source in sources.items()}
    parts = []
    with single_blas_thread():
        for label, sigma in enumerate(BLUR_LABELS):
            factor = 2 if 2 in sources and random.random() < recipe.half_size_share else 1
            part = _label_patches(sources[factor], trusted[factor], label, sigma, recipe, random)
            if part is not None:
                parts.append(part)
    return PatchSet.joined(parts) if parts else None


def _label_patches(
    source: NDArray[np.float64],
    trusted: NDArray[np.bool_],
    label: int,
    sigma: float,
    recipe: PatchRecipe,
    random: np.random.Generator,
) -> PatchSet | None:
    """Patches of one label from one source, as many large as small ones."""
    beyond = label in (0, len(BLUR_LABELS) - 1) and random.random() < recipe.beyond_share
    if beyond:
        sigma = random.uniform(0, sigma) if label == 0 else float(np.exp(random.uniform(np.log(sigma), np.log(6))))
    pixels = _degrade(source, sigma, recipe, random)
    value = value_channel(pixels / 255)
    looked_at = value if recipe.edges_after_blur else value_channel(source)
    edges = np.where(
        trusted, edge_scales(*gradient_maxima(looked_at), recipe.weak_thresholds, recipe.strong_thresholds), EDGE_NONE
    )
    # The large patch must read strong edges too: a strong edge of one photograph is a weak one beside a stronger.
    places = {LARGE: np.argwhere(edges != EDGE_NONE), SMALL: np.argwhere(edges == EDGE_STRONG)}
    count = min(recipe.patches_per_label, *(len(found) for found in places.values()))
    if count == 0:
        return None
    columns: dict[str, NDArray[Any]] = {}
    for scale, found in places.items():
        chosen = found[random.choice(len(found), count, replace=False)]
        columns[scale.name] = PatchReader(pad_edges(pixels, scale.radius), scale.radius)(chosen)
        columns[f"{scale.name}_features"] = HandCrafted(value, scale)(chosen)
        columns[f"{scale.name}_labels"] = np.full(count, label, dtype=np.uint8)
        columns[f"{scale.name}_beyond"] = np.full(count, beyond)
    return PatchSet(**columns)


def _degrade(
    source: NDArray[np.float64], sigma: float, recipe: PatchRecipe, random: np.random.Generator
) -> NDArray[np.uint8]:
    """A photograph as a camera would have delivered it out of focus.

    Parameters
    ----------
    source : H x W x 3 float64, sRGB, 0..1, sharp.
    sigma : of the Gaussian blur, px.
    recipe, random : what else happens to it, and the chance of it.

    Returns
    -------
    H x W x 3 uint8.
    """
    image = source
    if random.random() < recipe.dimmed_share:
        contrast = random.uniform(0.15, 1)
        image = contrast * image + random.uniform(0, 1 - contrast)
    exponent = _SRGB_EXPONENT if random.random() < recipe.linear_light_share else 1.0
    # 13 px of kernel on each side, as the released 27 x 27 kernel, and more where the blur is beyond the labels.
    radius = max(13, int(np.ceil(4 * sigma)))
    image = ndimage.gaussian_filter(image**exponent, (sigma, sigma, 0), mode="nearest", radius=(radius, radius, 0))
    image = np.clip(image, 0, 1) ** (1 / exponent)
    noise = random.uniform(0, recipe.noise)
    if noise > 0:
        image = image + random.normal(0, noise / 255, image.shape)
    pixels = np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)
    if random.random() < recipe.jpeg_share:
        pixels = jpeg_round_trip(pixels, int(random.integers(60, 99)))
    return pixels


def _sharp_places(source: NDArray[np.float64], largest_sigma: float) -> NDArray[np.bool_]:
    """Pixels whose nearest edge of the source is sharp: the edge's own blur is below `largest_sigma`.

    The blur of the source's edges is that of Zhuo & Sim's gradient ratio between re-blurs of 1 and 1.5 px.
    """
    value = value_channel(source)
    if not np.isfinite(largest_sigma):
        return np.ones(value.shape, dtype=bool)
    edges = canny(value, 0.05, 0.1)
    if not edges.any():
        return np.zeros(value.shape, dtype=bool)
    first, second = 1.0, 1.5
    strength = [np.hypot(*smoothed_gradient(value, s)) / s for s in (first, second)]
    # Re-blurred alike everywhere, a step's gradient falls from the first to the second by at most second / first; the
    # sharper the edge, the closer it comes.
    ratio = strength[0] / np.maximum(strength[1], 1e-12)
    smallest_ratio = np.sqrt((largest_sigma**2 + second**2) / (largest_sigma**2 + first**2))
    sharp_edges = edges & (ratio > smallest_ratio)
    distance, nearest = ndimage.distance_transform_edt(~edges, return_indices=True)
    return (distance <= 3) & sharp_edges[nearest[0], nearest[1]]
