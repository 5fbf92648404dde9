"""The number of CPU cores that this process uses, and work on all of them."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["at_once", "available_cores", "cpu_quota", "limited_cores", "on_all_cores", "single_blas_thread"]

Item = TypeVar("Item")
Result = TypeVar("Result")

_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""What libraries read, when they load, to know how many threads to start."""
_MEMBERSHIP, _CONTROL_GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")

_most: int | None = None
_single_lock = threading.Lock()
_single_users = 0
_single_limit: _BlasLimit | None = None


def available_cores() -> int:
    """Return the number of CPU cores that this process may use, 1 or more.

    It is the least of the cores that the system allows, the CPU quota of the container (cgroup versions 1 and 2,
    rounded up), OMP_NUM_THREADS in the environment, and the limit set by `limited_cores`.
    """
    given = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limits = (_quota_of_this_process(), _requested(os.environ.get("OMP_NUM_THREADS", "")), _most)
    return max(1, min([given, *(limit for limit in limits if limit is not None)]))


def _requested(omp_num_threads: str) -> int | None:
    """Return the first number of OMP_NUM_THREADS; the others are for nested regions."""
    first = omp_num_threads.split(",")[0].strip()
    return int(first) if first.isascii() and first.isdigit() and int(first) > 0 else None


@lru_cache(maxsize=1)  # a quota is set when a container starts
def _quota_of_this_process() -> int | None:
    return cpu_quota(_MEMBERSHIP, _CONTROL_GROUPS)


def cpu_quota(membership: Path, root: Path) -> int | None:
    """Return the number of cores that the control groups of a process allow, rounded up; None without a limit.

    Parameters
    ----------
    membership : file /proc/PID/cgroup of the process.
    root : mount point of the control groups, /sys/fs/cgroup.
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


def _forget_other_threads() -> None:
    """Prevent, in a forked child, that it waits for threads of the parent, which do not exist in it.

    Where the parent was within `single_blas_thread`, BLAS keeps its one thread in the child.
    """
    global _single_lock, _single_users, _single_limit
    _single_lock, _single_users, _single_limit = threading.Lock(), 0, None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_other_threads)


@contextmanager
def single_blas_thread() -> Iterator[None]:
    """Restrict BLAS to the calling threads within a block; afterwards it has as many threads as before.

    Several threads may be within such blocks at once: the first to enter sets the limit and the last to leave lifts it.
    If each did so for itself, one that entered later would restore the limit of another as the previous state.
    """
    global _single_users, _single_limit
    with _single_lock:
        if _single_users == 0:
            _single_limit = _BlasLimit()
        _single_users += 1
        holds = _single_limit is not None and _single_limit.holds
    try:
        with nullcontext() if holds else _limited_by_this_thread():
            yield
    finally:
        with _single_lock:
            _single_users -= 1
            if _single_users == 0 and _single_limit is not None:
                _single_limit.lift()
                _single_limit = None


def _limited_by_this_thread() -> AbstractContextManager[Any]:
    """Restrict BLAS to one thread, where the calling thread is the one that has set a limit before."""
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(1, user_api="blas")
    return limits


class _BlasLimit:
    """A limit of one BLAS thread until `lift`, set and lifted by the same thread, which it owns.

    OpenBLAS, as used by threadpoolctl, lets only the thread that set a limit lift it, and the last to leave need not be
    the first that entered.
    """

    holds = True
    """Whether BLAS has one thread now. It has not where another thread has set a limit that still stands: threadpoolctl
    then heeds that thread alone."""

    def __init__(self) -> None:
        self._set, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._hold, name="defocus BLAS limit", daemon=True)
        self._thread.start()
        self._set.wait()

    def _hold(self) -> None:
        try:
            from threadpoolctl import ThreadpoolController

            controller = ThreadpoolController()
            with controller.limit(limits=1, user_api="blas"):
                self.holds = all(each["num_threads"] == 1 for each in controller.select(user_api="blas").info())
                self._set.set()
                self._over.wait()
        finally:
            self._set.set()  # an error here must not leave the caller waiting

    def lift(self) -> None:
        self._over.set()
        self._thread.join()


def on_all_cores(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Call `work` on every item, in threads that have ended when this returns, also on Ctrl-C.

    Parameters
    ----------
    work : function of one item, which runs in parallel where it releases Python's global lock. When it raises an
        exception, items that have not been started are skipped.
    items : items so small that Ctrl-C does not have to wait long for those that have been started.

    Returns
    -------
    The results in the order of the items. The exception of any item is raised.

    Examples
    --------
    >>> on_all_cores(abs, [-1, 2, -3])
    [1, 2, 3]
    """
    with ThreadPoolExecutor(available_cores()) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            return [future.result() for future in futures]
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def limited_cores(most: int) -> Iterator[None]:
    """Use no more than `most` cores within a block, in ONNX Runtime, BLAS and OpenMP too.

    For a whole command or worker process, not for one estimate: it changes the environment, for the sake of libraries
    that are loaded within the block and of processes that are started there. For the main thread alone: OpenBLAS lets
    only the thread that set a limit lift it, and limits of several threads that do not end in the opposite order in
    which they began would leave the process with one of them.

    Parameters
    ----------
    most : 1 or more; a limit that holds already, because it was set around this block, is never raised.

    Raises
    ------
    RuntimeError
        In another thread than the main one; nothing has changed then.

    Examples
    --------
    >>> with limited_cores(1):
    ...     available_cores()
    1
    """
    global _most
    from threadpoolctl import threadpool_limits

    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("The number of cores is limited by the main thread of a process: call this there.")
    limit = most if _most is None else min(most, _most)
    before, variables = _most, {name: os.environ.get(name) for name in _VARIABLES}
    _most = limit
    for name, value in variables.items():
        os.environ[name] = str(min(limit, _requested(value or "") or limit))
    try:
        with threadpool_limits(limit):
            yield
    finally:
        _most = before
        for name, value in variables.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def at_once(first: Callable[[], Any], *others: Callable[[], Any]) -> list[Any]:
    """Run tasks in parallel if there are cores: the first in this thread, which gets signals, the others in another.

    Parameters
    ----------
    first : task that may end with any exception, including Ctrl-C. Others that have not been started are then skipped.
    others : tasks that run one after another in one thread. They run in parallel where they release Python's global
        lock.

    Returns
    -------
    The results in the order of the tasks. The exception of any task is raised.

    Examples
    --------
    >>> at_once(lambda: 1, lambda: 2)
    [1, 2]
    """
    if available_cores() == 1:
        return [first(), *(task() for task in others)]
    with ThreadPoolExecutor(1) as pool:
        futures = [pool.submit(task) for task in others]
        try:
            return [first(), *(future.result() for future in futures)]
        finally:
            pool.shutdown(cancel_futures=True)
