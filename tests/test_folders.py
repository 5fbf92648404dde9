"""`defocus estimate` over folders: several processes, and runs that are continued."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

import defocus
from defocus import load
from defocus.methods.registry import METHODS
from systems import needs_signals
from waiting import wait_for

TESTS = Path(__file__).parent
PICTURE = skimage.data.astronaut()[100:140, 200:260]
PATH = os.pathsep.join([str(TESTS / "in_every_process"), str(TESTS), *sys.path])
COMMAND = [sys.executable, "-m", "defocus", "estimate"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": PATH}


@pytest.fixture(autouse=True)
def _with_fake_method(fake_method, monkeypatch):
    """The method "fake" is known here and in the processes started from here."""
    monkeypatch.setenv("PYTHONPATH", PATH)


@pytest.fixture
def folder(tmp_path):
    """Five photographs, each different."""
    for number in range(5):
        write(tmp_path / "in" / f"{number}.png", PICTURE + number)
    return tmp_path / "in"


def write(path, picture):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(picture, np.uint8)).save(path)
    return path


def done_and_skipped(out):
    records = [json.loads(line) for line in out.splitlines()]
    skipped = {Path(record["path"]).name for record in records if record.get("skipped")}
    return {Path(record["path"]).name for record in records} - skipped, skipped


def estimate_again(run, folder, *arguments):
    code, out, err = run(
        "estimate", folder, "--method", "fake", "-o", folder.parent / "out", "--skip-existing", "--json", *arguments
    )
    assert (code, err) == (0, "")
    return done_and_skipped(out)


def test_a_burst_with_one_corrupt_file(run, tmp_path):
    rng = np.random.default_rng(0)
    for number in range(30):
        row, column = rng.integers(0, 300, 2)
        write(tmp_path / f"{number:02}.jpg", skimage.data.astronaut()[row : row + 64, column : column + 96])
    (tmp_path / "17.jpg").write_bytes((tmp_path / "17.jpg").read_bytes()[:200])
    code, out, err = run("estimate", tmp_path, "--jobs", "2", "--json", "--overlay")
    assert code == 1
    records = {Path(record["path"]).name: record for record in map(json.loads, out.splitlines())}
    assert len(records) == 30
    assert {name for name, record in records.items() if "error" in record} == {"17.jpg"}
    assert err.splitlines()[0] == "Failed: 1; done: 29."
    assert len(err.splitlines()) == 2
    # Where and beside what a photograph was read changes nothing.
    alone = defocus.estimate(tmp_path / "23.jpg")
    np.testing.assert_allclose(load(tmp_path / "23.defocus.tiff").sigma, alone.sigma, rtol=4e-3)  # compact maps
    assert all(Path(name).is_file() for record in records.values() for name in record.get("outputs", {}).values())


def test_lines_come_in_any_order_but_failures_in_theirs(run, folder):
    (folder / "0.png").write_text("no photograph")
    (folder / "3.png").write_text("no photograph")
    code, out, err = run("estimate", folder, "--method", "fake", "--jobs", "2", "--json")
    assert code == 1
    assert sorted(Path(json.loads(line)["path"]).name for line in out.splitlines()) == [f"{n}.png" for n in range(5)]
    assert [line.split(":")[0] for line in err.splitlines()[1:]] == [
        f"  {folder / name}" for name in ("0.png", "3.png")
    ]


def test_wrong_weights_are_wrong_usage_in_workers_too(run, folder, tmp_path):
    wrong = tmp_path / "w.onnx"
    wrong.write_text("no weights")
    code, _, err = run("estimate", folder, "--weights", wrong, "--jobs", "2")
    assert code == 2
    assert "not an ONNX model" in " ".join(err.replace("│", " ").split())


@pytest.mark.parametrize("jobs", ["0", "-1", "two"])
def test_jobs_are_a_number_from_1(run, folder, jobs):
    assert run("estimate", folder, "--jobs", jobs)[0] == 2


@pytest.mark.slow
@needs_signals
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_killed_run_is_continued_where_it_was(run, folder, jobs):
    out = folder.parent / "out"
    slow = ["--method", "fake", "-o", str(out), "--set", "pause=0.3", "--jobs", jobs]
    with subprocess.Popen(
        [sys.executable, "-m", "defocus", "estimate", str(folder), *slow], env=ENVIRONMENT
    ) as process:
        wait_for(lambda: len(list(out.glob("*.defocus.png"))) >= 2)
        process.send_signal(signal.SIGKILL)
    time.sleep(0.5)  # a worker notices, and leaves
    maps, pictures = ({path.name.split(".")[0] for path in out.glob(f"*.defocus.{end}")} for end in ("tiff", "png"))
    finished = {f"{name}.png" for name in maps & pictures}
    assert 2 <= len(finished) < 5
    assert estimate_again(run, folder, *slow) == ({f"{n}.png" for n in range(5)} - finished, finished)
    assert len(list(out.glob("*.defocus.tiff"))) == 5


@needs_signals
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_with_several_processes(folder, number, code):
    before = sorted(folder.iterdir())
    started = folder.with_name("started")
    with subprocess.Popen(
        [*COMMAND, folder, "--method", "fake", "--set", "pause=60", "--jobs", "2"],
        env={**ENVIRONMENT, "FAKE_METHOD_STARTED": str(started)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        wait_for(started.exists)
        os.killpg(process.pid, number)  # as a terminal does
        _, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert "Traceback" not in err
    assert ("0 of 5 photographs done" in err) == (number == signal.SIGINT)
    assert sorted(folder.iterdir()) == before


@needs_signals
def test_a_worker_killed_for_want_of_memory_costs_one_line(folder):
    memory = (
        "import os, signal\nimport defocus.photograph as p\nread = p.read_photograph\n"
        "def greedy(path, **options):\n"
        "    if path.name == '2.png': os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return read(path, **options)\n"
        "p.read_photograph = greedy\n"
    )
    site = folder.parent / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text((TESTS / "in_every_process" / "sitecustomize.py").read_text() + memory)
    done = subprocess.run(
        [*COMMAND, folder, "--method", "fake", "--jobs", "2"],
        env={**ENVIRONMENT, "PYTHONPATH": os.pathsep.join([str(site), str(TESTS), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 4
    assert done.stderr.splitlines()[0] == "Failed: 1; done: 4."
    assert "2.png: the system ended its process, most likely for want of memory" in done.stderr.splitlines()[1]


def test_what_changed_is_made_anew_and_nothing_else(run, folder, tmp_path):
    everything = {f"{n}.png" for n in range(5)}
    assert estimate_again(run, folder) == (everything, set())
    assert estimate_again(run, folder, "--jobs", "2") == (set(), everything)
    # a photograph edited in place, its size and time as before
    photo = folder / "1.png"
    before = photo.stat()
    contents = bytearray(photo.read_bytes())
    write(photo, PICTURE[::-1])
    edited = photo.read_bytes()
    photo.write_bytes(edited + bytes(max(0, len(contents) - len(edited))))
    os.utime(photo, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert estimate_again(run, folder) == ({"1.png"}, everything - {"1.png"})
    np.testing.assert_allclose(
        load(tmp_path / "out" / "1.defocus.tiff").sigma, defocus.estimate(photo, method="fake").sigma, rtol=4e-3
    )
    # the method's parameters, its weights, and the method
    assert estimate_again(run, folder, "--set", "gain=1")[0] == everything
    assert estimate_again(run, folder, "--parameters", "released") == (set(), everything)  # the same values
    weights = tmp_path / "w"
    weights.write_text("one")
    assert estimate_again(run, folder, "--weights", weights)[0] == everything
    weights.write_text("two")
    assert estimate_again(run, folder, "--weights", weights)[0] == everything
    assert estimate_again(run, folder, "--weights", weights)[1] == everything
    assert estimate_again(run, folder, "--method", "zhuo2011")[0] == everything
    # one more output
    assert estimate_again(run, folder, "--method", "zhuo2011", "--overlay")[0] == everything


def test_another_version_starts_anew(run, folder, monkeypatch):
    estimate_again(run, folder)
    monkeypatch.setattr("defocus.provenance.__version__", "99")
    assert len(estimate_again(run, folder)[0]) == 5


@pytest.mark.parametrize("name", ["2.defocus.tiff", "2.defocus.png"])
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.6, 0.99])
def test_damaged_outputs_are_made_anew(run, folder, name, kept):
    estimate_again(run, folder)
    output = folder.parent / "out" / name
    whole = output.read_bytes()
    output.write_bytes(whole[: int(kept * len(whole))])
    assert estimate_again(run, folder)[0] == {"2.png"}
    assert output.read_bytes() == whole


@pytest.mark.parametrize("method", sorted(set(METHODS)))
def test_maps_of_every_method_are_recognised(run, tmp_path, method):
    photo = write(tmp_path / "a.png", skimage.data.astronaut()[:96, 150:278])
    arguments = ("estimate", photo, "--method", method, "--json")
    assert done_and_skipped(run(*arguments)[1]) == ({"a.png"}, set())
    assert done_and_skipped(run(*arguments, "--skip-existing")[1]) == (set(), {"a.png"})
