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

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from defocus.edges import gradient_maxima
from defocus.filters import probability_joint_bilateral
from defocus.maps.defocus_map import DefocusMap, Seeds
from defocus.methods.dhde.classifier import PatchClassifier
from defocus.methods.dhde.edges import EDGE_NONE, EDGE_STRONG, EDGE_WEAK, add_local_edges, edge_scales, value_channel
from defocus.methods.dhde.features.layout import LARGE, SMALL
from defocus.methods.dhde.rolling_guidance import rolling_guidance_filter
from defocus.methods.dhde.weighted_median import joint_weighted_median
from defocus.methods.dhde.weights import BLUR_LABELS
from defocus.methods.parameters import NotNegative, NotNegativeInt, Parameters, Positive, PositiveInt, Thresholds
from defocus.photograph import Photograph
from defocus.progress import Progress
from defocus.propagation import propagate
from defocus.version import __version__

__all__ = ["PRESETS", "DHDEParameters", "SparseMap", "estimate"]

_SIGMA_RANGE = (BLUR_LABELS[0], BLUR_LABELS[-1])
_LABEL_STEP = BLUR_LABELS[1] - BLUR_LABELS[0]
_CONFIDENCE_REDUCTION = 4
"""Side in px of the blocks on which the confidence is propagated."""
_CONFIDENCE_LEAK = 3e-3
"""Leak of the propagation of the confidence; see `defocus.propagation.propagate`."""


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
        median_iterations=3,
    ),
}


def estimate(
    photograph: Photograph,
    parameters: DHDEParameters = PRESETS["default"],
    weights: Path | None = None,
    progress: Progress | None = None,
    device: str = "cpu",
) -> DefocusMap:
    """Estimate the defocus map of a photograph by DHDE.

    Parameters
    ----------
    photograph : upright photograph in sRGB.
    parameters : see `DHDEParameters`.
    weights : ONNX file of `defocus train`, or the authors' `.caffemodel`; None for this package's own.
    progress : called with the step at hand and the fraction of the work done.
    device : what the network is run on, see `defocus.methods.session.open_session`.

    Returns
    -------
    DefocusMap with sigma in 0.5..2.0 px.
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
    rgb = photograph.as_float(np.float64)
    value = value_channel(rgb)
    edges, contrast = _find_edges(value, parameters)
    metadata = {
        "defocus": __version__,
        "parameters": asdict(parameters),
        "weights": classifier.card.get("name", "unnamed"),
        "weights_sha256": classifier.sha256,
    }
    if not (edges != EDGE_NONE).any():
        return DefocusMap.without_evidence(value.shape, "dhde", _SIGMA_RANGE, metadata=metadata)

    rgb32 = rgb.astype(np.float32)
    sparse = _sparse_map(rgb32, value, edges, classifier, parameters, report)
    metadata["device"] = classifier.device
    edge_mask = edges != EDGE_NONE
    report("sparse map", 0.61)
    filtered = probability_joint_bilateral(
        sparse.sigma,
        sparse.probability,
        edge_mask,
        rgb32[..., :1] if parameters.bilateral_red_only else rgb32,
        radius=parameters.bilateral_radius,
        sigma_space=parameters.bilateral_sigma_space,
        sigma_colour=parameters.bilateral_sigma_colour,
        sigma_probability=parameters.bilateral_sigma_probability,
    )
    report("guidance", 0.7)
    guide = rolling_guidance_filter(
        rgb32,
        sigma_space=parameters.guidance_sigma_space,
        sigma_colour=parameters.guidance_sigma_colour,
        iterations=parameters.guidance_iterations,
    )
    report("propagation", 0.8)
    trust = np.where(edge_mask, contrast**parameters.contrast_exponent, 0)
    sigma = propagate(
        filtered,
        trust * sparse.probability if parameters.probability_weighted else trust,
        guide,
        regularisation=parameters.matting_lambda,
        eps=parameters.matting_eps,
        reduction=parameters.reduction,
        rtol=parameters.tolerance,
    )
    if parameters.median_iterations:
        report("median", 0.9)
        sigma = joint_weighted_median(
            sigma,
            guide,
            radius=parameters.median_radius,
            sigma=parameters.median_sigma,
            iterations=parameters.median_iterations,
        )
    confidence = propagate(
        sparse.within_a_label,
        trust,
        guide,
        regularisation=parameters.matting_lambda,
        eps=parameters.matting_eps,
        reduction=_CONFIDENCE_REDUCTION,
        leak=_CONFIDENCE_LEAK,
    )
    sigma = np.clip(sigma, *_SIGMA_RANGE).astype(np.float32)
    report("done", 1.0)
    return DefocusMap(
        sigma=sigma,
        confidence=np.clip(confidence, 0, 1),
        saturated=sigma > _SIGMA_RANGE[1] - _LABEL_STEP / 2,
        seeds=Seeds(
            np.where(edge_mask, sparse.sigma, np.float32(np.nan)),
            np.where(edge_mask, sparse.probability, np.float32(np.nan)),
        ),
        method="dhde",
        sigma_range=_SIGMA_RANGE,
        metadata=metadata,
    )


def _find_edges(
    value: NDArray[np.float64], parameters: DHDEParameters
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Step 1: weak and strong edges of the value channel (H x W uint8, see `defocus.edges`) and their contrast.

    Contrast is the gradient magnitude divided by the higher weak threshold, at most 1 (H x W).
    """
    magnitude, maxima = gradient_maxima(value)
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
    return edges, np.minimum(magnitude / clear, 1)


@dataclass(frozen=True)
class SparseMap:
    """Output of the classifier at edge pixels; H x W float32 each, 0 elsewhere.

    Attributes
    ----------
    sigma : sigma, px.
    probability : probability of the most probable label.
    within_a_label : probability of all labels within one label step of `sigma`.
    """

    sigma: NDArray[np.float32]
    probability: NDArray[np.float32]
    within_a_label: NDArray[np.float32]


def _sparse_map(
    rgb: NDArray[np.float32],
    value: NDArray[np.float64],
    edges: NDArray[np.uint8],
    classifier: PatchClassifier,
    parameters: DHDEParameters,
    report: Progress,
) -> SparseMap:
    """Steps 2 and 3: sigma and its probability at every edge pixel."""
    pixels = rgb * np.float32(255)
    labels = np.array(BLUR_LABELS, dtype=np.float32)
    sparse = SparseMap(*(np.zeros(edges.shape, dtype=np.float32) for _ in range(3)))
    total, read = np.count_nonzero(edges), 0

    def count(patches: int) -> None:
        nonlocal read
        read += patches
        report("patches", 0.05 + 0.55 * read / total)

    for kind, scale in ((EDGE_WEAK, LARGE), (EDGE_STRONG, SMALL)):
        at = np.nonzero(edges == kind)
        probabilities = classifier.probabilities(pixels, value, np.stack(at, axis=1), scale, count)
        sigma = probabilities @ labels if parameters.expected_sigma else labels[probabilities.argmax(axis=1)]
        near = np.abs(labels - sigma[:, None]) <= _LABEL_STEP + 1e-6
        sparse.sigma[at] = sigma
        sparse.probability[at] = probabilities.max(axis=1)
        sparse.within_a_label[at] = np.minimum((probabilities * near).sum(axis=1), 1)
    return sparse
