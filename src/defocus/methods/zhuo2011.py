"""Zhuo & Sim: defocus map estimation from a single image, Pattern Recognition 44(9), 2011.

The steps, in the paper's order:

1. Canny edges of the grey photograph
2. at each of them, sigma from the ratio of the gradients after two re-blurs (section 3)
3. a joint bilateral filter, along the photograph's colours, on this sparse map (section 4)
4. the matting Laplacian of the photograph spreads it to every pixel (section 5)

Ours, because the paper leaves it open or a measurement says so (docs/methods/zhuo2011.md): the thresholds of Canny and
the radius of the bilateral filter; the reading between pixels and over neighbours (`defocus.edges.gradient_ratio`);
seeds weigh by how far noise can move them; thin lines give no seed; the solve on blocks of 4 x 4 pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from defocus.edges import canny, noise_deviation
from defocus.edges.gradient_ratio import chance_of_small_error, edge_blur
from defocus.errors import ParameterError
from defocus.filters import probability_joint_bilateral
from defocus.maps.defocus_map import DefocusMap, Seeds
from defocus.methods.parameters import NotNegativeInt, Parameters, Positive, PositiveInt, Thresholds
from defocus.optics.light import luma
from defocus.photograph import Photograph
from defocus.progress import Progress
from defocus.propagation import propagate
from defocus.version import __version__

__all__ = ["PRESETS", "Zhuo2011Parameters", "estimate"]

_CONFIDENCE_LEAK = 3e-3


@dataclass(frozen=True)
class Zhuo2011Parameters(Parameters):
    """Parameters of the method.

    Attributes
    ----------
    edge_sigma : smoothing before the Canny edges, px.
    edge_thresholds : thresholds of Canny, low and high, as fractions of the photograph's largest gradient.
    fine_blur : the smaller of the two re-blurs, px.
    coarse_blur : the larger of the two re-blurs, px.
    average_radius : radius in px of the window over whose edge pixels the ratio is read; 0 reads each pixel alone.
    largest_sigma : largest sigma that is reported, px; a larger one reads as this and is marked saturated.
    bilateral_radius : radius of the window of the joint bilateral filter, px.
    bilateral_sigma_space : standard deviation of the joint bilateral filter in distance, px.
    bilateral_sigma_colour : standard deviation of the joint bilateral filter in colour, 0..1.
    matting_eps : regularisation of the matting Laplacian.
    matting_lambda : weight of the seeds relative to the matting Laplacian.
    reduction : side in px of the blocks on which the propagation is solved; 1 solves it exactly.
    """

    edge_sigma: Positive = 1.5
    edge_thresholds: Thresholds = (0.04, 0.1)
    fine_blur: Positive = 1.0
    coarse_blur: Positive = 1.5
    average_radius: NotNegativeInt = 2
    largest_sigma: Positive = 5.0
    bilateral_radius: NotNegativeInt = 7
    bilateral_sigma_space: Positive = 7.0
    bilateral_sigma_colour: Positive = 0.1
    matting_eps: Positive = 1e-5
    matting_lambda: Positive = 0.01
    reduction: PositiveInt = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.fine_blur < self.coarse_blur:
            raise ParameterError(f"fine_blur must be below coarse_blur; got {self.fine_blur} and {self.coarse_blur}.")


PRESETS: Mapping[str, Zhuo2011Parameters] = {"default": Zhuo2011Parameters()}


def estimate(
    photograph: Photograph,
    parameters: Zhuo2011Parameters = PRESETS["default"],
    weights: Path | None = None,
    progress: Progress | None = None,
) -> DefocusMap:
    """Estimate the defocus map of a photograph after Zhuo & Sim.

    Parameters
    ----------
    photograph : upright sRGB; its display values are used as they are, as the paper does.
    parameters : see `Zhuo2011Parameters`.
    weights : must be None, the method has none.
    progress : called with the step at hand and the fraction of the work done.

    Returns
    -------
    DefocusMap with sigma in 0..`largest_sigma` px.
        `confidence` of a seed is the chance that the photograph's noise moves its sigma by less than 0.15 px or a
        tenth; it is spread like sigma but fades with the distance from the seeds.
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
        raise ParameterError("zhuo2011 has no weights: leave them out.")
    report = progress if progress is not None else lambda step, fraction: None
    metadata = {"defocus": __version__, "parameters": asdict(parameters)}
    sigma_range = (0.0, parameters.largest_sigma)
    report("edges", 0.0)
    rgb = photograph.as_float(np.float32)
    grey = luma(rgb)
    edges = canny(grey, *parameters.edge_thresholds, sigma=parameters.edge_sigma)

    report("ratios", 0.1)
    blur = edge_blur(
        grey,
        edges,
        parameters.fine_blur,
        parameters.coarse_blur,
        noise=noise_deviation(grey),
        largest=parameters.largest_sigma,
        average=parameters.average_radius,
    )
    certain = np.zeros(grey.shape, np.float32)
    certain[edges] = chance_of_small_error(blur)
    sparse = np.zeros(grey.shape, np.float32)
    sparse[edges] = np.nan_to_num(blur.sigma)
    edges = certain > 0
    if not edges.any():
        return DefocusMap.without_evidence(grey.shape, "zhuo2011", sigma_range, metadata=metadata)

    report("sparse map", 0.3)
    filtered = probability_joint_bilateral(
        sparse,
        certain,
        edges,
        rgb,
        radius=parameters.bilateral_radius,
        sigma_space=parameters.bilateral_sigma_space,
        sigma_colour=parameters.bilateral_sigma_colour,
        sigma_probability=0.5,
    )
    report("propagation", 0.6)
    sigma = propagate(
        filtered,
        certain,
        rgb,
        regularisation=parameters.matting_lambda,
        eps=parameters.matting_eps,
        reduction=parameters.reduction,
    )
    confidence = propagate(
        certain,
        edges.astype(np.float32),
        rgb,
        regularisation=parameters.matting_lambda,
        eps=parameters.matting_eps,
        leak=_CONFIDENCE_LEAK,
    )
    sigma = np.clip(sigma, *sigma_range)
    report("done", 1.0)
    return DefocusMap(
        sigma=sigma,
        confidence=np.clip(confidence, 0, 1),
        saturated=sigma > 0.98 * parameters.largest_sigma,
        seeds=Seeds(
            np.where(edges, sparse, np.float32(np.nan)),
            np.where(edges, certain, np.float32(np.nan)),
        ),
        method="zhuo2011",
        sigma_range=sigma_range,
        metadata=metadata,
    )
