"""Blur of every 4 x 4 px by the pyramid network, level by level and tile by tile, by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from defocus.errors import WeightsError
from defocus.filters.box import block_average
from defocus.maps.accuracy import tolerance
from defocus.methods.onnx_file import trusted_model
from defocus.methods.pyramid.few_shapes import run_in_few_shapes
from defocus.methods.pyramid.weights import (
    BINS,
    BINS_PER_LEVEL,
    DEPTH_CHANNELS,
    LOG2_SHARPEST,
    STRIDE,
    bin_sigmas,
    read_card,
    rebuilt,
)
from defocus.methods.registry import find_method
from defocus.methods.session import open_session
from defocus.methods.weights_file import read_contents
from defocus.runtime.cores import available_cores

__all__ = ["BlurReader", "Readings", "halve_repeatedly", "summarise"]

_LEVELS = 5
"""Largest number of levels of the pyramid; the coarsest of them is a sixteenth as wide as the photograph."""
_SMALLEST_LEVEL = 16
"""Least side in px of a level."""
_TILE = 1024
"""Side in px of the tiles that are read at once, with 130 MB of responses."""
_HALO = 32
"""Width in px of the margin around a tile that is read with it. A reading depends on 26 px, so tiles leave no seam."""
_Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Readings:
    """Output of the network for each 4 x 4 px; ceil(H / 4) x ceil(W / 4) float32 each.

    Attributes
    ----------
    log2_sigma : median of log2 of sigma in px.
    certainty : probability that sigma is within a tenth, or 0.15 px, of 2**log2_sigma; 0..1.
    """

    log2_sigma: _Floats
    certainty: _Floats


class BlurReader:
    """The trained network of the pyramid method.

    Parameters
    ----------
    path : ONNX file of `defocus train --method pyramid`, or None for the weights of this package.
    threads : number of threads of ONNX Runtime; None for all cores that this process may use. The result does not
        depend on it.
    device : what the network is run on, see `defocus.methods.session.open_session`.

    Raises
    ------
    WeightsError
        If the file is missing, damaged, or another network.
    ParameterError
        If the device is not there or does not work.
    """

    card: Mapping[str, Any]
    """Model card of the weights."""
    sha256: str
    """SHA-256 of the weights file, to record which weights a map was made with."""

    def __init__(self, path: Path | None = None, threads: int | None = None, device: str = "cpu") -> None:
        source = find_method("pyramid").weights_file(path)
        assert source is not None
        contents, self.sha256 = read_contents(source)
        model = contents if path is None else trusted_model(contents, source, rebuilt)
        self._session = open_session(
            model,
            source,
            threads=available_cores() if threads is None else threads,
            device=device,
            sizes_vary=True,  # tiles at the border are smaller
        )
        self.card = read_card(self._session.metadata, source)

    @property
    def device(self) -> str:
        """What the network has been run on last."""
        return self._session.device

    def confidence(self, certainty: _Floats) -> _Floats:
        """Return how often readings of a certainty were right on held-out scenes; the certainty itself if unknown."""
        curve = self.card.get("calibration")
        if curve is None:
            return certainty
        return np.interp(certainty, curve["certainty"], curve["confidence"]).astype(np.float32)

    def read(self, luma: _Floats, done: Callable[[float], None] = lambda _: None, *, tile: int = _TILE) -> Readings:
        """Read the blur of a photograph.

        Parameters
        ----------
        luma : H x W float32, 0..1, display-referred.
        done : called with the fraction of the work that is done, 0..1.
        tile : side in px of the tiles, a multiple of 8. The result does not depend on it.
        """
        pyramid = halve_repeatedly(luma)
        work = sum(level.size for level in pyramid)
        read = 0
        state = logits = np.empty(0, np.float32)
        finest: Readings | None = None
        for number in reversed(range(len(pyramid))):
            level = pyramid[number]
            grid = (level.shape[0] // STRIDE, level.shape[1] // STRIDE)
            if number == len(pyramid) - 1:
                state = np.zeros((DEPTH_CHANNELS, grid[0] // 2, grid[1] // 2), np.float32)
                logits = np.zeros((BINS, grid[0] // 2, grid[1] // 2), np.float32)
            if number:
                next_state = np.empty((DEPTH_CHANNELS, *grid), np.float32)
                next_logits = np.empty((BINS, *grid), np.float32)
            else:
                finest = Readings(*(np.empty(grid, np.float32) for _ in range(2)))
            for rows in _spans(level.shape[0], tile):
                for columns in _spans(level.shape[1], tile):
                    tile_state, tile_logits = self._read_tile(level, state, logits, rows, columns, number == 0)
                    place = (_readings(rows), _readings(columns))
                    if finest is None:
                        next_state[(slice(None), *place)] = tile_state
                        next_logits[(slice(None), *place)] = tile_logits
                    else:
                        readings = summarise(tile_logits)
                        finest.log2_sigma[place] = readings.log2_sigma
                        finest.certainty[place] = readings.certainty
                    read += (rows.stop - rows.start) * (columns.stop - columns.start)
                    done(read / work)
            if number:
                state, logits = next_state, next_logits
        assert finest is not None
        kept = tuple(slice(-(-side // STRIDE)) for side in luma.shape)
        return Readings(finest.log2_sigma[kept], finest.certainty[kept])

    def _read_tile(
        self, level: _Floats, state: _Floats, logits: _Floats, rows: slice, columns: slice, is_finest: bool
    ) -> tuple[Any, Any]:
        """Return state and logits of a tile, which is read with a margin that is then cut off."""
        wide = [
            slice(max(span.start - _HALO, 0), min(span.stop + _HALO, side))
            for span, side in zip((rows, columns), level.shape, strict=True)
        ]
        coarse = (slice(None), *(slice(span.start // 8, span.stop // 8) for span in wide))
        at_border = [(outer.start == 0, outer.stop == side) for outer, side in zip(wide, level.shape, strict=True)]
        read = run_in_few_shapes(
            self._session,
            ["state", "logits"],
            {
                "pixels": np.ascontiguousarray(level[tuple(wide)])[None, None],
                "coarse_state": np.ascontiguousarray(state[coarse])[None],
                "coarse_logits": np.ascontiguousarray(logits[coarse])[None],
                "finest": np.array(is_finest),
            },
            (at_border[0], at_border[1]),
        )
        if not all(np.isfinite(each).all() for each in read):
            raise WeightsError("The weights' numbers are so large that the network overflows; train them again.")
        inner = tuple(
            slice((span.start - outer.start) // STRIDE, (span.stop - outer.start) // STRIDE)
            for span, outer in zip((rows, columns), wide, strict=True)
        )
        return read[0][0][(slice(None), *inner)], read[1][0][(slice(None), *inner)]


def halve_repeatedly(luma: _Floats) -> list[_Floats]:
    """Return the levels of the pyramid, the finest first: means of 2 x 2 px, mirrored to sides divisible by 8.

    There are up to 5 levels, each with sides of at least 16 px.
    """
    count = 1
    while count < _LEVELS and min(luma.shape) >> count >= _SMALLEST_LEVEL:
        count += 1
    multiple = 8 << (count - 1)
    level = np.pad(luma, [(0, -side % multiple) for side in luma.shape], mode="symmetric")
    pyramid = [level]
    for _ in range(count - 1):
        pyramid.append(block_average(pyramid[-1], 2))
    return pyramid


def summarise(logits: NDArray[np.floating]) -> Readings:
    """Return median and certainty for 37 x h x w log-likelihoods."""
    sigmas = bin_sigmas().astype(np.float32)
    probability = np.exp(logits - logits.max(0))
    probability /= probability.sum(0)
    # Where two sigmas are probable, the median is one of them and has the least expected absolute error, while the mean
    # is neither. Probability is uniform within a bin: a bin below one half counts whole, the one that crosses it in
    # part.
    place, left = np.full(logits.shape[1:], -0.5, np.float32), np.full(logits.shape[1:], 0.5, np.float32)
    for part in probability:
        place += np.minimum(left / np.maximum(part, np.float32(1e-12)), 1)
        left -= np.minimum(part, left)
    median = np.float32(LOG2_SHARPEST) + place / np.float32(BINS_PER_LEVEL)
    sigma = np.exp2(median)
    off = tolerance(sigma)
    # A bin is a seventh of its sigma wide, about as wide as the tolerance, so the part of each within it is counted.
    half = np.float32(2 ** (0.5 / BINS_PER_LEVEL))
    certainty = np.zeros_like(median)
    for bin_sigma, part in zip(sigmas, probability, strict=True):
        low, high = bin_sigma / half, bin_sigma * half
        inside = np.minimum(high, sigma + off) - np.maximum(low, sigma - off)
        certainty += part * np.clip(inside / (high - low), 0, 1)
    return Readings(median, np.minimum(certainty, 1))


def _spans(length: int, tile: int) -> list[slice]:
    return [slice(start, min(start + tile, length)) for start in range(0, length, tile)]


def _readings(span: slice) -> slice:
    return slice(span.start // STRIDE, span.stop // STRIDE)
