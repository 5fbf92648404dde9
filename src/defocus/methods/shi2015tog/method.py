"""After Shi, Tao, Xu, Jia: Break Ames room illusion, depth from general single images, TOG 34(6), 2015.

Re-derived: no code was published, and the project page names the stages but no numbers. The stages are those of the
paper; how each is computed is this package's reading (docs/methods/shi2015tog.md).

1. Canny edges, and at each an edgelet: a short oriented piece of edge, rotated and scaled to a standard form
2. the probability of each sigma, from the edgelet's nearest neighbours among edgelets of known blur (non-parametric
   matching)
3. alternating optimisation: every edgelet takes the sigma that agrees best with its matches, with edgelets of similar
   colour nearby and with the dense map; then the dense map is propagated from them along the photograph
4. relative depth: the dense map, with the sign of the order cue, smoothed without crossing the photograph's edges

The collection of edgelets comes from `defocus train --method shi2015tog`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.stats import spearmanr

from defocus.edges import canny, noise_deviation
from defocus.errors import WeightsError
from defocus.filters import domain_transform
from defocus.maps.defocus_map import DefocusMap, Seeds
from defocus.methods.parameters import NotNegative, Parameters, Positive, PositiveInt
from defocus.methods.shi2015tog.edgelets import edgelets
from defocus.methods.weights_file import Layout, read_array_weights
from defocus.optics.light import luma
from defocus.photograph import Photograph
from defocus.progress import Progress
from defocus.propagation import propagate
from defocus.runtime.cores import on_all_cores
from defocus.version import __version__

__all__ = [
    "EDGE_SIGMA",
    "EDGE_THRESHOLDS",
    "LAYOUT",
    "PRESETS",
    "SIGMAS",
    "Shi2015TOGParameters",
    "choose",
    "estimate",
    "match",
    "order_cue",
    "peakedness",
    "relative_depth",
]

_Floats = NDArray[np.float64]

SIGMAS = np.round(np.arange(0.3, 3.01, 0.1), 1)
"""Sigmas of the edgelets of the collection, px."""
LAYOUT: Layout = {"mean": (75,), "basis": (75, "d"), "codes": ("n", "d"), "sigma": ("n",)}
"""Arrays of the weights: n edgelets in d principal components, and their sigmas."""
EDGE_SIGMA = 1.5
"""Sigma in px of the smoothing of Canny."""
EDGE_THRESHOLDS = (0.04, 0.1)
"""Thresholds of Canny, as fractions of the largest gradient."""
_NOISE_FACTOR = 3.0
"""Ratio of contrast to noise at which an edgelet has half its weight."""
_CONFIDENCE_LEAK = 3e-3
"""Leak of the propagation of the confidence; see `defocus.propagation.propagate`."""
_FLAT = 0.15
"""Range of sigma in px below which a map has no measurable depth."""
_DepthOrder = Literal["auto", "sharp near", "sharp far"]
_CLEAR_ORDER = 0.6
"""Blur that grows downwards turns the order where its rank correlation with the row, and the fraction of the blur's
range that rows span, are above this."""
_AT_ONCE = 2_000
"""Number of edgelets that one thread matches at a time, which takes 0.1 s: so long Ctrl-C has to wait."""
_COLOUR_STEP = 0.08
"""Difference of colour that counts as much as `_DISTANCE_STEP` in the search for similar edgelets."""
_DISTANCE_STEP = 40.0
"""Distance in px that counts as much as `_COLOUR_STEP`."""
_LEAST_WEIGHT = 1e-3
"""Least weight of an edgelet."""


@dataclass(frozen=True)
class Shi2015TOGParameters(Parameters):
    """Parameters of the method.

    Attributes
    ----------
    neighbours : number of matches of each edgelet in the collection.
    approximation : a match may be this fraction farther than the nearest; 0 is exact and several times slower.
    rounds : number of rounds of the alternating optimisation.
    dense_weight : weight of the dense map, per px^2, relative to the log probability of the matches.
    alike_weight : weight of edgelets of similar colour nearby, per px^2.
    alike : number of those edgelets.
    matting_eps : regularisation of the matting Laplacian.
    matting_lambda : weight of the seeds relative to the matting Laplacian.
    depth_order : "sharp near", "sharp far", or "auto": sharp is near, unless blur clearly grows downwards in the frame.
    """

    neighbours: PositiveInt = 15
    approximation: NotNegative = 0.5
    rounds: PositiveInt = 3
    dense_weight: NotNegative = 2.0
    alike_weight: NotNegative = 4.0
    alike: PositiveInt = 12
    matting_eps: Positive = 1e-5
    matting_lambda: Positive = 0.005
    depth_order: _DepthOrder = "auto"


PRESETS: Mapping[str, Shi2015TOGParameters] = {"default": Shi2015TOGParameters()}


def estimate(
    photograph: Photograph,
    parameters: Shi2015TOGParameters = PRESETS["default"],
    weights: Path | None = None,
    progress: Progress | None = None,
) -> DefocusMap:
    """Estimate the defocus map and relative depth of a photograph, after Shi, Tao, Xu, Jia 2015.

    Parameters
    ----------
    photograph : upright photograph in sRGB.
    parameters : see `Shi2015TOGParameters`.
    weights : .npz file of `defocus train --method shi2015tog`; None for this package's own.
    progress : called with the step at hand and the fraction of the work done.

    Returns
    -------
    DefocusMap with sigma in 0.3..3 px, and `relative_depth`, 0 near to 1 far.
        `confidence` of a seed is how well its matches agree, times how far its contrast is above the noise; it is
        propagated like sigma but fades with the distance from the seeds. `saturated` marks the largest sigma.
        Blur alone does not distinguish front and back of the plane of focus: one order holds for the whole photograph.

    Warns
    -----
    UserWarning
        If the photograph has no edge; the map is then the middle of the range with confidence 0.

    Raises
    ------
    WeightsError
        If the weights file is missing, damaged or of another kind.
    """
    report = progress if progress is not None else lambda step, fraction: None
    trained = read_array_weights("shi2015tog", LAYOUT, weights)
    blurs = trained.arrays["sigma"]
    if len(blurs) < parameters.neighbours or blurs.min() < SIGMAS[0] - 0.05 or blurs.max() > SIGMAS[-1] + 0.05:
        raise WeightsError(
            f"The weights need {parameters.neighbours} edgelets or more, of sigma {SIGMAS[0]} to {SIGMAS[-1]} px; "
            "train them again."
        )
    metadata = {"defocus": __version__, "parameters": asdict(parameters), "weights_sha256": trained.sha256}
    sigma_range = (float(SIGMAS[0]), float(SIGMAS[-1]))
    report("edges", 0.0)
    rgb = photograph.as_float(np.float32)
    grey = luma(rgb)
    edges = canny(grey, *EDGE_THRESHOLDS, sigma=EDGE_SIGMA)
    if not edges.any():
        unknown = DefocusMap.without_evidence(grey.shape, "shi2015tog", sigma_range, metadata=metadata)
        return replace(unknown, relative_depth=np.full(grey.shape, 0.5, np.float32))

    report("edgelets", 0.05)
    pieces = edgelets(grey, edges)
    codes = (pieces.samples - trained.arrays["mean"]) @ trained.arrays["basis"]
    report("matching", 0.2)
    collection = cKDTree(trained.arrays["codes"].astype(np.float64))
    cost = match(codes, collection, trained.arrays["sigma"], parameters.neighbours, parameters.approximation)
    above_noise = pieces.contrast**2 / (pieces.contrast**2 + (_NOISE_FACTOR * noise_deviation(grey)) ** 2)
    certain = np.maximum(peakedness(cost) * above_noise, _LEAST_WEIGHT)

    report("alternating optimisation", 0.5)
    weight_map = np.zeros(grey.shape)
    weight_map[edges] = certain
    alike = _edgelets_alike(rgb, edges, parameters.alike)
    sparse, dense = choose(cost), np.full(grey.shape, np.nan)
    for turn in range(parameters.rounds):
        # The sum of terms p_i (s - t_i)^2 is, up to a constant, sum(p_i) (s - t)^2 with the weighted mean target t.
        target = np.average(sparse[alike], axis=1, weights=certain[alike])
        pull = np.full(len(sparse), parameters.alike_weight)
        if turn:
            target = (pull * target + parameters.dense_weight * dense[edges]) / (pull + parameters.dense_weight)
            pull += parameters.dense_weight
        sparse = choose(cost, target, pull)
        seeds = np.zeros(grey.shape)
        seeds[edges] = sparse
        dense = _spread(seeds, weight_map, rgb, parameters)
        report("alternating optimisation", 0.5 + 0.35 * (turn + 1) / parameters.rounds)

    sigma = np.clip(dense, *sigma_range).astype(np.float32)
    confidence = propagate(
        weight_map,
        edges.astype(np.float64),
        rgb,
        regularisation=parameters.matting_lambda,
        eps=parameters.matting_eps,
        leak=_CONFIDENCE_LEAK,
    )
    report("depth", 0.95)
    depth = relative_depth(sigma, rgb, parameters.depth_order)
    report("done", 1.0)
    absent = np.float32(np.nan)
    return DefocusMap(
        sigma=sigma,
        confidence=np.clip(confidence, 0, 1).astype(np.float32),
        saturated=sigma > 0.98 * sigma_range[1],
        seeds=Seeds(
            np.where(edges, seeds, absent).astype(np.float32), np.where(edges, weight_map, absent).astype(np.float32)
        ),
        method="shi2015tog",
        sigma_range=sigma_range,
        relative_depth=depth,
        metadata=metadata,
    )


def match(
    codes: NDArray[np.floating], collection: cKDTree, sigmas: NDArray[np.floating], neighbours: int, eps: float
) -> _Floats:
    """Step 2: return the negative log probability of each sigma for each edgelet.

    The neighbours vote for their sigma with exp(-d^2 / h^2), h^2 the mean of their squared distances; the votes are
    smoothed over the neighbouring sigmas by a tenth of sigma, the accuracy of a match.

    Parameters
    ----------
    codes : n x D, principal components of the edgelets.
    collection : m points of D dimensions.
    sigmas : m values of `SIGMAS`, px.
    neighbours : number of votes for each edgelet.
    eps : allowed excess of the neighbours' distance, a fraction.

    Returns
    -------
    n x 28 float64, -log of the probability of each of `SIGMAS`, 0 and more.
    """
    spread = np.exp(-0.5 * ((SIGMAS[:, None] - SIGMAS) / (0.05 + 0.08 * SIGMAS[:, None])) ** 2)
    spread /= spread.sum(axis=1, keepdims=True)
    spread_of = spread[np.rint((np.asarray(sigmas, np.float64) - SIGMAS[0]) * 10).astype(int)]
    cost = np.empty((len(codes), len(SIGMAS)))

    def vote_at(start: int) -> None:
        distance, index = collection.query(codes[start : start + _AT_ONCE], k=neighbours, eps=eps)
        squared = distance.reshape(-1, neighbours) ** 2
        vote = np.exp(-squared / np.maximum(squared.mean(axis=1, keepdims=True), 1e-12))
        vote /= vote.sum(axis=1, keepdims=True)
        probability = np.einsum("nk,nks->ns", vote, spread_of[index.reshape(-1, neighbours)])
        cost[start : start + _AT_ONCE] = -np.log(0.98 * probability + 0.02 / len(SIGMAS))

    on_all_cores(vote_at, range(0, len(codes), _AT_ONCE))
    return cost


def peakedness(cost: _Floats) -> _Floats:
    """Return 1 - entropy / log(number of sigmas): 1 where all matches agree, 0 where all sigmas are as probable."""
    return np.asarray(1 - (np.exp(-cost) * cost).sum(axis=1) / np.log(len(SIGMAS)))


def choose(cost: _Floats, target: _Floats | None = None, pull: _Floats | None = None) -> _Floats:
    """Step 3, sparse: return sigma of each edgelet, the mean under exp(-cost - pull (sigma - target)^2) of `SIGMAS`."""
    energy = cost if target is None or pull is None else cost + pull[:, None] * (SIGMAS - target[:, None]) ** 2
    probability = np.exp(energy.min(axis=1, keepdims=True) - energy)
    # Squared, since the least probability of every sigma would draw the mean to the middle of the range.
    probability **= 2
    return np.asarray(probability @ SIGMAS / probability.sum(axis=1))


def _edgelets_alike(rgb: NDArray[np.float32], edges: NDArray[np.bool_], number: int) -> NDArray[np.intp]:
    """Return, for each of N edgelets, the K nearest in colour and position, including itself: N x K."""
    rows, columns = np.nonzero(edges)
    place = np.stack([rows, columns], axis=1) / _DISTANCE_STEP
    described = np.concatenate([place, rgb[rows, columns] / _COLOUR_STEP], axis=1)
    tree, count = cKDTree(described), min(number, len(rows))
    nearest = on_all_cores(
        lambda start: tree.query(described[start : start + _AT_ONCE], k=count, eps=0.5)[1].reshape(-1, count),
        range(0, len(rows), _AT_ONCE),
    )
    return np.concatenate(nearest).astype(np.intp, copy=False)


def relative_depth(sigma: NDArray[np.float32], rgb: NDArray[np.float32], order: str) -> NDArray[np.float32]:
    """Step 4: return depth from 0 near to 1 far, H x W float32; .5 throughout where sigma spans less than 0.15 px.

    Inverse depth is affine in sigma on one side of the plane of focus; scale and offset cannot be known, so they are
    those that put the 1st and 99th percentile at 0 and 1.
    """
    low, high = np.percentile(sigma, [1, 99])
    if high - low < _FLAT:
        return np.full(sigma.shape, 0.5, np.float32)
    depth = (sigma - low) / (high - low)
    if order == "auto":
        order = order_cue(sigma)
    if order == "sharp far":
        depth = 1 - depth
    smooth = domain_transform(depth, rgb, 8.0, 0.2, 3)
    return np.clip(smooth, 0, 1).astype(np.float32)


def order_cue(sigma: NDArray[np.float32]) -> str:
    """Return "sharp near", or "sharp far" where blur clearly grows downwards: what is lower mostly is nearer."""
    rows = sigma.mean(axis=1)
    low, high = np.percentile(sigma, [1, 99])
    if np.ptp(rows) <= _CLEAR_ORDER * (high - low):
        return "sharp near"
    return "sharp far" if spearmanr(np.arange(len(rows)), rows).statistic > _CLEAR_ORDER else "sharp near"


def _spread(seeds: _Floats, weights: _Floats, rgb: NDArray[np.float32], parameters: Shi2015TOGParameters) -> _Floats:
    """Step 3, dense."""
    spread = propagate(seeds, weights, rgb, regularisation=parameters.matting_lambda, eps=parameters.matting_eps)
    return np.clip(spread.astype(np.float64), SIGMAS[0], SIGMAS[-1])
