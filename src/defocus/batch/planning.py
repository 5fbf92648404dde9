"""Planning a run: list the photographs, write them down in parts, measure a few, and make the plan the run's."""

from __future__ import annotations

import math
import os
import random
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from defocus.batch.rows import encode, encode_entries, groups, row
from defocus.batch.run import OUTPUTS, Plan, Run
from defocus.batch.storage import Entry, StorageError, Store, checked_url
from defocus.errors import DefocusError, ParameterError
from defocus.estimation import check_device, check_weights
from defocus.methods.weights_file import read_contents
from defocus.photograph.folders import may_be_photograph
from defocus.provenance import has_output_name

__all__ = ["plan", "size_in_words"]


def plan(
    source: str | os.PathLike[str],
    run: str | os.PathLike[str],
    *,
    keys: str | os.PathLike[str] | None = None,
    part_size: int = 256,
    outputs: Sequence[str] = ("rows",),
    method: str = "pyramid",
    parameters: str = "default",
    settings: Sequence[str] = (),
    weights: str | os.PathLike[str] | None = None,
    device: str = "auto",
    max_megapixels: float | None = None,
    strict: bool = False,
    sample: int = 3,
    said: Callable[[str], None] = lambda line: None,
) -> Run:
    """Plan a run over the photographs of a store; nothing is estimated yet but a sample.

    Parameters
    ----------
    source : where the photographs are: ``s3://BUCKET/PREFIX``, ``gs://``, ``az://``, ``https://`` or a folder.
    run : where the run goes: plan, rows, maps; a store that can create a key only if it is absent.
    keys : Parquet file with a column ``key``, and ``bytes`` and ``etag`` if they are known, of the photographs; None
        lists the source and takes what has a photograph's suffix.
    part_size : photographs in a part, which is what a worker does at once; there should be parts for all workers.
    outputs : "rows", which is always written; "map" or "small" (every 4th pixel each way); "preview".
    method, parameters, settings : the method's name, a preset, and changes ``name=value`` to it.
    weights : file of weights, instead of the package's own; the run gets a copy, which all its workers use.
    device, max_megapixels, strict : as for `defocus estimate`.
    sample : number of photographs that are estimated now for a forecast of time and size; 0 for none.
    said : called with a sentence about each step.

    Returns
    -------
    Run

    Raises
    ------
    ParameterError
        If there is no photograph, the run exists, or an option makes no sense.
    WeightsError
        If the weights cannot be used.
    StorageError
        If a store fails, or that of the run overwrites what it should not.

    Examples
    --------
    See `Run`.
    """
    wanted = _checked_outputs(outputs)
    if part_size < 1 or sample < 0:
        raise ParameterError("part_size must be 1 or more, and sample 0 or more.")
    begun = Plan(
        uuid=str(uuid.uuid4()),
        source=checked_url(os.fspath(source)),
        photographs=0,
        size=0,
        parts=0,
        part_size=part_size,
        outputs=wanted,
        method=method,
        parameters=parameters,
        settings=tuple(settings),
        device=device,
        max_megapixels=max_megapixels,
        strict=strict,
        recipe={},
    )
    from defocus.batch.photograph import method_of, recipe_of

    check_device(method_of(begun)[0], device)
    trained = None if weights is None else Path(weights)
    if trained is not None:
        check_weights(*method_of(begun), trained)
        begun = replace(begun, weights=f"plan/{begun.uuid}/weights{trained.suffix}")
    begun = replace(begun, recipe=recipe_of(begun, trained))
    photographs = Store(begun.source)
    planned = Run(checked_url(os.fspath(run)), begun)
    store = Store(planned.url, make=True)
    if store.has("plan/current.json"):
        raise ParameterError(f"{planned.url} has a plan already: work on it, or plan into another place.")
    if next(store.list("rows"), None) is not None:
        raise ParameterError(
            f"{planned.url} holds rows of an earlier run, whose plan is gone: plan into another place."
        )
    _probe(store)
    found = _Found(most=sample)
    try:
        if trained is not None:
            assert begun.weights is not None
            store.write(begun.weights, read_contents(trained).data)
        entries = _listed(photographs) if keys is None else _given(os.fspath(keys))
        for part, each in enumerate(_in_parts(found.counted(entries), part_size)):
            store.write(begun.part_key(part), encode_entries([(one.key, one.size, one.etag) for one in each]))
            found.parts = part + 1
        if not found.photographs:
            raise ParameterError(
                f"There is no photograph in {begun.source}: name the place that the photographs are in."
            )
        size = f"{size_in_words(found.bytes)}, " if found.bytes else ""  # unknown where keys are given alone
        said(f"{found.photographs} photographs, {size}in {found.parts} {'part' if found.parts == 1 else 'parts'}.")
        forecast = _forecast(begun, photographs, found, trained)
        finished = replace(begun, photographs=found.photographs, size=found.bytes, parts=found.parts, forecast=forecast)
        planned = replace(planned, plan=finished)
        if not planned.create():
            raise ParameterError(f"Another planner was first at {planned.url}: work on its plan.")
    except BaseException:
        _remove(store, f"plan/{begun.uuid}")
        raise
    return planned


def size_in_words(size: float) -> str:
    """Return a number of bytes as people say it.

    Examples
    --------
    >>> size_in_words(65e12), size_in_words(1234)
    ('65 TB', '1.23 kB')
    """
    unit, factor = next((each for each in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)) if size >= each[1]), ("kB", 1e3))
    return f"{size / factor:.3g} {unit}"


@dataclass
class _Found:
    """What listing has found so far, and a random sample of it.

    Attributes
    ----------
    most : number of photographs in the sample.
    """

    most: int
    photographs: int = 0
    bytes: int = 0
    parts: int = 0
    sample: list[Entry] = field(default_factory=list)

    def counted(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        for entry in entries:
            self.photographs += 1
            self.bytes += entry.size or 0
            # A sample of a list whose length is not known yet: the n-th takes a place with probability most / n.
            if len(self.sample) < self.most:
                self.sample.append(entry)
            elif self.most and (place := random.randrange(self.photographs)) < self.most:
                self.sample[place] = entry
            yield entry


def _checked_outputs(outputs: Sequence[str]) -> tuple[str, ...]:
    unknown = [name for name in outputs if name not in OUTPUTS]
    if unknown:
        raise ParameterError(f"{unknown[0]} is no output of a run: choose among {', '.join(OUTPUTS)}.")
    if {"small", "map"} <= set(outputs):
        raise ParameterError("A run writes maps either small or whole: choose one of small and map.")
    return tuple(name for name in OUTPUTS if name == "rows" or name in outputs)


def _probe(store: Store) -> None:
    """See that the store creates a key only once: some servers ignore the condition and say nothing."""
    key = f"plan/probe-{uuid.uuid4()}"
    first, second = store.create(key, b"1"), store.create(key, b"2")
    store.delete(key)
    if not first or second:
        raise StorageError(
            f"{store.url} overwrites a key that should only be created if it is absent, so workers could undo each "
            "other's work: use a store that obeys If-None-Match."
        )


def _listed(store: Store) -> Iterator[Entry]:
    for entry in store.list():
        name = entry.key.rpartition("/")[2]
        if may_be_photograph(name) and not has_output_name(Path(name)):
            yield entry


def _given(keys: str) -> Iterator[Entry]:
    place, _, name = checked_url(keys).replace(os.sep, "/").rpartition("/")
    for table in groups(Store(place or "/").read(name)[0], called=keys):
        if "key" not in table.column_names:
            raise ParameterError(f"{keys} has no column key: give the names of the photographs in one of that name.")
        for batch in table.to_batches(max_chunksize=1000):
            for each in batch.to_pylist():
                key, size, etag = each["key"], each.get("bytes"), each.get("etag")
                if not isinstance(key, str):
                    raise ParameterError(f"The column key of {keys} holds something that is no text.")
                if isinstance(size, float):  # as pandas writes whole numbers of which some are missing
                    size = None if math.isnan(size) else int(size) if size.is_integer() else size
                if not isinstance(size, int | None):
                    raise ParameterError(f"The column bytes of {keys} holds something that is no whole number.")
                if not isinstance(etag, str | None):
                    raise ParameterError(f"The column etag of {keys} holds something that is no text.")
                yield Entry(key, size, etag)


def _in_parts(entries: Iterable[Entry], size: int) -> Iterator[list[Entry]]:
    part: list[Entry] = []
    for entry in entries:
        part.append(entry)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part


def _forecast(plan: Plan, photographs: Store, found: _Found, weights: Path | None) -> dict[str, float]:
    """Return what the run will take by a sample: seconds of one core each, core-hours and bytes of output."""
    from defocus.batch.photograph import made

    seconds, written = [], []
    for entry in found.sample:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # the run's row of the photograph will hold what is said
                begin = time.process_time()
                contents, _ = photographs.read(entry.key, etag=entry.etag)
                with made(plan, contents, row, weights) as outputs:
                    size = len(outputs.preview or b"")
                    if outputs.map is not None:
                        size += outputs.map.seek(0, os.SEEK_END)
            seconds.append(time.process_time() - begin)
            written.append(size + len(encode([{**outputs.row, "key": entry.key}] * 16)) / 16)
        except DefocusError:  # a photograph that fails tells nothing about the others
            continue
    if not seconds:
        return {}
    mean = math.fsum(seconds) / len(seconds)
    return {
        "sample": len(seconds),
        "seconds_each": round(mean, 3),
        "core_hours": round(mean * found.photographs / 3600, 6),
        "bytes_of_output": round(math.fsum(written) / len(written) * found.photographs),
    }


def _remove(store: Store, prefix: str) -> None:
    for key in [entry.key for entry in store.list(prefix)]:
        store.delete(key)
