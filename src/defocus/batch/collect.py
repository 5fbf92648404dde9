"""All rows of a run: piece by piece, the best of them, and as few large files."""

from __future__ import annotations

import json
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from defocus.batch.counts import BINS, percentiles
from defocus.batch.rows import COLUMNS, decode, groups, schema
from defocus.batch.run import Run, part_of, rows_key
from defocus.batch.storage import MissingKeyError, Store
from defocus.errors import ParameterError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow
    from numpy.typing import NDArray

__all__ = ["Percentiles", "best", "collect", "percentiles_by", "tables"]

_MANIFEST = "table/manifest.json"
_FILE_BYTES = 128_000_000
"""Size in bytes of a file, about."""
_PIECE_BYTES = 4_000_000
"""Bytes of a file that are read at once: a request costs as much as some megabytes."""
_AT_ONCE = 16
"""Number of files that are read at once."""


def tables(run: Run, columns: Sequence[str] | None = None) -> Iterator[pyarrow.Table]:
    """Yield the rows of a run in pieces that fit into memory: of the collected files, or of the parts that are done.

    Parameters
    ----------
    run : the run.
    columns : names of those that are wanted; None for all.
    """
    store = Store(run.url)
    collected = _collected(run, store)
    if collected is not None:
        for key in collected:
            file = store.open(key, _PIECE_BYTES)
            if file is None:
                raise ParameterError(f"{key} is missing in {run.url}, which was collected: remove the folder table.")
            with file:
                yield from groups(file, columns, f"{key} in {run.url}")
        return
    keys = (rows_key(number) for number in sorted(_parts(store)))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while batch := list(islice(keys, _AT_ONCE)):
            yield from pool.map(lambda key: decode(store.read(key)[0], columns, f"{key} in {run.url}"), batch)


def _parts(store: Store) -> Iterator[int]:
    """Yield the numbers of the parts that have rows."""
    for entry in store.list("rows"):
        number = part_of(entry.key)
        if number is not None:
            yield number


def best(run: Run, count: int, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Return the photographs of a run that are most in focus, in the order of `defocus.rank`.

    Parameters
    ----------
    run : the run; it may still be at work.
    count : how many, at the most.
    columns : names of those that are wanted, key among them; None for all.

    Raises
    ------
    ParameterError
        If the method's maps are not in px.
    """
    import pyarrow
    import pyarrow.compute as compute

    from defocus.methods.registry import find_method

    method = find_method(run.plan.method)
    if method.unit != "px":
        raise ParameterError(f"{method.name} gives a {method.unit} without px: such runs cannot be ranked.")
    order = [("group", "ascending"), ("percent", "descending"), ("sharpest_sigma", "ascending"), ("key", "ascending")]
    needed = ("key", "error", "in_focus", "sharpest_sigma", "shaken")
    read_columns = None if columns is None else list(dict.fromkeys((*columns, *needed)))
    kept: pyarrow.Table | None = None
    for table in tables(run, read_columns):
        table = table.filter(compute.is_null(table["error"]))
        read = compute.is_valid(table["in_focus"])
        shaken = compute.fill_null(table["shaken"], False)
        # As in `defocus.rank`: shaken ones come after all others, and those of which nothing can be read last.
        group = compute.if_else(read, compute.if_else(shaken, 1, 0), 2)
        percent = compute.fill_null(compute.round(compute.multiply(table["in_focus"], 100.0)), 0.0)
        table = table.append_column("group", group).append_column("percent", percent)
        both = table if kept is None else pyarrow.concat_tables([kept, table])
        kept = both.take(compute.select_k_unstable(both, min(count, len(both)), order)) if len(both) else both
    if kept is None:
        return []
    wanted = kept.drop_columns(["group", "percent"]) if columns is None else kept.select(list(columns))
    return wanted.to_pylist()


def percentiles_by(
    run: Run, percents: Sequence[float], by: str | None = None, *, guesses: bool = False
) -> dict[Any, Percentiles]:
    """Return percentiles of sigma over the pixels of sets of photographs, by adding the counts of their rows.

    Parameters
    ----------
    run : the run; it may still be at work.
    percents : 0 to 100.
    by : column whose values make the sets, such as "lens"; None for one set of all photographs, called None.
    guesses : whether pixels count whose sigma is a guess.

    Raises
    ------
    ParameterError
        If there is no such column, a percentile is out of range, or the method's maps are not in px.
    """
    import numpy as np

    from defocus.methods.registry import find_method

    method = find_method(run.plan.method)
    if method.unit != "px":
        raise ParameterError(f"{method.name} gives a {method.unit} without px, of which nothing is counted.")
    if by is not None and (by not in COLUMNS or COLUMNS[by].endswith("[]")):
        raise ParameterError(f"Rows have no column {by} to make sets by: choose one such as lens or camera_model.")
    if not all(0 <= percent <= 100 for percent in percents):
        raise ParameterError("Percentiles lie between 0 and 100.")
    totals: dict[Any, NDArray[np.int64]] = {}
    photographs: Counter[Any] = Counter()
    for table in tables(run, list(_COUNTS) if by is None else [by, *_COUNTS]):
        table = table.filter(table[_COUNTS[0]].is_valid())
        # photographs x (measured, guesses) x bins
        counts = np.stack([_lists(table[name]) for name in _COUNTS], axis=1)
        if by is None:
            places = {None: np.arange(len(table))}
        else:
            coded = table[by].combine_chunks().dictionary_encode(null_encoding="encode")
            codes = np.asarray(coded.indices)
            places = {value: np.flatnonzero(codes == code) for code, value in enumerate(coded.dictionary.to_pylist())}
        for value, rows in places.items():
            added = counts[rows].sum(axis=0)
            totals[value] = totals[value] + added if value in totals else added
            photographs[value] += len(rows)
    return {
        value: Percentiles(
            photographs[value],
            float(total[0].sum() / total.sum()),
            tuple(percentiles(total.sum(axis=0) if guesses else total[0], *percents)),
        )
        for value, total in totals.items()
        if photographs[value]
    }


_COUNTS = ("measured_counts", "guess_counts")


def _lists(column: pyarrow.ChunkedArray) -> NDArray[np.int64]:
    """Return a column of lists of one length as rows x that length."""
    import numpy as np

    return np.asarray(column.combine_chunks().flatten()).reshape(len(column), BINS)


class Percentiles(NamedTuple):
    """Percentiles of sigma over the pixels of a set of photographs.

    Attributes
    ----------
    photographs : how many there are in the set.
    fraction_measured : fraction of their pixels whose sigma was measured, 0..1; that of the others is a guess.
    sigma : px, in the order in which the percentiles were asked for; NaN where no pixel counts.
    """

    photographs: int
    fraction_measured: float
    sigma: tuple[float, ...]


def collect(run: Run) -> list[str]:
    """Make few large files of all rows; see `Run.collect`."""
    import pyarrow.parquet as parquet

    store = Store(run.url)
    before = _collected(run, store)
    if before is not None:
        return before
    left = run.todo()
    if left:
        raise ParameterError(
            f"{len(left)} of {run.plan.parts} parts are not done, part {left[0]} first: do them with "
            "`defocus batch work`."
        )
    folder = f"table/{uuid.uuid4()}"
    keys: list[str] = []
    rows = 0
    pieces = iter(tables(run))
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "rows.parquet"
        piece = next(pieces, None)
        while piece is not None:
            with path.open("wb") as file, parquet.ParquetWriter(file, schema(), compression="zstd") as writer:
                while piece is not None and file.tell() < _FILE_BYTES:
                    group, piece = _grouped(piece, pieces)
                    writer.write_table(group)
                    rows += len(group)
            keys.append(f"{folder}/{len(keys):05d}.parquet")
            store.write(keys[-1], path)
    if rows != run.plan.photographs:
        raise ParameterError(
            f"The parts of {run.url} have {rows} rows for {run.plan.photographs} photographs: it was changed by hand."
        )
    manifest = {"plan": run.plan.uuid, "rows": rows, "files": keys}
    if not store.create(_MANIFEST, json.dumps(manifest, indent=1).encode()):
        first = _collected(run, store)
        assert first is not None
        if first != keys:  # another one collected at the same time
            for key in keys:
                store.delete(key)
        return first
    return keys


_GROUP_ROWS = 25_000
"""Rows that are in memory at once while the table is read; smaller groups would compress and read badly."""


def _grouped(first: pyarrow.Table, pieces: Iterator[pyarrow.Table]) -> tuple[pyarrow.Table, pyarrow.Table | None]:
    """Return tables together until there are enough rows, and the table that comes after them."""
    import pyarrow

    group, rows = [first], len(first)
    following = next(pieces, None)
    while following is not None and rows < _GROUP_ROWS:
        group.append(following)
        rows += len(following)
        following = next(pieces, None)
    return pyarrow.concat_tables(group), following


def _collected(run: Run, store: Store) -> list[str] | None:
    """Return the keys of the files that were collected, or None."""
    try:
        manifest = json.loads(store.read(_MANIFEST)[0])
    except MissingKeyError:
        return None
    if manifest.get("plan") != run.plan.uuid:
        raise ParameterError(f"{_MANIFEST} in {run.url} is of another plan: remove the folder table.")
    return [str(key) for key in manifest["files"]]
