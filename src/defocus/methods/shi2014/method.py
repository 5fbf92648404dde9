"""Shi, Xu, Jia: discriminative blur detection features, CVPR 2014. A blur score 0..1, not a sigma.

The steps, in the paper's order, each at patches of 11, 15 and 21 px:

1. kurtosis and span of the gradients, the power spectrum, and learned local filters (section 3)
2. naive Bayes: how probable it is that a patch with these features is blurred
3. belief propagation over the grids of the three sizes, which smooths and settles between them (section 4)

The authors published neither the filters nor the classifier: both are trained here (`defocus train --method shi2014`).
Ours (docs/methods/shi2014.md): patches at every fourth pixel, lifted to the photograph's grid by a guided filter; the
learned filters, of which only the idea is known; no min-max normalisation per photograph, so a photograph in focus
throughout stays so; the middle layer of the three is the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from defocus.edges import noise_deviation
from defocus.filters import guided_upsample
from defocus.filters.box import block_average
from defocus.maps.defocus_map import DefocusMap, Seeds
from defocus.methods.parameters import NotNegative, Parameters, Positive, PositiveInt
from defocus.methods.shi2014.belief_propagation import layered_beliefs
from defocus.methods.shi2014.features import STRIDE, discriminative_features
from defocus.methods.weights_file import Layout, read_array_weights
from defocus.optics.light import luma
from defocus.photograph import Photograph
from defocus.progress import Progress
from defocus.version import __version__

__all__ = ["LAYOUT", "PATCH_SIZES", "PRESETS", "Shi2014Parameters", "estimate", "probability_of_blur"]

PATCH_SIZES = (11, 15, 21)
"""Sides of the patches, px."""
LAYOUT: Layout = {f"filters_{w}": (w * w, 2) for w in PATCH_SIZES} | {f"classes_{w}": (2, 2, 5) for w in PATCH_SIZES}
"""Arrays of the weights: for each patch size two filters, and mean and variance of five features in two classes."""
_SCORE_RANGE = (0.0, 1.0)
_DETAIL_WINDOW = 21
_DETAIL_NOISE_FACTOR = 3.0
_LARGEST_ODDS = 30.0


@dataclass(frozen=True)
class Shi2014Parameters(Parameters):
    """Parameters of the method.

    Attributes
    ----------
    coupling : coupling of neighbours in the belief propagation; the paper's alpha.
    node_weight : weight of the posterior relative to the coupling: a node's potentials are
        exp(-node_weight |1 - X|) and exp(-node_weight |X|), X the posterior of "blurred", 0..1.
    sweeps : number of sweeps of the belief propagation.
    upsampling_eps : regularisation of the guided upsampling to the photograph's grid, in squared units of 0..1.
    """

    coupling: NotNegative = 0.5
    node_weight: Positive = 2.0
    sweeps: PositiveInt = 15
    upsampling_eps: Positive = 1e-3


PRESETS: Mapping[str, Shi2014Parameters] = {"default": Shi2014Parameters()}


def estimate(
    photograph: Photograph,
    parameters: Shi2014Parameters = PRESETS["default"],
    weights: Path | None = None,
    progress: Progress | None = None,
) -> DefocusMap:
    """Estimate the blur score of a photograph after Shi, Xu, Jia 2014.

    Parameters
    ----------
    photograph : upright photograph in sRGB.
    parameters : see `Shi2014Parameters`.
    weights : .npz file of `defocus train --method shi2014`; None for this package's own.
    progress : called with the step at hand and the fraction of the work done.

    Returns
    -------
    DefocusMap whose `sigma` is the blur score, 0 sharp to 1 blurred, and whose `unit` is "score".
        `confidence` is |2 score - 1|, times how far the detail of the surroundings is above the noise: a smooth region
        counts as blurred, with little confidence. There are no seeds, and no pixel is saturated.

    Warns
    -----
    UserWarning
        If the photograph has one colour throughout; the map is then .5 with confidence 0.

    Raises
    ------
    WeightsError
        If the weights file is missing, damaged or of another kind.
    """
    report = progress if progress is not None else lambda step, fraction: None
    trained = read_array_weights("shi2014", LAYOUT, weights)
    metadata = {"defocus": __version__, "parameters": asdict(parameters), "weights_sha256": trained.sha256}
    report("features", 0.0)
    rgb = photograph.as_float(np.float32)
    grey = luma(rgb)
    if np.ptp(grey) < 1e-9:
        return DefocusMap.without_evidence(grey.shape, "shi2014", _SCORE_RANGE, "score", metadata)

    posteriors = []
    for index, size in enumerate(PATCH_SIZES):
        features = discriminative_features(grey, size, trained.arrays[f"filters_{size}"])
        posteriors.append(probability_of_blur(features, trained.arrays[f"classes_{size}"]))
        report("features", 0.25 * (index + 1))
    report("belief propagation", 0.75)
    # |1 - X| - |X| is 1 - 2 X for X in 0..1.
    odds = parameters.node_weight * (2 * np.stack(posteriors) - 1)
    belief = layered_beliefs(odds, parameters.coupling, parameters.sweeps)[PATCH_SIZES.index(15)]
    report("upsampling", 0.9)
    score = guided_upsample(belief, block_average(rgb, STRIDE), rgb, reduction=STRIDE, eps=parameters.upsampling_eps)
    score = np.clip(score, *_SCORE_RANGE).astype(np.float32)
    confidence = np.abs(2 * score - 1) * _detail_above_noise(grey)
    report("done", 1.0)
    return DefocusMap(
        sigma=score,
        confidence=np.clip(confidence, 0, 1).astype(np.float32),
        saturated=np.zeros(grey.shape, bool),
        seeds=Seeds.none((grey.shape[0], grey.shape[1])),
        method="shi2014",
        sigma_range=_SCORE_RANGE,
        unit="score",
        metadata=metadata,
    )


def probability_of_blur(features: NDArray[np.float64], classes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Step 2: return the posterior of "blurred" by Gaussian naive Bayes with equal priors.

    Parameters
    ----------
    features : ... x 5.
    classes : 2 x 2 x 5, (blurred, sharp) x (mean, variance) of each feature.

    Returns
    -------
    ..., 0..1.
    """
    logs = [-0.5 * ((features - mean) ** 2 / variance + np.log(variance)).sum(axis=-1) for mean, variance in classes]
    return np.asarray(1 / (1 + np.exp(np.clip(logs[1] - logs[0], -_LARGEST_ODDS, _LARGEST_ODDS))))


def _detail_above_noise(grey: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the fraction of the local contrast that is not noise: c^2 / (c^2 + (3 noise)^2), c the local deviation."""
    mean = ndimage.uniform_filter(grey, _DETAIL_WINDOW, mode="nearest")
    contrast = np.maximum(ndimage.uniform_filter(grey**2, _DETAIL_WINDOW, mode="nearest") - mean**2, 0)
    return np.asarray(contrast / (contrast + (_DETAIL_NOISE_FACTOR * noise_deviation(grey)) ** 2))
