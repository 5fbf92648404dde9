"""What defocus writes is never input, never stale, and goes where it was asked to go."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import tifffile
from PIL import Image

import defocus
from defocus.photograph import read_photograph
from defocus.provenance import read_provenance

PICTURE = skimage.data.astronaut()[100:180, 180:300]
FAKE = ["--method", "fake"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
PROCESS = [
    sys.executable,
    "-c",
    "from defocus.methods import METHODS, Method; METHODS['fake'] = Method('fake', '', 'px', module='fake_method');"
    "from defocus.cli.app import main; main()",
]


@pytest.fixture(autouse=True)
def _with_fake_method(fake_method):
    """The commands of this file know the method "fake"."""


def write(path, picture=PICTURE, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, **options)
    return path


@pytest.fixture
def shoot(tmp_path):
    for name in ("a.jpg", "b.png"):
        write(tmp_path / "shoot" / name)
    return tmp_path / "shoot"


def paths_of(out):
    return sorted(Path(json.loads(line)["path"]).name for line in out.splitlines())


@pytest.mark.slow
@pytest.mark.parametrize("command", ["estimate", "segment", "magnify", "sharpen", "depth", "rank"])
def test_outputs_of_every_command_are_never_photographs(run, shoot, command):
    for arguments in (
        ["estimate", "--overlay"],
        ["segment", "--naming", "metashape"],
        ["segment", "--naming", "colmap"],
        ["segment", "--suffix", "_focus.png", "--soft"],
        ["magnify", "--amount", "2"],
        ["sharpen"],
        ["depth"],
        ["rank", "--sheet", shoot / "sheet.jpg"],
    ):
        assert run(arguments[0], shoot, *arguments[1:], *FAKE, "-q")[0] == 0
    # Renamed, they are known by what is inside.
    (shoot / "a.defocus.mask.png").write_bytes((shoot / "a_mask.png").read_bytes())
    (shoot / "a.defocus.sharp.jpg").rename(shoot / "better.jpg")
    (shoot / "a.defocus.tiff").rename(shoot / "map.tiff")
    code, out, err = run(command, shoot, *FAKE, "--json")
    assert (code, "Traceback" in err) == (0, False)
    assert paths_of(out) == ["a.jpg", "b.png"]


def test_outputs_named_one_by_one_are_left_out_with_a_line(run, shoot):
    run("segment", shoot, "--naming", "metashape", *FAKE)
    code, out, err = run("estimate", *sorted(shoot.iterdir()), *FAKE, "--json")
    assert code == 0
    assert paths_of(out) == ["a.jpg", "b.png"]
    assert err.count("was written by defocus and is left out") == 2


def test_training_and_benchmarks_leave_outputs_out_too(run, shoot):
    from defocus.evaluation.datasets import photographs_in
    from defocus.training.photographs import find_photographs

    assert run("estimate", shoot, "--overlay", *FAKE)[0] == 0
    assert run("segment", shoot, "--naming", "metashape", *FAKE)[0] == 0
    assert [path.name for path in find_photographs(shoot)] == ["a.jpg", "b.png"]
    assert [path.name for path in photographs_in(shoot)] == ["a.jpg", "b.png"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["estimate", "--overlay"],
        ["segment", "--soft"],
        ["segment", "--naming", "colmap"],
        ["magnify"],
        ["sharpen"],
        ["depth"],
    ],
)
def test_skip_existing_goes_by_content_for_every_output(run, shoot, arguments):
    command = [arguments[0], shoot, *arguments[1:], *FAKE, "--skip-existing", "--json"]

    def done_again():
        code, out, _ = run(*command)
        assert code == 0
        return {Path(record["path"]).name for record in map(json.loads, out.splitlines()) if "skipped" not in record}

    assert done_again() == {"a.jpg", "b.png"}
    assert done_again() == set()
    before = {path: path.read_bytes() for path in shoot.iterdir()}
    outputs = [path for path in shoot.iterdir() if path.name not in ("a.jpg", "b.png") and path.name.startswith("a")]
    for output in outputs:
        if output.suffix != ".ply":  # whose end cannot be told
            output.write_bytes(before[output][:-5])  # cut short
            assert done_again() == {"a.jpg"}, output
        output.unlink()
        assert done_again() == {"a.jpg"}, output
    # A picture of an earlier photograph beside everything else of the new one.
    write(shoot / "a.jpg", PICTURE[::-1])
    assert done_again() == {"a.jpg"}
    for output in outputs:
        new = output.read_bytes()
        output.write_bytes(before[output])
        assert done_again() == {"a.jpg"}, output
        assert output.read_bytes() == new
    assert {path.name for path in shoot.iterdir()} == {path.name for path in before}


def test_an_option_that_changes_an_output_makes_it_anew(run, shoot):
    for first, second in (
        (["segment", "--threshold", "1.0"], ["segment", "--threshold", "1.1"]),
        (["magnify", "--amount", "2"], ["magnify", "--amount", "3"]),
        (["sharpen"], ["sharpen", "--strength", "0.5"]),
        (["depth", "--no-mesh"], ["depth", "--no-mesh", "--side", "front"]),
        (["estimate"], ["estimate", "--scale", "method"]),
        (["estimate"], ["estimate", "--precision", "lossless"]),
    ):
        for arguments, skipped in ((first, False), (first, True), (second, False)):
            _, out, _ = run(arguments[0], shoot / "a.jpg", *arguments[1:], *FAKE, "--skip-existing", "--json")
            assert ("skipped" in json.loads(out)) == skipped, arguments


@pytest.mark.parametrize("command", ["segment", "magnify", "sharpen", "depth", "rank"])
def test_a_map_that_lies_there_is_used_and_named(run, shoot, tmp_path, command, monkeypatch):
    photo = shoot / "a.jpg"
    run("estimate", photo, *FAKE)
    made = []
    monkeypatch.setattr("fake_method.estimate", lambda *given: made.append(given) or 1 / 0)
    code, out, _ = run(command, photo, *FAKE, "--json")
    assert (code, made) == (0, [])
    if command != "rank":
        assert json.loads(out)["map"] == str(shoot / "a.defocus.tiff")
    # Not once the photograph has changed, nor with other parameters' map.
    write(photo, PICTURE[::-1])
    assert run(command, photo, *FAKE)[0] == 1
    assert made


@pytest.mark.parametrize(("photo", "edited"), [("a.png", "a.jpg"), ("a.jpg", "a.png")])
def test_an_output_beside_a_photograph_of_its_name_does_not_rename_what_follows(run, tmp_path, photo, edited):
    folder = tmp_path / "shoot"
    folder.mkdir()
    Image.fromarray(np.random.default_rng(2).integers(0, 255, (48, 64, 3), np.uint8)).save(folder / photo)
    assert run("magnify", folder / photo, *FAKE, "-o", folder / edited, "--quiet")[0] == 0
    code, out, _ = run("estimate", folder, *FAKE, "--json")
    assert code == 0
    (record,) = map(json.loads, out.splitlines())
    assert Path(record["path"]).name == photo
    assert Path(record["outputs"]["map"]).name == "a.defocus.tiff"


def test_a_map_in_the_output_folder_is_used_too(run, shoot, tmp_path, monkeypatch):
    run("estimate", shoot, "-o", tmp_path / "out", *FAKE)
    monkeypatch.setattr("fake_method.estimate", lambda *given: 1 / 0)
    code, out, _ = run("segment", shoot, "-o", tmp_path / "out", *FAKE, "--json")
    assert code == 0
    assert {json.loads(line)["map"] for line in out.splitlines()} == {
        str(tmp_path / "out" / f"{name}.defocus.tiff") for name in "ab"
    }


@pytest.mark.parametrize("name", ["map.tiff", "x.npy", "x.npz", "x.png"])
def test_an_output_file_can_be_named(run, shoot, tmp_path, name):
    target = tmp_path / "new" / name
    assert run("estimate", shoot / "a.jpg", *FAKE, "-o", target)[0] == 0
    assert [path.name for path in target.parent.iterdir()] == [name]
    sigma = defocus.estimate(shoot / "a.jpg", method="fake").sigma
    if name == "map.tiff":
        np.testing.assert_allclose(defocus.load(target).sigma, sigma, rtol=4e-3)
    elif name == "x.npy":
        np.testing.assert_array_equal(np.load(target), sigma)
    before = target.read_bytes()
    code, _, err = run("estimate", shoot, *FAKE, "-o", target)
    assert code == 2
    assert "there are more: give a folder" in " ".join(err.replace("│", " ").split())
    assert target.read_bytes() == before


def test_named_outputs_of_the_other_commands(run, shoot, tmp_path):
    for command, name in (("segment", "mask.png"), ("magnify", "out.png"), ("sharpen", "out.webp"), ("depth", "d.png")):
        assert run(command, shoot / "a.jpg", *FAKE, "-o", tmp_path / command / name)[0] == 0
        assert [path.name for path in (tmp_path / command).iterdir()] == [name]
        assert read_provenance(tmp_path / command / name) is not None
    code, _, err = run("sharpen", shoot / "a.jpg", *FAKE, "-o", tmp_path / "out.xyz")
    assert code == 1
    assert "photographs are saved as" in err
    for refused in (
        ["estimate", "--overlay", "-o", "x.tiff"],
        ["segment", "--soft", "-o", "x.png"],
        ["sharpen", "-o", shoot / "a.jpg"],
        ["magnify", "-o", shoot / "a.jpg"],
    ):
        assert run(refused[0], shoot / "a.jpg", *FAKE, *refused[1:])[0] == 2


@pytest.mark.slow
def test_standard_input_and_output(shoot):
    contents = (shoot / "a.jpg").read_bytes()

    def piped(*arguments, given=contents):
        return subprocess.run(
            [*PROCESS, *arguments, *FAKE], input=given, capture_output=True, env=ENVIRONMENT, check=False
        )

    done = piped("estimate", "-")
    assert done.returncode == 0, done.stderr
    (shoot / "m.tiff").write_bytes(done.stdout)
    m = defocus.load(shoot / "m.tiff")
    assert m.sigma.shape == PICTURE.shape[:2]
    assert m.metadata["photograph_sha256"] == read_photograph(shoot / "a.jpg").sha256
    done = piped("sharpen", "-", "-o", "-")
    with Image.open(io.BytesIO(done.stdout)) as image:
        assert (image.format, image.size) == ("JPEG", PICTURE.shape[1::-1])
    assert done.stderr.startswith(b"standard input: ")
    assert np.asarray(Image.open(io.BytesIO(piped("segment", "-").stdout))).ndim == 2
    assert piped("estimate", "-", "-o", shoot / "out").returncode == 0
    assert (shoot / "out" / "stdin.defocus.tiff").is_file()
    for given in (b"", b"no photograph"):
        done = piped("estimate", "-", given=given)
        assert (done.returncode, done.stdout) == (1, b"")
        assert b"Traceback" not in done.stderr
    assert piped("estimate", "-", "--json").returncode == 2


def test_masks_for_photogrammetry_lie_as_the_pixels_are_stored(run, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    write(tmp_path / "a.jpg", exif=exif.tobytes())  # stored 120 x 80, seen 80 x 120
    upright = tmp_path / "upright"
    assert run("segment", tmp_path / "a.jpg", *FAKE, "--threshold", "1.2", "-o", upright)[0] == 0
    seen = np.asarray(Image.open(upright / "a.defocus.mask.png"))
    assert seen.shape == (120, 80)
    for naming, name in (("colmap", "a.jpg.png"), ("metashape", "a_mask.png")):
        assert run("segment", tmp_path / "a.jpg", *FAKE, "--threshold", "1.2", "--naming", naming)[0] == 0
        stored = np.asarray(Image.open(tmp_path / name))
        assert stored.shape == (80, 120)
        np.testing.assert_array_equal(255 - np.rot90(stored, -1), seen)  # turned as the tag says, white in focus
    assert run("segment", tmp_path / "a.jpg", *FAKE, "--naming", "colmap", "--orientation", "upright")[0] == 0
    assert np.asarray(Image.open(tmp_path / "a.jpg.png")).shape == (120, 80)


def test_a_file_of_the_user_is_never_replaced_by_a_mask(run, shoot):
    write(shoot / "a_mask.png", PICTURE[:, ::-1])
    before = (shoot / "a_mask.png").read_bytes()
    code, _, err = run("segment", shoot / "a.jpg", "--naming", "metashape", *FAKE)
    assert code == 1
    assert "was not written by defocus" in err
    assert (shoot / "a_mask.png").read_bytes() == before


def test_cells_of_the_csv_are_no_formulas_and_keep_their_bytes(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = os.fsdecode(b"caf\xe9.jpg")
    for each in (name, "b.jpg"):
        write(tmp_path / each)
    code, _, err = run("rank", tmp_path, *FAKE, "--csv", tmp_path / "r.csv")
    assert (code, "Traceback" in err) == (0, False)
    assert b"caf\xe9.jpg" in (tmp_path / "r.csv").read_bytes()
    from defocus.cli.rank import _cell

    assert [_cell(text) for text in ("=1+1", "+a", "-a", "@a", "a=b")] == ["'=1+1", "'+a", "'-a", "'@a", "a=b"]
    with (tmp_path / "r.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        assert len(list(csv.DictReader(file))) == 2


def test_names_cannot_steer_the_terminal(run, tmp_path):
    write(tmp_path / "a\x1b[2J.jpg")
    (tmp_path / "b\x1b[31m.jpg").write_text("no photograph")
    for command in ("estimate", "segment", "rank"):
        _, out, err = run(command, tmp_path, *FAKE)
        assert "\x1b" not in out + err
        assert "a\\x1b[2J.jpg" in out


def test_pages_show_names_that_are_no_text(run, tmp_path):
    write(tmp_path / os.fsdecode(b"caf\xe9.jpg"))
    assert run("depth", tmp_path, *FAKE, "-q")[0] == 0
    page = next(tmp_path.glob("*.html")).read_text(encoding="utf-8")
    assert "caf\\udce9.jpg" in page


def test_an_edit_says_what_it_cannot_keep(run, tmp_path):
    write(tmp_path / "a.bmp")
    code, out, err = run("sharpen", tmp_path / "a.bmp", *FAKE)
    assert code == 0
    assert "An edit of BMP is saved as PNG." in err
    assert "a.defocus.sharp.png" in out
    code, _, err = run("sharpen", tmp_path / "a.bmp", *FAKE, "--format", "jpg", "--quality", "40")
    assert (code, err) == (0, "")
    assert (tmp_path / "a.defocus.sharp.jpg").is_file()


def test_depth_says_whether_it_is_metres_and_what_a_part_of_a_frame_does(run, tmp_path):
    exif = Image.Exif()
    camera = exif.get_ifd(0x8769)
    camera[0x920A], camera[0x829D], camera[0xA405] = 50.0, 2.0, 50
    camera[0xA002], camera[0xA003] = 240, 160
    write(tmp_path / "half.jpg", exif=exif.tobytes())
    code, out, err = run("depth", tmp_path / "half.jpg", *FAKE, "--no-mesh", "--focus-distance", "2")
    assert code == 0
    assert " m (5 to 95 %)" in out
    assert "240 x 160 pixels, and the photograph has 120 x 80" in err
    assert "If it is a part of it" in err
    write(tmp_path / "strip.jpg", PICTURE[:40], exif=exif.tobytes())
    assert "part of the frame" in run("depth", tmp_path / "strip.jpg", *FAKE, "--no-mesh", "--focus-distance", "2")[2]
    write(tmp_path / "plain.jpg")
    assert "relative depth, without scale" in run("depth", tmp_path / "plain.jpg", *FAKE, "--no-mesh")[1]


def test_what_a_lens_lacks_is_said_before_the_map_is_made(run, shoot, monkeypatch):
    monkeypatch.setattr("fake_method.estimate", lambda *given: 1 / 0)
    code, _, err = run("depth", shoot / "a.jpg", *FAKE, "--focus-distance", "2")
    assert code == 1
    assert "--focal-length" in err
    assert "please report" not in err


def test_maps_of_the_command_are_what_other_programs_read(run, shoot):
    run("estimate", shoot / "a.jpg", *FAKE)
    shown = tifffile.imread(shoot / "a.defocus.tiff")
    assert (shown.shape, shown.dtype) == (PICTURE.shape[:2], np.float32)
