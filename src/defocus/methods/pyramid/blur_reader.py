"""Blur of every 4 x 4 px by the pyramid network, level by level and block by block, by ONNX Runtime.

A level depends on the next coarser one, but only on what is near. So only the coarsest level is read for the whole
photograph at once; the finer ones, which have nearly all the numbers, are read for one block of it after another, with
what surrounds it. Memory hardly grows with the photograph then, except for the readings themselves.

A level tells small sigmas apart. Where the next coarser one has read large ones everywhere, it is not read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from defocus.errors import WeightsError
from defocus.maps.accuracy import tolerance
from defocus.methods.onnx_file import trusted_model
from defocus.methods.pyramid.confidence import confidence_by_card
from defocus.methods.pyramid.few_shapes import run_in_few_shapes
from defocus.methods.pyramid.luma import levels_of, mirrored, reduced
from defocus.methods.pyramid.weights import (
    BINS,
    BINS_PER_LEVEL,
    DEPTH_CHANNELS,
    LOG2_SHARPEST,
    STRIDE,
    completion_model,
    read_card,
    rebuilt,
)
from defocus.methods.registry import find_method
from defocus.methods.session import Session, open_session
from defocus.methods.weights_file import read_contents
from defocus.photograph.regions import Region
from defocus.runtime.cores import available_cores, on_all_cores

__all__ = ["BlurReader", "FinerLevels", "Readings", "padded_sides", "summarise", "whole_level"]

_LEVELS = 5
"""Largest number of levels of the pyramid; the coarsest of them is a sixteenth as wide as the photograph."""
_SMALLEST_LEVEL = 16
"""Least side in px of a level."""
_WHOLE = 4
"""Number, from 0 for the finest, of the first level that is read for the whole photograph at once."""
_BLOCK = 2048
"""Side in px of the blocks of the photograph that the finer levels are read for, a multiple of 256."""
_TILE = 1024
"""Side in px of the tiles of a level that are read at once, with 130 MB of responses."""
_HALO = 32
"""Width in px of the margin around a tile that is read with it. A reading depends on 26 px, so tiles leave no seam."""
_CELL = 128
"""Side in px of a level of the squares for each of which is decided whether the level is read."""
_READ_COARSELY = 2.5
"""Sigma in px of a level from which on the next coarser one is enough, since it sees such blur as half as wide, if all
of its readings in a square are that large. With their median, sharp details in blurred squares were lost."""
FinerLevels = Literal["needed", "everywhere", "coarse"]
"""Where the levels of the pyramid are read."""
_Floats = NDArray[np.float32]
_Halves = NDArray[np.float16]
_Spans = tuple[slice, slice]
_HALF_AN_OCTAVE = np.float32(np.sqrt(2))
"""Factor by which a sigma has to differ from the median to count as smaller or larger."""
_SUMMARISED = 1 << 15
"""Number of readings that a thread summarises at once, which stay in the cache."""


@dataclass(frozen=True)
class Readings:
    """Output of the network for each 4 x 4 px; ceil(H / 4) x ceil(W / 4) each.

    Attributes
    ----------
    log2_sigma : float32, median of log2 of sigma in px.
    certainty : float32, probability that sigma is within a tenth, or 0.15 px, of 2**log2_sigma; 0..1.
    smaller, larger : float16, probability that sigma is more than half an octave below or above 2**log2_sigma; 0..1.
    coarser : float16, the median without the finest level (with it if there is no other).
    """

    log2_sigma: _Floats
    certainty: _Floats
    smaller: _Halves
    larger: _Halves
    coarser: _Halves

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> Readings:
        """Return arrays to be filled."""
        log2_sigma, certainty = np.empty(shape, np.float32), np.empty(shape, np.float32)
        smaller, larger, coarser = (np.empty(shape, np.float16) for _ in range(3))
        return cls(log2_sigma, certainty, smaller, larger, coarser)

    def at(self, *place: slice) -> Readings:
        """Return a part, which shares its memory with the whole."""
        return Readings(
            self.log2_sigma[place], self.certainty[place], self.smaller[place], self.larger[place], self.coarser[place]
        )

    def fill(self, part: Readings) -> None:
        """Copy what was read of a part of the same shape."""
        for mine, other in zip(self._planes(), part._planes(), strict=True):
            mine[...] = other

    def doubled(self) -> Readings:
        """Return what a coarser level has read, for the readings of the next finer one."""
        return Readings(
            _repeated(self.log2_sigma),
            _repeated(self.certainty),
            _repeated(self.smaller),
            _repeated(self.larger),
            _repeated(self.coarser),
        )

    def _planes(self) -> tuple[NDArray[Any], ...]:
        return self.log2_sigma, self.certainty, self.smaller, self.larger, self.coarser


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
    source: Path
    """The weights file."""

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
        self.source = source

    @property
    def device(self) -> str:
        """What the network has been run on last."""
        return self._session.device

    @property
    def completion_model(self) -> bytes | None:
        """ONNX model of the completion that was trained for this network (`defocus.methods.pyramid.completion`)."""
        return completion_model(self._session.metadata, self.source)

    def confidence(self, certainty: _Floats) -> _Floats:
        """Return how often readings of a certainty were right on held-out scenes; the certainty itself if unknown."""
        return confidence_by_card(self.card, certainty)

    def read(
        self,
        luma: Region,
        done: Callable[[float], None] = lambda _: None,
        *,
        coarse_luma: Callable[[int], _Floats] | None = None,
        finer_levels: FinerLevels = "needed",
        tile: int = _TILE,
        block: int = _BLOCK,
    ) -> Readings:
        """Read the blur of a photograph.

        Parameters
        ----------
        luma : H x W, 0..1, display-referred; it is read in parts.
        done : called with the fraction of the work that is done, 0..1.
        coarse_luma : returns the luma of a level that is read for the whole photograph at once, by the number of the
            level; without it, all of `luma` is read for that.
        finer_levels : where levels are read, see `PyramidParameters`; the finest is in any case if there is no other.
        tile, block : sides in px of tiles, a multiple of 8, and of blocks, a multiple of 256. The result depends on
            them by rounding alone, except for which squares are read at the finest level.
        """
        return _Reading(self._session, luma, done, coarse_luma, finer_levels, tile, block).readings()


@dataclass(frozen=True)
class _Level:
    """What was read of one level, or of a part of it.

    Attributes
    ----------
    state, logits : what the network passes on to the next finer level: channels x h x w.
    top, left : row and column, in readings of the level, of the first of them.
    """

    state: _Floats
    logits: _Floats
    top: int = 0
    left: int = 0

    def at(self, rows: slice, columns: slice) -> tuple[_Floats, _Floats]:
        """Return state and logits of rows and columns of readings of the level."""
        part = (
            slice(None),
            slice(rows.start - self.top, rows.stop - self.top),
            slice(columns.start - self.left, columns.stop - self.left),
        )
        return np.ascontiguousarray(self.state[part]), np.ascontiguousarray(self.logits[part])


class _Reading:
    """The reading of one photograph."""

    def __init__(
        self,
        session: Session,
        luma: Region,
        done: Callable[[float], None],
        coarse_luma: Callable[[int], _Floats] | None,
        finer_levels: FinerLevels,
        tile: int,
        block: int,
    ) -> None:
        self._session, self._luma, self._done, self._tile, self._block = session, luma, done, tile, block
        self._finer_levels = finer_levels
        shape = (luma.shape[0], luma.shape[1])
        self._sides, count = padded_sides(shape)
        self._whole = whole_level(shape)[1]
        self._work = sum(self._side(number, 0) * self._side(number, 1) for number in range(count))
        self._read = 0
        if coarse_luma is None:
            grey = mirrored(luma, slice(0, self._sides[0]), slice(0, self._sides[1]))
            coarse_luma = lambda number: reduced(grey, number)  # noqa: E731
        self._coarse: _Level | None = None
        for number in reversed(range(self._whole, count)):
            level = coarse_luma(number)
            everything = (slice(0, level.shape[0]), slice(0, level.shape[1]))
            self._coarse = self._read_level(number, level, (0, 0), everything, self._coarse)

    def readings(self) -> Readings:
        """Read all blocks of the finest level."""
        shape = (self._sides[0] // STRIDE, self._sides[1] // STRIDE)
        result = Readings.empty(shape)
        if self._whole == 0:
            assert self._coarse is not None
            result.fill(summarise(self._coarse.logits))
        else:
            for rows in _spans(self._sides[0], self._block):
                for columns in _spans(self._sides[1], self._block):
                    self._read_block(result, (rows, columns))
        kept = tuple(slice(-(-side // STRIDE)) for side in self._luma.shape)
        return result.at(*kept)

    def _read_block(self, result: Readings, block: _Spans) -> None:
        """Read one block of the photograph at the levels that are not read as a whole, the coarsest first."""
        # The parts of the levels that the block depends on, and of each what is read with it.
        parts = [block]
        wide = [self._widened(0, block)]
        for number in range(1, self._whole):
            parts.append(_in_eighths(_halved(wide[-1])))
            wide.append(self._widened(number, parts[-1]))
        outermost = tuple(
            slice(
                min(each[axis].start << n for n, each in enumerate(wide)),
                max(each[axis].stop << n for n, each in enumerate(wide)),
            )
            for axis in range(2)
        )
        levels = levels_of(self._luma, outermost[0], outermost[1], self._whole)
        places = [(outermost[0].start >> n, outermost[1].start >> n) for n in range(self._whole)]
        coarse = self._coarse
        assert coarse is not None
        for number in reversed(range(1, self._whole)):
            coarse = self._read_level(number, levels[number], places[number], parts[number], coarse)
        _, logits = coarse.at(*_in_readings(_halved(block)))
        kept = summarise(logits, octaves=1)
        result.at(*_in_readings(block)).fill(kept.doubled())
        if self._finer_levels != "coarse":
            wanted = _near_sharpness(kept.log2_sigma, number=0) if self._finer_levels == "needed" else None
            for rows, columns in self._tiles(wanted, block):
                _, logits = self._read_tile(0, levels[0], places[0], coarse, (rows, columns))
                finest = result.at(_readings(rows), _readings(columns))
                finest.fill(replace(summarise(logits), coarser=finest.coarser))
        self._progress(block)

    def _read_level(
        self, number: int, level: _Floats, place: tuple[int, int], part: _Spans, coarse: _Level | None
    ) -> _Level:
        """Read a part of a level, tile by tile; `place` is the row and column of the first pixel in `level`."""
        grid = tuple((span.stop - span.start) // STRIDE for span in part)
        read = _Level(
            np.empty((DEPTH_CHANNELS, *grid), np.float32),
            np.empty((BINS, *grid), np.float32),
            part[0].start // STRIDE,
            part[1].start // STRIDE,
        )
        wanted = None
        if coarse is not None and number < self._whole and self._finer_levels != "everywhere":
            state, logits = coarse.at(*_in_readings(_halved(part)))
            # With the squares around, since what is read there depends on what the coarser level passes on here.
            wanted = ndimage.binary_dilation(
                _near_sharpness(summarise(logits, octaves=number + 1).log2_sigma, number), np.ones((3, 3), bool)
            )
            if not wanted.all():
                read.state[:] = _repeated(state)
                # Blur is twice as wide in px of this level, so it is in a bin an octave further on.
                read.logits[BINS_PER_LEVEL:] = _repeated(logits[:-BINS_PER_LEVEL])
                read.logits[:BINS_PER_LEVEL] = _repeated(logits[:1])
        for rows, columns in self._tiles(wanted, part):
            state, logits = self._read_tile(number, level, place, coarse, (rows, columns))
            at = (
                slice(None),
                slice(rows.start // STRIDE - read.top, rows.stop // STRIDE - read.top),
                slice(columns.start // STRIDE - read.left, columns.stop // STRIDE - read.left),
            )
            read.state[at], read.logits[at] = state, logits
        self._progress(part)
        return read

    def _tiles(self, wanted: NDArray[np.bool_] | None, part: _Spans) -> Iterator[_Spans]:
        """Yield the tiles of the squares that are wanted (all if None) of a part of a level."""
        rectangles = [part]
        if wanted is not None:
            rectangles = [
                (_in_pixels(rows, part[0]), _in_pixels(columns, part[1])) for rows, columns in _rectangles(wanted)
            ]
        for rectangle in rectangles:
            for rows in _spans(rectangle[0].stop, self._tile, rectangle[0].start):
                for columns in _spans(rectangle[1].stop, self._tile, rectangle[1].start):
                    yield rows, columns

    def _read_tile(
        self, number: int, level: _Floats, place: tuple[int, int], coarse: _Level | None, tile: _Spans
    ) -> tuple[Any, Any]:
        """Return state and logits of a tile, which is read with a margin that is then cut off."""
        wide = self._widened(number, tile)
        pixels = level[
            tuple(slice(span.start - start, span.stop - start) for span, start in zip(wide, place, strict=True))
        ]
        eighths = (slice(wide[0].start // 8, wide[0].stop // 8), slice(wide[1].start // 8, wide[1].stop // 8))
        if coarse is None:
            shape = tuple(span.stop - span.start for span in eighths)
            state = np.zeros((DEPTH_CHANNELS, *shape), np.float32)
            logits = np.zeros((BINS, *shape), np.float32)
        else:
            state, logits = coarse.at(*eighths)
        # The state of the finest level is needed by nobody, and large.
        wanted = ["state", "logits"] if number else ["logits"]
        rows_at_border, columns_at_border = (
            (span.start == 0, span.stop == self._side(number, axis)) for axis, span in enumerate(wide)
        )
        read = run_in_few_shapes(
            self._session,
            wanted,
            {
                "pixels": np.ascontiguousarray(pixels)[None, None],
                "coarse_state": state[None],
                "coarse_logits": logits[None],
                "finest": np.array(number == 0),
            },
            (rows_at_border, columns_at_border),
        )
        if not np.isfinite(read[-1]).all():
            raise WeightsError("The weights' numbers are so large that the network overflows; train them again.")
        inner = (
            slice(None),
            *(
                slice((span.start - outer.start) // STRIDE, (span.stop - outer.start) // STRIDE)
                for span, outer in zip(tile, wide, strict=True)
            ),
        )
        return (read[0][0][inner] if number else None), read[-1][0][inner]

    def _widened(self, number: int, part: _Spans) -> _Spans:
        """Return a part of a level with the margin that is read with it, within the level."""
        rows, columns = (
            slice(max(span.start - _HALO, 0), min(span.stop + _HALO, self._side(number, axis)))
            for axis, span in enumerate(part)
        )
        return rows, columns

    def _side(self, number: int, axis: int) -> int:
        return self._sides[axis] >> number

    def _progress(self, part: _Spans) -> None:
        self._read += (part[0].stop - part[0].start) * (part[1].stop - part[1].start)
        self._done(min(self._read / self._work, 1.0))


def padded_sides(shape: tuple[int, int]) -> tuple[tuple[int, int], int]:
    """Return the sides of the finest level, which the mirrored photograph fills, and the number of levels.

    There are up to 5 levels, each with sides of at least 16 px that are divisible by 8.

    Examples
    --------
    >>> padded_sides((300, 400)), padded_sides((5, 9))
    (((384, 512), 5), ((8, 16), 1))
    """
    count = 1
    while count < _LEVELS and min(shape) >> count >= _SMALLEST_LEVEL:
        count += 1
    multiple = 8 << (count - 1)
    return (-(-shape[0] // multiple) * multiple, -(-shape[1] // multiple) * multiple), count


def whole_level(shape: tuple[int, int]) -> tuple[tuple[int, int], int]:
    """Return the sides of the finest level, and the number of the first level that is read as a whole.

    Examples
    --------
    >>> whole_level((300, 400)), whole_level((5, 9))
    (((384, 512), 4), ((8, 16), 0))
    """
    sides, count = padded_sides(shape)
    return sides, min(_WHOLE, count - 1)


def summarise(logits: NDArray[np.floating], octaves: int = 0) -> Readings:
    """Return median and certainty for 37 x h x w log-likelihoods.

    Parameters
    ----------
    logits : log-likelihoods of the bins of sigma, not normalised.
    octaves : by how many octaves the sigmas of the level are multiplied.

    Examples
    --------
    >>> logits = np.full((37, 1, 1), -50.0)
    >>> logits[10] = 0  # sigma is within the bin of 1.07 px
    >>> found = summarise(logits)
    >>> round(float(np.exp2(found.log2_sigma[0, 0])), 2), round(float(found.certainty[0, 0]), 2)
    (1.07, 1.0)
    """
    result = Readings.empty(logits.shape[1:])
    rows = max(1, _SUMMARISED // max(logits.shape[2], 1))

    def some(top: int) -> None:
        part = slice(top, top + rows)
        _summarise(logits[:, part], octaves, result.at(part))

    on_all_cores(some, range(0, logits.shape[1], rows))
    return result


def _summarise(logits: NDArray[np.floating], octaves: int, result: Readings) -> None:
    below = np.empty((len(logits) + 1, *logits.shape[1:]), np.float32)
    below[0] = 0
    probability = np.exp(np.subtract(logits, logits.max(0), out=below[1:]), out=below[1:])
    for k in range(1, len(probability)):
        probability[k] += probability[k - 1]
    below /= below[-1].copy()
    # Where two sigmas are probable, the median is one of them and has the least expected absolute error, while the mean
    # is neither. Probability is uniform within a bin.
    bin_of_median = np.minimum((below[1:] < 0.5).sum(0, dtype=np.intp), len(logits) - 1)
    low, high = _at(below, bin_of_median), _at(below, bin_of_median + 1)
    place = bin_of_median - 0.5 + (0.5 - low) / np.maximum(high - low, 1e-12)
    result.log2_sigma[:] = LOG2_SHARPEST + octaves + place / BINS_PER_LEVEL
    result.coarser[:] = result.log2_sigma
    sigma: _Floats = np.exp2(result.log2_sigma)
    off = tolerance(sigma)
    # A bin is a seventh of its sigma wide, about as wide as the tolerance, so the part of each within it is counted.
    within = _below(below, sigma + off, octaves) - _below(below, sigma - off, octaves)
    np.minimum(within, 1, out=result.certainty)
    result.smaller[:] = _below(below, np.divide(sigma, _HALF_AN_OCTAVE, dtype=np.float32), octaves)
    result.larger[:] = 1 - _below(below, np.multiply(sigma, _HALF_AN_OCTAVE, dtype=np.float32), octaves)


def _below(cumulative: _Floats, sigma: _Floats, octaves: int) -> _Floats:
    """Return the probability of less than a sigma, uniform over the sigmas of each bin."""
    half = np.float32(0.5 / BINS_PER_LEVEL)
    first = np.float32(LOG2_SHARPEST + octaves) - half
    place = (np.log2(np.maximum(sigma, np.float32(1e-3))) - first) * np.float32(BINS_PER_LEVEL)
    number = np.clip(np.floor(place), 0, len(cumulative) - 2).astype(np.intp)
    edges = np.exp2(first + np.arange(len(cumulative), dtype=np.float32) / np.float32(BINS_PER_LEVEL))
    part = np.clip((sigma - edges[number]) / (edges[number + 1] - edges[number]), 0, 1)
    low = _at(cumulative, number)
    return low + part * (_at(cumulative, number + 1) - low)


def _at(planes: _Floats, number: NDArray[np.intp]) -> _Floats:
    """Return for each position the value of the plane of that number."""
    return np.take_along_axis(planes, number[None], axis=0)[0]


def _near_sharpness(log2_sigma: _Floats, number: int) -> NDArray[np.bool_]:
    """Return the squares of `_CELL` px of a level that have to be read, by what the next coarser level has read.

    Parameters
    ----------
    log2_sigma : readings of the coarser level, log2 of sigma in px of the photograph.
    number : number of the level, from 0 for the finest.
    """
    side = _CELL // (2 * STRIDE)
    rows, columns = (np.arange(0, n, side) for n in log2_sigma.shape)
    smallest = np.minimum.reduceat(np.minimum.reduceat(log2_sigma, rows, axis=0), columns, axis=1)
    return np.asarray(smallest < np.log2(_READ_COARSELY) + number)


def _in_pixels(squares: slice, part: slice) -> slice:
    return slice(part.start + squares.start * _CELL, min(part.start + squares.stop * _CELL, part.stop))


def _rectangles(wanted: NDArray[np.bool_]) -> list[_Spans]:
    """Return rectangles that cover the squares wanted, as spans of squares; they do not overlap."""
    left = wanted.copy()
    found = []
    while left.any():
        y, x = (int(each) for each in np.unravel_index(left.argmax(), left.shape))
        across = x + 1
        while across < left.shape[1] and left[y, across]:
            across += 1
        down = y + 1
        while down < left.shape[0] and left[down, x:across].all():
            down += 1
        left[y:down, x:across] = False
        found.append((slice(y, down), slice(x, across)))
    # Each rectangle is read with its margin. Many small ones cost more than a single large one that holds them all.
    cost = sum((_length(rows) + 2 * _HALO) * (_length(columns) + 2 * _HALO) for rows, columns in found)
    rows, columns = (np.flatnonzero(wanted.any(axis)) for axis in (1, 0))
    if not found:
        return []
    whole = (slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
    largest = (_length(whole[0]) + 2 * _HALO) * (_length(whole[1]) + 2 * _HALO)
    return found if cost < largest else [whole]


def _length(squares: slice) -> int:
    return (squares.stop - squares.start) * _CELL


def _repeated(planes: NDArray[Any]) -> NDArray[Any]:
    return np.repeat(np.repeat(planes, 2, axis=-2), 2, axis=-1)


def _spans(stop: int, step: int, start: int = 0) -> list[slice]:
    return [slice(first, min(first + step, stop)) for first in range(start, stop, step)]


def _halved(part: _Spans) -> _Spans:
    rows, columns = (slice(span.start // 2, span.stop // 2) for span in part)
    return rows, columns


def _in_eighths(part: _Spans) -> _Spans:
    """Return the smallest part of a level that holds `part` and has limits that are multiples of 8 px."""
    rows, columns = (slice(span.start // 8 * 8, -(-span.stop // 8) * 8) for span in part)
    return rows, columns


def _in_readings(part: _Spans) -> _Spans:
    return _readings(part[0]), _readings(part[1])


def _readings(span: slice) -> slice:
    return slice(span.start // STRIDE, span.stop // STRIDE)
