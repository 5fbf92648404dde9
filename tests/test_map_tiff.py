"""A map's file is the same whether the map comes whole or in strips; large maps have tiles and overviews that other
programs find, and need little memory."""

import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
import skimage.io
import tifffile
from PIL import Image

from defocus import DefocusMap, MapFileError, Seeds, load
from defocus.maps import map_tiff
from defocus.maps.map_file import describe, save_map
from defocus.maps.map_strips import MapStrip, MapStrips

SHAPE = (1103, 1301)


@pytest.fixture(scope="module")
def saved():
    random = np.random.default_rng(5)
    sigma = np.cumsum(random.random(SHAPE, np.float32) * 0.01, axis=1, dtype=np.float32) + np.float32(0.3)
    chosen, probability = np.full(SHAPE, np.nan, np.float32), np.full(SHAPE, np.nan, np.float32)
    chosen[::50, ::50], probability[::50, ::50] = 1.5, 0.75
    seeds = Seeds(chosen, probability)
    return DefocusMap(
        sigma=sigma,
        confidence=random.random(SHAPE, np.float32),
        saturated=sigma > 6,
        seeds=seeds,
        method="pyramid",
        sigma_range=(0.3, 32.0),
        metadata={"parameters": {"a": 1}},
        relative_depth=np.clip(sigma / 10, 0, 1),
    )


@pytest.fixture
def small_is_large(monkeypatch):
    monkeypatch.setattr(map_tiff, "_LARGE", 1000)


def in_strips(whole, heights=(1, 2, 700, 3, 397)):
    """Strips of uneven heights, and how often each was computed."""
    computed = []
    assert sum(heights) == len(whole.sigma)

    def strips():
        top = 0
        for height in heights:
            computed.append(top)
            rows = slice(top, top + height)
            yield MapStrip(top, whole.sigma[rows], whole.confidence[rows], whole.saturated[rows])
            top += height

    return replace(MapStrips.of(whole), strips=strips, ready=None), computed


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(
    "options", [{}, {"precision": "lossless"}, {"reduced": 3}, {"reduced": 3, "precision": "lossless"}]
)
def test_strips_make_the_same_file_and_are_computed_once(tmp_path, saved, monkeypatch, options, large):
    if large:
        monkeypatch.setattr(map_tiff, "_LARGE", 1000)
    saved.save(tmp_path / "whole.tiff", **options)
    strips, computed = in_strips(saved)
    save_map(tmp_path / "strips.tiff", strips, **options)
    assert (tmp_path / "strips.tiff").read_bytes() == (tmp_path / "whole.tiff").read_bytes()
    assert computed == [0, 1, 3, 703, 706]
    assert {path.name for path in tmp_path.iterdir()} == {"strips.tiff", "whole.tiff"}


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".png"])
def test_other_formats_take_strips_too(tmp_path, saved, suffix):
    saved.save(tmp_path / f"whole{suffix}")
    save_map(tmp_path / f"strips{suffix}", in_strips(saved)[0])
    if suffix == ".npz":
        with np.load(tmp_path / "whole.npz") as one, np.load(tmp_path / "strips.npz") as other:
            assert sorted(one) == sorted(other)
            for name in one:
                np.testing.assert_array_equal(one[name], other[name])
    else:
        assert (tmp_path / f"strips{suffix}").read_bytes() == (tmp_path / f"whole{suffix}").read_bytes()


def test_a_large_map_comes_back_as_a_small_one_does(tmp_path, saved, monkeypatch):
    for precision in ("compact", "lossless"):
        saved.save(tmp_path / "strips.tiff", precision=precision)
        monkeypatch.setattr(map_tiff, "_LARGE", 1000)
        saved.save(tmp_path / "tiles.tiff", precision=precision)
        monkeypatch.undo()
        small, large = load(tmp_path / "strips.tiff"), load(tmp_path / "tiles.tiff")
        for name in ("sigma", "confidence", "saturated", "relative_depth"):
            np.testing.assert_array_equal(getattr(small, name), getattr(large, name))
        np.testing.assert_array_equal(small.seeds.sigma, large.seeds.sigma)
        assert describe(tmp_path / "strips.tiff") == describe(tmp_path / "tiles.tiff")
    np.testing.assert_array_equal(large.sigma, saved.sigma)


def test_rounding_is_to_the_nearest_of_8_bits(tmp_path, saved):
    saved.save(tmp_path / "a.tiff")
    bits = (saved.sigma.view(np.uint32) + np.uint32(1 << 15)) & np.uint32(0xFFFF0000)
    np.testing.assert_array_equal(load(tmp_path / "a.tiff").sigma, bits.view(np.float32))


@pytest.mark.parametrize("precision", ["compact", "lossless"])
def test_overviews_are_means_that_other_programs_find(tmp_path, saved, small_is_large, precision):
    path = tmp_path / "a.tiff"
    save_map(path, in_strips(saved)[0], precision=precision)
    with tifffile.TiffFile(path) as tiff:
        pages = tiff.pages
        assert [page.shape for page in pages] == [SHAPE, (552, 651), (276, 326)]
        assert [bool(page.is_reduced) for page in pages] == [False, True, True]
        assert all(page.is_tiled for page in pages)
        # As a pyramid, and the other planes apart from it.
        assert [level.shape for level in tiff.series[0].levels] == [SHAPE, (552, 651), (276, 326)]
        half, quarter = (page.asarray() for page in pages[1:])
    padded = np.pad(saved.sigma, ((0, 1), (0, 1)), mode="edge")
    means = padded.reshape(552, 2, 651, 2).mean(axis=(1, 3))
    bound = 0.004 if precision == "compact" else 1e-6
    np.testing.assert_allclose(half, means, rtol=bound)
    padded = np.pad(means, ((0, 0), (0, 1)), mode="edge")
    np.testing.assert_allclose(quarter, padded.reshape(276, 2, 326, 2).mean(axis=(1, 3)), rtol=bound)
    sigma = load(path).sigma
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(image), sigma)
    np.testing.assert_array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), sigma)
    for read in (tifffile.imread, skimage.io.imread):
        np.testing.assert_array_equal(read(path), sigma)


def test_small_maps_have_no_overviews(tmp_path, saved):
    saved.save(tmp_path / "a.tiff")
    with tifffile.TiffFile(tmp_path / "a.tiff") as tiff:
        assert len(tiff.pages) == 1
        assert not tiff.pages.first.is_tiled


def test_beyond_4_gib_it_is_a_big_tiff(tmp_path, saved, monkeypatch):
    monkeypatch.setattr(map_tiff, "_CLASSIC_TIFF_BYTES", 1000)
    monkeypatch.setattr(map_tiff, "_IN_MEMORY", 1000)  # then planes wait on the disk
    saved.save(tmp_path / "a.tiff", precision="lossless")
    with tifffile.TiffFile(tmp_path / "a.tiff") as tiff:
        assert tiff.is_bigtiff
    np.testing.assert_array_equal(load(tmp_path / "a.tiff").sigma, saved.sigma)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tiff"]


def test_strips_of_another_height_are_a_fault_and_leave_nothing(tmp_path, saved):
    strips, _ = in_strips(saved)
    for shape in ((1104, 1301), (1102, 1301)):
        with pytest.raises(ValueError, match="rows"):
            save_map(tmp_path / "a.tiff", replace(strips, shape=shape, relative_depth=None))
    assert list(tmp_path.iterdir()) == []


def test_a_map_of_which_a_tile_is_missing_is_refused(tmp_path, saved, small_is_large):
    path = tmp_path / "a.tiff"
    saved.save(path)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tag = tiff.pages.first.tags["TileByteCounts"]
        counts = list(tag.value)
        counts[4] = 0
        tag.overwrite(counts)
    for read in (load, describe):
        with pytest.raises(MapFileError, match="missing"):
            read(path)


def test_a_map_with_a_damaged_tile_is_refused(tmp_path, saved, small_is_large):
    path = tmp_path / "a.tiff"
    saved.save(path)
    with tifffile.TiffFile(path) as tiff:
        start = tiff.pages.first.pages[0].dataoffsets[3]  # of the confidence
    contents = bytearray(path.read_bytes())
    contents[start : start + 200] = bytes(200)
    path.write_bytes(contents)
    with pytest.raises(MapFileError, match="damaged"):
        load(path)


MEASURE = """
import resource, sys
import numpy as np
from defocus import Seeds
from defocus.maps.map_file import save_map
from defocus.maps.map_strips import MapStrip, MapStrips

ROWS = 256

def synthetic(height, width):
    # A new strip each time, as an estimate makes them.
    def strips():
        for top in range(0, height, ROWS):
            rows = min(ROWS, height - top)
            line = np.linspace(1, 30, width, dtype=np.float32)
            sigma = np.add.outer(np.linspace(0, 1, rows, dtype=np.float32), line)
            strip = MapStrip(top, sigma, np.minimum(sigma / 31, 1), sigma > 30.5)
            del sigma
            yield strip
            del strip
    return MapStrips((height, width), strips, lambda: Seeds.none((height, width)), "pyramid", (0.3, 32.0))

path = sys.argv[1]
save_map(path, synthetic(300, 300))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
save_map(path, synthetic(14000, 14300))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no getrusage")
def test_writing_200_megapixels_takes_little_memory(tmp_path):
    """Measured: 115 MB, of which the test's own strip is 48; as a whole the map would be 1.8 GB."""
    path = tmp_path / "a.tiff"
    done = subprocess.run([sys.executable, "-c", MEASURE, path], capture_output=True, text=True, check=True)
    megabytes = int(done.stdout) * (1 if sys.platform == "darwin" else 1024) / 1e6
    assert megabytes < 150
    assert describe(path).shape == (14000, 14300)
