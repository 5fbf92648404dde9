"""How many CPU cores this process works on."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["at_once", "available_cores", "cpu_quota", "limit_cores", "on_all_cores", "single_blas_thread"]

Item = TypeVar("Item")
Result = TypeVar("Result")

_most: int | None = None
_single_lock = threading.Lock()
_single_users = 0
_single_limit: _BlasLimit | None = None


def available_cores() -> int:
    """CPU cores this process may use, 1 or more.

    The least of those the system lets it run on, what the CPU quota of its container amounts to (cgroup versions 1 and
    2, rounded up), the environment's OMP_NUM_THREADS and what `limit_cores` was given.
    """
    given = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limits = (_quota_of_this_process(), _wished(os.environ.get("OMP_NUM_THREADS", "")), _most)
    return max(1, min([given, *(limit for limit in limits if limit is not None)]))


def _wished(omp_num_threads: str) -> int | None:
    """Threads that OMP_NUM_THREADS asks for: its first number, as nested regions do not matter here."""
    first = omp_num_threads.split(",")[0].strip()
    return int(first) if first.isascii() and first.isdigit() and int(first) > 0 else None


@lru_cache(maxsize=1)  # a quota is set when a container starts
def _quota_of_this_process() -> int | None:
    return cpu_quota(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))


def cpu_quota(membership: Path, root: Path) -> int | None:
    """Cores that the control groups of a process allow it, rounded up; None without a limit.

    Parameters
    ----------
    membership : the process's /proc/PID/cgroup.
    root : where the control groups are mounted, /sys/fs/cgroup.
    """
    try:
        lines = [line.split(":", 2) for line in membership.read_text().splitlines()]
    except (OSError, ValueError):
        return None
    quotas: list[float] = []
    for line in lines:
        if len(line) != 3:
            continue
        _, controllers, place = line
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = (
            root
            if not controllers
            else next((root / each for each in (controllers, "cpu") if (root / each).is_dir()), root)
        )
        # A group is bound by the limits of all the groups that it is in. Within a container the path may be one of the
        # host, which is not there; the container's own group is then the top.
        inner = top.joinpath(*(part for part in Path(place).parts if part not in ("/", "..")))
        for group in (inner, *inner.parents):
            quota = _quota(group)
            if quota is not None:
                quotas.append(quota)
            if group == top:
                break
    return max(1, math.ceil(min(quotas))) if quotas else None


def _quota(group: Path) -> float | None:
    """CPU time that one control group allows, in cores; None without a limit."""
    try:
        if (group / "cpu.max").is_file():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return float(quota) / float(period) if quota != "max" and float(quota) > 0 and float(period) > 0 else None
    except (OSError, ValueError):
        return None


@contextmanager
def single_blas_thread() -> Iterator[None]:
    """Let BLAS work in the calling threads only; afterwards it has the threads it had before.

    Several threads may be within at once: the first to enter sets the limit and the last to leave lifts it. If each
    did so for itself, one that entered later would take the limit for what was there before, and leave it behind.
    """
    global _single_users, _single_limit
    with _single_lock:
        if _single_users == 0:
            _single_limit = _BlasLimit()
        _single_users += 1
    try:
        yield
    finally:
        with _single_lock:
            _single_users -= 1
            if _single_users == 0 and _single_limit is not None:
                _single_limit.lift()
                _single_limit = None


class _BlasLimit:
    """One BLAS thread from now until `lift`, set and lifted by one thread of its own.

    OpenBLAS, as threadpoolctl drives it, heeds only the thread that set a limit when the limit is to be lifted, and the
    last to leave need not be the first that entered.
    """

    def __init__(self) -> None:
        self._set, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._hold, name="defocus BLAS limit", daemon=True)
        self._thread.start()
        self._set.wait()

    def _hold(self) -> None:
        try:
            from threadpoolctl import threadpool_limits

            with threadpool_limits(1, user_api="blas"):
                self._set.set()
                self._over.wait()
        finally:
            self._set.set()  # an error here must not leave the caller waiting

    def lift(self) -> None:
        self._over.set()
        self._thread.join()


def on_all_cores(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Do `work` on every item, in threads that have ended when this returns, also on Ctrl-C.

    Parameters
    ----------
    work : gains where it leaves Python's lock. Items that had not begun when one failed are not begun.
    items : small enough that Ctrl-C need not wait long for those that have begun.

    Returns
    -------
    What `work` returned, in the order of the items. An exception of any is raised.
    """
    with ThreadPoolExecutor(available_cores()) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            return [future.result() for future in futures]
        finally:
            pool.shutdown(cancel_futures=True)


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
