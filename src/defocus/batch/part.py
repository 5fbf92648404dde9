"""One part of a run: its photographs in a process of their own, and then its rows, which only one worker can commit."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Generator
from contextlib import closing, suppress
from typing import IO, Any

from defocus.batch.rows import decode, encode, is_row_of, row
from defocus.batch.run import PartResult, Run, begun_key, rows_key, unfinished_prefix
from defocus.batch.storage import MissingKeyError, StorageError, Store
from defocus.errors import DefocusError, ParameterError
from defocus.runtime.processes import WorkerLost, worker_lost

__all__ = ["Children", "work_part"]

_ATTEMPTS = 5
"""Attempts at a part whose store fails in spite of the client's own retries."""
_FIRST_PAUSE = 1.0
"""Pause in seconds before the second attempt; each further one is twice as long."""

_KEPT_EVERY = 60.0
"""Time in seconds after which the rows so far are kept: the work that is lost with a worker, at the most."""

_BESIDE = 8
"""Photographs of a part that are asked for at the most where the store denies one, to see whether it denies all."""


class Children:
    """The processes that one worker has started, so that it can end them all when it is told to stop."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = False

    def add(self, process: subprocess.Popen[str]) -> None:
        """Take in a process; one that comes after `stop` is ended at once."""
        self._running.add(process)
        if self._stopped:
            process.kill()

    def remove(self, process: subprocess.Popen[str]) -> None:
        """Forget a process that has ended."""
        self._running.discard(process)

    def stop(self) -> None:
        """End all of them now, and what is added later."""
        self._stopped = True
        for process in list(self._running):
            process.kill()

    @property
    def stopped(self) -> bool:
        """Whether they were told to stop."""
        return self._stopped


class _ChildLost(DefocusError):
    """The process ended without an answer while it worked on the photograph at `place`; None where on none."""

    def __init__(self, place: int | None, reason: WorkerLost) -> None:
        super().__init__(str(reason))
        self.place = place


def work_part(run: Run, part: int, cores: int = 1, children: Children | None = None) -> PartResult:
    """Do one part; see `Run.work`.

    Parameters
    ----------
    run, part, cores : the run, the part's number, and the cores it may use.
    children : takes in the processes that are started.
    """
    begin = time.perf_counter()
    if not 0 <= part < run.plan.parts:
        raise ParameterError(f"The run has parts 0 to {run.plan.parts - 1}, so none called {part}.")
    children = Children() if children is None else children
    rows: dict[int, dict[str, Any]] = {}
    for attempt in range(_ATTEMPTS):
        try:
            store = Store(run.url)
            if store.has(rows_key(part)):
                return PartResult(part, 0, 0, 0, False, time.perf_counter() - begin)
            unfinished = _Unfinished(store, unfinished_prefix(run.plan, part))
            key = run.plan.part_key(part)
            photographs = decode(store.read(key)[0], called=f"{key} in {run.url}").to_pylist()
            note = json.dumps({"host": socket.gethostname(), "process": os.getpid()}).encode()
            if not store.create(begun_key(part), note):
                store.write(begun_key(part), note)  # with the time of now, by which others tell what was lost
                rows = unfinished.found(photographs)
            break
        except StorageError:
            if attempt == _ATTEMPTS - 1:
                raise
            _pause(attempt)
    try:
        computed = _fill(rows, run, photographs, cores, children, unfinished)
    except BaseException:
        unfinished.keep(rows)
        raise
    ordered = [rows[place] for place in range(len(photographs))]
    contents = encode(ordered)
    for attempt in range(_ATTEMPTS):
        try:
            committed = store.create(rows_key(part), contents)
            break
        except StorageError:
            if attempt == _ATTEMPTS - 1:
                raise
            _pause(attempt)
    unfinished.remove()
    errors = sum(each["error"] is not None for each in ordered)
    return PartResult(part, len(ordered), computed, errors, committed, time.perf_counter() - begin)


class _Unfinished:
    """The rows of a part that is not finished, kept in the store for whoever takes the part over.

    Every worker has an object of its own. Nobody relies on them: where they cannot be written or removed, work is
    repeated, or a few objects stay that nothing reads any more.

    Parameters
    ----------
    store : where the run is.
    prefix : what the keys of all workers at this part begin with.
    """

    def __init__(self, store: Store, prefix: str) -> None:
        self._store, self._prefix = store, prefix
        self._key = f"{prefix}{uuid.uuid4()}.parquet"
        self._others: list[str] = []
        self._kept, self._at = 0, time.monotonic()

    def found(self, photographs: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
        """Return the rows that other workers kept, by the photographs' places in the part."""
        rows: dict[str, dict[str, Any]] = {}
        for entry in self._store.list(self._prefix.rpartition("/")[0]):
            if not entry.key.startswith(self._prefix):
                continue
            self._others.append(entry.key)
            with suppress(MissingKeyError, ParameterError):  # another has just finished the part; or they are damaged
                rows |= {each["key"]: row(each) for each in decode(self._store.read(entry.key)[0]).to_pylist()}
        found = {
            place: rows[each["key"]]
            for place, each in enumerate(photographs)
            if each["key"] in rows and is_row_of(rows[each["key"]], each["key"], each["etag"])
        }
        self._kept = len(found)
        return found

    def keep_now_and_then(self, rows: dict[int, dict[str, Any]]) -> None:
        """Keep the rows so far, if that was not done for a while."""
        if time.monotonic() - self._at >= _KEPT_EVERY:
            self.keep(rows)

    def keep(self, rows: dict[int, dict[str, Any]]) -> None:
        """Keep the rows so far, if there are new ones."""
        if len(rows) > self._kept:
            with suppress(StorageError):
                self._store.write(self._key, encode(rows.values()))
                self._kept = len(rows)
        self._at = time.monotonic()

    def remove(self) -> None:
        """Remove what was kept by this worker, and what it has taken over."""
        with suppress(StorageError):
            for key in (self._key, *self._others):
                self._store.delete(key)


def _fill(
    rows: dict[int, dict[str, Any]],
    run: Run,
    photographs: list[dict[str, Any]],
    cores: int,
    children: Children,
    unfinished: _Unfinished,
) -> int:
    """Add the rows of all photographs that have none yet, by their places; return how many maps were estimated.

    A photograph at which the process ends is tried once more at the end, alone; then it has a row with an error.
    """
    computed = failures = 0
    suspects: list[int] = []
    while len(rows) < len(photographs):
        waiting = [place for place in range(len(photographs)) if place not in rows and place not in suspects]
        alone = not waiting
        asked = suspects[:1] if alone else waiting
        try:
            with closing(_through_child(run, photographs, asked, cores, children)) as answers:
                for place, found, new in answers:
                    rows[place] = found
                    computed += new
                    failures = 0
                    unfinished.keep_now_and_then(rows)
        except _ChildLost as error:
            if error.place is None or children.stopped:
                raise
            if alone:
                rows[error.place] = row({**photographs[error.place], "error": str(error)})
            else:
                suspects.append(error.place)
        except StorageError:
            failures += 1
            if failures == _ATTEMPTS:
                raise
            _pause(failures - 1)
        suspects = [place for place in suspects if place not in rows]
    return computed


def _through_child(
    run: Run, photographs: list[dict[str, Any]], places: list[int], cores: int, children: Children
) -> Generator[tuple[int, dict[str, Any], bool], None, None]:
    """Work on photographs in another process; yield place, row, and whether a map was estimated for it now."""
    # Dask sets it for its own workers; the C library reads it when a process starts, and it makes every large array
    # cost a system call.
    environment = {name: value for name, value in os.environ.items() if name != "MALLOC_TRIM_THRESHOLD_"}
    folder = None if run.plan.weights is None else tempfile.mkdtemp(prefix="defocus-")
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "defocus.batch.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
        encoding="utf-8",
    )
    children.add(process)
    place: int | None = None
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        _ask(
            process.stdin,
            {
                "url": run.url,
                "plan": run.plan.to_json(),
                "cores": cores,
                "folder": folder,
                "beside": [each["key"] for each in photographs[:: -(-len(photographs) // _BESIDE)]],
                "photographs": [
                    (number, *(photographs[number][name] for name in ("key", "bytes", "etag"))) for number in places
                ],
            },
        )
        left = len(places)
        for line in process.stdout:
            if not line.endswith("\n"):
                break  # it ended while it answered
            said = json.loads(line)
            if "begins" in said:
                place = said["begins"]
            elif "storage" in said:
                raise StorageError(said["storage"])
            elif "refused" in said:
                raise ParameterError(said["refused"])
            else:
                place = None
                left -= 1
                yield said["done"], said["row"], said["computed"]
                if not left:
                    return
        raise _ChildLost(place, worker_lost(process.wait()))
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            _close(stream)
        children.remove(process)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _ask(stream: IO[str], asked: dict[str, Any]) -> None:
    try:
        stream.write(json.dumps(asked) + "\n")
        stream.flush()
    except BrokenPipeError:
        return  # it has ended, which is noticed when its answer is read


def _close(stream: IO[str]) -> None:
    try:
        stream.close()
    except BrokenPipeError:
        return


def _pause(attempt: int) -> None:
    time.sleep(_FIRST_PAUSE * 2**attempt * random.uniform(0.5, 1.5))
