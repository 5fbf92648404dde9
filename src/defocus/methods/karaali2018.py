"""Karaali & Jung: edge-based defocus blur estimation with adaptive scale selection, IEEE TIP 27(3), 2018.

The steps:

1. the luma in linear light; Canny edges of it at nine smoothing scales
2. an edge that lasts over scales is clear, and can bear a larger re-blur: the re-blur follows the last scale
3. sigma from the ratio of gradients, with that re-blur at each edge pixel
4. a filter along connected edges, which trusts edges that last
5. propagation by the recursive domain transform, along a smoothed photograph: a fixed number of passes over the pixels

Ours, where the known description leaves it open or a measurement says so (docs/methods/karaali2018.md): edges that
never get lost take a re-blur of 4.5 px; the ratio is read between pixels (`defocus.edges.gradient_ratio`); the
confidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import cg

from defocus.edges import gradient_maxima, noise_deviation, relative_edges
from defocus.edges.gradient_ratio import chance_of_small_error, edge_blur
from defocus.errors import ParameterError
from defocus.filters import domain_transform
from defocus.maps.defocus_map import DefocusMap, Seeds
from defocus.methods.parameters import Parameters, Positive, PositiveInt
from defocus.optics.light import luma
from defocus.photograph import Photograph
from defocus.progress import Progress
from defocus.version import __version__

__all__ = ["PRESETS", "Karaali2018Parameters", "estimate", "scales_of_edges", "smooth_along_edges"]

_EDGE_SCALES = (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0)
_LEAST_SCALES = 4
"""Smoothing scales of Canny, px, and the least number of consecutive scales at which an edge has to be detected."""
_RE_BLUR_OF_LASTING_EDGES = 4.5
_CONFIDENCE_LEAK = 0.01
"""Number of seeds per pixel nearby at which the confidence is halved."""


@dataclass(frozen=True)
class Karaali2018Parameters(Parameters):
    """Parameters of the method.

    Attributes
    ----------
    gamma : exponent that turns display values into linear light.
    fine_blur : the smaller re-blur, px; the larger is half the last scale at which an edge is seen, 1.25 px and more.
    largest_sigma : largest sigma that is reported, px; a larger one reads as this and is marked saturated.
    smoothing : weight of the filter along connected edges.
    guide_sigma_space : standard deviation in px of the domain transform that smooths the guide.
    guide_sigma_colour : standard deviation in colour, 0..1, of the domain transform that smooths the guide.
    iterations : number of iterations of both domain transforms.
    spread : standard deviation in distance of the propagation, as a fraction of the photograph's shorter side.
    spread_sigma_colour : standard deviation in colour of the propagation; above 1, so that only many steps stop it.
    """

    gamma: Positive = 2.4
    fine_blur: Positive = 1.0
    largest_sigma: Positive = 5.0
    smoothing: Positive = 10.0
    guide_sigma_space: Positive = 7.0
    guide_sigma_colour: Positive = 0.5
    iterations: PositiveInt = 5
    spread: Positive = 0.125
    spread_sigma_colour: Positive = 3.75

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fine_blur >= _EDGE_SCALES[_LEAST_SCALES - 1] / 2:
            raise ParameterError(f"fine_blur must be below 1.25 px, the smallest larger re-blur; got {self.fine_blur}.")


PRESETS: Mapping[str, Karaali2018Parameters] = {"default": Karaali2018Parameters()}


def estimate(
    photograph: Photograph,
    parameters: Karaali2018Parameters = PRESETS["default"],
    weights: Path | None = None,
    progress: Progress | None = None,
) -> DefocusMap:
    """Estimate the defocus map of a photograph after Karaali & Jung.

    Parameters
    ----------
    photograph : upright sRGB.
    parameters : see `Karaali2018Parameters`.
    weights : must be None, the method has none.
    progress : called with the step at hand and the fraction of the work done.

    Returns
    -------
    DefocusMap with sigma, of the blur in linear light, in 0..`largest_sigma` px.
        `confidence` of a seed is the chance that the photograph's noise moves its sigma by less than 0.15 px or a
        tenth; elsewhere the mean of the seeds that sigma comes from, less where there are few of them.
        `saturated` marks what reads as the largest sigma, within 2 %.

    Warns
    -----
    UserWarning
        If the photograph has no edge; the map is then the middle of the range with confidence 0.

    Raises
    ------
    ParameterError
        If weights are given.
    """
    if weights is not None:
        raise ParameterError("karaali2018 has no weights: leave them out.")
    report = progress if progress is not None else lambda step, fraction: None
    metadata = {"defocus": __version__, "parameters": asdict(parameters)}
    sigma_range = (0.0, parameters.largest_sigma)
    report("edges", 0.0)
    rgb = photograph.as_float(np.float64)
    light = luma(rgb) ** parameters.gamma
    lasts = scales_of_edges(light)

    report("ratios", 0.4)
    values, certain = np.full(light.shape, np.nan), np.zeros(light.shape)
    noise = noise_deviation(light)
    for count in range(_LEAST_SCALES, len(_EDGE_SCALES) + 1):
        edges = lasts == count
        coarse = _EDGE_SCALES[count - 1] / 2 if count < len(_EDGE_SCALES) else _RE_BLUR_OF_LASTING_EDGES
        blur = edge_blur(
            light, edges, parameters.fine_blur, coarse, noise=noise, largest=parameters.largest_sigma, average=0
        )
        values[edges], certain[edges] = blur.sigma, chance_of_small_error(blur)
    seeds = np.isfinite(values)
    if not seeds.any():
        return DefocusMap.without_evidence(light.shape, "karaali2018", sigma_range, metadata=metadata)

    report("connected edges", 0.6)
    values[seeds] = smooth_along_edges(values, lasts, seeds, parameters.smoothing)
    report("propagation", 0.7)
    guide = domain_transform(
        rgb, rgb, parameters.guide_sigma_space, parameters.guide_sigma_colour, parameters.iterations
    )
    sums = domain_transform(
        np.stack([np.where(seeds, values, 0), certain * seeds, seeds], axis=2).astype(np.float64),
        guide,
        max(parameters.spread * min(light.shape), 1.0),
        parameters.spread_sigma_colour,
        parameters.iterations,
    )
    number = np.maximum(sums[..., 2], np.finfo(np.float64).tiny)
    sigma = np.clip(sums[..., 0] / number, *sigma_range).astype(np.float32)
    confidence = sums[..., 1] / (number + _CONFIDENCE_LEAK)
    report("done", 1.0)
    return DefocusMap(
        sigma=sigma,
        confidence=np.clip(confidence, 0, 1).astype(np.float32),
        saturated=sigma > 0.98 * parameters.largest_sigma,
        seeds=Seeds(
            values.astype(np.float32),
            np.where(seeds, certain, np.nan).astype(np.float32),
        ),
        method="karaali2018",
        sigma_range=sigma_range,
        metadata=metadata,
    )


def scales_of_edges(grey: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return at how many consecutive edge scales, counted from the first, each pixel is an edge.

    Thresholds are MATLAB's: the high one is the 70th percentile of the gradient magnitude, the low one 0.4 of it.

    Returns
    -------
    H x W; 0 where it is fewer than `_LEAST_SCALES`.
    """
    count = np.zeros(grey.shape, np.int64)
    lasting = np.ones(grey.shape, bool)
    for scale in _EDGE_SCALES:
        magnitude, maxima = gradient_maxima(grey, scale)
        largest = magnitude.max()
        if largest == 0:
            break
        # In a photograph mostly of one colour this percentile is 0; then any gradient above rounding counts.
        high = max(float(np.quantile(magnitude, 0.7)) / largest, 1e-3)
        lasting &= relative_edges(magnitude, maxima, 0.4 * high, high)
        count += lasting
    return np.where(count >= _LEAST_SCALES, count, 0)


def smooth_along_edges(
    values: NDArray[np.float64], lasts: NDArray[np.int64], seeds: NDArray[np.bool_], smoothing: float
) -> NDArray[np.float64]:
    """Step 4: solve (2 smoothing L + diag(1 + c)) x = (1 + c) sigma, L the Laplacian of 8-connected seeds.

    Parameters
    ----------
    values : H x W, px, finite at seeds.
    lasts : H x W, c: over how many scales a pixel is an edge.
    seeds : H x W bool.
    smoothing : > 0.

    Returns
    -------
    n float64, in the order of `np.nonzero(seeds)`; within the range of the values.
    """
    count = int(seeds.sum())
    index = np.full(seeds.shape, -1)
    index[seeds] = np.arange(count)
    pairs = [
        (index[:, :-1], index[:, 1:]),
        (index[:-1], index[1:]),
        (index[:-1, :-1], index[1:, 1:]),
        (index[:-1, 1:], index[1:, :-1]),
    ]
    links = np.concatenate([np.stack([a[(a >= 0) & (b >= 0)], b[(a >= 0) & (b >= 0)]]) for a, b in pairs], axis=1)
    joined = sparse.coo_array((np.ones(links.shape[1]), (links[0], links[1])), shape=(count, count)).tocsr()
    joined = joined + joined.T
    trust = 1.0 + lasts[seeds]
    diagonal = 2 * smoothing * joined.sum(axis=0) + trust
    matrix = sparse.diags_array(diagonal) - 2 * smoothing * joined
    start = values[seeds]
    # The matrix is diagonally dominant, so a few dozen steps suffice for any size.
    solution, _ = cg(matrix.tocsr(), trust * start, x0=start, rtol=1e-6, M=sparse.diags_array(1 / diagonal))
    return np.clip(solution, start.min(), start.max())
