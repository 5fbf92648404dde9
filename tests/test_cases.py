"""Inputs that failed once, as they were reported; read beside the repository, where they are at hand."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import defocus
from defocus.errors import MapFileError, PhotographError, WeightsError
from defocus.photograph import read_photograph


@pytest.fixture
def case(shared, tmp_path):
    """Copy a case's folder, to be worked in."""

    def copied(name):
        shutil.copytree(shared / "cases" / name, tmp_path / name)
        for path in (tmp_path / name).rglob("*"):
            path.chmod(0o644 if path.is_file() else 0o755)
        return tmp_path / name

    return copied


def sharp_and_sure(m, px=2.0):
    return float(((m.confidence >= 0.5) & (m.sigma < px)).mean())


def test_01_colmap_masks_lie_as_the_pixels_are_stored(case, run):
    folder = case("01_colmap_portrait_mask")
    assert run("segment", folder / "photos", "--naming", "colmap", "-o", folder / "masks", "-q")[0] == 0
    mask = np.asarray(Image.open(folder / "masks" / "a.jpg.png"))
    assert mask.shape == (512, 768)
    assert mask[:, :340].mean() < 0.05 * 255  # the stored left half is blurred
    assert mask[:, 430:].mean() > 0.9 * 255


def test_02_the_shaken_photograph_is_not_the_sharp_one(case, run):
    _, out, _ = run("rank", case("02_camera_shake"))
    order = [Path(line.split()[1]).name[0] for line in out.splitlines()[1:5]]
    assert order == ["a", "c", "d", "b"]


@pytest.mark.parametrize("name", ["gauss4px_grain_sd4.jpg", "gauss4px_grain_sd8.jpg"])
def test_03_grain_is_a_guess(case, name):
    m = defocus.estimate(case("03_film_grain") / name)
    assert ((m.confidence >= 0.5) & (np.abs(np.log2(m.sigma / 4)) > 0.5)).mean() < 0.05


def test_04_bars_frames_and_cutouts(case):
    folder = case("04_bars_frames_cutouts")
    for path in sorted(folder.iterdir()):
        if path.suffix in (".jpg", ".png"):
            assert sharp_and_sure(defocus.estimate(path), 1.5) < 0.005, path.name


@pytest.mark.parametrize("name", ["night_lamps_radius24.jpg", "photo_disc14_with_lamps.jpg"])
def test_05_lamps_are_not_sharp(case, name):
    assert sharp_and_sure(defocus.estimate(case("05_bokeh_balls") / name)) < 0.03


@pytest.mark.slow
def test_07_names_that_are_no_text(case, run, shared):
    folder = case("07_non_utf8_name")
    photo = case("18_jpeg_without_eoi") / "trunc_eoi.jpg"
    subprocess.run([sys.executable, "make.py", photo], cwd=folder, check=True)
    assert run("rank", folder, "--csv", folder / "r.csv", "-q")[0] == 0
    assert run("depth", folder, "-o", folder / "d", "-q")[0] == 0
    assert len(list((folder / "d").glob("*.html"))) == 2


def test_08_damaged_exif_costs_itself(case):
    for path in case("08_png_webp_bad_exif").iterdir():
        if path.suffix != ".txt":
            with pytest.warns(UserWarning, match="EXIF"):
                assert read_photograph(path).orientation == 1


def test_10_a_child_forked_after_an_estimate_ends(case):
    folder = case("10_fork_then_exit")
    for mode in ("nowork", "work"):
        done = subprocess.run([sys.executable, "fork2.py", mode], cwd=folder, timeout=100, check=False)
        assert done.returncode == 0


@pytest.mark.parametrize("name", ["gauss4px_q10.jpg", "gauss4px_q95.jpg"])
def test_12_block_edges_are_not_read(case, name):
    m = defocus.estimate(case("12_jpeg_q10") / name)
    assert sharp_and_sure(m) < 0.01
    assert float(np.median(m.sigma)) == pytest.approx(4, rel=0.25)


def test_14_a_part_of_a_frame_is_noticed(case, run):
    folder = case("14_depth_of_a_crop")
    _, _, err = run("depth", folder / "crop_half.jpg", "--focus-distance", "2", "--side", "behind", "--no-mesh")
    assert "If it is a part of it, distances are wrong" in err


def test_15_the_picture_and_not_its_thumbnail(case):
    folder = case("15_tiff_thumbnail_first")
    for name in ("thumb_first.tif", "subifd_main.tif"):
        assert read_photograph(folder / name).pixels.shape == (128, 192, 3)


def test_18_a_jpeg_without_its_last_bytes(case):
    with pytest.warns(UserWarning, match="last bytes"):
        assert read_photograph(case("18_jpeg_without_eoi") / "trunc_eoi.jpg").missing is None


def test_attacks_on_photographs(case):
    folder = case("attack")
    for name in ("jpg_65500x3000.jpg", "tif_spp60000_zlib.tif", "photometric2_spp2.tif", "photometric5_spp1.tif"):
        with pytest.raises(PhotographError):
            read_photograph(folder / name)
    for name in ("b_gps.tif", "d_gps16.tif", "tif8_webp.tif", "tif8_jpeg2000.tif", "raw.jpg"):
        assert read_photograph(folder / name).pixels.ndim == 3
    with pytest.warns(UserWarning, match="cut short"):
        assert read_photograph(folder / "jpeg_early_eoi.jpg").missing.any()
    with pytest.raises(PhotographError):
        read_photograph(folder / "jpeg_early_eoi.jpg", strict=True)


def test_attacks_on_maps_and_weights(case):
    folder = case("attack")
    for name in ("map_cycle4.defocus.tiff", "about5.defocus.tiff"):
        with pytest.raises(MapFileError):
            defocus.load(folder / name)
    photo = np.zeros((64, 64, 3), np.uint8)
    photo[:, 32:] = 200
    for method, name in (("pyramid", "loop.onnx"), ("dhde", "loop.onnx"), ("shi2014", "shi2014_zlib.npz")):
        with pytest.raises(WeightsError):
            defocus.estimate(photo, method=method, weights=folder / name)


def test_attacks_cost_one_line_each(case, run):
    folder = case("attack")
    code, _, err = run("sharpen", folder, "-q")
    assert code == 1
    assert "Traceback" not in err
    assert "please report" not in err
