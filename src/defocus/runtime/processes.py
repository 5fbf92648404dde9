"""Many jobs at once: processes that can be ended cleanly, and a pool that survives the death of any of them."""

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
from defocus.runtime.cores import available_cores, limit_cores

__all__ = ["WorkerLost", "run", "run_in_order", "terminable"]

Job = TypeVar("Job")
Result = TypeVar("Result")

_GRACE = 5.0
"""Seconds that a process has to stop its work and remove unfinished files before it is killed."""


def _nothing() -> None:
    """Prepare nothing; a function of the module, as it travels to other processes."""


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM unwind the stack, as Ctrl-C does, so that unfinished files are removed."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class WorkerLost(DefocusError):
    """The system ended the process that worked on a job, twice."""


def run(
    jobs: Iterable[Job],
    work: Callable[[Job], Result],
    processes: int,
    *,
    started: Callable[[int], None] = lambda index: None,
    prepare: Callable[[], None] = _nothing,
    one_core_each: bool = False,
) -> Generator[tuple[int, Result | WorkerLost], None, None]:
    """Do `work` on every job and yield results as they come.

    A process takes one job after another, so what it has loaded for one serves the next; results are not kept here.
    When the system ends a process (out of memory, say), a new one takes its place and the job is tried once more at
    the end, alone.

    Parameters
    ----------
    jobs : taken one by one as processes become free. With `processes` above 1 they, and the results, travel between
        processes and must be picklable.
    work : with `processes` above 1 a function of a module, or `functools.partial` of one. Catches what may go wrong
        with a job: an exception of it is raised here and ends everything.
    processes : 1 works in this process, one job after another, and so does any number for a single job (unless
        `one_core_each`). More works in that many processes, but in no more than there are jobs or cores, and shares
        the cores among them.
    started : called with a job's place in `jobs` when work on it begins.
    prepare : called in every process that works, before its first job; picklable like `work`.
    one_core_each : keep every process to one core, where the system can, so that what it measures does not depend on
        what runs beside it.

    Yields
    ------
    place, result
        The job's place in `jobs` and what `work` returned, or a `WorkerLost` for a job whose process was ended twice.
        Close the generator (`contextlib.closing`) to be sure that no process outlives a loop that is left early.
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
    # When several processes fill the memory, the system may have ended the wrong one.
    with closing(_pool(lost, serve, 1, started)) as results:
        for place, _, result in results:
            yield place, result


def run_in_order(
    jobs: Iterable[Job],
    work: Callable[[Job], Result],
    processes: int,
    prepare: Callable[[], None] = _nothing,
) -> Iterator[Result]:
    """Do `work` on every job and yield the results in the order of the jobs.

    Parameters
    ----------
    jobs, work, processes, prepare : see `run`.

    Raises
    ------
    WorkerLost
        If the system ended the process that worked on a job, twice.
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
    """Yield place, job and result or `WorkerLost`, as they come."""
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
        theirs.close()  # or the end of the process would not close the pipe
        hand_out(ours, place, job)

    def hand_out(connection: Connection, place: int, job: Job) -> None:
        at_work[connection] = place, job
        started(place)
        with suppress(ConnectionError):  # the process has ended: that shows when its answer is read
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
                    # Before the result is dealt with: the process need not wait for that.
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


def _serve(
    connection: Connection,
    number: int,
    *,
    work: Callable[[Any], Any],
    prepare: Callable[[], None],
    cores: int,
    pinned: bool,
) -> None:
    """What a process does: it takes jobs and returns results or exceptions, until the pipe or the parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal: the parent decides
    with terminable():
        threading.Thread(target=_leave_with_parent, daemon=True).start()
        limit_cores(cores)
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
    """End this process, unwinding its stack, once the parent is no more, however that ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _lost(process: SpawnProcess) -> WorkerLost:
    """Say what became of a process whose pipe has ended."""
    process.kill()  # changes nothing where it is ending already
    process.join()
    code = process.exitcode
    if code == -9:  # SIGKILL, which not every system has
        return WorkerLost("the system ended its process, most likely for want of memory: make the photograph smaller.")
    how = f"by {signal.Signals(-code).name}" if code is not None and code < 0 else f"with code {code}"
    return WorkerLost(f"its process ended {how} (a fault in defocus: please report it).")


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Start a process within: it will not hear a Ctrl-C before it can ignore it; this one hears it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # would be started within, and let interrupts through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
