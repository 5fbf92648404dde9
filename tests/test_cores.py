import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_info

import defocus
from defocus.runtime import cores
from defocus.runtime.cores import at_once, available_cores, cpu_quota, on_all_cores, single_blas_thread


@pytest.fixture(params=[1, 2])
def available(request, monkeypatch):
    monkeypatch.setattr(cores, "available_cores", lambda: request.param)


def test_tasks_give_their_results_in_order(available):
    assert at_once(lambda: 1, lambda: "two", lambda: None) == [1, "two", None]


def test_the_first_task_stays_in_this_thread(available):
    assert at_once(threading.current_thread, lambda: None)[0] is threading.current_thread()


def test_tasks_overlap_where_there_are_cores(monkeypatch):
    monkeypatch.setattr(cores, "available_cores", lambda: 2)
    both = threading.Barrier(2, timeout=20)  # is passed only by two at a time
    at_once(both.wait, both.wait)


@pytest.mark.parametrize("faulty", [0, 1])
def test_a_failure_is_raised(available, faulty):
    def fail():
        raise ValueError("a fault")

    tasks = [lambda: None, lambda: None]
    tasks[faulty] = fail
    with pytest.raises(ValueError, match="a fault"):
        at_once(*tasks)


def blas_threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_blas_has_its_threads_back_however_callers_overlap():
    before = blas_threads()
    if not before:
        pytest.skip("threadpoolctl knows no BLAS here (macOS has Accelerate, which it does not drive)")
    inside, leave = threading.Barrier(3, timeout=20), threading.Event()

    def early():
        with single_blas_thread():
            inside.wait()
            leave.wait(20)

    def late():
        with single_blas_thread():
            inside.wait()

    threads = [threading.Thread(target=early), threading.Thread(target=late)]
    for thread in threads:
        thread.start()
    inside.wait()
    threads[1].join()
    assert set(blas_threads()) == {1}  # one has left, the other is still within
    leave.set()
    threads[0].join()
    assert blas_threads() == before


def test_eight_threads_that_estimate_leave_blas_as_it_was():
    shades = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    defocus.estimate(shades, method="dhde")  # loads SciPy, which has a BLAS of its own
    before = blas_threads()
    threads = [threading.Thread(target=defocus.estimate, args=(shades,), kwargs={"method": "dhde"}) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert blas_threads() == before


def test_an_estimate_uses_one_blas_thread_and_gives_the_others_back():
    shades = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    defocus.estimate(shades)  # loads SciPy, which has a BLAS of its own
    before = blas_threads()
    if max(before, default=1) == 1:
        pytest.skip("BLAS has one thread here in any case")
    seen = []
    defocus.estimate(shades, progress=lambda step, fraction: seen.extend(blas_threads()))
    assert set(seen) == {1}
    assert blas_threads() == before


def test_an_interrupt_leaves_no_thread_behind():
    started, before = threading.Event(), threading.active_count()
    done = []

    def work(item):
        if item == 0:
            started.set()
            raise KeyboardInterrupt
        time.sleep(0.01)
        done.append(item)

    with pytest.raises(KeyboardInterrupt):
        on_all_cores(work, range(1000))
    assert started.is_set()
    assert threading.active_count() == before
    assert len(done) < 500  # what had not begun was not begun


@pytest.mark.parametrize(
    ("files", "membership", "cores_allowed"),
    [
        ({"cpu.max": "200000 100000"}, "0::/", 2),
        ({"cpu.max": "150000 100000"}, "0::/", 2),
        ({"cpu.max": "max 100000"}, "0::/", None),
        ({"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, "0::/a/b", 3),
        ({"cpu.max": "50000 100000"}, "0::/of/the/host", 1),
        ({"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, "3:cpu,cpuacct:/docker/x", 4),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "3:cpu:/", None),
        ({"cpu.max": "nonsense"}, "0::/", None),
        ({}, "0::/", None),
        ({}, "", None),
    ],
)
def test_a_container_s_quota_is_heeded(tmp_path, files, membership, cores_allowed):
    for name, text in files.items():
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_text(text + "\n")
    (tmp_path / "cgroup").write_text(membership + "\n")
    assert cpu_quota(tmp_path / "cgroup", tmp_path / "root") == cores_allowed


def test_the_quota_and_omp_num_threads_limit_the_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(cores, "_quota_of_this_process", lambda: 5)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert available_cores() == 5
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert available_cores() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert available_cores() == 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_child_forked_after_an_estimate_ends():
    program = (
        "import os, signal, sys, warnings\n"
        "import numpy as np, defocus\n"
        "warnings.simplefilter('ignore')\n"
        "photo = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)\n"
        "defocus.estimate(photo)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    signal.alarm(60)\n"
        "    if sys.argv[1] == 'work':\n"
        "        defocus.estimate(photo)\n"
        "    sys.exit(7)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    for what in ("idle", "work"):
        assert subprocess.run([sys.executable, "-c", program, what], timeout=120).returncode == 7
