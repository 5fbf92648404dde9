"""Step 5 of the pyramid method: a network completes the readings from colours, likelihoods and what was propagated.

A plain wall shows no blur, but its surroundings do: a blurred outline belongs to the nearer of two things, a wall
ends where it ends, blur grows along a floor. Propagation along colours knows none of that. This network, a U-Net
(Ronneberger et al., MICCAI 2015) on the readings' grid, a sixteenth of the pixels, has learned it from scenes with
bare surfaces. It starts from the propagated map, and says of each of its values how probable it is to be right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from defocus.errors import WeightsError
from defocus.methods.pyramid.blur_reader import Readings
from defocus.methods.pyramid.completion_weights import CHANNELS, COARSEST, read_completion_card
from defocus.methods.pyramid.confidence import confidence_by_card
from defocus.methods.pyramid.filling import Filled
from defocus.methods.pyramid.survey import colours
from defocus.methods.session import open_session
from defocus.runtime.cores import available_cores

__all__ = ["Completion", "Evidence", "evidence_planes", "range_of", "share_of_propagated"]

_QUANTILES = (0.05, 0.5, 0.95)
"""Quantiles of the certain readings that stand for the range of a photograph's blur."""
_HISTOGRAM = (-2.0, 5.5, 150)
"""Limits and number of bins of log2 of sigma from which the quantiles are computed."""
_LEAST = 0.3
"""Certainty above which a reading counts for the range of a photograph's blur."""
_BELIEVED = (0.3, 0.55)
"""Certainty of a reading up to which the network's value counts alone, and from which on the propagated one does, which
is then the reading but for its noise. The network adds nothing to good readings, and is less sure of fine detail."""
_TILE, _HALO = 768, 192
"""Side in readings of the tiles that are completed at once, and width of the margin that is read with them, as far as
the network sees. Both are multiples of `COARSEST`, so that its blocks lie in the same places in all tiles."""


@dataclass(frozen=True)
class Evidence:
    """What is known of each 4 x 4 px of a photograph before it is completed.

    Attributes
    ----------
    readings : of the network, h x w.
    readable : h x w float16, factors of the readings' certainty, 0..1.
    guide : 3 x h x w uint16, mean colours, 0..65535.
    detail : h x w float16, standard deviation of luma within the block, 0..1.
    propagated : certain readings, propagated to where nothing could be read.
    """

    readings: Readings
    readable: NDArray[np.float16]
    guide: NDArray[np.uint16]
    detail: NDArray[np.float16]
    propagated: Filled


def range_of(readings: Readings, readable: NDArray[np.float16]) -> NDArray[np.float32]:
    """Return three quantiles (5, 50 and 95 %) of log2 of sigma, of readings weighted by their certainty.

    Parameters
    ----------
    readings : h x w.
    readable : h x w, factors of their certainty, 0..1.

    Returns
    -------
    3 float32, ascending. All are the median of all readings where none is certain.

    Examples
    --------
    >>> readings = Readings.empty((4, 4))
    >>> readings.log2_sigma[:] = 1.0
    >>> readings.certainty[:] = 0.9
    >>> range_of(readings, np.ones((4, 4), np.float16)).round(1)
    array([1., 1., 1.], dtype=float32)
    """
    low, high, bins = _HISTOGRAM
    counts = np.zeros(bins)
    rows = max(1, (1 << 20) // readings.certainty.shape[1])
    for top in range(0, len(readings.certainty), rows):
        part = slice(top, top + rows)
        weight = np.maximum(readings.certainty[part] * readable[part] - np.float32(_LEAST), np.float32(1e-6))
        place = np.clip((readings.log2_sigma[part] - low) * (bins / (high - low)), 0, bins - 1).astype(np.intp)
        counts += np.bincount(place.ravel(), weight.ravel(), minlength=bins)
    share = np.cumsum(counts) / counts.sum()
    edges = low + (np.arange(bins) + 0.5) * (high - low) / bins
    return np.asarray(edges[np.searchsorted(share, _QUANTILES)], np.float32)


def evidence_planes(
    evidence: Evidence, limits: NDArray[np.float32], rows: slice, columns: slice
) -> NDArray[np.float32]:
    """Return the planes that the network takes, 15 x h x w, of rows and columns of the readings.

    Parameters
    ----------
    evidence : what is known of the photograph.
    limits : range of its blur, by `range_of`.
    """
    place = (rows, columns)
    readings = evidence.readings.at(*place)
    propagated = evidence.propagated.after_one[place]
    planes = np.empty((CHANNELS, *propagated.shape), np.float32)
    planes[:3] = colours(evidence.guide[:, rows, columns]) - np.float32(0.5)
    planes[3] = readings.log2_sigma * np.float32(0.5)
    planes[4] = propagated * np.float32(0.5)
    planes[5] = readings.log2_sigma - propagated
    planes[6] = 2 * readings.certainty - 1
    planes[7] = 2 * readings.smaller.astype(np.float32)
    planes[8] = 2 * readings.larger.astype(np.float32)
    planes[9] = readings.coarser - readings.log2_sigma
    planes[10] = 2 * evidence.readable[place].astype(np.float32) - 1
    planes[11] = np.log2(np.maximum(evidence.detail[place].astype(np.float32), 0) * 255 + np.float32(0.05)) / 3
    planes[12:] = limits[:, None, None] * np.float32(0.5)
    return planes


def share_of_propagated(certainty: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return how far the map is what was propagated, and not what the network says, 0..1.

    Parameters
    ----------
    certainty : of the readings, with how far each is evidence of the lens, any shape, 0..1.

    Examples
    --------
    >>> share_of_propagated(np.array([0.2, 0.425, 0.9])).round(2)
    array([0. , 0.5, 1. ])
    """
    low, high = (np.asarray(each, certainty.dtype) for each in _BELIEVED)
    return np.clip((certainty - low) / (high - low), 0, 1)


class Completion:
    """The trained network of step 5.

    Parameters
    ----------
    model : by `CompletionWeights.to_onnx`.
    source : the weights file that it comes from.
    threads : number of threads of ONNX Runtime; None for all cores that this process may use. It always runs on the
        CPU, where it takes a sixteenth of the time of the reader.

    Raises
    ------
    WeightsError
        If the model is damaged.
    """

    def __init__(self, model: bytes, source: Path, threads: int | None = None) -> None:
        self._session = open_session(
            model, source, threads=available_cores() if threads is None else threads, sizes_vary=True
        )
        self._card = read_completion_card(self._session.metadata, source)

    def complete(
        self,
        evidence: Evidence,
        confidence_of: Callable[[NDArray[np.float32]], NDArray[np.float32]],
        done: Callable[[float], None] = lambda _: None,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return log2 of sigma in px of every reading, and the probability that it is right, h x w each.

        Parameters
        ----------
        evidence : what is known of the photograph.
        confidence_of : gives how often readings of a certainty were right.
        done : called with the fraction of the work that is done, 0..1.
        """
        shape = evidence.readable.shape
        limits = range_of(evidence.readings, evidence.readable)
        log2, right = np.empty(shape, np.float32), np.empty(shape, np.float32)
        tiles = [(rows, columns) for rows in _spans(shape[0]) for columns in _spans(shape[1])]
        for number, tile in enumerate(tiles):
            rows, columns = (
                slice(max(span.start - _HALO, 0), min(span.stop + _HALO, side))
                for span, side in zip(tile, shape, strict=True)
            )
            planes = evidence_planes(evidence, limits, rows, columns)
            borders = [(0, -side % COARSEST) for side in planes.shape[1:]]
            padded = np.pad(planes, ((0, 0), *borders), mode="edge")[None]
            found = self._session.run(["log2_sigma", "right"], {"planes": padded})
            if not all(np.isfinite(each).all() for each in found):
                raise WeightsError("The weights' numbers are so large that the network overflows; train them again.")
            inner = (
                slice(tile[0].start - rows.start, tile[0].stop - rows.start),
                slice(tile[1].start - columns.start, tile[1].stop - columns.start),
            )
            log2[tile] = found[0][0, 0][inner]
            right[tile] = confidence_by_card(self._card, found[1][0, 0][inner])
            certainty = evidence.readings.certainty[tile] * evidence.readable[tile]
            share = share_of_propagated(certainty)
            log2[tile] += share * (evidence.propagated.after_all[tile] - log2[tile])
            right[tile] += share * (confidence_of(certainty) - right[tile])
            done((number + 1) / len(tiles))
        return log2, right


def _spans(side: int) -> Iterator[slice]:
    """Yield the tiles along one side of the readings; a last one of less than a halo belongs to the one before."""
    first = 0
    while first < side:
        last = first + _TILE
        if side - last < _HALO:
            last = side
        yield slice(first, last)
        first = last
