"""How far a run is."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from defocus.batch.collect import tables
from defocus.batch.run import Run, part_of
from defocus.batch.storage import Store

__all__ = ["Status", "status_of"]

_RECENT = 20
"""The rate is that of this many parts that were finished last."""


@dataclass(frozen=True)
class Status:
    """How far a run is.

    Attributes
    ----------
    photographs, parts : planned.
    done : photographs of parts that are finished.
    parts_done, parts_begun : parts that are finished, and that a worker has begun and nobody finished yet; workers that
        were lost leave such parts too, until another takes them.
    failed : photographs among `done` whose row has an error.
    photographs_per_second : over the parts that were finished last; None with fewer than two.
    seconds_left : at that rate; None where it is not known.
    """

    photographs: int
    parts: int
    done: int
    parts_done: int
    parts_begun: int
    failed: int
    photographs_per_second: float | None
    seconds_left: float | None


def status_of(run: Run) -> Status:
    """Return how far a run is, by listing its rows, and reading one column of them."""
    store = Store(run.url)
    finished: dict[int, float] = {}
    for entry in store.list("rows"):
        part = part_of(entry.key)
        if part is not None and entry.modified is not None:
            finished[part] = entry.modified.timestamp()
    begun = {part for entry in store.list("begun") if (part := part_of(entry.key)) is not None}
    failed = sum(len(table) - table.column("error").null_count for table in tables(run, ["error"]))
    done = sum(_size(run, part) for part in finished)
    rate = _rate(run, finished)
    left = run.plan.photographs - done
    return Status(
        photographs=run.plan.photographs,
        parts=run.plan.parts,
        done=done,
        parts_done=len(finished),
        parts_begun=len(begun - finished.keys()),
        failed=failed,
        photographs_per_second=rate,
        seconds_left=0.0 if left == 0 else None if rate is None else left / rate,
    )


def _size(run: Run, part: int) -> int:
    """Return the number of photographs in a part."""
    return min(run.plan.part_size, run.plan.photographs - part * run.plan.part_size)


def _rate(run: Run, finished: dict[int, float]) -> float | None:
    """Return photographs a second over the parts that were finished last, up to now while there is work left."""
    last = sorted(finished.items(), key=lambda each: each[1])[-_RECENT:]
    if len(last) < 2:
        return None
    end: Any = last[-1][1] if len(finished) == run.plan.parts else max(time.time(), last[-1][1])
    counted = sum(_size(run, part) for part, _ in last[1:])
    return counted / (end - last[0][1]) if end > last[0][1] else None
