"""Maps contradict themselves never, come back from their files as promised, and damaged files are refused at once."""

import dataclasses
import json
import sys

import cv2
import imagecodecs
import numpy as np
import OpenEXR
import pytest
import skimage.io
import tifffile
from PIL import Image

import defocus
from defocus import DefocusMap, MapFileError, ParameterError, Seeds, load
from defocus.errors import DefocusError
from defocus.maps.map_file import describe
from defocus.maps.map_strips import MapStrips

RNG = np.random.default_rng(3)


def make_map(shape=(23, 31), **changes):
    sigma = RNG.uniform(0.5, 2.0, shape).astype(np.float32)
    at = RNG.random(shape) < 0.1
    seeds = Seeds(np.where(at, sigma, np.float32(np.nan)), np.where(at, np.float32(0.7), np.float32(np.nan)))
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
    saved.save(tmp_path / "a.defocus.tiff", precision="lossless")
    loaded = load(str(tmp_path / "a.defocus.tiff"))
    for before, after in zip(planes(saved), planes(loaded), strict=True):
        assert before.dtype == after.dtype
        np.testing.assert_array_equal(before, after)  # NaN equals NaN here
    for name in ("method", "sigma_range", "unit", "metadata"):
        assert getattr(loaded, name) == getattr(saved, name)
    assert [path.name for path in tmp_path.iterdir()] == ["a.defocus.tiff"]


def test_compact_is_the_default_and_within_what_it_says(tmp_path):
    saved = make_map((60, 70))
    saved.save(tmp_path / "a.tiff")
    loaded = load(tmp_path / "a.tiff")
    np.testing.assert_allclose(loaded.sigma, saved.sigma, rtol=0.004)
    np.testing.assert_allclose(loaded.confidence, saved.confidence, atol=1 / 510 + 1e-6)
    np.testing.assert_array_equal(loaded.saturated, saved.saturated)
    assert np.isnan(loaded.seeds.sigma).all()
    assert loaded.metadata == saved.metadata


def test_a_reduced_map_comes_back_at_full_size(tmp_path):
    rows, columns = np.mgrid[:203, :310]
    smooth = (1 + 0.01 * rows + 0.005 * columns).astype(np.float32)
    saved = make_map((203, 310), sigma=smooth, confidence=np.full((203, 310), 0.5, np.float32))
    for reduced, bound in ((1, 0.004), (4, 0.03), (16, 0.13)):
        saved.save(tmp_path / f"{reduced}.tiff", reduced=reduced)
        loaded = load(tmp_path / f"{reduced}.tiff")
        assert loaded.sigma.shape == (203, 310)
        # A block is its mean, so a corner is off by half a block's slope, and rounding adds its 0.4 %.
        np.testing.assert_allclose(loaded.sigma, smooth, rtol=bound)
    sizes = [(tmp_path / f"{reduced}.tiff").stat().st_size for reduced in (1, 4, 16)]
    assert sizes[0] > sizes[1] > sizes[2]


@pytest.mark.parametrize("precision", ["compact", "lossless"])
def test_other_programs_see_sigma(tmp_path, precision):
    saved = make_map()
    path = tmp_path / "a.tiff"
    saved.save(path, precision=precision)
    bound = {"rtol": 0.004 if precision == "compact" else 0}
    with Image.open(path) as image:
        np.testing.assert_allclose(np.asarray(image), saved.sigma, **bound)
    np.testing.assert_allclose(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), saved.sigma, **bound)
    for read in (tifffile.imread, skimage.io.imread):
        shown = read(path)
        assert (shown.dtype, shown.shape) == (np.float32, saved.sigma.shape)
        np.testing.assert_allclose(shown, saved.sigma, **bound)


def test_the_suffix_is_the_format(tmp_path):
    saved = make_map()
    for suffix in (".npy", ".npz", ".exr", ".png", ".tif"):
        saved.save(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), saved.sigma)
    with np.load(tmp_path / "a.npz") as stored:
        np.testing.assert_array_equal(stored["sigma"], saved.sigma)
        np.testing.assert_array_equal(stored["confidence"], saved.confidence)
    levels = imagecodecs.png_decode((tmp_path / "a.png").read_bytes())
    assert levels.dtype == np.uint16
    np.testing.assert_allclose(levels / 1000, saved.sigma, atol=0.0005 + 1e-6)
    exr = OpenEXR.File(str(tmp_path / "a.exr")).channels()
    np.testing.assert_array_equal(exr["Y"].pixels, saved.sigma)
    assert load(tmp_path / "a.tif").method == saved.method
    before = sorted(tmp_path.iterdir())
    for name in ("a.jpg", "a", "a.txt"):
        with pytest.raises(MapFileError, match="A map is saved as"):
            saved.save(tmp_path / name)
    for wrong in ({"precision": "half"}, {"reduced": 0}):
        with pytest.raises(ParameterError):
            saved.save(tmp_path / "b.tiff", **wrong)
    assert sorted(tmp_path.iterdir()) == before


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    with pytest.raises(MapFileError, match="pip install OpenEXR"):
        make_map().save(tmp_path / "a.exr")
    assert list(tmp_path.iterdir()) == []


def test_a_map_is_an_array_of_sigma_and_prints_in_one_line():
    m = make_map()
    np.testing.assert_array_equal(np.asarray(m), m.sigma)
    assert np.asarray(m, dtype=np.float64).dtype == np.float64
    assert np.array(m, copy=True) is not m.sigma
    assert float(np.median(m)) == float(np.median(m.sigma))
    assert "\n" not in repr(m)
    assert "31 x 23 by dhde" in repr(m)


def test_pages_bear_names_and_the_version(tmp_path):
    make_map().save(tmp_path / "a.tiff", precision="lossless")
    with tifffile.TiffFile(tmp_path / "a.tiff") as tiff:
        assert len(tiff.pages) == 1
        pages = [tiff.pages.first, *(tiff.pages.first.pages[k].aspage() for k in range(4))]
        assert [page.tags.valueof("PageName") for page in pages] == [
            "sigma",
            "confidence",
            "saturated",
            "seeds.sigma",
            "seeds.probability",
        ]
        assert json.loads(pages[0].description)["defocus"] == defocus.__version__
        assert pages[2].dtype == np.uint8


def test_files_of_the_first_version_are_read(tmp_path):
    saved = make_map()
    about = {"format": "defocus map", "format_version": 1, "defocus": "0.1.0", "method": "dhde", "unit": "px"}
    about |= {"sigma_range": [0.5, 2.0], "pages": [], "metadata": dict(saved.metadata)}
    names = ("sigma", "confidence", "saturated", "seeds.sigma", "seeds.probability")
    with tifffile.TiffWriter(tmp_path / "old.tiff") as tiff:
        for name, plane in zip(names, planes(saved), strict=True):
            plane = plane.astype(np.uint8) if plane.dtype == bool else plane
            description = json.dumps(about) if name == "sigma" else name
            tiff.write(
                plane, compression="zlib", description=description, metadata=None, extratags=[(285, "s", 0, name)]
            )
    loaded = load(tmp_path / "old.tiff")
    for before, after in zip(planes(saved), planes(loaded), strict=True):
        np.testing.assert_array_equal(before, after)


def edited(path, old, new):
    """The file with some bytes replaced; as many, so that nothing moves."""
    contents = path.read_bytes()
    assert contents.count(old) >= 1
    assert len(old) == len(new)
    path.write_bytes(contents.replace(old, new))


def test_pages_that_lead_back_to_themselves_are_refused(tmp_path):
    path = tmp_path / "a.tiff"
    make_map().save(path, precision="lossless")
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages.first.tags[330]
        offsets, place = list(tag.value), tag.valueoffset
    contents = bytearray(path.read_bytes())
    contents[place + 4 : place + 8] = offsets[0].to_bytes(4, "little")  # the second page is the first again
    path.write_bytes(contents)
    with pytest.raises(MapFileError, match="damaged"):
        load(path)
    with pytest.raises(MapFileError, match="damaged"):
        describe(path)


def test_a_description_that_makes_no_sense_is_refused(tmp_path):
    path = tmp_path / "a.tiff"
    for old, new in (
        (b'"metadata": {', b'"metadata":[{'),
        (b'"reduced": 1', b'"reduced": 9'),
        (b'"shape": [23,', b'"shape": [93,'),
        (b'"format_version": 2', b'"format_version": []'[:19]),
    ):
        make_map().save(path)
        edited(path, old, new)
        with pytest.raises(MapFileError):
            load(path)
    make_map(metadata={"nested": "x"}).save(path)
    edited(path, b'"nested": "x"', b'"n":[[[[[[[[[')
    with pytest.raises(MapFileError):
        load(path)


def test_sizes_that_no_file_of_its_length_holds_are_refused(tmp_path):
    path = tmp_path / "a.tiff"
    make_map((50, 50), sigma=np.ones((50, 50), np.float32)).save(path)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        for page in (tiff.pages.first, *(tiff.pages.first.pages[k].aspage() for k in range(2))):
            for tag in ("ImageLength", "ImageWidth", "RowsPerStrip"):
                page.tags[tag].overwrite(60_000)
    contents = path.read_bytes().replace(b'"shape": [50, 50]', b'"shape": [60000,')
    path.write_bytes(contents)
    with pytest.raises(MapFileError):
        load(path)


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
    newer.write_bytes(content.replace(b'"format_version": 2', b'"format_version": 9'))
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


def test_a_map_that_does_not_fit_into_memory_is_an_error(monkeypatch):
    whole = make_map()
    strips = dataclasses.replace(MapStrips.of(whole), ready=None)
    np.testing.assert_array_equal(strips.whole().sigma, whole.sigma)
    monkeypatch.setattr("defocus.maps.map_strips.available_memory", lambda: 1000.0)
    with pytest.raises(DefocusError, match="write it to a file with defocus estimate"):
        strips.whole()
