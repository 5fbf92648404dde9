"""One part of a run: its photographs in a process of their own, and then its rows, which only one worker can commit."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import closing
from typing import IO, Any

from defocus.batch.rows import decode, encode, row
from defocus.batch.run import PartResult, Run, begun_key, rows_key
from defocus.batch.storage import StorageError, Store
from defocus.errors import DefocusError, ParameterError
from defocus.runtime.processes import WorkerLost, worker_lost

__all__ = ["Children", "work_part"]

_ATTEMPTS = 5
"""Attempts at a part whose store fails in spite of the client's own retries."""
_FIRST_PAUSE = 1.0
"""Pause in seconds before the second attempt; each further one is twice as long."""


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
    for attempt in range(_ATTEMPTS):
        try:
            store = Store(run.url)
            if store.has(rows_key(part)):
                return PartResult(part, 0, 0, 0, False, time.perf_counter() - begin)
            # For `status` alone: nobody relies on it.
            store.write(begun_key(part), json.dumps({"host": socket.gethostname(), "process": os.getpid()}).encode())
            photographs = decode(store.read(run.plan.part_key(part))[0]).to_pylist()
            break
        except StorageError:
            if attempt == _ATTEMPTS - 1:
                raise
            _pause(attempt)
    rows, computed = _rows_of(run, photographs, cores, children)
    contents = encode(rows)
    for attempt in range(_ATTEMPTS):
        try:
            committed = store.create(rows_key(part), contents)
            break
        except StorageError:
            if attempt == _ATTEMPTS - 1:
                raise
            _pause(attempt)
    errors = sum(each["error"] is not None for each in rows)
    return PartResult(part, len(rows), computed, errors, committed, time.perf_counter() - begin)


def _rows_of(
    run: Run, photographs: list[dict[str, Any]], cores: int, children: Children
) -> tuple[list[dict[str, Any]], int]:
    """Return the rows of photographs, in their order, and how many maps were estimated.

    A photograph at which the process ends is tried once more at the end, alone; then it has a row with an error.
    """
    rows: dict[int, dict[str, Any]] = {}
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
    return [rows[place] for place in range(len(photographs))], computed


def _through_child(
    run: Run, photographs: list[dict[str, Any]], places: list[int], cores: int, children: Children
) -> Generator[tuple[int, dict[str, Any], bool], None, None]:
    """Work on photographs in another process; yield place, row, and whether a map was estimated for it now."""
    # Dask sets it for its own workers; the C library reads it when a process starts, and it makes every large array
    # cost a system call.
    environment = {name: value for name, value in os.environ.items() if name != "MALLOC_TRIM_THRESHOLD_"}
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
