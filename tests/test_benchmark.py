"""The benchmark: people's layouts of data, polarity, resuming, and a report whose numbers can be traced."""

import json
import re

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage
from skimage import data

from defocus.errors import DefocusError
from defocus.evaluation import benchmark, generators, layouts, metrics, peers, report
from defocus.evaluation.benchmark import Configuration
from defocus.evaluation.datasets import DataSet, Example


def half_blurred(seed, sigma=3.0):
    """A sharp picture with its right or left half blurred, and the mask of that."""
    pixels = np.roll(data.astronaut()[::4, ::4], 17 * seed, axis=0).astype(float)
    mask = np.zeros(pixels.shape[:2], bool)
    mask[:, 64:] = True
    mask = mask if seed % 2 else ~mask
    soft = ndimage.gaussian_filter(pixels, (sigma, sigma, 0))
    return np.rint(np.where(mask[..., None], soft, pixels)).astype(np.uint8), mask


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def cuhk(tmp_path):
    for k in range(3):
        image, mask = half_blurred(k)
        write(tmp_path / "cuhk/image" / f"out_of_focus000{k}.jpg", image)
        write(tmp_path / "cuhk/gt" / f"out_of_focus000{k}.png", np.uint8(255) * mask)
    write(tmp_path / "cuhk/image/motion0001.jpg", image)
    return tmp_path / "cuhk"


def test_cuhk_and_dut_have_opposite_polarity(cuhk, tmp_path):
    (data_set,) = layouts.open_data(cuhk)
    examples = list(data_set.examples())
    assert (data_set.name, data_set.kind) == ("cuhk", "mask")
    assert [e.name for e in examples] == ["out_of_focus0000", "out_of_focus0001", "out_of_focus0002"]
    for k, e in enumerate(examples):
        np.testing.assert_array_equal(e.truth, half_blurred(k)[1])
        write(tmp_path / "dut/dut500-source" / f"{k}.jpg", e.image)
        write(tmp_path / "dut/dut500-gt" / f"{k}.png", np.uint8(255) * ~e.truth)
    (dut,) = layouts.open_data(tmp_path / "dut")
    for e, other in zip(examples, dut.examples(), strict=True):
        np.testing.assert_array_equal(e.truth, other.truth)


def test_maps_in_16_bit_and_in_disc_radius(tmp_path):
    image, _ = half_blurred(0)
    sigma = np.linspace(0, 6, image.shape[1])[None].repeat(image.shape[0], axis=0)
    write(tmp_path / "s/image/a.png", image)
    write(tmp_path / "s/blur_map/a.png", np.rint(sigma * 10).astype(np.uint16))
    (syndof,) = layouts.open_data(tmp_path / "s")
    (e,) = syndof.examples()
    np.testing.assert_allclose(e.truth, sigma, atol=0.051)

    write(tmp_path / "r/shots/a.png", image)
    radius = np.full(image.shape[:2], 3.0, np.float32)
    radius[0, 0] = -1
    (tmp_path / "r/radius").mkdir()
    tifffile.imwrite(tmp_path / "r/radius/a.tif", radius)
    (tmp_path / "r/dataset.toml").write_text('like = "rtf"\nimages = "shots"\ntruths = "radius"\nignore = -1\n')
    (rtf,) = layouts.open_data(tmp_path / "r")
    (e,) = rtf.examples()
    assert e.truth[5, 5] == pytest.approx(1.65)  # the authors' table
    assert not e.valid[0, 0]
    assert e.valid.sum() == e.valid.size - 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind = 'depth'", "kind is one of"),
        ("unit = 'furlong'", "unit is one of"),
        ("colour = 1", "no field 'colour'"),
        ("like = 'imagenet'", "like is one of"),
        ("kind = ", "cannot be read as TOML"),
        ("scale = 0", "scale is above 0"),
    ],
)
def test_wrong_declarations_are_named(tmp_path, text, words):
    (tmp_path / "dataset.toml").write_text(text)
    with pytest.raises(DefocusError, match=words):
        layouts.open_data(tmp_path)


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(DefocusError, match="none of the known layouts"):
        layouts.open_data(tmp_path)
    with pytest.raises(DefocusError, match="no folder"):
        layouts.open_data(tmp_path / "missing")


def test_inverted_truth_is_reported_and_not_turned(cuhk, tmp_path):
    (good,) = layouts.open_data(cuhk)
    assert benchmark.polarity(good) > 0.2
    (cuhk / "dataset.toml").write_text('truths = "gt"\npattern = "out*"\nblurred = "black"\nname = "wrong"')
    (wrong,) = layouts.open_data(cuhk)
    assert benchmark.polarity(wrong) < -0.2
    lines = []
    head = benchmark.run(
        [wrong],
        [Configuration.parse("laplacian")],
        tmp_path / "out",
        costs=False,
        report=lambda line, share: lines.append(line),
    )
    assert any("inverted?" in line for line in lines)
    assert head["polarity"]["wrong"] < 0
    report.write_report(tmp_path / "out")
    assert "polarity is probably inverted" in (tmp_path / "out/report.html").read_text()
    (ap,) = [f.mean for f in report.figures(benchmark.read_values(tmp_path / "out")) if f.metric == "AP"]
    assert ap < 0.5


def test_generators_are_seeded_and_exact():
    image, _ = half_blurred(0)
    everywhere = np.ones(image.shape[:2], bool)

    def sharp():
        yield Example("a", image, np.zeros(image.shape[:2], np.float32), everywhere, "a")

    made = list(generators.uniform("u", sharp, "gaussian", (1.0, 2.0)).examples())
    assert [(e.name, e.source, float(e.truth.mean())) for e in made] == [("a@1px", "a", 1.0), ("a@2px", "a", 2.0)]
    assert np.abs(np.diff(made[1].image.astype(int), axis=0)).mean() < np.abs(np.diff(image.astype(int), axis=0)).mean()

    def disparities():
        truth = np.where(half_blurred(1)[1], 20.0, 40.0).astype(np.float32)
        yield Example("a", image, truth, everywhere, "a")

    depth = generators.depth_rendered("d", disparities, largest=(2.0,))
    once, again = list(depth.examples()), list(depth.examples())
    assert len(once) == len(generators.SENSORS)
    for e, other in zip(once, again, strict=True):
        np.testing.assert_array_equal(e.image, other.image)
        assert e.truth.max() == pytest.approx(2.0)


def test_iou_boundary_error_and_rmse_by_hand():
    score = np.array([[0.0, 1, 2, 3]])
    truth = np.array([[False, True, False, True]])
    np.testing.assert_allclose(metrics.iou_at_threshold(score, truth, [0.5, 2.5, 9]), [2 / 3, 1 / 2, 0])
    sigma = np.zeros((20, 60))
    sigma[:, 30:] = 2.0
    read = sigma.copy()
    read[:, 28:32] = 1.0
    of = metrics.boundary_error(read, sigma, distance=8)
    # The edge takes one pixel on either side; 8 px from these are 18 columns, 4 of them wrong by 1.
    assert of.near == pytest.approx(4 / 18)
    assert of.elsewhere == 0
    assert metrics.root_mean_square_error(read, sigma) == pytest.approx(np.sqrt(4 / 60))
    with pytest.raises(metrics.UndefinedMetricError, match="no edge"):
        metrics.boundary_error(read, np.ones_like(sigma))


def test_peers_call_the_blurred_half_blurred():
    image, mask = half_blurred(1)
    for name in ("laplacian", "hifst"):
        if name == "hifst":
            pytest.importorskip("blur_detector", exc_type=ImportError)
        score = peers.PEERS[name](image)
        assert score.shape == mask.shape
        assert metrics.average_precision(score, mask) > 0.9


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense", "no method"),
        ("a=dhde:nopreset", "no parameters called"),
        ("a=dhde::missing.onnx", "no weights file"),
        ("a=zhuo2011:default+radius=3", "no parameter"),
        ("laplacian:default", "no method|neither"),
    ],
)
def test_wrong_configurations_are_named(text, words):
    with pytest.raises(DefocusError, match=words):
        Configuration.parse(text)


def test_configurations_are_read():
    c = Configuration.parse("fine=zhuo2011:default+fine_blur=0.8+average_radius=0")
    assert (c.name, c.method) == ("fine", "zhuo2011")
    assert (c.parameters().fine_blur, c.parameters().average_radius) == (0.8, 0)
    assert Configuration.parse("karaali2018").parameters().fine_blur == 1.0


def test_a_killed_run_goes_on_and_every_number_is_traced(cuhk, tmp_path):
    sets = layouts.open_data(cuhk)
    configurations = [Configuration.parse(t) for t in ("karaali2018", "laplacian")]
    out, lines = tmp_path / "out", []
    benchmark.run(sets, configurations, out, limit=1, costs=False)
    values = out / "values.jsonl"
    values.write_text(values.read_text()[:-40])  # killed in the middle of a line
    benchmark.run(sets, configurations, out, costs=False, report=lambda line, share: lines.append(line))
    assert len(lines) == 5  # three photographs, two methods, one value kept
    assert len(benchmark.read_values(out)) == 6
    lines.clear()
    benchmark.run(sets, configurations, out, costs=False, report=lambda line, share: lines.append(line))
    assert not lines

    made = report.write_report(out)
    page = (out / "report.html").read_text()
    targets = set(re.findall(r"id='([^']+)'", page))
    links = re.findall(r"href='#([^']+)'", page)
    assert links
    assert set(links) <= targets
    assert not re.findall(r"(?:src|href)=['\"]?https?:", page)  # opens offline
    by_hand = [v["AP"] for v in benchmark.read_values(out) if v["configuration"] == "karaali2018"]
    (ap,) = [f for f in made if (f.metric, f.configuration) == ("AP", "karaali2018")]
    assert ap.mean == pytest.approx(np.mean(by_hand))
    assert ap.low <= ap.mean <= ap.high
    table = json.loads((out / "figures.json").read_text())
    assert {f["metric"] for f in table["figures"]} >= {"AP", "max F", "F at one threshold", "IoU at one threshold"}
    assert (out / "values.csv").read_text().count("karaali2018,AP") == 3

    with pytest.raises(DefocusError, match="--fresh karaali2018"):
        benchmark.run(sets, [Configuration.parse("karaali2018=karaali2018:default+gamma=5")], out, costs=False)


def test_one_bad_photograph_costs_one_line(tmp_path):
    def examples():
        image, mask = half_blurred(0)
        yield Example("good", image, mask, np.ones_like(mask), "good")
        yield Example("bad", image[:2], mask[:2], np.ones_like(mask[:2]), "bad")

    sets = [DataSet("s", "mask", "", examples)]
    benchmark.run(sets, [Configuration.parse("karaali2018")], tmp_path, costs=False)
    of = {v["name"]: v for v in benchmark.read_values(tmp_path)}
    assert "at least 3 x 3" in of["bad"]["error"]
    assert "AP" in of["good"]
    report.write_report(tmp_path)
    assert "at least 3 x 3" in (tmp_path / "report.html").read_text()


def test_sigma_sets_in_the_command(tmp_path, run):
    write(tmp_path / "photos/a.png", data.astronaut()[::4, ::4])
    arguments = ["benchmark", "--data", tmp_path / "photos", "--methods", "karaali2018,shi2014", "--limit", "1"]
    code, out, _ = run(*arguments, "-o", tmp_path / "r", "--no-costs", "--json")
    assert code == 0
    figures = json.loads(out)
    of = {(f["set"], f["metric"]): f for f in figures}
    assert of["uniform-gaussian", "MAE"]["configuration"] == "karaali2018"
    assert {"RMSE", "relative error", "bias", "calibration error"} <= {m for _, m in of}
    # A score without unit says nothing about a photograph that is equally blurred throughout.
    assert not [f for f in figures if f["configuration"] == "shi2014"]
    assert "<svg" in (tmp_path / "r/report.html").read_text()
