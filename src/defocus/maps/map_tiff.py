"""The TIFF of a map, written while the map's rows are computed, so that its size is bounded by the disk alone.

Rows are compressed as they come, in strips or, for large maps, in tiles, and wait in a temporary file until all of them
are there; then the file is put together. Sigma is its first page, which any program shows. The other planes are
subdirectories of that page. Large maps have overviews, sigma at a half, a quarter, ... of the size, as further pages
marked as reduced copies: GDAL, and so QGIS, shows those while the whole map does not fit on the screen.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias, cast

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from defocus.filters.box import block_average
from defocus.runtime.cores import on_all_cores
from defocus.version import __version__

if TYPE_CHECKING:
    from defocus.maps.map_strips import MapStrips

__all__ = ["COMPACT_PAGES", "DEPTH_PAGES", "LOSSLESS_PAGES", "PAGE_NAME", "Precision", "write_map_tiff"]

Precision: TypeAlias = Literal["compact", "lossless"]
COMPACT_PAGES = {
    "sigma": "standard deviation of the Gaussian blur",
    "confidence": "confidence in sigma, 0..1 (0..255 where it is compact)",
    "saturated": "1 where sigma is at the end of the method's range, a lower bound",
}
"""Names and contents of the pages of a compact file."""
LOSSLESS_PAGES = COMPACT_PAGES | {
    "seeds.sigma": "sigma at the seeds, NaN elsewhere",
    "seeds.probability": "probability of the seeds' sigma, NaN elsewhere",
}
"""Names and contents of the pages of a lossless file."""
DEPTH_PAGES = {"relative_depth": "relative depth, 0 near to 1 far"}
"""Name and content of the last page, which is there only where a method estimates depth."""
PAGE_NAME = 285
"""TIFF tag of the name of a page."""

_LARGE = 2**25
"""Number of pixels above which a map is stored in tiles, and with overviews."""
_TILE = 512
"""Side of a tile, px."""
_STRIP_BYTES = 2**20
"""Size of a strip before compression."""
_BAND_BYTES = 2**23
"""Size of the rows that are compressed at once, in parallel."""
_IN_CACHE = 2**17
"""Number of pixels that are converted at once: they fit into the cache of a processor."""
_IN_MEMORY = 2**23
"""Size in bytes of the compressed planes up to which they wait in memory."""
_SIGNIFICANT_BITS = 8
"""Significant bits of sigma in a compact file."""
# Classic TIFF addresses 4 GiB; the margin is for tags.
_CLASSIC_TIFF_BYTES = 2**32 - 2**26


def write_map_tiff(
    folder: Path,
    file: BinaryIO,
    strips: MapStrips,
    *,
    description: Callable[[], str],
    tags: Sequence[tuple[Any, ...]],
    precision: Precision,
    reduced: int,
) -> None:
    """Write the TIFF of a map, computing each of its strips once.

    Parameters
    ----------
    folder : folder that takes the temporary file.
    file : binary file, open for reading and writing, empty.
    strips : the map.
    description : returns the description of the first page, ASCII; called once all strips have been computed, so that
        it may say what they showed.
    tags : further tags of the first page, as `tifffile` takes them.
    precision : "compact" for sigma of 8 significant bits and confidence in steps of 1/255; "lossless" for every bit,
        and the seeds.
    reduced : side in px of the blocks whose means are saved, 1 or more. With more than 1 there are no seeds.

    Raises
    ------
    ValueError
        If the strips do not have the rows of the map.
    OSError
        If the disk is full.
    """
    height, width = (-(-side // reduced) for side in strips.shape)
    exact = precision == "lossless"
    large = height * width > _LARGE
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, dir=str(folder)) as temporary:
        spool = cast(BinaryIO, temporary)

        def plane(encoding: _Encoding, of_sigma: bool = False) -> _Plane:
            return _Plane((height, width), encoding, spool, tiled=large, of_sigma=of_sigma)

        sigma = plane(_EXACT if exact else _ROUNDED, of_sigma=True)
        confidence, saturated = plane(_EXACT if exact else _CONFIDENCE), plane(_BYTES)
        overviews = _Overviews((height, width), _EXACT if exact else _ROUNDED, spool) if large else None
        for sigma_rows, confidence_rows, saturated_rows in _rows(strips, reduced):
            sigma.add(sigma_rows)
            confidence.add(confidence_rows)
            saturated.add(saturated_rows)
            if overviews is not None:
                overviews.add(sigma_rows)
            del sigma_rows, confidence_rows, saturated_rows  # their memory serves the next strip
        planes = {"sigma": sigma, "confidence": confidence, "saturated": saturated}
        if exact and reduced == 1:
            seeds = strips.seeds()
            for name, values in (("seeds.sigma", seeds.sigma), ("seeds.probability", seeds.probability)):
                planes[name] = plane(_APART)
                planes[name].add(values)
        if strips.relative_depth is not None:
            planes["relative_depth"] = plane(_EXACT if exact else _ROUNDED)
            planes["relative_depth"].add(np.asarray(block_average(strips.relative_depth, reduced), np.float32))
        for each in planes.values():
            each.finish()
        smaller = overviews.finish() if overviews is not None else []
        size = sum(each.compressed for each in (*planes.values(), *smaller))
        # A temporary file has a number where tifffile looks for a name.
        handle = tifffile.FileHandle(file, mode="wb", name="map", size=0)
        with tifffile.TiffWriter(handle, bigtiff=size > _CLASSIC_TIFF_BYTES, byteorder="<") as tiff:
            meanings = LOSSLESS_PAGES | DEPTH_PAGES
            for name, each in planes.items():
                first = each is sigma
                each.write(
                    tiff,
                    subifds=len(planes) - 1 if first else 0,
                    description=description() if first else meanings[name],
                    extratags=[(PAGE_NAME, "s", 0, name, True), *(tags if first else ())],
                )
            for each in smaller:
                each.write(tiff, subfiletype=1)


def _rows(
    strips: MapStrips, reduced: int
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.generic]]]:
    """Yield sigma, confidence and saturated, rows x W, from the first row to the last, at the size of the file."""
    if reduced == 1:
        for strip in strips.strips():
            yield strip.sigma, strip.confidence, strip.saturated
            del strip
        return
    waiting: list[tuple[NDArray[Any], ...]] = []

    def averaged(rows: tuple[NDArray[Any], ...]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        sigma, confidence, saturated = (block_average(each.astype(np.float32, copy=False), reduced) for each in rows)
        return np.asarray(sigma, np.float32), np.asarray(confidence, np.float32), np.asarray(saturated >= 0.5)

    for strip in strips.strips():
        waiting.append((strip.sigma, strip.confidence, strip.saturated))
        have = sum(len(rows[0]) for rows in waiting)
        whole = have - have % reduced
        if whole:
            joined = tuple(np.concatenate(parts) for parts in zip(*waiting, strict=True))
            yield averaged(tuple(each[:whole] for each in joined))
            waiting = [tuple(each[whole:] for each in joined)] if have > whole else []
    if waiting:
        yield averaged(tuple(np.concatenate(parts) for parts in zip(*waiting, strict=True)))


@dataclass(frozen=True)
class _Encoding:
    """How a plane is stored.

    Attributes
    ----------
    dtype : type of its values in the file.
    predictor : TIFF's number of the predictor: 1 none, 2 differences, 3 differences of floats byte by byte.
    waiting : type of its values until they are compressed.
    convert : returns a few rows as that type.
    compress : returns a strip or tile, compressed.
    """

    dtype: type[np.generic]
    predictor: int
    waiting: type[np.generic]
    convert: Callable[[NDArray[Any]], NDArray[Any]]
    compress: Callable[[NDArray[Any]], bytes]


def _upper_bits(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Return floats rounded to 8 significant bits, the nearest, so within 0.4 %; 0 and powers of 2 stay.

    Such a float32 ends in 16 bits that are 0. The others are returned, as numbers.

    Parameters
    ----------
    values : float32, finite.

    Examples
    --------
    >>> bits = _upper_bits(np.float32([1.001, 3.0, 0.3]))
    >>> (bits << np.uint32(16)).view(np.float32)
    array([1.        , 3.        , 0.30078125], dtype=float32)
    """
    dropped = 24 - _SIGNIFICANT_BITS
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32) + np.uint32(1 << (dropped - 1))
    bits >>= np.uint32(dropped)
    return bits


def _compressed_upper_bits(bits: NDArray[np.uint16]) -> bytes:
    """Compress float32 of which only the upper 16 bits are not 0, given as numbers.

    Predictor 3 stores, row by row, the first bytes of all values, then their second, third and fourth bytes, and of all
    that the difference from byte to byte. Here the last two are 0 without being computed, and zlib-ng needs half the
    time of libdeflate for as many bytes.
    """
    rows, columns = bits.shape
    predicted = np.zeros((rows, 4 * columns), np.uint8)
    predicted[:, :columns] = bits >> np.uint16(8)
    predicted[:, columns : 2 * columns] = bits & np.uint16(255)
    # One column more: the first of those that are 0 differs from the last that is not.
    changing = predicted[:, : 2 * columns + 1].copy()
    np.subtract(changing[:, 1:], changing[:, :-1], out=predicted[:, 1 : 2 * columns + 1])
    return bytes(imagecodecs.zlibng_encode(cast(Any, predicted), level=3))


def _deflated(values: Any) -> bytes:
    # Takes a third less time than the usual level 6, for a file 3 % larger.
    return bytes(imagecodecs.deflate_encode(values, level=1))


def _as_float32(rows: NDArray[Any]) -> NDArray[np.float32]:
    return rows.astype(np.float32, copy=False)


def _as_bytes(rows: NDArray[Any]) -> NDArray[np.uint8]:
    return rows.astype(np.uint8, copy=False)


def _in_255ths(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.rint(rows * np.float32(255))


def _compressed_bytes(values: NDArray[np.uint8]) -> bytes:
    if not values.any():  # of most photographs nothing is saturated
        return _compressed_zeros(values.shape)
    return _deflated(imagecodecs.delta_encode(np.ascontiguousarray(values), axis=-1))


@lru_cache(maxsize=4)
def _compressed_zeros(shape: tuple[int, ...]) -> bytes:
    return _deflated(np.zeros(shape, np.uint8))


def _compressed_floats(values: NDArray[np.float32]) -> bytes:
    return _deflated(imagecodecs.floatpred_encode(np.ascontiguousarray(values), axis=-1))


def _compressed_apart(values: NDArray[np.float32]) -> bytes:
    return _deflated(np.ascontiguousarray(values))


# Neighbouring values are stored as differences, so that they compress well. Seeds have no neighbours.
_ROUNDED = _Encoding(np.float32, 3, np.uint16, _upper_bits, _compressed_upper_bits)
_EXACT = _Encoding(np.float32, 3, np.float32, _as_float32, _compressed_floats)
_CONFIDENCE = _Encoding(np.uint8, 2, np.uint8, _in_255ths, _compressed_bytes)
_BYTES = _Encoding(np.uint8, 2, np.uint8, _as_bytes, _compressed_bytes)
_APART = _Encoding(np.float32, 1, np.float32, _as_float32, _compressed_apart)


class _Plane:
    """A plane of the file, whose compressed strips or tiles wait in a temporary file.

    Parameters
    ----------
    shape : height and width, px.
    encoding : how it is stored.
    spool : temporary file, which is appended to.
    tiled : whether it is stored in tiles; else in strips.
    of_sigma : whether it is sigma, or an overview of it. Other planes have strips or tiles of half the height: else
        programs show planes of one type as one stack.
    """

    def __init__(
        self, shape: tuple[int, int], encoding: _Encoding, spool: BinaryIO, *, tiled: bool, of_sigma: bool
    ) -> None:
        self.shape, self._encoding, self._spool, self._tiled = shape, encoding, spool, tiled
        height, width = shape
        row_bytes = width * np.dtype(encoding.dtype).itemsize
        if tiled:
            self._rows, self._columns = _TILE if of_sigma else _TILE // 2, _TILE
            band = _TILE
        else:
            rows = max(min(height, _STRIP_BYTES // row_bytes), 2)
            self._rows, self._columns = rows if of_sigma else rows // 2, width
            band = self._rows * max(1, _BAND_BYTES // (self._rows * row_bytes))
        padded = -(-width // self._columns) * self._columns
        self._band = np.empty((min(band, -(-height // self._rows) * self._rows), padded), encoding.waiting)
        self._filled = 0
        self._seen = 0
        self._places: list[tuple[int, int]] = []

    @property
    def compressed(self) -> int:
        """Bytes of the compressed strips or tiles."""
        return sum(count for _, count in self._places)

    def add(self, rows: NDArray[Any]) -> None:
        """Append rows, n x W."""
        width = self.shape[1]
        step = max(1, _IN_CACHE // width)
        at = 0
        while at < len(rows):
            count = min(step, len(rows) - at, len(self._band) - self._filled)
            self._band[self._filled : self._filled + count, :width] = self._encoding.convert(rows[at : at + count])
            self._filled += count
            at += count
            if self._filled == len(self._band):
                self._flush()
        self._seen += len(rows)

    def finish(self) -> None:
        """Compress what is left."""
        if self._seen != self.shape[0]:
            raise ValueError(f"The map has {self.shape[0]} rows, but its strips have {self._seen}.")
        if self._filled:
            self._flush()

    def _flush(self) -> None:
        height, width = self._filled, self.shape[1]
        if self._tiled:
            # Tiles at the border are padded with the nearest values, which compress better than a jump.
            self._band[height:] = self._band[height - 1]
            height = len(self._band)
            self._band[:, width:] = self._band[:, width - 1 : width]
        pieces = [
            self._band[top : min(top + self._rows, height), left : left + self._columns]
            for top in range(0, height, self._rows)
            for left in range(0, self._band.shape[1], self._columns)
        ]
        for contents in on_all_cores(self._encoding.compress, pieces):
            self._places.append((self._spool.tell(), len(contents)))
            self._spool.write(contents)
        self._filled = 0

    def write(self, tiff: tifffile.TiffWriter, **options: Any) -> None:
        """Write the plane as the next page of a file; `options` are those of `tifffile`."""
        rows, columns = self._rows, self._columns
        layout: dict[str, Any] = {"tile": (rows, columns)} if self._tiled else {"rowsperstrip": rows}
        tiff.write(
            self._pieces(),
            shape=self.shape,
            dtype=self._encoding.dtype,
            photometric="minisblack",
            compression="zlib",
            predictor=self._encoding.predictor if self._encoding.predictor > 1 else False,
            software=f"defocus {__version__}",
            metadata=None,
            **layout,
            **options,
        )

    def _pieces(self) -> Iterator[bytes]:
        for start, count in self._places:
            self._spool.seek(start)
            yield self._spool.read(count)


class _Overviews:
    """Sigma at a half, a quarter, ... of the size of a map, down to one tile, as means of 2 x 2 pixels each time."""

    def __init__(self, shape: tuple[int, int], encoding: _Encoding, spool: BinaryIO) -> None:
        self._planes: list[_Plane] = []
        height, width = shape
        while max(height, width) > _TILE:
            height, width = -(-height // 2), -(-width // 2)
            self._planes.append(_Plane((height, width), encoding, spool, tiled=True, of_sigma=True))
        self._odd: list[NDArray[np.float32] | None] = [None] * len(self._planes)

    def add(self, rows: NDArray[np.float32], level: int = 0) -> None:
        """Append rows of the map, or of the overview before `level`."""
        if level == len(self._planes):
            return
        odd = self._odd[level]
        if odd is not None:
            rows = np.concatenate([odd, rows])
        even = len(rows) // 2 * 2
        self._odd[level] = rows[even:].copy() if even < len(rows) else None
        if even:
            self._halve(rows[:even], level)

    def _halve(self, rows: NDArray[np.float32], level: int) -> None:
        half = np.asarray(block_average(rows, 2), np.float32)
        self._planes[level].add(half)
        self.add(half, level + 1)

    def finish(self) -> list[_Plane]:
        """Compress what is left; return the planes, the largest first."""
        for level, plane in enumerate(self._planes):
            odd = self._odd[level]
            if odd is not None:
                self._halve(odd, level)
            plane.finish()
        return self._planes
