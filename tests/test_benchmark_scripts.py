"""The scripts in benchmarks/ that make the tables of docs/: peers, speed, steps, generators and sharpened."""

import importlib.util
import json
import os
import subprocess
import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

import defocus
from defocus.evaluation.render import gaussian_blur
from systems import needs_proc, needs_signals

SCRIPTS = Path(__file__).resolve().parents[1] / "benchmarks"


def script(name):
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def masks(tmp_path):
    sharp = data.astronaut()[::4, ::4]
    mask = np.zeros(sharp.shape[:2], bool)
    mask[:, 64:] = True
    for k in range(3):
        turned = np.roll(sharp, 17 * k, axis=0)
        picture = np.where(mask[..., None], gaussian_blur(turned, 3.0), turned)
        for folder, pixels in (("image", picture), ("truth", np.uint8(255) * mask)):
            (tmp_path / "data/masks" / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "data/masks" / folder / f"{k}.png")
    return tmp_path / "data"


def test_peers_compares_rows_on_the_same_photographs(masks, tmp_path, monkeypatch, capsys):
    peers = script("peers")
    monkeypatch.setattr(peers, "METHODS", ("karaali2018", "laplacian"))
    monkeypatch.setattr(peers, "DENSE", "zhuo2011")  # stands for what is too slow to run on all
    assert peers.main(["--data", str(masks), "-o", str(tmp_path / "out"), "--dense-limit", "2"]) == 0
    text = capsys.readouterr().out
    everything, common = text.split("All methods on the photographs")
    assert "masks (3): AP" in everything and "masks (2): AP" in common
    assert everything.count("| zhuo2011 |") == 0 and common.count("| zhuo2011 |") == 1
    (row,) = [line for line in common.splitlines() if line.startswith("| karaali2018")]
    figures = [float(cell) for cell in row.split("|")[2:-1]]
    ap, max_f, worst, at_one, seconds = figures
    assert 0.5 < worst <= max_f <= 1 and 0.5 < ap <= 1 and at_one <= max_f + 0.05 and seconds > 0
    assert (tmp_path / "out/peers.md").read_text(encoding="utf-8") in text


def test_speed_makes_photographs_of_a_size_and_tells_ratios(tmp_path):
    speed = script("speed")
    Image.fromarray(data.astronaut()).save(tmp_path / "small.png")
    speed.write_photograph(tmp_path / "small.png", tmp_path / "large.jpg", 700, 1300)
    with Image.open(tmp_path / "large.jpg") as made:
        assert (made.size, made.format) == ((1300, 700), "JPEG")
    whole = {"24 MP": speed.Run(8.0, 14.0, 900), "6 MP": speed.Run(2.5, 4.0, 400)}
    costs = {label: speed.Cost(*speed.SIZES[label], whole[label], 2.0, 3.0) for label in whole}
    assert speed.ratios(costs) == ["24 MP / 6 MP: 3.20 times the seconds for 4.00 times the pixels."]
    assert costs["6 MP"].row("a") == "| a | 2.50 | 0.417 | 4.00 | 400 | 2.00 | 3.00 |"
    assert costs["24 MP"].compared("a", costs["6 MP"]) == "| a | 3.20 | | 3.50 | 2.25 | 1.00 | 1.00 |"
    assert set(speed.USUAL.split(",")) <= set(speed.SIZES)


def test_a_mosaic_is_sharp_on_the_left_and_blurred_on_the_right(tmp_path):
    speed = script("speed")
    assert speed.write_photograph(None, tmp_path / "small.jpg", 480, 640) == (640, 480)
    small = np.asarray(Image.open(tmp_path / "small.jpg")).astype(int)
    steepness = np.abs(np.diff(small.mean(axis=2), axis=1))
    assert small.shape == (480, 640, 3)
    assert np.percentile(steepness[:, :200], 95) > 3 * np.percentile(steepness[:, 560:], 95)
    large = speed.mosaic(1200, 1500)
    assert large.shape == (1200, 1500, 3)
    assert large[:, :500].std() > 10 and not np.array_equal(large[:300, :400], large[300:600, :400])


def test_speed_finds_the_package_of_another_checkout(tmp_path):
    speed = script("speed")
    (tmp_path / "src/defocus").mkdir(parents=True)
    (tmp_path / "src/defocus/__init__.py").write_text("raise SystemExit(7)")
    with speed.checked_out(str(tmp_path)) as other:
        with pytest.raises(SystemExit, match="failed with 7"):
            speed.whole_process([sys.executable, "-P", "-c", "import defocus"], other)
        run = speed.whole_process([sys.executable, "-P", "-c", "import defocus"])
    assert run.cpu > 0 and run.seconds > 0 and run.megabytes > 1
    (tmp_path / "nothing").mkdir()
    for wrong in (str(tmp_path / "nothing"), "no-such-commit"):
        with pytest.raises(SystemExit, match="commit"), speed.checked_out(wrong):
            pass


def test_folders_compares_jobs_and_checkouts_in_turn(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(SCRIPTS)
    folders = script("folders")
    (tmp_path / "src/defocus").mkdir(parents=True)
    asked = []

    def seconds(checkout, folder, output, *options):
        assert len(list(folder.glob("*.jpg"))) == 4
        asked.append((checkout == tmp_path, *options))
        return (8.0 if checkout == tmp_path else 2.0) / (1 if "1" in options else 2), 4.0

    monkeypatch.setattr(folders, "seconds", seconds)
    folders.main(["--count", "4", "--size", "20", "10", "--jobs", "1", "2", "--runs", "2", "--against", str(tmp_path)])
    turns = [(old, "--jobs", jobs) for jobs in ("1", "2") for old in (True, False)]
    assert asked == [*turns, *turns, (False, "--skip-existing")]
    rows = [line for line in capsys.readouterr().out.splitlines() if line[2:3].isdigit()]
    assert rows[0] == "| 1, before | 0.50 | 1.00 | 1.000 | 1.00 |"
    assert rows[3] == "| 2 | 4.00 | 8.00 | 1.000 | 1.00 |"


def test_steps_divides_the_time_of_threads_and_adds_up(monkeypatch):
    steps = script("steps")
    now = [0.0]
    clock = types.SimpleNamespace(perf_counter=lambda: now[0], process_time=lambda: 2 * now[0])
    monkeypatch.setattr(steps, "time", clock)
    recorder = steps.Recorder()
    both_began, may_end = threading.Barrier(3), threading.Barrier(3)

    def work(label):
        with recorder.step(label):
            both_began.wait()
            may_end.wait()

    with recorder.step(steps.REST):
        now[0] += 1
        with recorder.step("propagation"):
            now[0] += 2
            with recorder.step("propagation, solver"):
                now[0] += 4
        threads = [threading.Thread(target=work, args=(label,)) for label in ("grain", "lamps")]
        for thread in threads:
            thread.start()
        both_began.wait()
        now[0] += 8
        may_end.wait()
        for thread in threads:
            thread.join()
    expected = {steps.REST: 1, "propagation": 2, "propagation, solver": 4, "grain": 4, "lamps": 4}
    assert {label: cost.wall for label, cost in recorder.costs.items()} == expected
    assert {label: cost.cpu for label, cost in recorder.costs.items()} == {
        each: 2 * expected[each] for each in expected
    }
    lines = steps.table(recorder.costs, 2.0).splitlines()
    rows = [line.split("|")[1:4] for line in lines[2:-2]]
    assert rows[0] == [" grain ", " 4.00 ", " 8.00 "]
    assert [row[0].strip() for row in rows[1:4]] == ["lamps", "propagation", "propagation, solver"]
    assert rows[-1] == [" **whole** ", " 15.00 ", " 30.00 "]
    assert lines[-1].startswith("Not called: reading") and "lamps" not in lines[-1]


def test_steps_says_when_a_function_is_gone():
    steps = script("steps")
    for gone in (("defocus.nowhere", "f"), ("defocus.units", "gone"), ("defocus.maps.defocus_map", "DefocusMap.gone")):
        with pytest.raises(LookupError, match=r"change its line in STEPS"):
            steps.watch(steps.Recorder(), [steps.Step("a step", *gone)])


@pytest.mark.slow
def test_steps_prints_every_step_of_an_estimate():
    done = subprocess.run(
        [sys.executable, SCRIPTS / "steps.py", "--size", "0.3 MP", "--no-peers"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [line.split("|")[1].strip() for line in done.stdout.splitlines() if line.startswith("| ")]
    assert {"imports", "everything else", "**whole**", "network, level 0", "map: encoding and writing"} <= set(rows)
    # The picture shows no grain; all else that the table watches is part of every estimate.
    assert done.stdout.splitlines()[-1] == "Not called: grain, where."


def test_generators_share_no_photograph_and_read_known_blur(tmp_path):
    pytest.importorskip("torch")
    from defocus.training.pyramid.colour.scenes import KNOWN, UNKNOWN
    from defocus.training.pyramid.scenes import SceneSet

    generators = script("generators")
    for k in range(6):
        (tmp_path / f"photos/{k % 2}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 40 * k, np.uint8)).save(tmp_path / f"photos/{k % 2}/{k // 2}.png")
    links, test = generators.set_aside(tmp_path / "photos", tmp_path, 5)
    training = {link.resolve() for link in links.iterdir()}
    assert len(training) + len(test) == 5
    assert not training & {path.resolve() for path in test}

    grey = gaussian_blur(data.gravel()[:256, :256], 2.0)
    scenes = SceneSet(
        np.stack([grey, grey]), np.full((2, 128, 128), 1, np.float16), np.full((2, 128, 128), KNOWN, np.uint8)
    )
    scenes.state[1] = UNKNOWN
    from defocus.methods import find_method

    found = generators.score(find_method("pyramid").weights_file(), scenes)
    assert found.scenes == 1
    assert 0.7 < found.ratio < 1.4
    assert 0 < found.full < 0.5
    assert "| a | 0.100 / 0.200, 1.10 |" in generators.table({"a": {"disc": generators.Score(1, 0.1, 0.2, 1.1)}})


def test_an_unsharp_mask_steepens_edges_and_leaves_even_surfaces():
    sharpened = script("sharpened")
    edge = np.full((24, 24, 3), 80, np.uint8)
    edge[:, 12:] = 160
    soft = gaussian_blur(edge, 2.0)
    seen = sharpened.unsharp_mask(soft, 0.8)
    np.testing.assert_array_equal(sharpened.unsharp_mask(soft, 0), soft)
    np.testing.assert_array_equal(seen[:, [0, -1]], soft[:, [0, -1]])
    steepest = [np.diff(picture[12, :, 0].astype(int)).max() for picture in (soft, seen)]
    assert steepest[1] > steepest[0]


@pytest.mark.slow
def test_sharpened_prints_a_row_for_every_amount(monkeypatch, capsys, tmp_path):
    sharpened = script("sharpened")
    monkeypatch.setattr(sharpened, "SIGMAS", (2.0,))
    monkeypatch.setattr(sharpened, "read_depth", lambda root: iter(()))
    monkeypatch.setattr(sys, "argv", ["sharpened.py", "--data", str(tmp_path)])
    sharpened.main()
    rows = [line.strip("|").split("|") for line in capsys.readouterr().out.splitlines() if line.startswith("| 0")]
    assert [float(row[0]) for row in rows] == list(sharpened.AMOUNTS)
    errors = [float(row[1].split(",")[0]) for row in rows]
    assert min(errors) > 0
    assert max(errors) < 0.2  # 2 px are read to within a tenth or so, whatever is done to the edges


def test_public_makes_tables_of_a_report(tmp_path):
    public = script("public")
    sources = {"astronaut": 0.2, "leaves": 0.4}
    figures = [
        {"set": "public-masks", "metric": "AP", "configuration": c, "mean": m, "low": m - 0.1, "high": m + 0.1}
        for c, m in (("good", 0.9), ("poor", 0.6))
    ]
    figures += [
        {"set": name, "metric": metric, "configuration": "good", "mean": 0.3, "low": None, "high": None}
        | {"condition": f"{sigma:g} px"}
        for name, sigmas in (("public-gaussian", public.GAUSSIANS), ("public-disc", public.DISCS))
        for metric in ("relative error", "median ratio")
        for sigma in sigmas
    ]
    report = {"figures": [{"per_source": sources} | f for f in figures]}
    (tmp_path / "figures.json").write_text(json.dumps(report))
    read = public.read_figures(tmp_path)
    first = list(public.overall(read))
    assert first[0] == "| set | metric | good | poor |"
    assert first[2] == "| `public-masks` | AP | **0.900** ±0.100 | 0.600 ±0.100 |"
    assert first[3] == "| | photographs / drawings | 0.200 / 0.400 | 0.200 / 0.400 |"
    second = list(public.by_sigma(read))
    assert second[0] == "| `public-gaussian` | 0.5 px | 1 px | 2 px | 4 px | 8 px |"
    assert second[2] == "| good |" + " 0.30, 0.30 |" * 5


@pytest.mark.parametrize(("layout", "compression"), [("tiles", "jpeg"), ("strips", "zlib"), ("strips", "none")])
def test_gigapixel_writes_a_photograph_sharp_in_a_band(tmp_path, monkeypatch, layout, compression):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    gigapixel = script("gigapixel")
    path = tmp_path / "a.tif"
    Image.fromarray(data.gravel()).save(tmp_path / "photo.png")
    gigapixel.write_photograph(path, tmp_path / "photo.png", 1200, 1500, layout, compression)
    pixels = defocus.read_photograph(path).pixels
    assert pixels.shape == (1200, 1500, 3)
    grey = pixels[..., 1].astype(float)
    steps = np.abs(np.diff(grey, axis=1))
    assert steps[580:620, :100].mean() > 5 * steps[:40, :100].mean()  # at the left the band is in the middle
    if compression != "jpeg":
        np.testing.assert_array_equal(pixels[600, 0], data.gravel()[1023 - 600, 0])  # mirrored, not blurred
    assert gigapixel.seconds_to_read(path) > 0


def test_gigapixel_measures_whole_processes(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    gigapixel = script("gigapixel")
    monkeypatch.chdir(tmp_path)
    assert gigapixel.main(["--megapixels", "0.1", "--method", "zhuo2011", "--folder", "files"]) == 0
    row = capsys.readouterr().out.splitlines()[-1]
    assert row.startswith("| 387 x 258 (0.1 MP) |")
    estimate, cpu, peak = (float(cell) for cell in row.split("|")[4:7])
    assert 0.1 < estimate < 60 and 0.1 < cpu < 60 and 50 < peak < 2000
    assert {path.suffix for path in (tmp_path / "files").iterdir()} == {".tif", ".tiff", ".png"}


def test_a_tilted_plane_reads_its_own_blur_in_every_strip():
    from defocus.evaluation import aperture

    renderers = script("renderers")
    picture, sigma = renderers.tilted(0.05)
    errors = renderers.readings(picture, aperture.render_picture(picture, sigma), sigma, "gaussian")
    assert len(errors) >= 4
    assert np.abs(errors).max() < 0.03
    # The reading can tell: a plane of another blur is not taken for this one.
    other = renderers.readings(picture, aperture.render_picture(picture, 1.2 * sigma), sigma, "gaussian")
    assert np.median(other) == pytest.approx(0.2, abs=0.03)


def test_quick_composes_photographs_that_are_sharp_and_blurred(tmp_path, monkeypatch):
    quick = script("quick")
    monkeypatch.setattr(quick, "SIZE", (600, 400))
    noise = np.random.default_rng(3)
    for number in range(4):
        Image.fromarray(noise.integers(0, 256, (280, 420, 3), np.uint8)).save(tmp_path / f"{number}.png")
    paths = sorted(tmp_path.iterdir())
    made = [next(quick.composed(paths, seed)) for seed in range(3)]
    assert all(each.shape == (400, 600, 3) for each in made)
    assert not np.array_equal(made[0], made[1])
    spread = np.concatenate([each.reshape(10, 40, 15, 40, 3).std((1, 3, 4)).ravel() for each in made])
    assert spread.max() > 2 * spread.min()
    sharp, soft = quick.composed(paths, 0, (0.0, 2.0))
    assert np.array_equal(sharp, made[0])
    assert np.abs(np.diff(soft.astype(int), axis=1)).mean() < 0.7 * np.abs(np.diff(sharp.astype(int), axis=1)).mean()


def batch(*arguments):
    pytest.importorskip("obstore")
    pytest.importorskip("pyarrow")
    pytest.importorskip("moto")
    command = [sys.executable, SCRIPTS / "batch.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=True).stdout


@pytest.mark.slow
@needs_signals
@needs_proc
def test_a_simulated_run_has_every_key_once():
    said = batch("simulate", "--keys", 60, "--part-size", 20, "--jobs", 2, "--stub", 0)
    assert "60 rows of 60 photographs" in said and "every key once: True" in said and "left with 0" in said


def test_the_cost_of_a_million_is_that_of_the_prices_given():
    prices = ("--core-hour", 0.5, "--put", 2, "--get", 0.25, "--gigabyte-month", 10)
    said = batch("cost", "--seconds", 3.6, "--bytes", 200, "--part-size", 1000, *prices)
    # 1,000 core-hours; 3 writes and 3 reads of 1,000 parts, a listing of 1,000 pages, an object a minute.
    assert "| 1,000 core-hours | 500.00 |" in said
    assert "| 64 thousand writes and listings | 128.00 |" in said
    assert "| 1,003 thousand reads | 250.75 |" in said
    assert "| together | 880.75 |" in said
