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
5. a second network, on the readings' grid, completes the map from colours, readings and what was propagated, and says
   how probable each of its values is to be right (`defocus.methods.pyramid.completion`)
6. guided upsampling to every pixel

With `completion=False`, and with weights that have no second network, step 5 is left out; confidence is then how often
readings of that certainty were right.

docs/methods/pyramid.md describes where it fails, docs/research/pyramid.md what each step gains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from defocus.evidence import readability
from defocus.filters.guided import GuidedUpsampling
from defocus.maps.defocus_map import DefocusMap, Seeds
from defocus.maps.map_strips import MapStrip, MapStrips
from defocus.maps.motion import Motion
from defocus.methods.pyramid.blur_reader import BlurReader, Readings
from defocus.methods.pyramid.completion import Completion, Evidence
from defocus.methods.pyramid.filling import fill
from defocus.methods.pyramid.luma import PhotographLuma
from defocus.methods.pyramid.parameters import PyramidParameters
from defocus.methods.pyramid.survey import Survey, colours, survey_photograph
from defocus.methods.pyramid.weights import STRIDE
from defocus.photograph import Photograph
from defocus.progress import Progress
from defocus.runtime.cores import on_all_cores
from defocus.version import __version__

__all__ = ["PRESETS", "SIGMA_RANGE", "PyramidParameters", "estimate", "read_blur"]

SIGMA_RANGE = (0.3, 32.0)
"""Smallest and largest sigma of a map, px."""
_NOTHING = 0.5 / 255
"""Range of luma below which a photograph has nothing to measure."""
_GRID_ROWS = 512
"""Number of rows of readings that are converted at once."""
_MAP_ROWS, _MAP_PIXELS = 256, 2_000_000
"""Largest numbers of rows and of pixels of a strip of the map."""
_ROWS_AT_ONCE = 16
"""Number of rows that a thread converts at once, few enough to stay in the cache."""


PRESETS: Mapping[str, PyramidParameters] = {
    "default": PyramidParameters(),
    "fast": PyramidParameters(finer_levels="coarse"),
}


def estimate(
    photograph: Photograph,
    parameters: PyramidParameters = PRESETS["default"],
    weights: Path | None = None,
    progress: Progress | None = None,
    device: str = "cpu",
) -> DefocusMap | MapStrips:
    """Estimate the map of one photograph.

    The photograph is read in parts, so it need not be in memory as a whole. Beside it, up to the upsampling, 1.4 bytes
    of memory are used for each of its pixels.

    Parameters
    ----------
    photograph : upright photograph in sRGB.
    parameters : see `PyramidParameters`.
    weights : ONNX file of `defocus train --method pyramid`; None for this package's own.
    progress : called with the step at hand and the fraction of the work done.
    device : what the network is run on, see `defocus.methods.session.open_session`.

    Returns
    -------
    MapStrips with sigma in 0.3..32 px, upsampled strip by strip.
        `confidence` is the probability that sigma is within a tenth of the truth, or 0.15 px.
        `motion` is blur by movement, where the confidence is low.
        `seeds` has sigma after step 5 where the confidence is at least `parameters.seed_confidence`, at the centre of
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
    shape = (photograph.height, photograph.width)
    grey = PhotographLuma(photograph)
    survey = survey_photograph(photograph, grey)
    if survey.brightest - survey.darkest < _NOTHING:
        return DefocusMap.without_evidence(shape, "pyramid", SIGMA_RANGE, metadata=metadata)
    readings, readable, motion = read_blur(
        photograph,
        grey,
        survey,
        reader,
        parameters,
        lambda fraction: report("reading", min(0.05 + 0.65 * fraction, 0.7)),
    )
    metadata["device"] = reader.device
    guide, detail = survey.guide, survey.detail
    del survey  # what is not needed any more takes as much memory as the rest
    report("propagation", 0.7)
    propagated = fill(readings, readable, guide, parameters)
    model = reader.completion_model if parameters.completion else None
    metadata["completed"] = model is not None
    if model is not None:
        report("completion", 0.78)
        log2, confidence = Completion(model, reader.source).complete(
            Evidence(readings, readable, guide, detail, propagated),
            reader.confidence,
            lambda fraction: report("completion", min(0.78 + 0.07 * fraction, 0.85)),
        )
    else:
        log2, confidence = propagated.after_all, reader.confidence(readings.certainty)
    del readings, detail, propagated
    report("upsampling", 0.85)

    def planes(rows: slice) -> NDArray[np.floating]:
        return np.stack([log2[rows], confidence[rows] * readable[rows]])

    upsampling = GuidedUpsampling(
        planes,
        lambda rows: colours(guide[:, rows]),
        shape,
        reduction=STRIDE,
        radius=parameters.upsampling_radius,
        eps=parameters.upsampling_eps,
    )
    rows_at_once = min(_MAP_ROWS, STRIDE * max(8, _MAP_PIXELS // (STRIDE * shape[1])))

    def strips() -> Iterator[MapStrip]:
        for top in range(0, shape[0], rows_at_once):
            rgb = _colour_planes(photograph, slice(top, min(top + rows_at_once, shape[0])))
            yield _finished(top, *upsampling.rows(top, rgb))
            report("upsampling", 0.85 + 0.15 * min((top + rows_at_once) / shape[0], 1.0))
        report("done", 1.0)

    return MapStrips(
        shape=shape,
        strips=strips,
        seeds=lambda: _seeds(log2, planes, shape, parameters.seed_confidence),
        method="pyramid",
        sigma_range=SIGMA_RANGE,
        metadata=metadata,
        motion=motion,
    )


def read_blur(
    photograph: Photograph,
    grey: PhotographLuma,
    survey: Survey,
    reader: BlurReader,
    parameters: PyramidParameters,
    done: Callable[[float], None] = lambda _: None,
) -> tuple[Readings, NDArray[np.float16], Motion]:
    """Return readings of blur, how far each is evidence of the lens, and blur by movement (steps 1 to 3).

    Parameters
    ----------
    photograph : H x W px.
    grey : its luma.
    survey : of it, by `survey_photograph`.
    reader : network that reads blur.
    parameters : see `PyramidParameters`.
    done : called with the fraction of the reading that is done, 0..1.

    Returns
    -------
    readings : h x w, h = ceil(H / 4).
    readable : h x w, factors of the readings' certainty, 0..1.
    motion : of the camera or of a subject.

    Examples
    --------
    >>> photograph = Photograph(np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8))
    >>> grey = PhotographLuma(photograph)
    >>> survey = survey_photograph(photograph, grey)
    >>> readings, readable, motion = read_blur(photograph, grey, survey, BlurReader(), PyramidParameters())
    >>> readable.shape
    (24, 32)
    """
    readings = reader.read(grey, done, coarse_luma=survey.coarse_luma, finer_levels=parameters.finer_levels)
    lamps, motion = survey.lamps(photograph), survey.motion(photograph)
    return readings, readability(grey, survey.varying, lamps, readings.log2_sigma, STRIDE, motion), motion


def _colour_planes(photograph: Photograph, rows: slice) -> NDArray[np.float32]:
    """Return whole rows of a photograph, 3 x rows x W, 0..1."""
    planes = np.empty((3, rows.stop - rows.start, photograph.width), np.float32)

    def some(top: int) -> None:
        part = slice(top, min(top + _ROWS_AT_ONCE, rows.stop))
        planes[:, part.start - rows.start : part.stop - rows.start] = np.moveaxis(
            photograph.as_float(np.float32, rows=part), 2, 0
        )

    on_all_cores(some, range(rows.start, rows.stop, _ROWS_AT_ONCE))
    return planes


def _finished(top: int, log2_sigma: NDArray[np.float32], confidence: NDArray[np.float32]) -> MapStrip:
    """Return a strip of the map, computed in place."""
    saturated = np.empty(log2_sigma.shape, np.bool_)

    def some(row: int) -> None:
        part = slice(row, row + _ROWS_AT_ONCE)
        sigma = log2_sigma[part]
        np.clip(np.exp2(sigma, out=sigma), *SIGMA_RANGE, out=sigma)
        np.clip(confidence[part], 0, 1, out=confidence[part])
        np.logical_or(sigma <= SIGMA_RANGE[0], sigma >= SIGMA_RANGE[1], out=saturated[part])

    on_all_cores(some, range(0, len(log2_sigma), _ROWS_AT_ONCE))
    return MapStrip(top, log2_sigma, confidence, saturated)


def _seeds(
    log2_sigma: NDArray[np.float32],
    planes: Callable[[slice], NDArray[np.floating]],
    shape: tuple[int, int],
    least: float,
) -> Seeds:
    confidence = np.empty_like(log2_sigma)
    for top in range(0, len(log2_sigma), _GRID_ROWS):
        rows = slice(top, top + _GRID_ROWS)
        confidence[rows] = planes(rows)[1]
    unsure = confidence < least
    sigma = np.clip(np.exp2(log2_sigma), *SIGMA_RANGE)
    sigma[unsure] = confidence[unsure] = np.nan
    return Seeds.on_grid(sigma, confidence, STRIDE, shape)
