"""Parallel processes: they can be ended cleanly, and the pool of them survives the death of any of them."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from itertools import chain, islice
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Any, TypeVar, cast

from defocus.errors import DefocusError
from defocus.runtime.cores import available_cores, limited_cores

__all__ = ["Worker", "WorkerLost", "run", "run_in_order", "terminable", "worker_lost"]

Job = TypeVar("Job")
Result = TypeVar("Result")

_GRACE = 5.0
"""Time in seconds after which a process that was told to stop is killed; until then it removes unfinished files."""


def _nothing() -> None:
    """Prepare nothing; a function of the module, as it travels to other processes."""


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM unwind the stack within a block, as Ctrl-C does, so that unfinished files are removed."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class WorkerLost(DefocusError):
    """The system ended the process that worked on a job, and again on the second attempt."""


def run(
    jobs: Iterable[Job],
    work: Callable[[Job], Result],
    processes: int,
    *,
    started: Callable[[int], None] = lambda index: None,
    prepare: Callable[[], None] = _nothing,
    one_core_each: bool = False,
) -> Generator[tuple[int, Result | WorkerLost], None, None]:
    """Call `work` on every job and yield results as they become ready.

    A process takes one job after another, so what it has loaded for one serves the next; results are not kept.
    When the system ends a process (out of memory, for example), a new one replaces it and the job is tried once more at
    the end, alone.

    Parameters
    ----------
    jobs : jobs, taken one by one as processes become free. With `processes` above 1, jobs and results are sent between
        processes and must be picklable.
    work : function of one job; with `processes` above 1 a function of a module, or `functools.partial` of one. It has
        to catch expected errors of a job: an exception is raised here and ends all work.
    processes : number of processes. 1 works in this process, one job after another, and so does any number for a single
        job (unless `one_core_each`). There are never more processes than jobs or cores, and they divide the cores among
        them.
    started : called with the index of a job in `jobs` when work on it begins.
    prepare : called in every worker process before its first job; picklable like `work`.
    one_core_each : keep every process to one core, where the system can, so that its measurements do not depend on
        other processes.

    Yields
    ------
    place, result
        The index of the job in `jobs` and the result of `work`, or a `WorkerLost` for a job whose process was ended
        twice. Close the generator (`contextlib.closing`) so that no process outlives a loop that is left early.

    Examples
    --------
    >>> list(run([1, 2, 3], abs, processes=1))
    [(0, 1), (1, 2), (2, 3)]
    """
    remaining = enumerate(jobs)
    first = list(islice(remaining, max(1, processes)))
    if processes <= 1 or (len(first) <= 1 and not one_core_each):
        prepare()
        for place, job in chain(first, remaining):
            started(place)
            yield place, work(job)
        return
    count = max(1, min(processes, available_cores(), len(first)))
    lost: list[tuple[int, Job]] = []
    cores = 1 if one_core_each else max(1, available_cores() // count)
    serve = partial(_serve, work=work, prepare=prepare, cores=cores, pinned=one_core_each)
    with closing(_pool(chain(first, remaining), serve, count, started)) as results:
        for place, job, result in results:
            if isinstance(result, WorkerLost):
                lost.append((place, job))
            else:
                yield place, result
    # When several processes together filled the memory, the system may have ended any of them.
    with closing(_pool(lost, serve, 1, started)) as results:
        for place, _, result in results:
            yield place, result


def run_in_order(
    jobs: Iterable[Job],
    work: Callable[[Job], Result],
    processes: int,
    prepare: Callable[[], None] = _nothing,
) -> Iterator[Result]:
    """Call `work` on every job and yield the results in the order of the jobs.

    Parameters
    ----------
    jobs, work, processes, prepare : see `run`.

    Raises
    ------
    WorkerLost
        If the system ended the process that worked on a job twice.

    Examples
    --------
    >>> list(run_in_order([-1, 2], abs, processes=1))
    [1, 2]
    """
    early: dict[int, Result] = {}
    due = 0
    with closing(run(jobs, work, processes, prepare=prepare)) as results:
        for place, result in results:
            if isinstance(result, WorkerLost):
                raise result
            early[place] = result
            while due in early:
                yield early.pop(due)
                due += 1


def _pool(
    jobs: Iterable[tuple[int, Job]],
    serve: Callable[[Connection, int], None],
    count: int,
    started: Callable[[int], None],
) -> Generator[tuple[int, Job, Any], None, None]:
    """Yield index, job and result or `WorkerLost`, as they become ready."""
    waiting = iter(jobs)
    processes: dict[Connection, SpawnProcess] = {}
    at_work: dict[Connection, tuple[int, Job]] = {}
    numbers = itertools.count()

    def start_process(place: int, job: Job) -> None:
        ours, theirs = multiprocessing.Pipe()
        with _interrupts_held_back():
            process = multiprocessing.get_context("spawn").Process(
                target=serve, args=(theirs, next(numbers)), daemon=True
            )
            process.start()
            processes[ours] = process
        theirs.close()  # else the end of the process would not close the pipe
        hand_out(ours, place, job)

    def hand_out(connection: Connection, place: int, job: Job) -> None:
        at_work[connection] = place, job
        started(place)
        with suppress(ConnectionError):  # the process has ended, which is noticed when its answer is read
            connection.send(job)

    try:
        for place, job in islice(waiting, count):
            start_process(place, job)
        while at_work:
            for ready in cast("list[Connection]", wait(list(at_work))):
                place, job = at_work.pop(ready)
                try:
                    done, outcome = ready.recv()
                except (EOFError, OSError):
                    done, outcome = True, _lost(processes.pop(ready))
                    ready.close()
                    for next_job in islice(waiting, 1):
                        start_process(*next_job)
                else:
                    # Before the result is yielded, so that the process does not wait for the caller.
                    for next_job in islice(waiting, 1) if done else ():
                        hand_out(ready, *next_job)
                if not done:
                    raise outcome
                yield place, job, outcome
    finally:
        for process in processes.values():
            process.terminate()
        for connection, process in processes.items():
            process.join(_GRACE)
            process.kill()
            process.join()
            connection.close()


class Worker:
    """A process beside this one that does one job after another, in the order in which they are asked for.

    It is started for the first job, and anew after the system has ended it. One thread gives it jobs; any thread may
    close it.

    Parameters
    ----------
    work : function of one job, of a module or `functools.partial` of one; it has to catch expected errors of a job.
    cores : number of cores that it may use.

    Examples
    --------
    >>> worker = Worker(abs, cores=1)
    >>> worker.do(-1)
    1
    >>> worker.close()
    """

    def __init__(self, work: Callable[[Any], Any], cores: int) -> None:
        self._serve = partial(_serve, work=work, prepare=_nothing, cores=cores, pinned=False)
        self._lock = threading.Lock()
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None
        self._closed = False

    def do(self, job: Any) -> Any:
        """Return what `work` makes of a job.

        Raises
        ------
        WorkerLost
            If the process was ended at it, by the system or by `close`.
        Exception
            What `work` raises.
        """
        with self._lock:
            if self._closed:
                raise WorkerLost("its process was ended.")
            if self._process is None:
                self._connection, theirs = multiprocessing.Pipe()
                with _interrupts_held_back():
                    self._process = multiprocessing.get_context("spawn").Process(
                        target=self._serve, args=(theirs, 0), daemon=True
                    )
                    self._process.start()
                theirs.close()
            process, connection = self._process, self._connection
        assert connection is not None
        try:
            with suppress(ConnectionError):  # the process has ended, which is noticed when its answer is read
                connection.send(job)
            done, outcome = connection.recv()
        except (EOFError, OSError) as error:
            with self._lock:
                self._process = None
            connection.close()
            raise _lost(process) from error
        if not done:
            raise outcome
        return outcome

    def close(self) -> None:
        """End the process, whatever it is doing, after it has removed unfinished files."""
        with self._lock:
            self._closed = True
            process = self._process
        if process is not None:
            process.terminate()
            process.join(_GRACE)
            process.kill()
            process.join()


def _serve(
    connection: Connection,
    number: int,
    *,
    work: Callable[[Any], Any],
    prepare: Callable[[], None],
    cores: int,
    pinned: bool,
) -> None:
    """Take jobs and return results or exceptions, in a worker process, until the pipe or the parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal: the parent decides
    with terminable(), limited_cores(cores):
        threading.Thread(target=_leave_with_parent, daemon=True).start()
        if pinned and hasattr(os, "sched_setaffinity"):  # Linux
            allowed = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, {allowed[number % len(allowed)]})
        try:
            prepare()
        except Exception as error:
            with suppress(ConnectionError):
                connection.send((False, error))
            return
        while True:
            try:
                job = connection.recv()
            except (EOFError, ConnectionError):
                return
            try:
                answer = True, work(job)
            except Exception as error:
                answer = False, error
            with suppress(ConnectionError):  # the parent has gone
                connection.send(answer)


def _leave_with_parent() -> None:
    """End this process, unwinding its stack, once the parent has ended, for whatever reason."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _lost(process: SpawnProcess) -> WorkerLost:
    """Return the error for a process whose pipe has ended."""
    process.kill()  # changes nothing where it is ending already
    process.join()
    return worker_lost(process.exitcode)


def worker_lost(code: int | None) -> WorkerLost:
    """Return the error for a process that ended while it worked on a photograph.

    Parameters
    ----------
    code : exit code of the process; below 0 the number of the signal that ended it.

    Examples
    --------
    >>> print(worker_lost(1))
    its process ended with code 1 (a fault in defocus: please report it).
    """
    if code == -9:  # SIGKILL, which not every system has
        return WorkerLost("the system ended its process, most likely for want of memory: make the photograph smaller.")
    how = f"by {signal.Signals(-code).name}" if code is not None and code < 0 else f"with code {code}"
    return WorkerLost(f"its process ended {how} (a fault in defocus: please report it).")


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Hold back Ctrl-C while a process starts, which cannot ignore it yet; this process receives it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # if it were started within, it would let interrupts through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
