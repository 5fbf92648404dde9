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

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Lt
from numpy.typing import NDArray

from defocus.evidence import outlined_discs, readability, reduction_for_discs, varies
from defocus.filters.box import block_average, block_sum
from defocus.filters.guided import GuidedUpsampling
from defocus.maps.defocus_map import DefocusMap, Seeds
from defocus.maps.map_strips import MapStrip, MapStrips
from defocus.methods.parameters import Fraction, NotNegativeInt, Parameters, Positive, PositiveInt
from defocus.methods.pyramid.blur_reader import BlurReader, FinerLevels, Readings, whole_level
from defocus.methods.pyramid.luma import PhotographLuma, mirrored, reduced
from defocus.methods.pyramid.weights import STRIDE
from defocus.photograph import Photograph
from defocus.progress import Progress
from defocus.propagation import GridSolution, solve_on_grid
from defocus.runtime.cores import on_all_cores
from defocus.version import __version__

__all__ = ["PRESETS", "SIGMA_RANGE", "PyramidParameters", "estimate"]

SIGMA_RANGE = (0.3, 32.0)
"""Smallest and largest sigma of a map, px."""
_NOTHING = 0.5 / 255
"""Range of luma below which a photograph has nothing to measure."""
_SURVEYED = 128
"""Number of rows of the photograph that are surveyed at once, a multiple of 128."""
_GRID_ROWS = 512
"""Number of rows of readings that are filled at once."""
_MAP_ROWS, _MAP_PIXELS = 256, 2_000_000
"""Largest numbers of rows and of pixels of a strip of the map."""
_ROWS_AT_ONCE = 16
"""Number of rows that a thread converts at once, few enough to stay in the cache."""
_UNITS = 65535
"""Units of the guide's colours, which are held in 16 bits."""
_LEAST_WEIGHT = 1e-4
"""Weight of a reading without certainty, so that the propagation always has a solution."""
_ROUNDS = (1e-3, 1e-3, 1e-4)
"""Relative tolerance of the solver in each round of the propagation. The first two results are used only as a further
colour of the guide."""
_NODE_RADIUS, _NODE_EPS = 2, 1e-4
"""Radius in nodes and regularisation of the upsampling from the nodes of the propagation to the readings."""
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
    finer_levels : where the levels of the pyramid are read: "needed" leaves each out where the next coarser one has
        read blur wide enough for it, "everywhere" reads all of them everywhere, and "coarse" leaves the finest one out
        everywhere, which takes less time, and reads blur below 1 px less exactly.
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
    finer_levels: FinerLevels = "needed"


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
    shape = (photograph.height, photograph.width)
    grey = PhotographLuma(photograph)
    survey = _survey(photograph, grey)
    if survey.brightest - survey.darkest < _NOTHING:
        return DefocusMap.without_evidence(shape, "pyramid", SIGMA_RANGE, metadata=metadata)
    readings = reader.read(
        grey,
        lambda fraction: report("reading", min(0.05 + 0.65 * fraction, 0.7)),
        coarse_luma=survey.coarse_luma,
        finer_levels=parameters.finer_levels,
    )
    metadata["device"] = reader.device
    readable = readability(grey, survey.varying, _lamps(photograph, survey), readings.log2_sigma, STRIDE)
    report("propagation", 0.7)
    log2 = _filled(readings, readable, survey.guide, parameters)
    report("upsampling", 0.85)

    # What is not needed any more takes as much memory as the rest.
    guide, certainty = survey.guide, readings.certainty
    del survey, readings, grey

    def planes(rows: slice) -> NDArray[np.floating]:
        return np.stack([log2[rows], reader.confidence(certainty[rows]) * readable[rows]])

    upsampling = GuidedUpsampling(
        planes,
        lambda rows: _colours(guide[:, rows]),
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
    )


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


@dataclass(frozen=True)
class _Survey:
    """What is computed from all of a photograph before blur is read.

    Attributes
    ----------
    guide : 3 x h x w uint16, mean colour of each 4 x 4 px, 0..65535.
    coarse : luma of the first level of the pyramid that is read for the whole photograph at once.
    level : number of that level.
    varying : bool h x w, whether luma varies within and around each 4 x 4 px.
    darkest, brightest : limits of luma, 0..1.
    """

    guide: NDArray[np.uint16]
    coarse: NDArray[np.float32]
    level: int
    varying: NDArray[np.bool_]
    darkest: float
    brightest: float

    def coarse_luma(self, number: int) -> NDArray[np.float32]:
        """Return the luma of a level that is read for the whole photograph at once."""
        return reduced(self.coarse, number - self.level)


def _survey(photograph: Photograph, grey: PhotographLuma) -> _Survey:
    height, width = grey.shape
    grid = (-(-height // STRIDE), -(-width // STRIDE))
    sides, level = whole_level(grey.shape)
    guide = np.empty((3, *grid), np.uint16)
    varying = np.empty(grid, bool)
    coarse = np.empty((sides[0] >> level, sides[1] >> level), np.float32)

    def look(top: int) -> tuple[float, float]:
        rows = slice(top, min(top + _SURVEYED, sides[0]))
        # Beyond the photograph the pyramid has its mirror image.
        strip = mirrored(grey, rows, slice(0, sides[1]))
        coarse[rows.start >> level : rows.stop >> level] = reduced(strip, level)
        inner = strip[: max(height - top, 0), :width]
        if not inner.size:
            return 1.0, 0.0
        place = slice(top // STRIDE, top // STRIDE - (-len(inner) // STRIDE))
        above = grey[top - 1 : top, :][0] if top else None
        varying[place] = varies(inner, STRIDE, above)
        rgb = photograph.as_float(np.float32, rows=slice(top, top + len(inner)))
        means = np.asarray(block_average(rgb, STRIDE), np.float32)
        guide[:, place] = np.rint(np.moveaxis(means, 2, 0) * np.float32(_UNITS)).astype(np.uint16)
        return float(inner.min()), float(inner.max())

    limits = on_all_cores(look, range(0, sides[0], _SURVEYED))
    return _Survey(guide, coarse, level, varying, min(low for low, _ in limits), max(high for _, high in limits))


def _colours(guide: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return colours of the guide in 0..1."""
    return guide * np.float32(1 / _UNITS)


def _lamps(photograph: Photograph, survey: _Survey) -> NDArray[np.bool_]:
    """Return the readings, bool h x w, at lamps out of focus."""
    factor = reduction_for_discs(photograph.height, photograph.width, STRIDE)
    grid = survey.varying.shape
    if factor < STRIDE:
        small = np.asarray(block_average(photograph.as_float(np.float32), factor), np.float32)
        discs = np.repeat(np.repeat(outlined_discs(small), factor, axis=0), factor, axis=1)
        return np.asarray(
            block_sum(discs[: photograph.height, : photograph.width].astype(np.uint8), STRIDE).astype(bool)
        )
    further = factor // STRIDE
    small = np.moveaxis(_colours(survey.guide), 0, 2)
    if further > 1:
        small = np.asarray(block_average(small, further), np.float32)
    discs = np.repeat(np.repeat(outlined_discs(small), further, axis=0), further, axis=1)
    return discs[: grid[0], : grid[1]]


def _filled(
    readings: Readings, readable: NDArray[np.float16], guide: NDArray[np.uint16], parameters: PyramidParameters
) -> NDArray[np.float32]:
    """Step 4: return log2 of sigma of every reading, h x w, with uncertain ones filled in along the guide's colours."""
    height, width = readings.log2_sigma.shape
    if min(height, width) < 3:
        return readings.log2_sigma
    certainty = readings.certainty * readable
    least = min(parameters.least_certainty, float(np.median(certainty)))
    reduction = max(1, int(np.ceil(np.sqrt(height * width / parameters.largest_grid))))
    reduction = max(1, min(reduction, height // 3, width // 3))
    strips = [
        slice(top, top + reduction * (_GRID_ROWS // reduction))
        for top in range(0, height, reduction * (_GRID_ROWS // reduction))
    ]

    def weight(rows: slice) -> NDArray[np.float32]:
        excess = np.maximum((certainty[rows] - np.float32(least)) / np.float32(1 - least), 0)
        return np.maximum(excess ** np.float32(parameters.certainty_power), np.float32(_LEAST_WEIGHT))

    def on_nodes(values: Callable[[slice], Iterable[NDArray[Any]]], summed: Callable[..., Any]) -> NDArray[Any]:
        # Planes of C x rows x w, reduced to nodes.
        return np.concatenate(
            [np.stack([summed(plane, reduction) for plane in values(rows)]) for rows in strips], axis=1
        )

    def weighed(rows: slice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        each = weight(rows).astype(np.float64) / reduction**2
        return each, each * readings.log2_sigma[rows]

    # Weights are summed over a block: without the division, blocks would follow their readings more closely.
    total, weighted = on_nodes(weighed, block_sum)
    colours = on_nodes(lambda rows: _colours(guide[:, rows]), block_average)
    filled = np.empty((height, width), np.float32)
    solution: GridSolution | None = None
    for number, rtol in enumerate(_ROUNDS):
        if number:
            fill = on_nodes(lambda rows: filled[None, rows], block_average)
            nodes = np.concatenate([colours, np.float32(parameters.octave_as_colour) * fill])
        else:
            nodes = colours
        solution = solve_on_grid(
            weighted[..., None],
            total,
            np.moveaxis(nodes, 0, 2),
            regularisation=parameters.matting_lambda,
            eps=parameters.matting_eps,
            rtol=rtol,
            similar=solution,
        )
        found = np.asarray(solution.values[..., 0], np.float32)
        lift = GuidedUpsampling(
            partial(_rows_of, found[None]),
            partial(_rows_of, nodes),
            (height, width),
            reduction=reduction,
            radius=_NODE_RADIUS,
            eps=_NODE_EPS,
        )
        for rows in strips:
            if reduction == 1:
                lifted = found[rows]
            else:
                planes = _colours(guide[:, rows])
                if number:
                    fill = np.float32(parameters.octave_as_colour) * filled[None, rows]
                    planes = np.concatenate([planes, fill])
                lifted = lift.rows(rows.start, planes)[0]
            if number < len(_ROUNDS) - 1:
                each = weight(rows)
                lifted = (each * readings.log2_sigma[rows] + _FILL_WEIGHT * lifted) / (each + _FILL_WEIGHT)
            filled[rows] = lifted
    return filled


def _rows_of(planes: NDArray[np.floating], rows: slice) -> NDArray[np.floating]:
    return planes[:, rows]


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
