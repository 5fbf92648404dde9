"""Pyramid: the blur of every pixel, of any size, read by one small network at all levels of a resolution pyramid.

It extends DHDE (Park et al., CVPR 2017): five levels replace the patches of two sizes, every pixel is read and not only
edges, and the result is a probability over 37 sigmas from 0.27 to 39 px and not 11 labels. The steps:

1. a pyramid of the photograph's luma, without the edges of a JPEG's blocks; each level is the mean over 2 x 2 px of the
   one before
2. the network reads each level, the coarsest first. Blur of 2 px at one level is 1 px at the next, so each level adds
   its evidence to the log-likelihoods of the coarser one. There is one reading per 4 x 4 px of the photograph
3. median of log sigma, and certainty: the probability that it is right within a tenth or 0.15 px; 0 where the reading
   is no evidence of the lens (`defocus.evidence`)
4. the matting Laplacian of the photograph propagates certain readings to where nothing could be read. This is done
   three times, from the second time on with the result as one more colour, so that blur may also change where colour
   does not
5. guided upsampling to every pixel

docs/methods/pyramid.md describes where it fails, docs/research/pyramid.md what each step gains.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Ge, Lt
from numpy.typing import NDArray

from defocus.evidence import readability, without_block_edges
from defocus.filters.box import block_average
from defocus.filters.guided import guided_upsample
from defocus.maps.defocus_map import DefocusMap, Seeds
from defocus.methods.parameters import Fraction, NotNegativeInt, Parameters, Positive, PositiveInt
from defocus.methods.pyramid.blur_reader import BlurReader, Readings
from defocus.methods.pyramid.weights import STRIDE
from defocus.optics.light import luma
from defocus.photograph import Photograph
from defocus.progress import Progress
from defocus.propagation import propagate
from defocus.version import __version__

__all__ = ["PRESETS", "SIGMA_RANGE", "PyramidParameters", "estimate"]

SIGMA_RANGE = (0.3, 32.0)
"""Smallest and largest sigma of a map, px."""
_NOTHING = 0.5 / 255
"""Range of luma below which a photograph has nothing to measure."""
_STRIP = 64
"""Number of rows processed at once where whole photographs would take too much memory."""
_LEAST_WEIGHT = 1e-4
"""Weight of a reading without certainty, so that the propagation always has a solution."""
_ROUNDS = (1e-3, 1e-3, 1e-4)
"""Relative tolerance of the solver in each round of the propagation. The first two results are used only as a further
colour of the guide, so their error changes the map by a ten-thousandth of sigma."""
_FILL_WEIGHT = 0.05
"""Weight of the result of a round, relative to that of a certain reading, in the further colour of the next round."""


@dataclass(frozen=True)
class PyramidParameters(Parameters):
    """Parameters of the pyramid method.

    Attributes
    ----------
    matting_lambda : weight of the readings relative to smoothness along the photograph's colours.
    matting_eps : regularisation of the matting Laplacian.
    least_certainty : certainty at which a reading has no weight (or the photograph's median certainty if that is less),
        so that certain readings fill the rest. Plain surfaces are read with a certainty of about 0.3.
    certainty_power : power of the excess over that certainty, as a fraction of the largest possible excess, that is the
        weight of a reading.
    octave_as_colour : difference of colour, of 0..1, that equals a doubling of sigma from the second round on.
    largest_grid : largest number of nodes of the propagation; with more readings it is solved on blocks of them.
    upsampling_radius : radius of the guided upsampling, in readings of 4 px.
    upsampling_eps : regularisation of the guided upsampling, in squared units of the photograph's 0..1.
    seed_confidence : least confidence of the readings that become the map's `seeds`.
    """

    matting_lambda: Positive = 1.0
    matting_eps: Positive = 1e-3
    least_certainty: Annotated[float, Ge(0), Lt(1)] = 0.3
    certainty_power: Positive = 1.5
    octave_as_colour: Positive = 0.4
    largest_grid: PositiveInt = 100_000
    upsampling_radius: NotNegativeInt = 2
    upsampling_eps: Positive = 1e-3
    seed_confidence: Fraction = 0.5


PRESETS: Mapping[str, PyramidParameters] = {"default": PyramidParameters()}


def estimate(
    photograph: Photograph,
    parameters: PyramidParameters = PRESETS["default"],
    weights: Path | None = None,
    progress: Progress | None = None,
    device: str = "cpu",
) -> DefocusMap:
    """Estimate the map of one photograph.

    Parameters
    ----------
    photograph : upright photograph in sRGB.
    parameters : see `PyramidParameters`.
    weights : ONNX file of `defocus train --method pyramid`; None for this package's own.
    progress : called with the step at hand and the fraction of the work done.
    device : what the network is run on, see `defocus.methods.session.open_session`.

    Returns
    -------
    DefocusMap with sigma in 0.3..32 px.
        `confidence` is the probability that sigma is within a tenth of the truth, or 0.15 px.
        `seeds` has sigma after step 4 where the confidence is at least `parameters.seed_confidence`, at the centre of
        the 4 x 4 px of a reading.

    Warns
    -----
    UserWarning
        If the photograph is of one colour; the map is then the middle of the range with confidence 0.

    Raises
    ------
    WeightsError
        If the weights file is missing, damaged or of another kind.
    """
    report = progress if progress is not None else lambda step, fraction: None
    reader = BlurReader(weights, device=device)
    metadata = {
        "defocus": __version__,
        "parameters": asdict(parameters),
        "weights": reader.card.get("name", "unnamed"),
        "weights_sha256": reader.sha256,
    }
    report("reading", 0.0)
    rgb = photograph.as_float(np.float32)
    grey = _luma(rgb)
    if np.ptp(grey) < _NOTHING:
        return DefocusMap.without_evidence(grey.shape, "pyramid", SIGMA_RANGE, metadata=metadata)
    grey = without_block_edges(grey)
    readings = reader.read(grey, lambda fraction: report("reading", 0.7 * fraction))
    metadata["device"] = reader.device
    readable = readability(grey, rgb, readings.log2_sigma, STRIDE)
    del grey
    report("propagation", 0.7)
    coarse = block_average(rgb, STRIDE)
    log2 = _spread(replace(readings, certainty=readings.certainty * readable), coarse, parameters)
    report("upsampling", 0.85)
    confidence = reader.confidence(readings.certainty) * readable
    planes = np.stack([log2, confidence], axis=2)
    lifted = guided_upsample(
        planes, coarse, rgb, reduction=STRIDE, radius=parameters.upsampling_radius, eps=parameters.upsampling_eps
    )
    del rgb
    # In place, since each further plane of a large photograph takes a tenth of the memory.
    sigma, confident = lifted[..., 0], lifted[..., 1]
    np.clip(np.exp2(sigma, out=sigma), *SIGMA_RANGE, out=sigma)
    np.clip(confident, 0, 1, out=confident)
    report("done", 1.0)
    return DefocusMap(
        sigma=sigma,
        confidence=confident,
        saturated=(sigma <= SIGMA_RANGE[0]) | (sigma >= SIGMA_RANGE[1]),
        seeds=_seeds(log2, confidence, sigma.shape, parameters.seed_confidence),
        method="pyramid",
        sigma_range=SIGMA_RANGE,
        metadata=metadata,
    )


def _luma(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return luma, computed in strips: a whole plane in float64 would increase the peak memory."""
    grey = np.empty(rgb.shape[:2], np.float32)
    for top in range(0, len(grey), _STRIP):
        grey[top : top + _STRIP] = luma(rgb[top : top + _STRIP])
    return grey


def _spread(readings: Readings, guide: NDArray[np.float32], parameters: PyramidParameters) -> NDArray[np.float32]:
    """Step 4: return log2 of sigma of every reading, h x w, with uncertain ones filled in along the guide's colours."""
    height, width = readings.log2_sigma.shape
    if min(height, width) < 3:
        return readings.log2_sigma
    least = min(parameters.least_certainty, float(np.median(readings.certainty)))
    excess = np.maximum((readings.certainty - least) / (1 - least), 0)
    weight = np.maximum(excess ** np.float32(parameters.certainty_power), _LEAST_WEIGHT)
    reduction = max(1, int(np.ceil(np.sqrt(height * width / parameters.largest_grid))))

    def along(colours: NDArray[np.float32], rtol: float) -> NDArray[np.float32]:
        # Weights are summed over a block: without the division, blocks would follow their readings more closely.
        return propagate(
            readings.log2_sigma,
            weight / reduction**2,
            colours,
            regularisation=parameters.matting_lambda,
            eps=parameters.matting_eps,
            reduction=reduction,
            rtol=rtol,
        )

    log2_sigma = along(guide, _ROUNDS[0])
    for rtol in _ROUNDS[1:]:
        filled = (weight * readings.log2_sigma + _FILL_WEIGHT * log2_sigma) / (weight + _FILL_WEIGHT)
        log2_sigma = along(np.dstack([guide, np.float32(parameters.octave_as_colour) * filled]), rtol)
    return log2_sigma


def _seeds(
    log2_sigma: NDArray[np.float32], confidence: NDArray[np.float32], shape: tuple[int, ...], least: float
) -> Seeds:
    seeds = Seeds.none((shape[0], shape[1]))
    rows, columns = np.nonzero(confidence >= least)
    at = (np.minimum(rows * STRIDE + 2, shape[0] - 1), np.minimum(columns * STRIDE + 2, shape[1] - 1))
    seeds.sigma[at] = np.clip(np.exp2(log2_sigma[rows, columns]), *SIGMA_RANGE)
    seeds.probability[at] = confidence[rows, columns]
    return seeds
