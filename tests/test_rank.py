"""A shoot in order of focus: what a photographer would notice when it is wrong."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from skimage import data

import defocus
from defocus.applications.rank import Box, subject_from_exif
from defocus.errors import ParameterError
from defocus.evaluation.render import add_noise, downscale, gaussian_blur
from defocus.maps.contact_sheet import Tile, contact_sheet, thumbnail
from defocus.photograph import as_photograph, read_photograph, reduce_photograph
from systems import needs_signals

PHOTO = data.astronaut()[:320, 100:420]
SKY = np.broadcast_to(np.linspace(90, 200, 240)[:, None, None], (240, 320, 3)).astype(np.uint8)


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def ranked(out):
    return [json.loads(line) for line in out.splitlines()]


def names(out):
    return [record["path"].rsplit("/", 1)[1] for record in ranked(out)]


@pytest.fixture
def burst(tmp_path):
    """One scene five times, each blurrier, under names that do not tell; and one with nothing to see."""
    folder = tmp_path / "burst"
    for name, sigma in (("c", 0.0), ("e", 0.8), ("a", 1.2), ("f", 2.0), ("b", 4.0)):
        save(folder / f"{name}.png", gaussian_blur(PHOTO, sigma))
    save(folder / "d.png", SKY)
    return folder


# From maps


def test_shares_and_sigmas_of_a_known_map(map_of):
    sigma = np.full((100, 200), 3.0, np.float32)
    sigma[:, :50] = 0.4
    s = defocus.sharpness(map_of(sigma))
    assert s.in_focus == pytest.approx(0.25, abs=0.001)
    assert s.readable == 1
    assert s.sharpest_sigma == pytest.approx(0.4)
    # The sharpest region is the strip, to a cell of the grid it is looked for in.
    assert s.subject == pytest.approx((0, 0, 0.25, 1), abs=0.02)
    assert s.subject_sigma == pytest.approx(0.4)
    assert s.subject_in_focus == pytest.approx(1, abs=0.05)
    # At the threshold a pixel counts half.
    assert defocus.sharpness(map_of(np.full((50, 50), 1.5)), threshold=1.5).in_focus == pytest.approx(0.5)


def test_what_cannot_be_read_counts_neither_as_sharp_nor_as_blurred(map_of):
    sigma = np.full((100, 200), 0.4, np.float32)
    sigma[:, :40] = 3.0
    confidence = np.ones_like(sigma)
    confidence[:, 80:] = 0.1
    m = map_of(sigma)
    s = defocus.sharpness(
        defocus.DefocusMap(sigma, confidence, m.saturated, m.seeds, m.method, m.sigma_range, m.unit, m.metadata)
    )
    assert s.in_focus == pytest.approx(0.5, abs=0.001)
    assert s.readable == pytest.approx(0.4)
    nothing = defocus.sharpness(map_of(sigma, confidence=0.15))
    assert (nothing.in_focus, nothing.sharpest_sigma, nothing.subject, nothing.subject_in_focus) == (None,) * 4
    assert nothing.readable == 0


def test_the_subject_given_is_what_is_measured(map_of):
    sigma = np.full((120, 160), 0.4, np.float32)
    sigma[60:90, 40:80] = 2.0
    s = defocus.sharpness(map_of(sigma), subject=(0.25, 0.5, 0.25, 0.25))
    assert s.subject == (0.25, 0.5, 0.25, 0.25)
    assert s.subject_sigma == pytest.approx(2.0)
    assert s.subject_in_focus < 0.01
    assert s.in_focus > 0.9


def test_of_two_sharp_regions_the_central_one_is_the_subject(map_of):
    sigma = np.full((120, 180), 3.0, np.float32)
    sigma[:20, :30] = sigma[50:70, 75:105] = 0.5
    assert defocus.sharpness(map_of(sigma)).subject == pytest.approx((75 / 180, 50 / 120, 30 / 180, 20 / 120), abs=0.03)


def test_sizes_compare_at_one_size(map_of):
    large, small = np.full((300, 400), 1.6, np.float32), np.full((150, 200), 0.8, np.float32)
    assert defocus.sharpness(map_of(small)).in_focus > defocus.sharpness(map_of(large)).in_focus + 0.5
    at = [defocus.sharpness(map_of(sigma), at=200, threshold=0.9) for sigma in (large, small)]
    assert at[0].in_focus == pytest.approx(at[1].in_focus)
    assert at[0].sharpest_sigma == pytest.approx(0.8)


def test_the_order_is_total_and_stable(map_of):
    def made(sigma, confidence=1.0):
        return defocus.sharpness(map_of(np.full((60, 80), sigma), confidence), subject=(0.4, 0.4, 0.2, 0.2))

    found = [made(0.5, 0.1), made(6.0), made(0.5), made(0.5), made(4.0), made(0.7), made(0.7, 0.1)]
    for by in ("frame", "subject"):
        # All of 4 and 6 px is out of focus: the less blurred comes first. Equals, and those without detail, stay.
        assert defocus.rank(found, by) == [2, 3, 5, 4, 1, 0, 6]
    assert defocus.rank([]) == []


def test_by_subject_those_whose_subject_cannot_be_read_follow_by_frame(map_of):
    readable = map_of(np.full((100, 100), 2.0))
    confidence = np.ones((100, 100), np.float32)
    confidence[40:60, 40:60] = 0
    sharp = map_of(np.full((100, 100), 0.5))
    hidden = defocus.DefocusMap(
        sharp.sigma, confidence, sharp.saturated, sharp.seeds, sharp.method, sharp.sigma_range, sharp.unit
    )
    found = [defocus.sharpness(m, subject=(0.4, 0.4, 0.2, 0.2)) for m in (hidden, readable)]
    assert found[0].subject_in_focus is None
    assert defocus.rank(found, "subject") == [1, 0]
    assert defocus.rank(found, "frame") == [0, 1]


def test_wrong_input_is_one_sentence(map_of):
    m = map_of(np.full((50, 50), 1.0))
    for call, words in (
        (lambda: defocus.sharpness(map_of(np.full((9, 9), 0.5), unit="score")), "without px"),
        (lambda: defocus.sharpness(m, threshold=0), "more than 0"),
        (lambda: defocus.sharpness(m, at=0), "1 px or more"),
        (lambda: defocus.sharpness(m, subject=(0.8, 0.1, 0.5, 0.1)), "does not lie in the frame"),
        (lambda: defocus.rank([defocus.sharpness(m)], "eye"), "frame or subject"),
        (lambda: defocus.rank([defocus.sharpness(m), defocus.sharpness(m, at=99)]), "measure all by the same"),
    ):
        with pytest.raises(ParameterError, match=words):
            call()


# From photographs


def test_a_burst_is_put_in_order_and_without_detail_comes_last(run, burst):
    code, out, err = run("rank", burst, "--json", "-q")
    assert (code, err) == (0, "")
    assert names(out) == ["c.png", "e.png", "a.png", "f.png", "b.png", "d.png"]
    records = ranked(out)
    assert [record["rank"] for record in records] == [1, 2, 3, 4, 5, 6]
    sigmas = [record["sharpest_sigma"] for record in records]
    assert sigmas[:5] == sorted(sigmas[:5])
    assert records[0]["in_focus"] > 0.6
    assert records[3]["in_focus"] < 0.1
    assert (records[-1]["in_focus"], records[-1]["subject_sigma"]) == (None, None)
    assert records[-1]["readable"] < 0.005


@pytest.mark.parametrize("noise", [2, 5])
def test_noise_and_exposure_do_not_make_a_photograph_sharper(run, tmp_path, noise):
    soft = gaussian_blur(PHOTO, 1.5)
    save(tmp_path / "a.png", add_noise(soft, noise / 255, 1))
    save(tmp_path / "b.png", np.rint(0.5 * PHOTO.astype(float)).astype(np.uint8))
    _, out, _ = run("rank", tmp_path, "--json", "-q")
    # Variance of Laplacian has it the other way round at 5, and near it at 2.
    assert names(out) == ["b.png", "a.png"]
    assert ranked(out)[1]["in_focus"] < 0.25


def test_a_subject_box_is_respected(run, tmp_path):
    soft = gaussian_blur(PHOTO, 3.0)
    left, right = PHOTO.copy(), PHOTO.copy()
    # In focus: most of the frame but not the face; little but the face.
    left[20:180, 60:230] = soft[20:180, 60:230]
    right[:, :60], right[:, 230:], right[180:] = soft[:, :60], soft[:, 230:], soft[180:]
    save(tmp_path / "missed.png", left)
    save(tmp_path / "portrait.png", right)
    for box in ("70,30,150,140", "0.219,0.094,0.469,0.438"):
        _, out, _ = run("rank", tmp_path, "--json", "-q", "--subject", box)
        assert names(out) == ["portrait.png", "missed.png"]
        record = ranked(out)[0]
        assert record["subject_by"] == "given"
        assert record["subject_left"] == pytest.approx(70 / 320, abs=0.001)
        assert record["subject_height"] == pytest.approx(140 / 320, abs=0.001)
    _, out, _ = run("rank", tmp_path, "--json", "-q", "--subject", "70,30,150,140", "--by", "frame")
    assert names(out) == ["missed.png", "portrait.png"]


def test_a_photograph_and_its_smaller_copy_are_as_sharp_at_one_size(run, tmp_path):
    soft = gaussian_blur(data.astronaut(), 2.0)
    save(tmp_path / "large.png", soft)
    save(tmp_path / "small.png", downscale(soft, 2))
    _, out, err = run("rank", tmp_path, "--json")
    assert names(out) == ["small.png", "large.png"]
    assert "--at 256" in err
    _, out, err = run("rank", tmp_path, "--json", "--at", "256")
    assert err == ""
    one, other = ranked(out)
    assert one["sharpest_sigma"] == pytest.approx(other["sharpest_sigma"], rel=0.05)
    assert one["in_focus"] == pytest.approx(other["in_focus"], abs=0.05)


def test_reducing_keeps_depth_and_never_enlarges():
    for dtype, factor in ((np.uint8, 1), (np.uint16, 257)):
        small = reduce_photograph(as_photograph(PHOTO[:100].astype(dtype) * dtype(factor)), 80)
        assert small.pixels.shape == (25, 80, 3)
        np.testing.assert_allclose(small.as_float(), downscale(PHOTO[:100], 4) / 255, atol=1.01 / 255)
    photograph = as_photograph(PHOTO)
    assert reduce_photograph(photograph, 320) is photograph


# The subject that the camera wrote


def with_subject(path, area, orientation=1, size=None):
    exif = Image.Exif()
    exif[0x0112] = orientation
    camera = exif.get_ifd(0x8769)
    camera[0x9214] = area
    if size:
        camera[0xA002], camera[0xA003] = size
    stored = PHOTO[:240]  # 320 x 240
    Image.fromarray(stored).save(path, exif=exif.tobytes())
    return read_photograph(path)


def test_subject_area_of_the_exif(tmp_path):
    path = tmp_path / "a.jpg"
    assert subject_from_exif(with_subject(path, (160, 60, 80, 40))) == pytest.approx((0.375, 1 / 6, 0.25, 1 / 6))
    assert subject_from_exif(with_subject(path, (160, 60, 80))) == pytest.approx((0.375, 1 / 12, 0.25, 1 / 3))
    assert subject_from_exif(with_subject(path, (160, 60))) == pytest.approx((0.45, 44 / 240, 0.1, 32 / 240))
    # Of the photograph as taken, twice the size of this file.
    assert subject_from_exif(with_subject(path, (320, 120, 160, 80), size=(640, 480))) == pytest.approx(
        (0.375, 1 / 6, 0.25, 1 / 6)
    )
    assert subject_from_exif(with_subject(path, (900, 60, 80, 40))) is None
    assert subject_from_exif(with_subject(path, (0, 0, 0, 0))) is None
    Image.fromarray(PHOTO).save(path)
    assert subject_from_exif(read_photograph(path)) is None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_subject_turns_with_the_photograph(tmp_path, orientation):
    # A white square on black, and the subject on it.
    stored = np.zeros((120, 200, 3), np.uint8)
    stored[20:50, 30:90] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif.get_ifd(0x8769)[0x9214] = (60, 35, 60, 30)
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    photograph = read_photograph(tmp_path / "a.png")
    box = subject_from_exif(photograph)
    rows, columns = np.nonzero(photograph.pixels[..., 0])
    height, width = photograph.height, photograph.width
    expected = Box(columns.min() / width, rows.min() / height, np.ptp(columns + 0) / width, np.ptp(rows + 0) / height)
    assert box == pytest.approx(expected, abs=0.01)


def test_exif_orientation_and_subject_reach_table_and_sheet(run, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0x9214] = (40, 80, 60, 60)
    save(tmp_path / "in" / "a.jpg", PHOTO[:160], exif=exif.tobytes())
    sheet = tmp_path / "sheet.png"
    code, out, _ = run("rank", tmp_path / "in", "--json", "-q", "--sheet", sheet)
    assert code == 0
    record = ranked(out)[0]
    assert (record["width"], record["height"]) == (160, 320)
    assert record["subject_by"] == "exif"
    assert (record["subject_left"], record["subject_top"]) == pytest.approx((50 / 160, 10 / 320), abs=0.001)
    shown = np.asarray(Image.open(sheet).convert("RGB")).astype(float)
    upright = np.rot90(PHOTO[:160], -1)
    tile = np.asarray(Image.fromarray(upright).resize((120, 240)), float)
    # Framed and outlined, but the photograph as it is looked at.
    at = shown[16:256, 116:236]
    turned, upside_down = (np.corrcoef(at.ravel(), t.ravel())[0, 1] for t in (tile, tile[::-1, ::-1]))
    assert turned > 0.8 > 0.3 > upside_down


# What is written


def test_csv_sheet_and_table_are_whole_and_originals_untouched(run, burst, tmp_path):
    before = {path: path.read_bytes() for path in burst.iterdir()}
    table, sheet = tmp_path / "out" / "shoot.csv", tmp_path / "out" / "shoot.jpg"
    code, out, err = run("rank", burst, "--csv", table, "--sheet", sheet, "--top", "2")
    assert code == 0
    assert "Traceback" not in err
    assert {path: path.read_bytes() for path in burst.iterdir()} == before
    assert sorted(path.name for path in table.parent.iterdir()) == ["shoot.csv", "shoot.jpg"]
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [str(burst / f"{name}.png") for name in "ceafbd"]
    assert rows[5]["in_focus"] == rows[5]["sharpest_sigma"] == ""
    assert float(rows[0]["in_focus"]) > float(rows[4]["in_focus"])
    lines = out.splitlines()
    assert len(lines) == 1 + 2 + 2
    assert lines[1].split()[:2] == ["1", str(burst / "c.png")]
    assert lines[1].split()[2] == f"{float(rows[0]['in_focus']):.0%}"
    with Image.open(sheet) as picture:
        assert picture.size[0] > 2 * 320
        assert np.asarray(picture)[16:200, 60:300].std() > 20


def test_a_sheet_of_many_has_pages(run, tmp_path, fake_method, monkeypatch):
    monkeypatch.setattr("defocus.cli.rank.TILES_PER_PAGE", 3)
    for k in range(7):
        save(tmp_path / "in" / f"{k}.png", np.full((30, 40, 3), 30 * k, np.uint8))
    sheet = tmp_path / "in" / "s.defocus.png"
    for _ in range(2):  # the second time sheets lie in the folder and are no photographs
        code, out, _ = run("rank", tmp_path / "in", "--sheet", sheet, "--method", "fake", "--json")
        assert code == 0
        assert names(out) == [f"{k}.png" for k in range(7)]  # the fake takes dark for sharp
    sheets = sorted(path.name for path in (tmp_path / "in").glob("s.*"))
    assert sheets == ["s.2.defocus.png", "s.3.defocus.png", "s.defocus.png"]


def test_one_bad_file_costs_one_line(run, burst):
    (burst / "c.png").write_bytes(b"no photograph")
    code, out, err = run("rank", burst, "--json")
    assert code == 1
    failed, *rest = ranked(out)
    assert failed["path"] == str(burst / "c.png")
    assert "not a photograph" in failed["error"]
    assert names("\n".join(map(json.dumps, rest))) == ["e.png", "a.png", "f.png", "b.png", "d.png"]
    assert err.count("c.png") == 1
    assert "Traceback" not in err


def test_maps_at_hand_are_used_while_they_belong_to_the_photograph(run, tmp_path, fake_method, monkeypatch):
    photo = save(tmp_path / "a.png", np.full((30, 40, 3), 60, np.uint8))
    own = ["--method", "fake", "--json", "-q"]
    assert run("estimate", photo, *own)[0] == 0
    made = []
    monkeypatch.setattr("fake_method.estimate", lambda *given: made.append(given) or 1 / 0)
    code, out, _ = run("rank", photo, *own)
    assert (code, made) == (0, [])
    assert ranked(out)[0]["sharpest_sigma"] == pytest.approx(0.5 + 1.5 * 60 / 255, rel=4e-3)  # compact maps
    # Read at another size, or a photograph that has changed since, needs a map of its own.
    assert run("rank", photo, *own, "--at", "64")[0] == 1
    save(photo, np.full((30, 40, 3), 61, np.uint8))
    assert run("rank", photo, *own)[0] == 1
    assert len(made) == 2


def test_processes_give_the_same_order(run, burst):
    one, two = (run("rank", burst, "--json", "-q", "--jobs", jobs)[1] for jobs in (1, 2))
    for a, b in zip(ranked(one), ranked(two), strict=True):
        assert {**a, "seconds": 0} == {**b, "seconds": 0}


@needs_signals
def test_an_interrupted_run_ranks_what_it_has_read(burst, tmp_path):
    slow = (
        "import sys, time\n"
        "import defocus.estimation as e\n"
        "from defocus.cli.app import main\n"
        "own = e.estimate_strips\n"
        "def estimate_strips(photograph, *others):\n"
        "    if photograph.path.name == 'c.png':\n"
        "        print('waiting', flush=True)\n"
        "        time.sleep(60)\n"
        "    return own(photograph, *others)\n"
        "e.estimate_strips = estimate_strips\n"
        "main()"
    )
    table = tmp_path / "part.csv"
    arguments = [sys.executable, "-c", slow, "rank", str(burst), "--csv", str(table)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "waiting\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Interrupted: 2 of 6" in err
    with table.open(newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == [str(burst / "a.png"), str(burst / "b.png")]


def test_wrong_usage_is_code_2_and_comes_before_the_work(run, burst):
    for arguments, words in (
        (["--subject", "middle"], "X,Y,W,H"),
        (["--subject", "0.5,0.5,0.6,0.1"], "no region"),
        (["--subject", "10,10,0,5"], "no region"),
        (["--by", "eye"], "'frame', 'subject'"),
        (["--sheet", burst.parent / "sheet.gif"], "end in .jpg or .png"),
        (["--sheet", burst / "a.png"], "originals are never replaced"),
        (["--csv", burst / "a.png"], "originals are never replaced"),
        (["--csv", burst / "a.png" / "x.csv"], "Cannot make the folder"),
        (["--method", "shi2014"], "without px"),
        (["--method", "none"], "choose one of"),
    ):
        code, out, err = run("rank", burst, *arguments)
        assert (code, out) == (2, ""), arguments
        assert words in " ".join(err.replace("│", " ").split())
    code, _, err = run("rank", burst, "--subject", "10,10,400,20", "-q")
    assert code == 1
    assert "does not lie in its 320 x 320 px" in err


# The sheet itself


def test_the_thumbnail_outlines_what_is_in_focus_and_frames_the_subject():
    grey = as_photograph(np.full((240, 320, 3), 128, np.uint8))
    mask = np.zeros((240, 320), bool)
    mask[60:180, 80:240] = True
    plain, marked = thumbnail(grey, np.zeros_like(mask)), thumbnail(grey, mask)
    np.testing.assert_array_equal(plain, 128)
    yellow = (marked == (255, 214, 0)).all(axis=2)
    rows, columns = np.nonzero(yellow)
    assert abs(rows.min() - 60) <= 4
    assert abs(rows.max() - 179) <= 4
    assert abs(columns.min() - 80) <= 4
    assert (marked[90:150, 110:210] == 128).all()
    framed = thumbnail(grey, np.zeros_like(mask), (0.25, 0.25, 0.5, 0.5))
    white = np.nonzero((framed == 255).all(axis=2))
    assert (white[0].min(), white[1].max()) == (61, 238)
    deep = as_photograph(np.full((900, 600, 3), 128 * 257, np.uint16))
    assert thumbnail(deep, np.zeros((900, 600), bool)).shape == (240, 160, 3)


def test_long_names_are_shortened_and_rows_have_five_tiles():
    tile = np.full((240, 320, 3), 99, np.uint8)

    def words(name):
        return contact_sheet([Tile(tile, name)])[16 + 240 :]

    long = words("x" * 300)
    assert long.shape[1] == 320 + 2 * 16
    assert (long[:, -16:] == long[0, 0]).all()
    assert contact_sheet([Tile(tile, "a")] * 6).shape[1] == 5 * 336 + 16
