"""The row of one photograph, and tables of rows as Parquet."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from defocus.errors import ParameterError

if TYPE_CHECKING:  # numpy and pyarrow must not load for `defocus --help`
    import pyarrow

    from defocus.maps.map_strips import MapStrip, MapStrips
    from defocus.maps.map_summary import MapSummary
    from defocus.photograph import Photograph

__all__ = [
    "COLUMNS",
    "PERCENTILES",
    "Measured",
    "decode",
    "encode",
    "encode_entries",
    "groups",
    "is_row_of",
    "row",
    "schema",
]

PERCENTILES = (5, 25, 50, 75, 95)
"""Percentiles of sigma that a row has."""

COLUMNS: Mapping[str, str] = {
    "key": "string",
    "bytes": "int64",
    "etag": "string",
    "sha256": "string",
    "width": "int32",
    "height": "int32",
    **{f"sigma_p{percent}": "float32" for percent in PERCENTILES},
    "measured_counts": "int64[]",
    "guess_counts": "int64[]",
    "fraction_confident": "float32",
    "fraction_saturated": "float32",
    "in_focus": "float32",
    "readable": "float32",
    "median_sigma": "float32",
    "sharpest_sigma": "float32",
    "sharpest_left": "float32",
    "sharpest_top": "float32",
    "sharpest_width": "float32",
    "sharpest_height": "float32",
    "shaken": "bool_",
    "motion_length": "float32",
    "motion_direction": "float32",
    "motion_fraction": "float32",
    "camera_make": "string",
    "camera_model": "string",
    "lens": "string",
    "focal_length": "float32",
    "focal_length_35mm": "float32",
    "f_number": "float32",
    "exposure_time": "float32",
    "iso": "float32",
    "taken": "string",
    "seconds": "float32",
    "warning": "string",
    "error": "string",
}
"""Columns of the table and their types, as pyarrow calls them; ``[]`` is a list. A photograph that failed has a key,
what is known of its file, and an error."""


def schema() -> pyarrow.Schema:
    """Return the columns as pyarrow knows them."""
    pa = _pyarrow()
    types = {name: getattr(pa, kind.removesuffix("[]"))() for name, kind in COLUMNS.items()}
    return pa.schema([(name, pa.list_(kind) if COLUMNS[name].endswith("[]") else kind) for name, kind in types.items()])


def row(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a whole row, with None for what is not known.

    Examples
    --------
    >>> row({"key": "a.jpg", "error": "it is damaged."})["width"] is None
    True
    """
    return {name: values.get(name) for name in COLUMNS}


def is_row_of(found: Mapping[str, Any], key: str, etag: str | None) -> bool:
    """Tell whether a row is that of a photograph in the state in which it was planned.

    Parameters
    ----------
    found : the row.
    key, etag : the photograph's; an ETag of None is any.

    Examples
    --------
    >>> is_row_of({"key": "a.jpg", "etag": "1"}, "a.jpg", None), is_row_of({"key": "a.jpg", "etag": "1"}, "a.jpg", "2")
    (True, False)
    """
    return found.get("key") == key and (etag is None or found.get("etag") == etag)


class Measured:
    """What a row says of a photograph and its map, gathered while the map's strips are computed.

    Figures of sharpness are those of `defocus rank`; they are None, as are the counts, for methods whose map is not in
    px.

    Parameters
    ----------
    photograph : the photograph.
    found : its map, of its size.

    Attributes
    ----------
    summary : the map at the size of a picture, complete once all strips have been seen.

    Examples
    --------
    >>> import numpy as np
    >>> import defocus
    >>> from defocus.maps.map_strips import MapStrips
    >>> from defocus.photograph import photograph_from_array
    >>> photograph = photograph_from_array(np.random.default_rng(0).random((64, 64)))
    >>> found = MapStrips.of(defocus.estimate(photograph, method="zhuo2011"))
    >>> measured = Measured(photograph, found)
    >>> for strip in found.strips():
    ...     measured.see(strip)
    >>> values = measured.values()
    >>> values["width"], values["sigma_p50"] < 1, values["shaken"]
    (64, True, False)
    >>> sum(values["measured_counts"]) + sum(values["guess_counts"])
    4096
    """

    def __init__(self, photograph: Photograph, found: MapStrips) -> None:
        import numpy as np

        from defocus.applications.rank import MapSample
        from defocus.batch.counts import BINS
        from defocus.maps.map_summary import MapSummary

        self._photograph, self._found = photograph, found
        self._counts = np.zeros((2, BINS), np.int64)
        self._sample = MapSample(found.shape)
        self.summary: MapSummary = MapSummary(found.shape)

    def see(self, strip: MapStrip) -> None:
        """Take in a strip; strips come from the first row to the last."""
        from defocus.batch.counts import counted

        self.summary.see(strip)
        if self._found.unit == "px":
            self._counts += counted(strip.sigma, strip.confidence)
            self._sample.see(strip)

    def values(self) -> dict[str, Any]:
        """Return the values by column, once all strips have been seen."""
        from PIL.ExifTags import Base

        from defocus.applications.rank import motion_in

        photograph, found = self._photograph, self._found
        percentiles = zip(PERCENTILES, self.summary.percentiles(*PERCENTILES), strict=True)
        tags = photograph.tags
        values: dict[str, Any] = {
            "sha256": photograph.sha256,
            "width": photograph.width,
            "height": photograph.height,
            **{f"sigma_p{percent}": value for percent, value in percentiles},
            "fraction_confident": self.summary.fraction_confident,
            "fraction_saturated": self.summary.fraction_saturated,
            "camera_make": tags.text(Base.Make),
            "camera_model": tags.text(Base.Model),
            "lens": tags.text(Base.LensModel),
            "focal_length": tags.number(Base.FocalLength),
            "focal_length_35mm": tags.number(Base.FocalLengthIn35mmFilm),
            "f_number": tags.number(Base.FNumber),
            "exposure_time": tags.number(Base.ExposureTime),
            "iso": tags.number(Base.ISOSpeedRatings),
            "taken": tags.text(Base.DateTimeOriginal),
        }
        if found.unit == "px":
            sharp = self._sample.sharpness(motion_in(photograph, found.motion), found.sigma_range)
            box = sharp.subject or (None,) * 4
            values |= {
                "measured_counts": self._counts[0].tolist(),
                "guess_counts": self._counts[1].tolist(),
                "in_focus": sharp.in_focus,
                "readable": sharp.readable,
                "median_sigma": sharp.median_sigma,
                "sharpest_sigma": sharp.sharpest_sigma,
                **dict(zip(("sharpest_left", "sharpest_top", "sharpest_width", "sharpest_height"), box, strict=True)),
                "shaken": sharp.shaken,
            }
        motion = found.motion
        if motion is not None and motion.in_words():
            movement = motion.strongest()
            values |= {
                "motion_length": movement.length,
                "motion_direction": movement.direction,
                "motion_fraction": motion.fraction,
            }
        return {name: _finite(value) for name, value in values.items()}


def encode(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Return rows as a Parquet file."""
    pa = _pyarrow()
    return _parquet(pa.Table.from_pylist([row(each) for each in rows], schema()))


def encode_entries(entries: Sequence[tuple[str, int | None, str | None]]) -> bytes:
    """Return photographs that are to be worked on (key, bytes, ETag) as a Parquet file.

    Examples
    --------
    >>> decode(encode_entries([("a.jpg", 3, None)])).to_pylist()
    [{'key': 'a.jpg', 'bytes': 3, 'etag': None}]
    """
    pa = _pyarrow()
    columns = pa.schema([("key", pa.string()), ("bytes", pa.int64()), ("etag", pa.string())])
    values = [dict(zip(("key", "bytes", "etag"), entry, strict=True)) for entry in entries]
    return _parquet(pa.Table.from_pylist(values, columns))


def decode(contents: bytes, columns: Sequence[str] | None = None, called: str = "The file") -> pyarrow.Table:
    """Return a Parquet file as a table, or some of its columns; parameters and errors are those of `groups`."""
    file = _opened(contents, called)
    return file.read(columns=None if columns is None else list(columns), use_threads=False)


def groups(
    source: bytes | BinaryIO, columns: Sequence[str] | None = None, called: str = "The file"
) -> Iterator[pyarrow.Table]:
    """Yield a Parquet file, or some of its columns, group of rows by group, as it was written.

    Parameters
    ----------
    source : its contents, or the open file, of which only what is needed is read.
    columns : names of those that are wanted; None for all.
    called : what an error calls it.

    Raises
    ------
    ParameterError
        If it is no Parquet file, or damaged.
    """
    file = _opened(source, called)
    for number in range(file.num_row_groups):
        yield file.read_row_group(number, columns=None if columns is None else list(columns), use_threads=False)


def _opened(source: bytes | BinaryIO, called: str) -> Any:
    """A Parquet file that is read by this thread alone.

    Threads of Arrow that still hold memory of Python's when Python exits end the process with an abort: one run of
    `defocus batch status` in seventy did, after everything had been printed.
    """
    _pyarrow()
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        return parquet.ParquetFile(pa.BufferReader(source) if isinstance(source, bytes) else source, pre_buffer=False)
    except pa.ArrowInvalid as error:
        raise ParameterError(f"{called} is no Parquet file, or a damaged one.") from error


def _parquet(table: pyarrow.Table) -> bytes:
    import pyarrow.parquet as parquet

    file = io.BytesIO()
    parquet.write_table(table, file, compression="zstd")
    return file.getvalue()


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ModuleNotFoundError as error:
        raise ParameterError(
            "Runs over object storage need two more packages: pip install 'defocus[batch]', or pip install obstore "
            "pyarrow."
        ) from error
    return pyarrow


def _finite(value: Any) -> Any:
    """Return a value as JSON knows it: plain numbers, and None for what is not finite."""
    import math

    if value is None or isinstance(value, str | bool | int | list):
        return value
    if hasattr(value, "item"):
        value = value.item()
    return value if not isinstance(value, float) or math.isfinite(value) else None
