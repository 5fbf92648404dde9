"""The row of one photograph, and tables of rows as Parquet."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from defocus.errors import ParameterError

if TYPE_CHECKING:  # numpy and pyarrow must not load for `defocus --help`
    import pyarrow

    from defocus.maps.defocus_map import DefocusMap
    from defocus.photograph import Photograph

__all__ = ["COLUMNS", "PERCENTILES", "decode", "encode", "encode_entries", "groups", "measured", "row", "schema"]

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
"""Columns of the table and their types, as pyarrow calls them. A photograph that failed has a key, what is known of its
file, and an error."""


def schema() -> pyarrow.Schema:
    """Return the columns as pyarrow knows them."""
    pa = _pyarrow()
    return pa.schema([(name, getattr(pa, kind)()) for name, kind in COLUMNS.items()])


def row(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a whole row, with None for what is not known.

    Examples
    --------
    >>> row({"key": "a.jpg", "error": "it is damaged."})["width"] is None
    True
    """
    return {name: values.get(name) for name in COLUMNS}


def measured(photograph: Photograph, defocus_map: DefocusMap) -> dict[str, Any]:
    """Return what a row says of a photograph and its map.

    Figures of sharpness are those of `defocus rank`; they are None for methods whose map is not in px, or where
    nothing can be read.

    Parameters
    ----------
    photograph : the photograph.
    defocus_map : its map, of its size.

    Examples
    --------
    >>> import numpy as np
    >>> import defocus
    >>> from defocus.photograph import photograph_from_array
    >>> photograph = photograph_from_array(np.random.default_rng(0).random((64, 64)))
    >>> values = measured(photograph, defocus.estimate(photograph, method="zhuo2011"))
    >>> values["width"], values["sigma_p50"] < 1, values["shaken"]
    (64, True, False)
    """
    from PIL.ExifTags import Base

    from defocus.applications.rank import sharpness
    from defocus.maps.map_strips import MapStrips
    from defocus.maps.map_summary import MapSummary

    summary = MapSummary(defocus_map.sigma.shape)
    for strip in MapStrips.of(defocus_map).strips():
        summary.see(strip)
    percentiles = zip(PERCENTILES, summary.percentiles(*PERCENTILES), strict=True)
    tags = photograph.tags
    values: dict[str, Any] = {
        "sha256": photograph.sha256,
        "width": photograph.width,
        "height": photograph.height,
        **{f"sigma_p{percent}": value for percent, value in percentiles},
        "fraction_confident": summary.fraction_confident,
        "fraction_saturated": summary.fraction_saturated,
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
    if defocus_map.unit == "px":
        found = sharpness(defocus_map, photograph)
        box = found.subject or (None,) * 4
        values |= {
            "in_focus": found.in_focus,
            "readable": found.readable,
            "median_sigma": found.median_sigma,
            "sharpest_sigma": found.sharpest_sigma,
            **dict(zip(("sharpest_left", "sharpest_top", "sharpest_width", "sharpest_height"), box, strict=True)),
            "shaken": found.shaken,
        }
    motion = defocus_map.motion
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


def decode(contents: bytes, columns: Sequence[str] | None = None) -> pyarrow.Table:
    """Return a Parquet file as a table, or some of its columns."""
    file = _opened(contents)
    return file.read(columns=None if columns is None else list(columns), use_threads=False)


def groups(contents: bytes, columns: Sequence[str] | None = None) -> Iterator[pyarrow.Table]:
    """Yield a Parquet file, or some of its columns, group of rows by group, as it was written."""
    file = _opened(contents)
    for number in range(file.num_row_groups):
        yield file.read_row_group(number, columns=None if columns is None else list(columns), use_threads=False)


def _opened(contents: bytes) -> Any:
    """A Parquet file that is read by this thread alone.

    Threads of Arrow that still hold memory of Python's when Python exits end the process with an abort: one run of
    `defocus batch status` in seventy did, after everything had been printed.
    """
    _pyarrow()
    import pyarrow as pa
    import pyarrow.parquet as parquet

    return parquet.ParquetFile(pa.BufferReader(contents), pre_buffer=False)


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

    if value is None or isinstance(value, str | bool | int):
        return value
    if hasattr(value, "item"):
        value = value.item()
    return value if not isinstance(value, float) or math.isfinite(value) else None
