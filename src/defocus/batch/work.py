"""Handing out parts: to threads of this machine, of which each has a process, and to Dask and Ray."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any

from defocus.batch.part import Children, work_part
from defocus.batch.run import PartResult, Run, begun_key
from defocus.batch.storage import Store
from defocus.errors import DefocusError, ParameterError
from defocus.runtime.cores import available_cores

__all__ = ["ENGINES", "PartFailed", "Shard", "not_begun_first", "on_dask", "on_ray", "on_this_machine"]

_IN_FLIGHT = 2
"""Parts a slot of an engine at the most, one at work and one waiting: no scheduler ever sees the whole list."""
_GRACE = 5.0
"""Time in seconds that is waited at the end for rows of unfinished parts to be kept."""
_RETRIES = 2
"""Times that an engine tries a part again that failed on one of its workers."""


@dataclass(frozen=True)
class PartFailed:
    """A part that could not be done now, and why."""

    part: int
    reason: str


@dataclass(frozen=True)
class Shard:
    """One of several workers that share a run without talking to each other.

    Attributes
    ----------
    number, of : this one's number, 0 to `of` - 1, and how many there are.

    Examples
    --------
    >>> Shard.parse("1/4").of_all([0, 1, 4, 5, 6])
    ([1, 5], [0, 4, 6])
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Return the shard that ``K/N`` says.

        Raises
        ------
        ParameterError
            If it says none.
        """
        number, slash, of = text.partition("/")
        if not (slash and number.isdecimal() and of.isdecimal() and int(number) < int(of)):
            raise ParameterError(f"--shard takes K/N with K from 0 to N - 1, such as 0/64, not {text}.")
        return cls(int(number), int(of))

    def of_all(self, todo: Iterable[int]) -> tuple[list[int], list[int]]:
        """Return its own parts of those that are to be done, and those of others."""
        mine: list[int] = []
        others: list[int] = []
        for part in todo:
            (mine if part % self.of == self.number else others).append(part)
        return mine, others


def not_begun_first(run: Run, mine: Iterable[int], others: Iterable[int]) -> Iterator[int]:
    """Yield parts in an order in which several workers seldom do the same: those that nobody has begun come first.

    Whether a part was begun is looked up when its turn comes. One that was begun and is not finished may belong to a
    worker that was lost, so that it is done all the same, at the end, those that were begun longest ago first; those
    that another has begun again since they were looked up come last of all.

    Parameters
    ----------
    run : the run.
    mine : parts, in this order.
    others : parts that follow, in an order of chance.
    """
    store = Store(run.url)
    shuffled = list(others)
    random.shuffle(shuffled)
    for parts in (mine, shuffled):
        begun: list[tuple[datetime, int]] = []
        for part in parts:
            note = store.find(begun_key(part))
            if note is None:
                yield part
            else:
                assert note.modified is not None
                begun.append((note.modified, part))
        taken: list[int] = []
        for at, part in sorted(begun):
            note = store.find(begun_key(part))
            if note is not None and note.modified == at:
                yield part
            else:  # another worker has taken it over meanwhile, and is at it
                taken.append(part)
        yield from taken


def on_this_machine(run: Run, parts: Iterable[int], jobs: int) -> Generator[PartResult | PartFailed, None, None]:
    """Do parts in `jobs` processes at once; yield what became of each. When it is closed, all its processes are ended.

    Parameters
    ----------
    run : the run.
    parts : numbers of parts, taken one by one.
    jobs : processes at once; they divide the cores among them.
    """
    cores = max(1, available_cores() // jobs)
    waiting: Iterator[int] = iter(parts)
    lock = threading.Lock()
    results: queue.SimpleQueue[PartResult | PartFailed | BaseException | None] = queue.SimpleQueue()
    children = Children()

    def serve() -> None:
        while not children.stopped:
            with lock:
                part = next(waiting, None)
            if part is None:
                break
            try:
                results.put(work_part(run, part, cores, children))
            except ParameterError as error:  # of every part
                results.put(error)
            except DefocusError as error:
                results.put(PartFailed(part, str(error)))
            except BaseException as error:
                results.put(error)
        results.put(None)

    threads = [threading.Thread(target=serve, daemon=True) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    try:
        ended = 0
        while ended < len(threads):
            result = results.get()
            if result is None:
                ended += 1
            elif isinstance(result, BaseException):
                raise result
            else:
                yield result
    finally:
        children.stop()
        until = time.monotonic() + _GRACE
        for thread in threads:  # one may be waiting for a store that fails, and ends with this process then
            thread.join(max(0.0, until - time.monotonic()))


def on_dask(run: Run, parts: Iterable[int], address: str) -> Generator[PartResult | PartFailed, None, None]:
    """Do parts on a Dask cluster; yield what became of each.

    Every worker needs this version of the package and the credentials in its environment.

    Parameters
    ----------
    run : the run.
    parts : numbers of parts, taken one by one.
    address : of the scheduler, such as ``tcp://host:8786``.
    """
    try:
        from distributed import Client, as_completed
    except ModuleNotFoundError as error:
        raise ParameterError("Dask needs one more package: pip install 'defocus[dask]'.") from error
    try:
        client = Client(address, timeout=30)
    except (OSError, ValueError) as error:
        raise ParameterError(f"There is no Dask scheduler at {address}: {' '.join(str(error).split())}.") from error
    waiting = iter(parts)
    with client:

        def window() -> int:
            workers = client.scheduler_info(n_workers=-1)["workers"]
            return _IN_FLIGHT * sum(worker["nthreads"] for worker in workers.values())

        if not window():
            raise ParameterError(f"The Dask cluster at {address} has no worker: start some first.")
        of: dict[Any, int] = {}

        def submitted(count: int) -> list[Any]:
            futures = []
            for part in islice(waiting, count):
                future = client.submit(run.work, part, pure=False, retries=_RETRIES)
                of[future] = part
                futures.append(future)
            return futures

        done = as_completed(submitted(window()))
        for future in done:
            part = of.pop(future)
            yield _result(part, future.result)
            # Workers come and go; where all have gone, one part waits for the next.
            for following in submitted(max(window() - len(of), 0 if of else 1)):
                done.add(following)


def on_ray(run: Run, parts: Iterable[int], address: str) -> Generator[PartResult | PartFailed, None, None]:
    """Do parts on a Ray cluster by Ray core; yield what became of each.

    Every node needs this version of the package and the credentials in its environment.

    Parameters
    ----------
    run : the run.
    parts : numbers of parts, taken one by one.
    address : of the cluster, or ``auto``.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ParameterError("Ray needs one more package: pip install 'defocus[ray]'.") from error
    try:
        ray.init(address=address, log_to_driver=False)
    except (ConnectionError, ValueError) as error:
        raise ParameterError(f"There is no Ray cluster at {address}: {' '.join(str(error).split())}.") from error
    try:
        remote = ray.remote(num_cpus=1, max_retries=_RETRIES, retry_exceptions=[DefocusError])(_work)
        waiting = iter(parts)
        running: dict[Any, int] = {}
        while True:
            window = _IN_FLIGHT * max(1, int(ray.cluster_resources().get("CPU", 1)))  # nodes come and go
            for part in islice(waiting, max(0, window - len(running))):
                running[remote.remote(run, part)] = part
            if not running:
                break
            (ready,), _ = ray.wait(list(running))
            yield _result(running.pop(ready), partial(ray.get, ready))
    finally:
        ray.shutdown()


def _work(run: Run, part: int) -> PartResult:
    """`Run.work` as a function, as Ray wants it."""
    return run.work(part)


def _result(part: int, get: Callable[[], PartResult]) -> PartResult | PartFailed:
    """Return what an engine has of a part; whatever went wrong with it must not cost the others."""
    try:
        return get()
    except Exception as error:
        return PartFailed(part, " ".join(str(error).split()) or type(error).__name__)


ENGINES: dict[str, Callable[[Run, Iterable[int], str], Generator[PartResult | PartFailed, None, None]]] = {
    "dask": on_dask,
    "ray": on_ray,
}
"""What `--on NAME=ADDRESS` knows."""
