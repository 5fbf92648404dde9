import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from defocus.runtime.atomic import atomic_write
from defocus.runtime.cores import available_cores
from defocus.runtime.processes import Worker, WorkerLost, run, run_in_order
from systems import needs_proc, needs_signals
from waiting import wait_for

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}


def square(number):
    return number**2, os.getpid()


def fail_at_three(number):
    if number == 3:
        raise KeyError("three")
    return number


def die(job):
    number, folder = job
    if number == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if number == "crashed":
        os.kill(os.getpid(), signal.SIGSEGV)
    if number == "once":
        marker = Path(folder) / "tried"
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return number


def cores(_):
    import numpy as np  # after the limit, as in a worker of a command
    from threadpoolctl import threadpool_info

    np.dot(np.ones((2, 2)), np.ones((2, 2)))
    return available_cores(), max(library["num_threads"] for library in threadpool_info())


def write_slowly(path):
    with atomic_write(Path(path)) as file:
        file.write(b"half")
        Path(path).with_suffix(".started").touch()
        time.sleep(60)


_prepared = []


def prepare():
    _prepared.append(os.getpid())


def number_and_preparations(number):
    time.sleep(0.05 * (number % 3))  # later jobs are done first
    return number, len(_prepared)


def broken_preparation():
    raise KeyError("nothing there")


def test_results_in_order_and_one_preparation_for_each_process():
    numbers, preparations = zip(*run_in_order(iter(range(12)), number_and_preparations, 2, prepare), strict=True)
    assert numbers == tuple(range(12))
    assert set(preparations) == {1}


def test_a_failed_preparation_ends_the_run():
    with pytest.raises(KeyError, match="nothing there"):
        list(run_in_order(range(4), number_and_preparations, 2, broken_preparation))


def test_a_lost_process_is_an_error_where_all_results_are_wanted(tmp_path):
    jobs = [("killed", str(tmp_path)), ("fine", str(tmp_path))]
    with pytest.raises(WorkerLost):
        list(run_in_order(jobs, die, 2))


def test_jobs_are_taken_as_processes_become_free():
    """A stream of large jobs is never held in memory as a whole."""
    taken = []

    def jobs():
        for number in range(40):
            taken.append(number)
            yield number

    with closing(run(jobs(), square, 2)) as results:
        next(results)
        assert len(taken) <= 5


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system does not keep processes to cores")
def test_processes_can_be_kept_to_one_core_each():
    for _, (python, blas) in run([0, 1, 2], cores, 2, one_core_each=True):
        assert (python, blas) == (1, 1)


def test_one_process_works_here_and_in_order():
    started = []
    results = list(run([1, 2, 3], square, 1, started=started.append))
    assert results == [(0, (1, os.getpid())), (1, (4, os.getpid())), (2, (9, os.getpid()))]
    assert started == [0, 1, 2]


def test_several_processes_do_every_job_once_and_elsewhere():
    started = []
    results = dict(run(list(range(30)), square, 2, started=started.append))
    assert {place: value for place, (value, _) in results.items()} == {n: n**2 for n in range(30)}
    workers = {process for _, process in results.values()}
    assert os.getpid() not in workers
    assert len(workers) <= min(2, available_cores())  # a process serves many jobs
    assert sorted(started) == list(range(30))


def test_processes_share_the_cores():
    ((_, (python, blas)),) = run([0], cores, 2)
    assert python == blas == available_cores()  # one job, one process
    results = list(run([0, 1], cores, available_cores()))
    if available_cores() > 1:
        assert {result for _, result in results} == {(1, 1)}


def test_no_jobs():
    assert list(run([], square, 2)) == []


def test_a_fault_of_the_work_ends_everything():
    with pytest.raises(KeyError, match="three"):
        list(run([1, 2, 3, 4], fail_at_three, 2))


@needs_signals
def test_a_process_that_the_system_ends_costs_its_own_job_only(tmp_path):
    jobs = [1, "killed", 2, 3, "once", "crashed", *range(4, 10)]
    results = dict(run([(job, str(tmp_path)) for job in jobs], die, 2))
    assert set(results) == set(range(len(jobs)))
    lost = {jobs[place]: result for place, result in results.items() if isinstance(result, WorkerLost)}
    assert set(lost) == {"killed", "crashed"}
    assert "memory" in str(lost["killed"])
    assert "SIGSEGV" in str(lost["crashed"])
    assert all(result == jobs[place] for place, result in results.items() if not isinstance(result, WorkerLost))


def alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@needs_proc
def test_closing_early_ends_the_processes():
    with closing(run(list(range(100)), square, 2)) as results:
        _, (_, worker) = next(results)
    assert not alive(worker)


def children(process):
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@needs_proc
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_ended_from_outside_leaves_neither_processes_nor_halves_of_files(tmp_path, name):
    number = signal.Signals[name]
    code = (
        "from defocus.runtime.processes import run, terminable\n"
        "import test_workers\n"
        f"paths = [f'{tmp_path}/{{n}}.out' for n in range(5)]\n"
        "with terminable():\n"
        "    try: list(run(paths, test_workers.write_slowly, 2))\n"
        "    except KeyboardInterrupt: pass\n"
    )
    running = min(2, available_cores())
    # A session of its own: Ctrl-C on a terminal goes to every process of it.
    with subprocess.Popen(
        [sys.executable, "-c", code], env=ENVIRONMENT, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        wait_for(lambda: len(list(tmp_path.glob("*.started"))) == running)
        workers = children(process.pid)
        assert len(workers) >= running
        if number == signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        _, err = process.communicate(timeout=20)
    wait_for(lambda: not any(map(alive, workers)))
    assert "Traceback" not in err
    assert not [path.name for path in tmp_path.iterdir() if path.suffix != ".started"]


def test_a_process_beside_does_one_job_after_another():
    worker = Worker(square, cores=1)
    (first, pid), (second, same) = worker.do(3), worker.do(4)
    assert (first, second) == (9, 16)
    assert pid == same != os.getpid()
    worker.close()
    with pytest.raises(WorkerLost):
        worker.do(5)


@needs_signals
def test_a_process_beside_that_is_lost_costs_one_job(tmp_path):
    worker = Worker(die, cores=1)
    with pytest.raises(WorkerLost, match="memory"):
        worker.do(("killed", str(tmp_path)))
    assert worker.do((7, str(tmp_path))) == 7
    worker.close()


@needs_signals
def test_closing_ends_a_job_and_removes_what_it_had_begun(tmp_path):
    worker = Worker(write_slowly, cores=1)
    lost = []

    def work():
        try:
            worker.do(str(tmp_path / "a.bin"))
        except WorkerLost as error:
            lost.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    wait_for((tmp_path / "a.started").exists)
    worker.close()
    thread.join(20)
    assert not thread.is_alive()
    assert len(lost) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.started"]
