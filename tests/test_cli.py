import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import tifffile
from PIL import Image

import defocus
from defocus import load
from defocus.methods import METHODS
from systems import needs_signals
from waiting import wait_for

PICTURE = skimage.data.astronaut()[100:140, 200:260]
FAKE = ["--method", "fake"]
# The command with the fake method, for tests that need a process of its own.
PROCESS = [
    sys.executable,
    "-c",
    "from defocus.methods import METHODS, Method; METHODS['fake'] = Method('fake', '', 'px', module='fake_method');"
    "from defocus.cli.app import main; main()",
]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}


@pytest.fixture(autouse=True)
def _with_fake_method(fake_method):
    """The commands of this file know the method "fake"."""


@pytest.fixture
def photo(tmp_path):
    return write(tmp_path / "photo.png")


def write(path, picture=PICTURE):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
    return path


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_map_and_preview_appear_beside_the_photograph(run, photo):
    before = photo.read_bytes()
    code, out, err = run("estimate", photo, *FAKE)
    assert (code, err) == (0, "")
    assert "photo.defocus.tiff" in out
    assert names(photo.parent) == ["photo.defocus.png", "photo.defocus.tiff", "photo.png"]
    assert photo.read_bytes() == before
    result = load(photo.with_name("photo.defocus.tiff"))
    assert result.sigma.shape == PICTURE.shape[:2]
    with Image.open(photo.with_name("photo.defocus.png")) as preview:
        shown = np.asarray(preview).astype(int)
    # Made from the map before it was rounded for the file, so off by a colour's step at most.
    assert np.abs(shown - result.preview(scale_bar=True)).max() <= 3


def test_overlay_and_folder(run, photo, tmp_path):
    code, _, _ = run("estimate", photo, *FAKE, "--overlay", "-o", tmp_path / "new" / "maps")
    assert code == 0
    assert names(tmp_path / "new") == [f"maps/photo.defocus.{end}" for end in ("overlay.png", "png", "tiff")]
    assert names(tmp_path)[-1] == "photo.png"


def test_json_has_one_line_per_photograph(run, photo, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_text("no photograph")
    code, out, err = run("estimate", bad, photo, *FAKE, "--json")
    assert code == 1
    failed, done = map(json.loads, out.splitlines())
    assert failed["path"] == str(bad)
    assert "not a photograph" in failed["error"]
    result = load(photo.with_name("photo.defocus.tiff"))
    assert done["path"] == str(photo)
    assert done["size"] == [60, 40]
    assert done["method"] == "fake"
    assert done["seconds"] >= 0
    expected = np.percentile(result.sigma, (5, 50, 95))
    # rounded to 4 decimals
    np.testing.assert_allclose(list(done["sigma_percentiles"].values()), expected, rtol=4e-3)
    assert list(done["sigma_percentiles"]) == ["5", "50", "95"]
    assert done["fraction_confident"] == 0.75  # the fake's confidence is 0.25 in one column of four, else 0.5
    assert done["fraction_saturated"] == pytest.approx(result.saturated.mean(), abs=1e-6)
    assert done["outputs"]["map"] == str(photo.with_name("photo.defocus.tiff"))
    assert "bad.jpg" in err


def test_folders_are_walked_and_own_outputs_are_no_photographs(run, tmp_path):
    for name in ("b.png", "sub/a.webp", "sub/deep/c.tif", ".hidden.png", ".cache/d.png"):
        write(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("no photograph")
    for _ in range(2):
        code, out, err = run("estimate", tmp_path / "in", *FAKE, "--overlay", "--json")
        assert (code, err) == (0, "")
        assert [Path(json.loads(line)["path"]).name for line in out.splitlines()] == ["b.png", "a.webp", "c.tif"]
    code, _, _ = run("estimate", tmp_path / "in", *FAKE, "-o", tmp_path / "out", "--quiet")
    assert code == 0
    assert [name for name in names(tmp_path / "out") if name.endswith("tiff")] == [
        "b.defocus.tiff",
        "sub/a.defocus.tiff",
        "sub/deep/c.defocus.tiff",
    ]


def test_outputs_caught_by_a_wildcard_are_left_out(run, photo):
    run("estimate", photo, *FAKE)
    everything = sorted(photo.parent.iterdir())
    code, out, err = run("estimate", *everything, *FAKE, "--json")
    assert code == 0
    assert len(out.splitlines()) == 1
    assert "photo.defocus.png was written by defocus" in err
    assert len(names(photo.parent)) == 3
    code, _, err = run("estimate", photo.with_name("photo.defocus.tiff"), *FAKE)
    assert code == 2
    assert "was written by defocus" in " ".join(err.split())


def test_photographs_of_one_name_get_maps_of_their_own(run, tmp_path):
    dark, bright = np.zeros_like(PICTURE), np.full_like(PICTURE, 255)
    write(tmp_path / "a.png", dark)
    write(tmp_path / "A.bmp", bright)
    write(tmp_path / "other" / "a.png", bright)
    # also when they come one by one
    for name in ("a.png", "A.bmp"):
        assert run("estimate", tmp_path / name, *FAKE, "--quiet")[0] == 0
    assert load(tmp_path / "a.png.defocus.tiff").sigma.max() == pytest.approx(0.5)
    assert load(tmp_path / "A.bmp.defocus.tiff").sigma.min() == pytest.approx(2.0)
    out = tmp_path / "out"
    code, lines, _ = run("estimate", tmp_path / "a.png", tmp_path / "other" / "a.png", *FAKE, "-o", out, "--json")
    assert code == 0
    maps = [json.loads(line)["outputs"]["map"] for line in lines.splitlines()]
    assert len(set(maps)) == 2
    write(tmp_path / "third" / "a.png", dark)
    code, lines, _ = run("estimate", tmp_path / "other/a.png", tmp_path / "third/a.png", *FAKE, "-o", out, "--json")
    maps = [json.loads(line)["outputs"]["map"] for line in lines.splitlines()]
    assert [Path(name).name for name in maps] == ["a.defocus.tiff", "a.2.defocus.tiff"]
    assert load(maps[0]).sigma.min() == pytest.approx(2.0)
    assert load(maps[1]).sigma.max() == pytest.approx(0.5)


def test_same_photograph_named_twice_is_done_once(run, photo):
    _, out, _ = run("estimate", photo, photo.parent, photo, *FAKE, "--json")
    assert len(out.splitlines()) == 1


def test_earlier_outputs_are_replaced_or_skipped(run, photo):
    target = photo.with_name("photo.defocus.tiff")
    run("estimate", photo, *FAKE, "--set", "gain=1")
    first = target.read_bytes()
    code, out, _ = run("estimate", photo, *FAKE, "--set", "gain=1", "--skip-existing", "--json")
    assert (code, json.loads(out)["skipped"]) == (0, True)
    assert target.read_bytes() == first
    run("estimate", photo, *FAKE, "--set", "gain=0.5")
    assert target.read_bytes() != first


def test_one_bad_file_does_not_stop_the_rest(run, photo, tmp_path):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "nothing").mkdir()
    code, out, err = run(
        "estimate", tmp_path / "empty.jpg", tmp_path / "missing.jpg", tmp_path / "nothing", photo, *FAKE
    )
    assert code == 1
    assert "photo.defocus.tiff" in out
    report = err.splitlines()
    assert report[0] == "Failed: 3; done: 1."
    for name, reason in (("empty.jpg", "empty"), ("missing.jpg", "no file"), ("nothing", "no photographs")):
        assert any(name in line and reason in line for line in report)
    assert "Traceback" not in err


def test_a_fault_of_ours_does_not_stop_the_rest_either(run, photo):
    code, _, err = run("estimate", photo, *FAKE, "--set", "strict=true")
    assert code == 1
    assert "please report" in err
    assert "Traceback" not in err


def test_warnings_are_lines(run, tmp_path):
    path = tmp_path / "two.tif"
    frame = Image.fromarray(PICTURE)
    frame.save(path, save_all=True, append_images=[frame])
    code, _, err = run("estimate", path, *FAKE)
    assert code == 0
    assert err.splitlines() == [f"Warning: {path}: holds several pictures; only the first is read."]
    assert run("estimate", path, *FAKE, "--quiet")[2] == ""


def test_quiet_says_nothing(run, photo):
    assert run("estimate", photo, *FAKE, "--quiet") == (0, "", "")


def test_settings_are_read_by_their_type(run, photo):
    arguments = ["--set", "gain=0.5", "--set", "steps=2", "--set", "window=0.1,0.2", "--set", "mode=far"]
    code, _, _ = run("estimate", photo, *FAKE, "--parameters", "released", *arguments, "--set", "limit=none")
    assert code == 0
    assert load(photo.with_name("photo.defocus.tiff")).metadata["parameters"]["gain"] == 0.5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "gain"], "name=value"),
        (["--set", "gian=1"], "choose one of gain"),
        (["--set", "gain=much"], "a number"),
        (["--set", "steps=1.5"], "whole number"),
        (["--set", "window=1"], "2 values"),
        (["--set", "strict=1"], "true or false"),
        (["--set", "mode=left"], "near, far"),
        (["--parameters", "realised"], "default, released"),
        (["--method", "dhdee"], "choose one of"),
        (["--weights", "missing.onnx"], "does not exist"),
        (["--nonsense"], "No such option"),
    ],
)
def test_wrong_usage_is_code_2(run, photo, arguments, words):
    code, out, err = run("estimate", photo, *FAKE, *arguments)
    assert (code, out) == (2, "")
    # usage errors come in a frame that breaks lines
    assert words in " ".join(err.replace("│", " ").split())
    assert names(photo.parent) == ["photo.png"]


def test_no_photographs_is_wrong_usage(run):
    assert run("estimate")[0] == 2
    assert run("nonsense")[0] == 2


def test_output_folder_that_cannot_be(run, photo):
    code, _, err = run("estimate", photo, *FAKE, "-o", photo / "maps")
    assert code == 2
    assert "Cannot make the folder" in " ".join(err.split())


def test_unwritable_folder_is_named(run, photo, monkeypatch):
    monkeypatch.setattr(os, "access", lambda _, mode: not mode & os.W_OK)  # root may write anywhere
    code, _, err = run("estimate", photo, *FAKE)
    assert code == 1
    assert "cannot be written" in err


def test_full_disk_is_told_with_the_name_of_the_file(run, photo, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    code, _, err = run("segment", photo, *FAKE)
    assert code == 1
    assert f"{photo.stem}.defocus.mask.png: No space left on device." in err
    monkeypatch.undo()
    assert names(photo.parent) == ["photo.png"]


def test_full_disk_fails_in_a_line_and_leaves_nothing(run, photo, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tifffile.TiffWriter, "write", full)
    code, _, err = run("estimate", photo, *FAKE)
    assert code == 1
    assert "No space left" in err
    monkeypatch.undo()
    assert names(photo.parent) == ["photo.png"]


def test_limit_of_megapixels(run, photo):
    code, _, err = run("estimate", photo, *FAKE, "--max-megapixels", "0.002")
    assert code == 1
    assert "0.002 million" in err


def test_version_methods_and_help(run):
    assert run("--version") == (0, f"defocus {defocus.__version__}\n", "")
    code, out, _ = run("methods")
    assert code == 0
    assert any(line.startswith("dhde ") for line in out.splitlines())
    code, out, _ = run("estimate", "--help")
    assert code == 0
    for word in ("--json", "Examples", "defocus estimate photo.jpg", "interrupted"):
        assert word in out


def test_help_loads_nothing_heavy():
    code = (
        "import sys; sys.argv[1:] = ['estimate', '--help']\n"
        "from defocus.cli.app import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'numpy', 'scipy', 'PIL', 'onnxruntime', 'onnx', 'tifffile', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert done.stdout.splitlines()[-1] == "[]"


def test_an_estimate_imports_only_what_it_uses(tmp_path):
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8)).save(tmp_path / "a.jpg")
    code = (
        "import sys; sys.argv[1:] = ['estimate', 'a.jpg']\n"
        "from defocus.cli.app import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('\\n'.join(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=ENVIRONMENT, cwd=tmp_path
    )
    imported = set(done.stdout.splitlines())
    assert {"defocus.cli.estimate", "defocus.methods.pyramid.method", "PIL.JpegImagePlugin"} <= imported
    other_commands = {f"defocus.cli.{name}" for name in ("segment", "magnify", "depth", "rank", "train", "benchmark")}
    other_methods = {f"defocus.methods.{name}" for name in METHODS if name != "pyramid"}
    packages = {"onnx", "jinja2", "trimesh", "sklearn", "rich", "scipy.fft", "scipy.stats", "asyncio"}
    assert not imported & (other_commands | other_methods | packages | {"PIL.PdfImagePlugin", "defocus.applications"})


def test_module_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "defocus", "--version"], capture_output=True, text=True, check=True, env=ENVIRONMENT
    )
    assert done.stdout == f"defocus {defocus.__version__}\n"


@needs_signals
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_keeps_whole_files_only(tmp_path, number, code):
    first, second = write(tmp_path / "a.png"), write(tmp_path / "b.png")
    arguments = [*PROCESS, "estimate", first, second, *FAKE, "--set", "pause=0.3", "--set", "steps=200"]
    short = [*PROCESS, "estimate", first, *FAKE]
    subprocess.run(short, check=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    before = names(tmp_path)
    started = tmp_path.with_name(f"{tmp_path.name}.started")
    environment = {**ENVIRONMENT, "FAKE_METHOD_STARTED": str(started)}
    with subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE, text=True) as process:
        wait_for(started.exists)
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert "Traceback" not in err
    assert names(tmp_path) == before


@needs_signals
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGKILL", -9)])
def test_ended_while_writing_leaves_no_partial_file_under_its_name(tmp_path, name, code):
    photo = write(tmp_path / "a.png")
    slow = (
        "import tifffile, time, os, signal\n"
        "def write(self, *_, **__):\n"
        "    self._fh.write(b'half a page')\n"
        "    self._fh.flush()\n"
        f"    os.kill(os.getpid(), signal.{name})\n"
        "    time.sleep(20)\n"
        "tifffile.TiffWriter.write = write\n"
    )
    arguments = [*PROCESS[:2], slow + PROCESS[2], "estimate", photo, *FAKE]
    done = subprocess.run(arguments, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == code, done.stderr
    left = names(tmp_path)
    assert not [name for name in left if name.endswith((".tiff", ".defocus.png"))]
    if name != "SIGKILL":  # which leaves no time to clear away
        assert left == ["a.png"]


def test_bar_on_a_terminal_only_and_json_stays_clean(tmp_path):
    pty = pytest.importorskip("pty", reason="needs a pseudo-terminal")
    photo = write(tmp_path / "a.png")
    ours, theirs = pty.openpty()
    arguments = [*PROCESS, "estimate", photo, *FAKE, "--json", "--set", "steps=3", "--set", "pause=0.2"]
    done = subprocess.run(arguments, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=theirs, text=True, check=True)
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "a.png" in shown
    assert "1 of 1" in shown
    assert json.loads(done.stdout)["path"] == str(photo)
    done = subprocess.run(arguments, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--method", "zhuo2011", "--out", "x.npz"], "no weights to train"),
        (["--method", "shi2014", "--out", "x.onnx"], "must end in .npz"),
        (["--method", "shi2014", "--out", "x.npz", "--epochs", "3"], "The training of shi2014 has no --epochs"),
        (["--method", "shi2014", "--out", "x.npz"], "There is no folder"),
        (["--part", "readings", "--out", "x.onnx"], "have no part 'readings': choose completion, or leave it out"),
        (["--method", "dhde", "--part", "completion", "--out", "x.onnx"], "have no part 'completion': leave it out"),
        (
            ["--part", "completion", "--out", "x.onnx", "--epochs", "3"],
            "The training of the completion of pyramid has no",
        ),
        (["--out", "x.onnx", "--steps", "3"], "The training of pyramid has no --steps"),
    ],
)
def test_training_of_a_method_says_what_it_cannot_take(run, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, _, err = run("train", "--photos", tmp_path / "missing", *arguments)
    assert code != 0
    assert words in " ".join(err.replace("│", " ").split())
    assert not list(tmp_path.iterdir())


def test_a_score_is_not_called_px_and_depth_has_its_picture(run, photo):
    assert "score" in run("estimate", photo, "--method", "shi2014")[1]
    code, out, _ = run("estimate", photo, "--method", "shi2015tog", "--json")
    outputs = json.loads(out)["outputs"]
    depth = np.asarray(Image.open(outputs["depth"]))
    assert code == 0
    assert depth.dtype == np.uint16
    assert depth.shape == PICTURE.shape[:2]
    np.testing.assert_allclose(depth / 65535, load(outputs["map"]).relative_depth, rtol=4e-3, atol=1e-5)
