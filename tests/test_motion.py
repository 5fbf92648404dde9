"""Blur by movement: length, direction and certainty, beside photographs that are still or out of focus."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage, signal
from skimage import data

import defocus
from defocus.evidence.motion import WEIGHTS, find_motion, motion_of, reduction_for_motion
from defocus.optics.kernels import disc_kernel, movement_kernel
from defocus.optics.light import linear_to_srgb, srgb_to_linear
from defocus.photograph import as_photograph

PICTURES = {
    "astronaut": data.astronaut(),
    "coffee": data.coffee()[:400, 60:560],
    "gravel": np.repeat(data.gravel()[:400, :400, None], 3, axis=2),
}


def blurred(picture, kernel):
    light = srgb_to_linear(picture / 255)
    sides = [(side // 2, side // 2) for side in kernel.shape]
    padded = np.pad(light, (*sides, (0, 0)), mode="symmetric")
    light = np.stack([signal.fftconvolve(padded[..., c], kernel, mode="valid") for c in range(3)], axis=2)
    noise = np.random.default_rng(0).normal(0, 1 / 255, light.shape)
    return np.rint(np.clip(linear_to_srgb(np.clip(light, 0, 1)) + noise, 0, 1) * 255).astype(np.uint8)


def shaken(picture, length, direction, turn=0.0):
    return blurred(picture, movement_kernel(length, direction, turn))


def apart(degrees, others):
    return abs((degrees - others + 90) % 180 - 90)


@pytest.mark.parametrize("name", ["coffee", "gravel"])
@pytest.mark.parametrize(("length", "direction"), [(8, 0), (12, 35), (16, 90), (24, 150)])
def test_a_shake_is_found_with_its_length_and_direction(name, length, direction):
    motion = motion_of(as_photograph(shaken(PICTURES[name], length, direction)))
    assert motion.shaken
    assert motion.fraction == 1
    assert motion.camera.length == pytest.approx(length, rel=0.2)
    assert apart(motion.camera.direction, direction) < 10
    assert np.median(motion.length) == pytest.approx(length, rel=0.2)
    assert np.median(apart(motion.direction, direction)) < 10


def test_a_path_that_is_slightly_bent_is_found():
    motion = motion_of(as_photograph(shaken(PICTURES["coffee"], 16, 60, turn=25)))
    assert motion.shaken
    assert apart(motion.camera.direction, 60) < 10


def test_turning_the_photograph_turns_the_direction():
    picture = shaken(PICTURES["coffee"], 14, 25)
    for turns, direction in ((0, 25), (1, 115), (2, 25), (3, 115)):
        movement = motion_of(as_photograph(np.ascontiguousarray(np.rot90(picture, turns)))).camera
        assert apart(movement.direction, direction) < 10


@pytest.mark.parametrize("name", PICTURES)
def test_still_and_defocused_photographs_have_not_moved(name):
    picture = PICTURES[name]
    for made in (
        picture,
        ndimage.gaussian_filter(picture, (1, 1, 0)),
        ndimage.gaussian_filter(picture, (3, 3, 0)),
        blurred(picture, disc_kernel(3.0)),
        blurred(picture, disc_kernel(6.0)),
    ):
        motion = motion_of(as_photograph(made))
        assert not motion.shaken
        assert motion.fraction < 0.02


def test_plain_and_small_pictures_have_not_moved():
    for picture in (
        np.zeros((300, 400, 3), np.uint8),
        np.full((300, 400, 3), 90, np.uint8),
        shaken(PICTURES["coffee"], 16, 35)[:100, :120],  # smaller than a window
    ):
        motion = motion_of(as_photograph(picture))
        assert not motion.shaken
        assert motion.fraction == 0


def test_a_moving_subject_is_sure_there_and_not_elsewhere():
    still, subject = data.astronaut(), np.repeat(data.gravel()[:, :, None], 3, axis=2)
    inside = np.zeros(still.shape[:2], bool)
    inside[60:380, 60:350] = True
    picture = np.where(inside[..., None], shaken(subject, 18, 30), still)
    motion = motion_of(as_photograph(picture))
    pixels = motion.of_pixels()
    assert not motion.shaken
    assert (pixels.sure[120:320, 120:290] >= 0.5).mean() > 0.8
    assert (pixels.sure[:, 440:] >= 0.5).mean() < 0.05
    assert np.median(pixels.length[120:320, 120:290]) == pytest.approx(18, rel=0.2)
    assert apart(motion.strongest().direction, 30) < 10
    assert "of it may have moved by about" in motion.in_words()


def test_a_map_is_not_confident_of_a_shaken_photograph():
    still, moved = (defocus.estimate(each) for each in (PICTURES["coffee"], shaken(PICTURES["coffee"], 24, 35)))
    assert still.motion.in_words() == ""
    assert moved.motion.shaken
    assert ((moved.confidence >= 0.5) & (moved.sigma < 1)).mean() < 0.1
    assert (still.confidence >= 0.5).mean() > 0.5
    assert still.motion.shape == still.sigma.shape


def test_bars_and_frames_have_not_moved():
    picture = np.pad(shaken(PICTURES["coffee"], 16, 35), ((128, 64), (0, 0), (0, 0)))
    m = defocus.estimate(picture)
    assert m.motion.shape == picture.shape[:2]
    assert m.motion.shaken
    sure = m.motion.of_pixels().sure
    assert sure[:128].max() == 0
    assert sure[200:510].min() >= 0.5


def test_large_photographs_are_reduced_and_lengths_are_in_px_of_the_photograph():
    assert reduction_for_motion(1500, 1500) == 1
    assert reduction_for_motion(2000, 3000) == 2
    grey = (shaken(PICTURES["gravel"], 12, 35)[..., 1] / 255).astype(np.float32)
    motion = find_motion(grey, 4, (1597, 1600))
    assert motion.block == 256
    assert motion.camera.length == pytest.approx(48, rel=0.2)
    assert motion.sure.shape == (7, 7)


@pytest.mark.parametrize("suffix", ["lossless", "compact"])
def test_motion_survives_the_map_file(tmp_path, suffix):
    m = defocus.estimate(shaken(PICTURES["coffee"], 16, 35))
    m.save(tmp_path / "map.tiff", precision=suffix, reduced=1 if suffix == "lossless" else 2)
    again = defocus.load(tmp_path / "map.tiff").motion
    assert again.camera == m.motion.camera
    assert (again.block, again.shape) == (m.motion.block, m.motion.shape)
    for name in ("length", "direction", "sure"):
        np.testing.assert_array_equal(getattr(again, name), getattr(m.motion, name))


def test_maps_without_motion_load_and_damaged_motion_is_refused(tmp_path):
    import tifffile

    m = defocus.estimate(np.random.default_rng(0).random((70, 60)), method="zhuo2011")
    assert m.motion is None
    path = tmp_path / "map.tiff"
    m.save(path)
    assert defocus.load(path).motion is None
    for motion in ({"block": 64}, {"block": 0}, [], {"block": 64, "camera": [1, 2, 3], "length": [[1]]}):
        with tifffile.TiffFile(path, mode="r+b") as file:
            tag = file.pages[0].tags[270]
            about = json.loads(tag.value) | {"motion": motion}
            tag.overwrite(f" {json.dumps(about)}", erase=False)
        with pytest.raises(defocus.MapFileError, match="damaged"):
            defocus.load(path)


def test_the_command_says_so(run, tmp_path):
    from PIL import Image

    photo = tmp_path / "moved.png"
    Image.fromarray(shaken(PICTURES["coffee"], 20, 35)).save(photo)
    _, out, _ = run("estimate", photo, "--json")
    found = json.loads(out)["motion"]
    assert found["shaken"]
    assert found["length"] == pytest.approx(20, rel=0.2)
    assert apart(found["direction"], 35) < 10
    assert math.isclose(found["fraction"], 1)
    _, out, _ = run("estimate", photo)
    assert found["in_words"] in out
    _, out, _ = run("rank", photo, "--json")
    assert json.loads(out)["shaken"]


@pytest.mark.parametrize("edit", [defocus.sharpen, defocus.magnify])
def test_edits_leave_a_shaken_photograph_alone(edit):
    picture = shaken(PICTURES["coffee"], 24, 35)
    changed = np.abs(edit(picture).astype(int) - picture).max(axis=2) > 2
    assert changed.mean() < 0.05


def test_the_command_trains_networks_of_the_shape_that_the_package_has(tmp_path):
    pytest.importorskip("torch", reason="training needs the extra `train` (PyTorch)")
    photos, out = tmp_path / "photos", tmp_path / "motion.npz"
    photos.mkdir()
    for name, picture in PICTURES.items():
        Image.fromarray(picture).save(photos / f"{name}.png")
    command = [sys.executable, "-m", "defocus.training.motion", "--photos", str(photos)]
    made = subprocess.run([*command, "--out", str(out)], capture_output=True, text=True, check=True)
    assert [line.partition(":")[0] for line in made.stdout.splitlines()] == ["block", "camera"]
    with np.load(out) as mine, np.load(WEIGHTS) as shipped:
        assert {name: mine[name].shape for name in mine} == {name: shipped[name].shape for name in shipped}
        assert all(np.isfinite(mine[name]).all() for name in mine)
    nowhere = tmp_path / "nowhere"
    failed = subprocess.run(
        [*command[:-1], str(nowhere), "--out", str(out)], capture_output=True, text=True, check=False
    )
    assert failed.returncode == 1
    assert failed.stderr == f"There is no folder {nowhere}; give a folder of sharp photographs.\n"
