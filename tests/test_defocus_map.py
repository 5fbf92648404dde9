import dataclasses
import json

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

import defocus
from defocus import DefocusMap, MapFileError, ParameterError, Seeds, load

RNG = np.random.default_rng(3)


def make_map(shape=(23, 31), **changes):
    sigma = RNG.uniform(0.5, 2.0, shape).astype(np.float32)
    seeds = Seeds.none(shape)
    at = RNG.random(shape) < 0.1
    seeds.sigma[at] = sigma[at]
    seeds.probability[at] = 0.7
    whole = DefocusMap(
        sigma=sigma,
        confidence=RNG.random(shape, dtype=np.float32),
        saturated=sigma > 1.9,
        seeds=seeds,
        method="dhde",
        sigma_range=(0.5, 2.0),
        metadata={"parameters": {"lambda": 0.005, "name": "früh"}, "weights": None, "list": [1, 2.5]},
    )
    return dataclasses.replace(whole, **changes)


def planes(m):
    return [m.sigma, m.confidence, m.saturated, m.seeds.sigma, m.seeds.probability]


@pytest.mark.parametrize("shape", [(23, 31), (3, 3), (1, 700)])
def test_round_trip_is_lossless(tmp_path, shape):
    saved = make_map(shape)
    saved.save(tmp_path / "a.defocus.tiff")
    loaded = load(str(tmp_path / "a.defocus.tiff"))
    for before, after in zip(planes(saved), planes(loaded), strict=True):
        assert before.dtype == after.dtype
        np.testing.assert_array_equal(before, after)  # NaN equals NaN here
    for name in ("method", "sigma_range", "unit", "metadata"):
        assert getattr(loaded, name) == getattr(saved, name)
    assert [path.name for path in tmp_path.iterdir()] == ["a.defocus.tiff"]


def test_other_programs_see_sigma(tmp_path):
    saved = make_map()
    path = tmp_path / "a.tiff"
    saved.save(path)
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(image), saved.sigma)
    np.testing.assert_array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), saved.sigma)
    np.testing.assert_array_equal(tifffile.imread(path, key=0), saved.sigma)


def test_pages_bear_names_and_the_version(tmp_path):
    make_map().save(tmp_path / "a.tiff")
    with tifffile.TiffFile(tmp_path / "a.tiff") as tiff:
        assert [page.tags.valueof("PageName") for page in tiff.pages] == [
            "sigma",
            "confidence",
            "saturated",
            "seeds.sigma",
            "seeds.probability",
        ]
        assert json.loads(tiff.pages[0].description)["defocus"] == defocus.__version__
        assert tiff.pages[2].dtype == np.uint8


def test_smooth_maps_are_compressed(tmp_path):
    ramp = np.tile(np.linspace(0.5, 2, 640, dtype=np.float32), (480, 1))
    make_map((480, 640), sigma=ramp, confidence=ramp / 2).save(tmp_path / "a.tiff")
    # uncompressed it would be 17 bytes a pixel
    assert (tmp_path / "a.tiff").stat().st_size < 480 * 640 * 17 / 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sigma": np.ones((23, 31))}, "float32"),
        ({"sigma": np.ones((23, 31, 1), np.float32)}, "sigma must be"),
        ({"sigma": np.full((23, 31), np.nan, np.float32)}, "finite"),
        ({"sigma": np.full((23, 31), np.inf, np.float32)}, "finite"),
        ({"sigma": np.full((23, 31), -1, np.float32)}, "finite"),
        ({"confidence": np.ones((31, 23), np.float32)}, "23 x 31"),
        ({"confidence": np.full((23, 31), 1.5, np.float32)}, "0.0..1.0"),
        ({"confidence": np.full((23, 31), np.nan, np.float32)}, "finite"),
        ({"saturated": np.zeros((23, 31), np.uint8)}, "bool"),
        ({"seeds": Seeds.none((3, 3))}, "seeds"),
        ({"sigma_range": (2.0, 0.5)}, "sigma_range"),
        ({"sigma_range": (0.5, np.inf)}, "sigma_range"),
    ],
)
def test_maps_that_contradict_themselves_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        make_map(**changes)


def test_seeds_have_sigma_and_probability_at_the_same_pixels():
    sigma, probability = np.full((2, 4, 4), np.nan, np.float32)
    sigma[1, 1] = 1
    with pytest.raises(ValueError, match="same pixels"):
        Seeds(sigma, probability)
    probability[1, 1] = 2
    with pytest.raises(ValueError, match="probability"):
        Seeds(sigma, probability)
    probability[1, 1] = 1
    Seeds(sigma, probability)


def test_a_file_that_cannot_be_written_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "a.tiff"
    make_map().save(path)
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tifffile.TiffWriter, "write", full)
    with pytest.raises(MapFileError, match="No space left"):
        make_map().save(path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.tiff"]
    with pytest.raises(MapFileError, match="No such file"):
        make_map().save(tmp_path / "no folder" / "a.tiff")
    with pytest.raises(MapFileError, match="JSON"):
        make_map(metadata={"array": np.ones(3)}).save(path)
    assert path.read_bytes() == before


def test_interrupted_save_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(tifffile.TiffWriter, "write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make_map().save(tmp_path / "a.tiff")
    assert list(tmp_path.iterdir()) == []


def test_wrong_files_are_named(tmp_path):
    with pytest.raises(MapFileError, match="no file"):
        load(tmp_path / "missing.tiff")
    with pytest.raises(MapFileError, match="folder"):
        load(tmp_path)
    words = tmp_path / "words.tiff"
    words.write_text("no TIFF")
    with pytest.raises(MapFileError, match="not a TIFF"):
        load(words)
    other = tmp_path / "other.tiff"
    tifffile.imwrite(other, np.ones((5, 5), np.float32))
    with pytest.raises(MapFileError, match="not a defocus map"):
        load(other)
    whole = tmp_path / "a.tiff"
    make_map().save(whole)
    first_page = tmp_path / "first.tiff"
    with tifffile.TiffFile(whole) as tiff:
        tifffile.imwrite(first_page, tiff.pages[0].asarray(), description=tiff.pages[0].description, metadata=None)
    with pytest.raises(MapFileError, match="damaged"):
        load(first_page)
    content = whole.read_bytes()
    newer = tmp_path / "newer.tiff"
    newer.write_bytes(content.replace(b'"format_version": 1', b'"format_version": 9'))
    with pytest.raises(MapFileError, match="newer"):
        load(newer)


@pytest.mark.filterwarnings("ignore")  # tifffile logs and warns on what it can skip
@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.6, 0.95])
def test_cut_files_are_named(tmp_path, share):
    path = tmp_path / "a.tiff"
    make_map((60, 80)).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(MapFileError):
        load(path)


def test_preview_has_a_scale_of_the_photograph_or_of_the_method():
    shape = (40, 60)
    sure = np.ones(shape, np.float32)
    ramp = np.tile(np.geomspace(0.5, 1.5, 60, dtype=np.float32), (40, 1))
    landscape = make_map(shape, sigma=ramp, confidence=sure, sigma_range=(0.3, 32.0))
    low, high = landscape.limits()
    assert low == 0.5
    assert high == 1.5
    assert np.ptp(landscape.preview().mean(axis=2)) > 80  # dark blue to yellow
    assert np.ptp(landscape.preview(scale="method").mean(axis=2)) < np.ptp(landscape.preview().mean(axis=2)) / 2
    assert landscape.limits("method") == (0.3, 32.0)
    flat = make_map(sigma=np.full((23, 31), 0.5, np.float32), confidence=np.ones((23, 31), np.float32))
    assert (flat.preview(scale="method") == [68, 1, 84]).all()  # the first colour of viridis
    assert flat.preview(scale_bar=True).shape[0] > 23
    with pytest.raises(ParameterError, match="lowest first"):
        flat.preview(sigma_limits=(2, 1))
    with pytest.raises(ParameterError, match="photograph or method"):
        flat.preview(scale="world")


@pytest.mark.parametrize("sigma_range", [(0.3, 32.0), (0.5, 2.0), (0.0, 1.0), (0.0, 40.0)])
@pytest.mark.parametrize("at", [0.0, 0.1, 0.5, 1.0])
def test_a_map_of_one_sigma_has_limits_around_it(sigma_range, at):
    value = sigma_range[0] + at * (sigma_range[1] - sigma_range[0])
    low, high = make_map(sigma=np.full((23, 31), value, np.float32), sigma_range=sigma_range).limits()
    assert sigma_range[0] <= low < high <= sigma_range[1]
    assert low <= np.float32(value) * 1.000001
    assert value <= high * 1.000001


def test_a_guess_looks_like_one():
    guess = make_map(confidence=np.zeros((23, 31), np.float32)).preview()
    assert (np.ptp(guess, axis=2) == 0).all()
