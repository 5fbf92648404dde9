"""Pixels that stay in their file until they are needed, so that a photograph may be larger than memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from defocus.errors import PhotographError
from defocus.photograph.orientation import turn_upright
from defocus.photograph.source import available_memory
from defocus.runtime.cores import on_all_cores

__all__ = ["Pieces", "StoredPixels"]

_KEPT_BYTES, _MOST_KEPT_BYTES = 2**26, 2**28
"""Bytes of decoded strips and tiles that are kept: usually, and at most, where one rectangle needs more of them."""
_BAND_BYTES = 2**24
"""Bytes of the rows that are read at once where the whole is wanted."""


@dataclass(frozen=True, eq=False)
class Pieces:
    """A grid of strips or tiles, each of which can be decoded by itself.

    Attributes
    ----------
    height, width, channels : size of the picture as it is stored, px, and its channels.
    rows, columns : size of a strip or tile, px; at the lower and the right border they may be smaller.
    dtype : type of the decoded values.
    decode : returns a strip or tile, h x w x C, by its number; in parallel from several threads. Numbers go row by row
        through the grid.
    separate : whether each channel is stored by itself, one grid after another. Then a piece has one channel.
    """

    height: int
    width: int
    channels: int
    rows: int
    columns: int
    dtype: np.dtype[Any]
    decode: Callable[[int], NDArray[Any]]
    separate: bool = False


class _Kept:
    """The pieces decoded last; each is decoded once, however many threads ask for it at a time."""

    def __init__(self, pieces: Pieces) -> None:
        self.pieces = pieces
        self._lock = threading.Lock()
        self._decoded: OrderedDict[int, Future[NDArray[Any]]] = OrderedDict()
        self._bytes, self._most = 0, _KEPT_BYTES

    def rectangle(self, top: int, bottom: int, left: int, right: int) -> NDArray[Any]:
        """Return a rectangle of the stored picture, h x w x C."""
        grid = self.pieces
        if top == bottom or left == right:
            return np.empty((bottom - top, right - left, grid.channels), grid.dtype)
        first, last = top // grid.rows, -(-bottom // grid.rows)
        before, behind = left // grid.columns, -(-right // grid.columns)
        across, down = -(-grid.width // grid.columns), -(-grid.height // grid.rows)
        # The next rectangle beside this one needs the same strips again.
        needed = (last - first) * grid.rows * (behind - before) * grid.columns * grid.channels * grid.dtype.itemsize
        self._most = max(self._most, min(needed, _MOST_KEPT_BYTES))
        result = np.empty((bottom - top, right - left, grid.channels), grid.dtype)
        for plane in range(grid.channels if grid.separate else 1):
            channels = slice(plane, plane + 1) if grid.separate else slice(None)
            for row in range(first, last):
                for column in range(before, behind):
                    piece = self._piece(plane * across * down + row * across + column)
                    y, x = row * grid.rows, column * grid.columns
                    inner = piece[max(top - y, 0) : bottom - y, max(left - x, 0) : right - x]
                    y, x = max(y - top, 0), max(x - left, 0)
                    result[y : y + inner.shape[0], x : x + inner.shape[1], channels] = inner
        return result

    def _piece(self, number: int) -> NDArray[Any]:
        with self._lock:
            decoded = self._decoded.get(number)
            ours = decoded is None
            if decoded is None:
                decoded = self._decoded[number] = Future()
            self._decoded.move_to_end(number)
        if ours:
            try:
                piece = self.pieces.decode(number)
            except BaseException as error:
                with self._lock:
                    del self._decoded[number]
                decoded.set_exception(error)
                raise
            decoded.set_result(piece)
            with self._lock:
                self._bytes += piece.nbytes
                self._forget()
        return decoded.result()

    def _forget(self) -> None:
        """Drop the pieces that were needed longest ago, but for those that are being decoded."""
        for number in list(self._decoded):
            if self._bytes <= self._most:
                break
            if self._decoded[number].done():
                self._bytes -= self._decoded.pop(number).result().nbytes


class StoredPixels:
    """The pixels of a photograph, H x W x 3, which are read from its file when they are asked for.

    `pixels[rows, columns]` with two slices of step 1, and `pixels[row]`, read that part and return an array that may
    not be written to, upright and in sRGB: the same as of the photograph read whole. Any other index, and
    `np.asarray(pixels)`, read the whole. Several threads may read at the same time. The file is kept open, so it may be
    renamed or deleted meanwhile (on Windows that has to wait).

    Parameters
    ----------
    pieces : the strips or tiles of the file.
    name : name for messages.

    Attributes
    ----------
    shape, dtype, ndim, size, nbytes : as of an array.

    Examples
    --------
    >>> stored = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    >>> pieces = Pieces(4, 5, 3, 2, 5, stored.dtype, lambda number: stored[2 * number : 2 * number + 2])
    >>> pixels = StoredPixels(pieces, "example.tif")
    >>> pixels.shape, pixels[1:3, 2:4].tolist() == stored[1:3, 2:4].tolist()
    ((4, 5, 3), True)
    """

    ndim = 3

    def __init__(self, pieces: Pieces, name: str) -> None:
        self._name = name
        self._kept = _Kept(pieces)
        self._changes: tuple[Callable[[NDArray[Any]], NDArray[Any]], ...] = ()
        self._orientation = 1
        self._top = self._left = 0
        self.dtype = pieces.dtype
        self.shape: tuple[int, int, int] = (pieces.height, pieces.width, 3)

    @property
    def size(self) -> int:
        """Number of values."""
        return self.shape[0] * self.shape[1] * 3

    @property
    def nbytes(self) -> int:
        """Bytes that the pixels take as an array."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        """Height, px."""
        return self.shape[0]

    def __repr__(self) -> str:
        height, width = self.shape[:2]
        return f"<StoredPixels {width} x {height} {self.dtype} in {self._name}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process as an array."""
        return np.asarray, (np.asarray(self),)

    def changed(self, change: Callable[[NDArray[Any]], NDArray[Any]]) -> StoredPixels:
        """Return the same pixels with other colours.

        Parameters
        ----------
        change : returns h x w x 1 or 3 values of the same type from h x w x C as they are stored, or as an earlier
            change returned them; each by itself.
        """
        return self._copy(_changes=(*self._changes, change))

    def turned(self, orientation: int) -> StoredPixels:
        """Return the pixels as they are stored, turned upright by their EXIF orientation, 1..8."""
        pieces = self._kept.pieces
        height, width = pieces.height, pieces.width
        shape = (width, height, 3) if 5 <= orientation <= 8 else (height, width, 3)
        return self._copy(_orientation=orientation, shape=shape, _top=0, _left=0)

    def part(self, rows: slice, columns: slice) -> StoredPixels:
        """Return a rectangle without reading it.

        Parameters
        ----------
        rows, columns : slices of step 1.
        """
        top, bottom = _span(rows, self.shape[0])
        left, right = _span(columns, self.shape[1])
        return self._copy(_top=self._top + top, _left=self._left + left, shape=(bottom - top, right - left, 3))

    def _copy(self, **changes: Any) -> StoredPixels:
        other = object.__new__(StoredPixels)
        other.__dict__.update(self.__dict__ | changes)
        return other

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Read a part; see the class."""
        height, width = self.shape[:2]
        match key:
            case slice() if _is_span(key):
                return self._read(*_span(key, height), 0, width)
            case (slice() as rows, slice() as columns) if _is_span(rows) and _is_span(columns):
                return self._read(*_span(rows, height), *_span(columns, width))
            case int() | np.integer():
                row = int(key) + (height if key < 0 else 0)
                if not 0 <= row < height:
                    raise IndexError(f"Row {key} is outside the photograph's {height} rows.")
                return self._read(row, row + 1, 0, width)[0]
        return np.asarray(np.asarray(self)[key])

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Iterate over the rows."""
        return (self[row] for row in range(len(self)))

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Read the whole.

        Raises
        ------
        PhotographError
            If there is not enough memory.
        """
        if copy is False:
            raise ValueError("The pixels are in a file, so an array of them is always a copy.")
        pixels = self.whole(self.dtype if dtype is None else dtype, lambda band: band)
        pixels.flags.writeable = copy is True
        return pixels

    def whole(self, dtype: DTypeLike, change: Callable[[NDArray[Any]], NDArray[Any]]) -> NDArray[Any]:
        """Read the whole, some rows at a time.

        Parameters
        ----------
        dtype : type of the result.
        change : returns the values of the result from some rows of pixels, n x W x 3.

        Returns
        -------
        H x W x 3 of that type.

        Raises
        ------
        PhotographError
            If there is not enough memory.
        """
        needed, free = self.size * np.dtype(dtype).itemsize, available_memory()
        height, width = self.shape[:2]
        if needed > free:
            raise PhotographError(
                f"{self._name} has {width} x {height} pixels, and to have them all at once takes "
                f"{needed / 1e9:.1f} GB of memory, of which {free / 1e9:.1f} GB are free: make it smaller, or use the "
                "method pyramid, which reads it part by part."
            )
        result = np.empty(self.shape, dtype)
        step = max(1, _BAND_BYTES // max(1, self.nbytes // height))

        def read(top: int) -> None:
            result[top : top + step] = change(self._read(top, min(top + step, height), 0, width))

        on_all_cores(read, range(0, height, step))
        return result

    def _read(self, top: int, bottom: int, left: int, right: int) -> NDArray[Any]:
        """Return rows top..bottom - 1 and columns left..right - 1."""
        pieces = self._kept.pieces
        bottom, right = max(top, bottom), max(left, right)
        rows = top + self._top, bottom + self._top
        columns = left + self._left, right + self._left
        turn = self._orientation
        if 5 <= turn <= 8:
            rows, columns = columns, rows
        if turn in (3, 4, 6, 7):
            rows = pieces.height - rows[1], pieces.height - rows[0]
        if turn in (2, 3, 7, 8):
            columns = pieces.width - columns[1], pieces.width - columns[0]
        pixels = self._kept.rectangle(*rows, *columns)
        for change in self._changes if pixels.size else ():
            pixels = change(pixels)
        if pixels.shape[2] == 1:  # grey
            pixels = np.repeat(pixels, 3, axis=2)
        pixels = np.ascontiguousarray(turn_upright(pixels, turn))
        pixels.flags.writeable = False
        return pixels


def _is_span(key: slice) -> bool:
    return key.step is None or key.step == 1


def _span(key: slice, length: int) -> tuple[int, int]:
    start, stop, _ = key.indices(length)
    return start, max(start, stop)
