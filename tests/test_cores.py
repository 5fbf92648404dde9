import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from threadpoolctl import threadpool_info, threadpool_limits

import defocus
from defocus.runtime import cores
from defocus.runtime.cores import at_once, available_cores, cpu_quota, limited_cores, on_all_cores, single_blas_thread
from systems import needs_proc


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
    # The upsampling, which is done as strips of the map are wanted, has no products.
    defocus.estimate(shades, progress=lambda step, fraction: seen.append((step, *blas_threads())))
    within = [threads for step, *threads in seen if step in ("reading", "propagation")]
    assert len(within) >= 2
    assert {count for threads in within for count in threads} == {1}
    assert blas_threads() == before


def test_a_program_that_has_limited_blas_itself_gets_its_limit_back():
    defocus.estimate(np.zeros((32, 32), np.uint8) + np.arange(32, dtype=np.uint8))
    if max(blas_threads(), default=1) == 1:
        pytest.skip("BLAS has one thread here in any case")
    with threadpool_limits(2, user_api="blas"):
        limited = blas_threads()
        for _ in range(2):
            with single_blas_thread():
                assert set(blas_threads()) == {1}
            assert blas_threads() == limited


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


LARGE_HOST = """
import os, sys, threading, time
from pathlib import Path
os.sched_getaffinity = lambda pid: set(range(64))
os.cpu_count = lambda: 64
from defocus.runtime import cores
cores._MEMBERSHIP, cores._CONTROL_GROUPS = Path("cgroup"), Path(".")
most, over = 0, threading.Event()
def count():
    global most
    while not over.wait(0.001):
        most = max(most, len(os.listdir("/proc/self/task")))
watch = threading.Thread(target=count)
watch.start()
from defocus.cli.app import main
sys.argv = ["defocus", *sys.argv[1:]]
try:
    main()
finally:
    over.set()
    watch.join()
    print(most)
"""


@needs_proc
@pytest.mark.parametrize(
    ("quota", "environment", "options", "expected"),
    [
        ("200000 100000", {}, [], 2),
        ("max 100000", {"OMP_NUM_THREADS": "2"}, [], 2),
        ("max 100000", {}, ["--cores", "2"], 2),
        ("max 100000", {}, [], 64),
    ],
)
def test_a_host_of_64_cores_gets_as_many_threads_as_may_be_used(tmp_path, quota, environment, options, expected):
    (tmp_path / "cgroup").write_text("0::/\n")
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    shades = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    Image.fromarray(shades).save(tmp_path / "photo.png")
    done = subprocess.run(
        [sys.executable, "-c", LARGE_HOST, "estimate", "photo.png", "--quiet", *options],
        cwd=tmp_path,
        env={**{name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}, **environment},
        timeout=120,
        check=True,
        capture_output=True,
        text=True,
    )
    threads = int(done.stdout)
    # Beside those that work: the one that counts, this process's first, the one that limits BLAS, and those of BLAS
    # itself, which heeds what the system really has.
    idle = 3 + len(os.sched_getaffinity(0)) * len(blas_threads())
    assert threads <= idle + 2 * expected if expected == 2 else threads >= expected


def test_limits_within_each_other_only_become_stricter_and_end(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(cores, "_quota_of_this_process", lambda: None)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    before = blas_threads()
    with limited_cores(3):
        assert available_cores() == 3
        with limited_cores(8):
            assert available_cores() == 3
        with limited_cores(2):
            assert available_cores() == 2
            assert os.environ["OMP_NUM_THREADS"] == "2"
        assert available_cores() == 3
        assert os.environ["OPENBLAS_NUM_THREADS"] == "1"
    assert available_cores() == 64
    assert "OMP_NUM_THREADS" not in os.environ
    assert blas_threads() == before


def test_cores_are_limited_by_the_main_thread_alone(monkeypatch):
    monkeypatch.setattr(cores, "_most", None)
    before = available_cores(), dict(os.environ)

    def limit():
        with limited_cores(1):
            pass

    with ThreadPoolExecutor(1) as pool, pytest.raises(RuntimeError, match="main thread"):
        pool.submit(limit).result()
    assert (available_cores(), dict(os.environ)) == before


def test_heic_is_decoded_by_as_many_threads_as_may_be_used(tmp_path, monkeypatch):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(Image.new("RGB", (64, 48), "red")).save(tmp_path / "photo.heic")
    opened, real = [], pillow_heif.open_heif
    monkeypatch.setattr(
        pillow_heif,
        "open_heif",
        lambda *args, **options: opened.append(pillow_heif.options.DECODE_THREADS) or real(*args, **options),
    )
    before = pillow_heif.options.DECODE_THREADS
    with limited_cores(1):
        defocus.read_photograph(tmp_path / "photo.heic")
    assert opened == [1]
    after = pillow_heif.options.DECODE_THREADS
    assert after == before


FORKING = """
import multiprocessing, os, signal, sys, threading, warnings
import numpy as np, defocus
from defocus.runtime import cores
warnings.simplefilter("ignore")
photo = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)

def work():
    signal.alarm(60)
    defocus.estimate(photo)

def fork(and_then):
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        and_then()
        sys.exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

defocus.estimate(photo)
if sys.argv[1] == "idle":
    code = fork(lambda: None)
elif sys.argv[1] == "work":
    code = fork(work)
elif sys.argv[1] == "during":
    # When the process forks, one thread is in the middle of an estimate, and another is beginning one.
    inside, over = threading.Event(), threading.Event()
    def hold(step, fraction):
        inside.set()
        over.wait(60)
    other = threading.Thread(target=defocus.estimate, args=(photo,), kwargs={"progress": hold})
    other.start()
    inside.wait(60)
    with cores._single_lock:
        code = fork(work)
    over.set()
    other.join()
else:
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join()
    code = child.exitcode + 7
sys.exit(code)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("what", ["idle", "work", "during", "multiprocessing"])
def test_a_child_forked_after_an_estimate_ends(what):
    assert subprocess.run([sys.executable, "-c", FORKING, what], timeout=120).returncode == 7
