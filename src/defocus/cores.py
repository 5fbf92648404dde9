"""How many CPU cores this process works on."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_most: int | None = None


def available_cores() -> int:
    """CPU cores this process may use: those the system gives it, or fewer after `limit_cores`."""
    given = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return given if _most is None else min(given, _most)


def limit_cores(most: int) -> None:
    """Use no more than `most` cores (1 or more) from now on, in ONNX Runtime, BLAS and OpenMP too.

    For processes that work beside others of their kind: threads of all of them on all cores slow each other down.
    """
    global _most
    from threadpoolctl import threadpool_limits

    _most = most
    # Libraries that are not loaded yet read these when they are.
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(most)))
    threadpool_limits(most)


def at_once(first: Callable[[], Any], *others: Callable[[], Any]) -> list[Any]:
    """Do tasks at once, if there are cores to: the first in this thread, where signals are heard, the others beside it.

    Parameters
    ----------
    first : may be left by any exception, Ctrl-C included. Those of the others that had not begun are then not begun.
    others : one after another, in a thread of their own. They gain where they leave Python's lock.

    Returns
    -------
    What they return, in their order. An exception of any is raised.
    """
    if available_cores() == 1:
        return [first(), *(task() for task in others)]
    with ThreadPoolExecutor(1) as pool:
        futures = [pool.submit(task) for task in others]
        try:
            return [first(), *(future.result() for future in futures)]
        finally:
            pool.shutdown(cancel_futures=True)
