"""Many photographs at once: processes that can be ended cleanly, and a pool that outlives the death of any of them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Any, TypeVar, cast

from defocus.cores import available_cores, limit_cores
from defocus.errors import DefocusError

Job = TypeVar("Job")
Result = TypeVar("Result")

_GRACE = 5.0
"""s that a worker has to leave what it does and remove unfinished files before it is killed."""


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
    jobs: Sequence[Job],
    work: Callable[[Job], Result],
    processes: int,
    started: Callable[[int], None] = lambda index: None,
) -> Generator[tuple[int, Result | WorkerLost], None, None]:
    """Do `work` on every job and yield results as they come.

    A process takes one job after another, so what it has loaded for one serves the next; results are not kept here.
    When the system ends a process (out of memory, say), a new one takes its place and the job is tried once more at
    the end, alone.

    Parameters
    ----------
    jobs : with `processes` above 1 they, and the results, travel between processes and must be picklable.
    work : with `processes` above 1 a function of a module, or `functools.partial` of one. Catches what may go wrong
        with a job: an exception of it is raised here and ends everything.
    processes : 1 works in this process, one job after another, and so does any number for a single job. More works in
        that many processes, but in no more than there are jobs or cores, and shares the cores among them.
    started : called with a job's place in `jobs` when work on it begins.

    Yields
    ------
    place, result
        The job's place in `jobs` and what `work` returned, or a `WorkerLost` for a job whose process was ended twice.
        Close the generator (`contextlib.closing`) to be sure that no process outlives a loop that is left early.
    """
    if min(processes, len(jobs)) <= 1:
        for place, job in enumerate(jobs):
            started(place)
            yield place, work(job)
        return
    count = min(processes, available_cores(), len(jobs))
    lost = []
    with closing(_pool(range(len(jobs)), jobs, work, count, started)) as results:
        for place, result in results:
            if isinstance(result, WorkerLost):
                lost.append(place)
            else:
                yield place, result
    # Of several processes that fill the memory the system may have ended the wrong one.
    yield from _pool(lost, jobs, work, 1, started)


def _pool(
    places: Iterable[int],
    jobs: Sequence[Job],
    work: Callable[[Job], Result],
    count: int,
    started: Callable[[int], None],
) -> Generator[tuple[int, Result | WorkerLost], None, None]:
    waiting = deque(places)
    processes: dict[Connection, SpawnProcess] = {}
    at_work: dict[Connection, int] = {}

    def hire() -> None:
        ours, theirs = multiprocessing.Pipe()
        with _interrupts_held_back():
            process = multiprocessing.get_context("spawn").Process(
                target=_serve, args=(theirs, work, max(1, available_cores() // count)), daemon=True
            )
            process.start()
            processes[ours] = process
        theirs.close()  # or the end of the process would not close the pipe
        hand_out(ours)

    def hand_out(connection: Connection) -> None:
        place = at_work[connection] = waiting.popleft()
        started(place)
        with suppress(ConnectionError):  # the process has ended: that shows when its answer is read
            connection.send(jobs[place])

    try:
        while waiting and len(processes) < count:
            hire()
        while at_work:
            for ready in cast("list[Connection]", wait(list(at_work))):
                place = at_work.pop(ready)
                try:
                    done, outcome = ready.recv()
                except (EOFError, OSError):
                    done, outcome = True, _lost(processes.pop(ready))
                    ready.close()
                    if waiting:
                        hire()
                else:
                    if waiting and done:  # before the result is dealt with: the process need not wait for that
                        hand_out(ready)
                if not done:
                    raise outcome
                yield place, outcome
    finally:
        for process in processes.values():
            process.terminate()
        for connection, process in processes.items():
            process.join(_GRACE)
            process.kill()
            process.join()
            connection.close()


def _serve(connection: Connection, work: Callable[[Any], Any], cores: int) -> None:
    """The life of a worker: job in, result or exception out, until the pipe or the parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal: the parent decides
    with terminable():
        threading.Thread(target=_leave_with_parent, daemon=True).start()
        limit_cores(cores)
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
