"""DHDE: a unified approach of multi-scale deep and hand-crafted features for defocus estimation.

Park, Tai, Cho, Kweon, CVPR 2017, arXiv 1704.08992. The steps, in the paper's order:

1. edges of the value channel; a 15 x 15 patch at each strong one, a 27 x 27 patch at each weak one
2. DCT, gradient and SVD features and a CNN feature of each patch
3. a classifier over 11 blur labels gives each edge pixel its sigma and the probability of that sigma
4. a probability-joint bilateral filter smooths this sparse map
5. the matting Laplacian of the rolling-guidance-filtered photograph propagates it to every pixel
6. a joint weighted median removes remaining errors of the seeds

`PRESETS["released"]` follows the authors' code; the default departs from it where a measurement says so
(docs/research/dhde.md has each departure and its gain).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from defocus.edges import gradient_maxima
from defocus.filters.probability_joint_bilateral import filter_edge_pixels
from defocus.filters.strips import Strip, strips_of
from defocus.maps.defocus_map import DefocusMap, Seeds
from defocus.maps.map_strips import MapStrip, MapStrips
from defocus.methods.dhde.classifier import PatchClassifier
from defocus.methods.dhde.edges import EDGE_NONE, EDGE_STRONG, EDGE_WEAK, ValueChannel, add_local_edges, edge_scales
from defocus.methods.dhde.features.layout import LARGE, SMALL
from defocus.methods.dhde.rolling_guidance import reach_of_rolling_guidance, rolling_guidance_filter
from defocus.methods.dhde.weighted_median import joint_weighted_median
from defocus.methods.dhde.weights import BLUR_LABELS
from defocus.methods.parameters import NotNegative, NotNegativeInt, Parameters, Positive, PositiveInt, Thresholds
from defocus.photograph import Photograph
from defocus.progress import Progress
from defocus.propagation import propagate_pixels
from defocus.runtime.cores import on_all_cores
from defocus.version import __version__

__all__ = ["PRESETS", "DHDEParameters", "SparseMap", "estimate"]

_SIGMA_RANGE = (BLUR_LABELS[0], BLUR_LABELS[-1])
_LABEL_STEP = BLUR_LABELS[1] - BLUR_LABELS[0]
_CONFIDENCE_REDUCTION = 4
"""Least side in px of the blocks on which the confidence is propagated."""
_UNITS = 65535
"""Units of the guide's colours, which are held in 16 bits."""
_MAP_ROWS = 256
"""Number of rows of a strip of the map."""
_CONFIDENCE_LEAK = 3e-3 / _CONFIDENCE_REDUCTION**2
"""Leak of the propagation of the confidence, for each px of a block; see `defocus.propagation.propagate`."""


@dataclass(frozen=True)
class DHDEParameters(Parameters):
    """Parameters of DHDE; the defaults are this package's, `PRESETS["released"]` has the authors'.

    Attributes
    ----------
    weak_thresholds : thresholds of Canny, low and high, of the edges that are read with the large patch; fractions of
        the photograph's largest gradient.
    strong_thresholds : likewise, of the edges that are read with the small patch.
    local_window : width in px, odd, of a window relative to whose largest gradient edges are detected too, with
        `weak_thresholds`, so that a blurred background gets seeds. 0 detects no such edges.
    local_noise_factor : least gradient of an edge found in `local_window`, in standard deviations of the noise of the
        gradient.
    contrast_exponent : power of a seed's gradient, relative to the higher weak threshold and at most 1, in its weight;
        faint edges then matter only in regions without strong ones. 0 gives all seeds the same weight.
    checkerboard : use only the edge pixels on the black squares of a checkerboard, half of them, since neighbours are
        much the same. `matting_lambda` has to be doubled with it.
    expected_sigma : a seed's sigma is the probability-weighted mean of the labels; False takes the most probable label.
    bilateral_radius : radius of the window of the probability-joint bilateral filter, px.
    bilateral_sigma_space : standard deviation of the bilateral filter in distance, px.
    bilateral_sigma_colour : standard deviation of the bilateral filter in colour, 0..1.
    bilateral_sigma_probability : standard deviation of the bilateral filter in probability, 0..1.
    bilateral_red_only : the bilateral filter compares the red channel alone.
    guidance_sigma_space : standard deviation of the rolling guidance filter in distance, px.
    guidance_sigma_colour : standard deviation of the rolling guidance filter in colour, 0..1.
    guidance_iterations : number of iterations of the rolling guidance filter.
    matting_eps : regularisation of the matting Laplacian.
    matting_lambda : weight of the seeds relative to the matting Laplacian.
    probability_weighted : weight seeds by their probability; False gives each the weight 1.
    reduction : side in px of the blocks on which the propagation is solved; 1 solves it exactly.
    largest_grid : largest number of blocks of the propagation; where a photograph has more, the blocks get larger.
    tolerance : relative tolerance of the solver.
    median_radius : radius of the window of the joint weighted median, px.
    median_sigma : standard deviation of the joint weighted median in colour, 0..1.
    median_iterations : number of iterations of the joint weighted median; 0 leaves it out.

    Raises
    ------
    ParameterError
        If a value is of another type than its field, or out of range.

    Examples
    --------
    >>> import defocus
    >>> parameters = defocus.DHDEParameters(reduction=1, median_iterations=3)
    >>> parameters.reduction
    1
    >>> defocus.DHDEParameters(reduction=0)
    Traceback (most recent call last):
    ...
    defocus.errors.ParameterError: reduction must be a whole number above 0; got 0.
    """

    weak_thresholds: Thresholds = (0.117, 0.176)
    strong_thresholds: Thresholds = (0.234, 0.351)
    local_window: NotNegativeInt = 65
    local_noise_factor: NotNegative = 4.0
    contrast_exponent: NotNegative = 2.0
    checkerboard: bool = True
    expected_sigma: bool = True
    bilateral_radius: NotNegativeInt = 13
    bilateral_sigma_space: Positive = 100.0
    bilateral_sigma_colour: Positive = 0.1
    bilateral_sigma_probability: Positive = 0.5
    bilateral_red_only: bool = False
    guidance_sigma_space: Positive = 1.5
    guidance_sigma_colour: Positive = 1.5
    guidance_iterations: PositiveInt = 3
    matting_eps: Positive = 1e-5
    matting_lambda: Positive = 0.01
    probability_weighted: bool = True
    reduction: PositiveInt = 4
    largest_grid: PositiveInt = 800_000
    tolerance: Positive = 1e-4
    median_radius: PositiveInt = 5
    median_sigma: Positive = 0.25
    median_iterations: NotNegativeInt = 0


PRESETS: Mapping[str, DHDEParameters] = {
    "default": DHDEParameters(),
    "released": DHDEParameters(
        local_window=0,
        contrast_exponent=0.0,
        checkerboard=False,
        expected_sigma=False,
        bilateral_sigma_colour=100.0,
        bilateral_sigma_probability=1.0,
        bilateral_red_only=True,
        matting_lambda=0.005,
        probability_weighted=False,
        reduction=1,
        largest_grid=10**9,
        median_iterations=3,
    ),
}


def estimate(
    photograph: Photograph,
    parameters: DHDEParameters = PRESETS["default"],
    weights: Path | None = None,
    progress: Progress | None = None,
    device: str = "cpu",
) -> DefocusMap | MapStrips:
    """Estimate the defocus map of a photograph by DHDE.

    The photograph is read in parts, so it need not be in memory as a whole.

    Parameters
    ----------
    photograph : upright photograph in sRGB.
    parameters : see `DHDEParameters`.
    weights : ONNX file of `defocus train`, or the authors' `.caffemodel`; None for this package's own.
    progress : called with the step at hand and the fraction of the work done.
    device : what the network is run on, see `defocus.methods.session.open_session`.

    Returns
    -------
    MapStrips with sigma in 0.5..2.0 px, upsampled strip by strip.
        `confidence` of a seed is the probability that the classifier gives to sigmas within 0.15 px of the seed's own;
        it is propagated like sigma but fades with the distance from the seeds, so it is low where nothing was measured.
        `saturated` marks a sigma closer to 2.0 px than to the label before it: the blur is that or more.
        `seeds` is the sparse map of step 3.

    Warns
    -----
    UserWarning
        If the photograph has no edge at all; the map is then the middle of the range with confidence 0.

    Raises
    ------
    WeightsError
        If the weights file is missing, damaged or of another kind.
    """
    report = progress if progress is not None else lambda step, fraction: None
    classifier = PatchClassifier(weights, device)
    report("edges", 0.0)
    shape = (photograph.height, photograph.width)
    value = ValueChannel(photograph)
    edges, trust = _find_edges(value, parameters)
    metadata = {
        "defocus": __version__,
        "parameters": asdict(parameters),
        "weights": classifier.card.get("name", "unnamed"),
        "weights_sha256": classifier.sha256,
    }
    if not len(trust):
        return DefocusMap.without_evidence(shape, "dhde", _SIGMA_RANGE, metadata=metadata)

    sparse = _sparse_map(photograph, value, edges, classifier, parameters, report)
    metadata["device"] = classifier.device
    edge_mask = edges != EDGE_NONE
    rows, columns = (each.astype(np.int32) for each in np.nonzero(edge_mask))
    report("sparse map", 0.61)
    filtered = filter_edge_pixels(
        edge_mask,
        sparse.sigma,
        sparse.probability,
        sparse.colours[:, :1] if parameters.bilateral_red_only else sparse.colours,
        radius=parameters.bilateral_radius,
        sigma_space=parameters.bilateral_sigma_space,
        sigma_colour=parameters.bilateral_sigma_colour,
        sigma_probability=parameters.bilateral_sigma_probability,
    )
    del edges, edge_mask
    report("guidance", 0.7)
    guide = _guide(photograph, parameters)

    def colours(rows: slice) -> NDArray[np.float32]:
        return guide[:, rows] * np.float32(1 / _UNITS)

    report("propagation", 0.8)
    blocks = max(parameters.reduction, math.ceil(math.sqrt(shape[0] * shape[1] / parameters.largest_grid)))
    sigma = propagate_pixels(
        (rows, columns),
        filtered,
        trust * sparse.probability if parameters.probability_weighted else trust,
        colours,
        shape,
        regularisation=parameters.matting_lambda,
        eps=parameters.matting_eps,
        reduction=blocks,
        rtol=parameters.tolerance,
    )
    larger_blocks = max(_CONFIDENCE_REDUCTION, blocks)
    confidence = propagate_pixels(
        (rows, columns),
        sparse.within_a_label,
        trust,
        colours,
        shape,
        regularisation=parameters.matting_lambda,
        eps=parameters.matting_eps,
        reduction=larger_blocks,
        leak=_CONFIDENCE_LEAK * larger_blocks**2,
    )
    median = None
    if parameters.median_iterations:
        report("median", 0.9)
        median = joint_weighted_median(
            sigma.rows(0, shape[0]),
            np.moveaxis(colours(slice(None)), 0, 2),
            radius=parameters.median_radius,
            sigma=parameters.median_sigma,
            iterations=parameters.median_iterations,
        )
    report("upsampling", 0.95)

    def strips() -> Iterator[MapStrip]:
        for top in range(0, shape[0], _MAP_ROWS):
            bottom = min(top + _MAP_ROWS, shape[0])
            found = np.clip(sigma.rows(top, bottom) if median is None else median[top:bottom], *_SIGMA_RANGE)
            yield MapStrip(
                top,
                found,
                np.clip(confidence.rows(top, bottom), 0, 1),
                found > _SIGMA_RANGE[1] - _LABEL_STEP / 2,
            )
        report("done", 1.0)

    return MapStrips(
        shape=shape,
        strips=strips,
        seeds=lambda: Seeds.at_pixels(rows, columns, sparse.sigma, sparse.probability, shape),
        method="dhde",
        sigma_range=_SIGMA_RANGE,
        metadata=metadata,
    )


def _find_edges(value: ValueChannel, parameters: DHDEParameters) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Step 1: weak and strong edges of the value channel (H x W uint8, see `edge_scales`) and the trust in them.

    Trust is the gradient magnitude divided by the higher weak threshold, at most 1, to the power of
    `parameters.contrast_exponent`: n numbers, in the order of `np.nonzero` of the edges.
    """
    magnitude, maxima = gradient_maxima(value, dtype=np.float32)
    edges = edge_scales(magnitude, maxima, parameters.weak_thresholds, parameters.strong_thresholds)
    if parameters.local_window:
        edges = add_local_edges(
            edges,
            value,
            magnitude,
            maxima,
            parameters.weak_thresholds,
            window=parameters.local_window,
            noise_factor=parameters.local_noise_factor,
        )
    clear = parameters.weak_thresholds[1] * max(float(magnitude.max()), np.finfo(np.float64).tiny)
    if parameters.checkerboard:
        edges[::2, 1::2] = edges[1::2, ::2] = EDGE_NONE
    contrast = np.minimum(magnitude[edges != EDGE_NONE] / np.float64(clear), 1)
    return edges, contrast**parameters.contrast_exponent


@dataclass(frozen=True)
class SparseMap:
    """Output of the classifier at n edge pixels, in the order of their rows and columns; float32 each.

    Attributes
    ----------
    sigma : n, sigma, px.
    probability : n, probability of the most probable label.
    within_a_label : n, probability of all labels within one label step of `sigma`.
    colours : n x 3, colours of the pixels, 0..1.
    """

    sigma: NDArray[np.float32]
    probability: NDArray[np.float32]
    within_a_label: NDArray[np.float32]
    colours: NDArray[np.float32]


def _sparse_map(
    photograph: Photograph,
    value: ValueChannel,
    edges: NDArray[np.uint8],
    classifier: PatchClassifier,
    parameters: DHDEParameters,
    report: Progress,
) -> SparseMap:
    """Steps 2 and 3: sigma and its probability at every edge pixel."""
    labels = np.array(BLUR_LABELS, dtype=np.float32)
    total, read = np.count_nonzero(edges), 0
    numbers = [np.empty(total, np.float32) for _ in range(3)]
    sparse = SparseMap(numbers[0], numbers[1], numbers[2], colours=np.empty((total, 3), np.float32))

    def count(patches: int) -> None:
        nonlocal read
        read += patches
        report("patches", 0.05 + 0.55 * read / total)

    stop = 0
    # One row more than a patch reaches, for the gradients of its last row.
    for strip in strips_of(edges.shape, margin=LARGE.radius + 1):
        kinds = edges[strip.inner]
        positions = np.argwhere(kinds)
        start, stop = stop, stop + len(positions)
        if not len(positions):
            continue
        rgb, grey = photograph.as_float(np.float32, rows=strip.outer), value[strip.outer]
        kind = kinds[positions[:, 0], positions[:, 1]]
        positions[:, 0] += strip.kept.start
        sparse.colours[start:stop] = rgb[positions[:, 0], positions[:, 1]]
        rgb *= 255
        for number, scale in ((EDGE_WEAK, LARGE), (EDGE_STRONG, SMALL)):
            (at,) = np.nonzero(kind == number)
            probabilities = classifier.probabilities(rgb, grey, positions[at], scale, count)
            sigma = probabilities @ labels if parameters.expected_sigma else labels[probabilities.argmax(axis=1)]
            near = np.abs(labels - sigma[:, None]) <= _LABEL_STEP + 1e-6
            at += start
            sparse.sigma[at] = sigma
            sparse.probability[at] = probabilities.max(axis=1)
            sparse.within_a_label[at] = np.minimum((probabilities * near).sum(axis=1), 1)
    return sparse


def _guide(photograph: Photograph, parameters: DHDEParameters) -> NDArray[np.uint16]:
    """Return the photograph after the rolling guidance filter, 3 x H x W, 0..65535."""
    guide = np.empty((3, photograph.height, photograph.width), np.uint16)
    margin = reach_of_rolling_guidance(parameters.guidance_sigma_space, parameters.guidance_iterations)

    def filter_strip(strip: Strip) -> None:
        filtered = rolling_guidance_filter(
            photograph.as_float(np.float32, rows=strip.outer),
            sigma_space=parameters.guidance_sigma_space,
            sigma_colour=parameters.guidance_sigma_colour,
            iterations=parameters.guidance_iterations,
            rows=strip.kept,
        )
        guide[:, strip.inner] = np.moveaxis(np.rint(filtered * np.float32(_UNITS)), 2, 0)

    on_all_cores(filter_strip, strips_of(guide.shape[1:], margin))
    return guide
