"""Work on many photographs or scenes at once, in processes of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeVar

from defocus.cores import available_cores, limit_cores

Job = TypeVar("Job")
Result = TypeVar("Result")


def mapped(
    work: Callable[[Job], Result],
    jobs: Iterable[Job],
    processes: int,
    prepare: Callable[..., None] | None = None,
    *arguments: Any,
) -> Iterator[Result]:
    """What `work` returns for every job, in their order.

    Parameters
    ----------
    work : with `processes` above 1 a function of a module, or `functools.partial` of one.
    jobs : with `processes` above 1 they, and the results, travel between processes and must be picklable.
    processes : 1 works in this process. More share the cores among them.
    prepare, arguments : called before the work, in every process that works: for what all jobs need.
    """
    if processes == 1:
        if prepare is not None:
            prepare(*arguments)
        yield from map(work, jobs)
        return
    cores = max(1, available_cores() // processes)
    # Spawned, as the threads of PyTorch and ONNX Runtime do not survive a fork.
    with ProcessPoolExecutor(
        processes, get_context("spawn"), initializer=_begin, initargs=(cores, prepare, arguments)
    ) as pool:
        yield from pool.map(work, jobs)


def _begin(cores: int, prepare: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    limit_cores(cores)
    if prepare is not None:
        prepare(*arguments)
