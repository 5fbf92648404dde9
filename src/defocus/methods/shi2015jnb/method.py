"""JNB: just noticeable defocus blur detection and estimation, Shi, Xu, Jia, CVPR 2015.

The steps, in the paper's order:

1. the 8 x 8 patches of the grey photograph, their mean taken off
2. each as a sum of few atoms of a dictionary that was learnt on slightly blurred patches: the sharper, the more atoms
3. the counts, smoothed along the photograph's edges, where there is texture (the release: a domain transform)
4. equation 4: from count to sigma, by a monotone curve

The authors published neither dictionary nor curve: both are trained here (`defocus train --method shi2015jnb`). Ours,
as a measurement says so (docs/methods/shi2015jnb.md): the tolerance is a fraction of the patch's own contrast, so that
exposure does not change the count (`PRESETS["paper"]` has their fixed one); every third patch; a second pass of the
domain transform in place of the release's final bilateral filter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from defocus.edges import noise_deviation
from defocus.filters import domain_transform
from defocus.maps.defocus_map import DefocusMap, Seeds
from defocus.methods.parameters import Parameters, Positive, PositiveInt
from defocus.methods.shi2015jnb.sparse_code import atoms_needed
from defocus.methods.weights_file import Layout, read_array_weights
from defocus.optics.light import luma
from defocus.photograph import Photograph
from defocus.progress import Progress
from defocus.version import __version__

__all__ = [
    "LAYOUT",
    "LEAST_LENGTH",
    "MOST_ATOMS",
    "PATCH",
    "PRESETS",
    "RELATIVE_TOLERANCE",
    "TOLERANCES",
    "JNBParameters",
    "estimate",
    "patch_tolerance",
    "sigma_of_count",
]

PATCH = 8
"""Side of a patch, px."""
LAYOUT: Layout = {
    "dictionary": (64, "k"),
    "sigma": ("s",),
    "count_relative": ("s",),
    "count_absolute": ("s",),
}
"""Arrays of the weights: k atoms, and the curve of s sigmas for each kind of tolerance."""
_NOISE_FACTOR = 1.15
"""Length of the residual of a patch that is explained down to the noise, relative to the length of the noise."""
MOST_ATOMS = 40
LEAST_LENGTH = 40 / 255
"""Least length of a patch, less its mean, that counts as texture; the curve was measured on such patches."""
_CONFIDENCE_LEAK = 0.01
"""Number of seeds per pixel nearby at which the confidence is halved."""
_ROWS_AT_ONCE = 64

_Tolerance = Literal["relative", "absolute"]
TOLERANCES: tuple[_Tolerance, ...] = get_args(_Tolerance)


@dataclass(frozen=True)
class JNBParameters(Parameters):
    """Parameters of JNB.

    Attributes
    ----------
    tolerance : what may be left of a patch: "relative", a tenth of its own length, or "absolute", 18.4 of 255 as
        published.
    stride : distance between patches, px.
    sigma_space : standard deviation in px of the domain transform that smooths the counts.
    sigma_colour : standard deviation in colour, 0..1, of the domain transform that smooths the counts.
    final_sigma_space : standard deviation in px of the second domain transform.
    final_sigma_colour : standard deviation in colour, 0..1, of the second domain transform.
    iterations : number of iterations of both domain transforms.
    """

    tolerance: _Tolerance = "relative"
    stride: PositiveInt = 3
    sigma_space: Positive = 15.0
    sigma_colour: Positive = 0.15
    final_sigma_space: Positive = 5.0
    final_sigma_colour: Positive = 0.1
    iterations: PositiveInt = 3


RELATIVE_TOLERANCE = 0.1
_ABSOLUTE_TOLERANCE = PATCH * 2 * _NOISE_FACTOR / 255

PRESETS: Mapping[str, JNBParameters] = {
    "default": JNBParameters(),
    "paper": JNBParameters(tolerance="absolute", stride=1),
}


def estimate(
    photograph: Photograph,
    parameters: JNBParameters = PRESETS["default"],
    weights: Path | None = None,
    progress: Progress | None = None,
) -> DefocusMap:
    """Estimate the defocus map of a photograph by JNB.

    Parameters
    ----------
    photograph : upright sRGB.
    parameters : see `JNBParameters`.
    weights : a .npz file of `defocus train --method shi2015jnb`; None for this package's own.
    progress : called with the step at hand and the fraction of the work done.

    Returns
    -------
    DefocusMap with sigma in 0.3..4 px.
        `seeds` are the patches with texture, at their centres: each one's own sigma, and as probability how far its
        tolerance stands above the noise. `confidence` is spread like the counts and falls where seeds are few.
        `saturated` marks what needs no more atoms than the largest sigma.

    Warns
    -----
    UserWarning
        If no patch has texture above the noise; the map is then the middle of the range with confidence 0.

    Raises
    ------
    WeightsError
        If the weights file is missing, damaged or of another kind.
    """
    report = progress if progress is not None else lambda step, fraction: None
    trained = read_array_weights("shi2015jnb", LAYOUT, weights)
    metadata = {"defocus": __version__, "parameters": asdict(parameters), "weights_sha256": trained.sha256}
    sigmas, counts_of_sigmas = trained.arrays["sigma"], trained.arrays[f"count_{parameters.tolerance}"]
    sigma_range = (float(sigmas[0]), float(sigmas[-1]))

    report("patches", 0.0)
    rgb = photograph.as_float(np.float32)
    grey = luma(rgb).astype(np.float32)
    counts = np.full(grey.shape, np.nan, np.float32)
    certain = np.full(grey.shape, np.nan, np.float32)
    floor = _NOISE_FACTOR * PATCH * noise_deviation(grey)
    if min(grey.shape) >= PATCH:
        dictionary = trained.arrays["dictionary"].astype(np.float32)
        for rows, columns, patches, fraction in _patches(grey, parameters.stride):
            length = np.linalg.norm(patches, axis=1)
            tolerance = patch_tolerance(length, parameters.tolerance)
            textured = (length >= LEAST_LENGTH) & (tolerance > floor)
            at = rows[textured], columns[textured]
            counts[at] = atoms_needed(patches[textured], dictionary, tolerance[textured], MOST_ATOMS)
            certain[at] = 1 - (floor / tolerance[textured]) ** 2
            report("patches", 0.8 * fraction)
    seeds = np.isfinite(counts)
    if not seeds.any():
        return DefocusMap.without_evidence(grey.shape, "shi2015jnb", sigma_range, metadata=metadata)

    report("smoothing", 0.8)
    sums = domain_transform(
        np.stack([np.where(seeds, counts, 0), np.where(seeds, certain, 0), seeds], axis=2).astype(np.float64),
        rgb,
        parameters.sigma_space,
        parameters.sigma_colour,
        parameters.iterations,
    )
    reached = sums[..., 2] > 1e-200
    number = np.where(reached, sums[..., 2], 1)
    smooth = np.where(reached, sums[..., 0] / number, counts[seeds].mean())
    smooth = domain_transform(
        smooth, rgb, parameters.final_sigma_space, parameters.final_sigma_colour, parameters.iterations
    )
    sigma = sigma_of_count(smooth, sigmas, counts_of_sigmas).astype(np.float32)
    confidence = np.where(reached, sums[..., 1] / (number + _CONFIDENCE_LEAK), 0)
    report("done", 1.0)
    return DefocusMap(
        sigma=sigma,
        confidence=np.clip(confidence, 0, 1).astype(np.float32),
        saturated=sigma >= np.float32(sigma_range[1]),
        seeds=Seeds(
            np.where(seeds, sigma_of_count(counts, sigmas, counts_of_sigmas), np.nan).astype(np.float32), certain
        ),
        method="shi2015jnb",
        sigma_range=sigma_range,
        metadata=metadata,
    )


def patch_tolerance(length: NDArray[np.float32], kind: str) -> NDArray[np.float32]:
    """Return the largest length of the residual of patches of the given lengths, for "relative" or "absolute"."""
    if kind == "relative":
        return RELATIVE_TOLERANCE * length
    return np.full_like(length, _ABSOLUTE_TOLERANCE)


def sigma_of_count(
    counts: NDArray[np.floating], sigmas: NDArray[np.floating], counts_of_sigmas: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Equation 4: return the sigma at which patches need that many atoms on average.

    Parameters
    ----------
    counts : any shape.
    sigmas, counts_of_sigmas : the curve; sigmas rise and counts fall strictly.

    Returns
    -------
    Same shape, px; held at the ends of the curve.
    """
    return np.interp(counts, counts_of_sigmas[::-1], sigmas[::-1])


def _patches(
    grey: NDArray[np.float32], stride: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32], float]]:
    """Yield by strips rows and columns of the patches' centres, the patches less their mean (n x 64), and progress."""
    windows = sliding_window_view(grey, (PATCH, PATCH))[::stride, ::stride]
    for top in range(0, windows.shape[0], _ROWS_AT_ONCE):
        strip = windows[top : top + _ROWS_AT_ONCE]
        rows, columns = np.indices(strip.shape[:2]).reshape(2, -1)
        patches = strip.reshape(-1, PATCH * PATCH)
        centre = PATCH // 2
        yield (
            (rows + top) * stride + centre,
            columns * stride + centre,
            patches - patches.mean(axis=1, keepdims=True),
            min(1.0, (top + _ROWS_AT_ONCE) / windows.shape[0]),
        )
