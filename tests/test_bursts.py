"""Which photographs belong to one burst: what a photographer would notice when it is wrong."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from defocus.culling.bursts import bursts, likeness, shot_of, taken_at
from defocus.evaluation.render import gaussian_blur
from defocus.photograph import as_photograph
from defocus.photograph.reduced import read_metadata, read_reduced

SCENES = {"astronaut": data.astronaut(), "coffee": data.coffee(), "cat": data.chelsea(), "rocket": data.rocket()}


def moved(scene, across, down, light=1.0, blur=0.0):
    """A frame of three quarters of a scene, moved by fractions of it."""
    pixels = SCENES[scene]
    height, width = (3 * side // 4 for side in pixels.shape[:2])
    top, left = round(down * height), round(across * width)
    frame = gaussian_blur(pixels[top : top + height, left : left + width], blur)
    return np.clip(frame * light, 0, 255).astype(np.uint8)


@pytest.fixture
def shoot(tmp_path):
    """Writes photographs and says what they are grouped by."""

    def shot(name, pixels, when=None, part=None, zone=None, camera="Maker Model"):
        image = Image.fromarray(pixels)
        exif = Image.Exif()
        exif[271], exif[272] = camera.split()
        camera_directory = exif.get_ifd(0x8769)
        for tag, text in ((36867, when), (37521, part), (36881, zone)):
            if text is not None:
                camera_directory[tag] = text
        path = tmp_path / f"{name}.jpg"
        image.save(path, exif=exif)
        return shot_of(path, read_reduced(path, 256), read_metadata(path).tags)

    return shot


def named(shots):
    return [[shots[k].path.stem for k in group] for group in bursts(shots)]


def test_bursts_of_a_shoot(shoot):
    shots = [
        # A camera that follows the subject, 5 frames a second, in an order that names do not tell.
        shoot("e", moved("astronaut", 0.0, 0.0), "2024:05:01 12:00:00", "10"),
        shoot("a", moved("astronaut", 0.1, 0.02), "2024:05:01 12:00:00", "30"),
        shoot("c", moved("astronaut", 0.2, 0.04, blur=3), "2024:05:01 12:00:00", "50"),
        # Another scene half a minute later, and the first one again, an hour later.
        shoot("b", moved("coffee", 0.0, 0.0), "2024:05:01 12:00:30"),
        shoot("d", moved("astronaut", 0.0, 0.0), "2024:05:01 13:00:00"),
        # Bracketing by one stop and a half, and the next scene a second after that.
        shoot("f", moved("cat", 0.0, 0.0), "2024:05:01 14:00:00"),
        shoot("g", moved("cat", 0.01, 0.0, light=0.6), "2024:05:01 14:00:01"),
        shoot("h", moved("rocket", 0.0, 0.0), "2024:05:01 14:00:02"),
    ]
    assert named(shots) == [["e", "a", "c"], ["b"], ["d"], ["f", "g"], ["h"]]
    assert named(shots[::-1]) == [["e", "a", "c"], ["b"], ["d"], ["f", "g"], ["h"]]


def test_two_cameras_at_one_scene_are_two_bursts(shoot):
    frames = [
        shoot(f"{k}", moved("coffee", 0.0, 0.01 * k), f"2024:05:01 12:00:0{k}", camera=("A One", "B Two")[k % 2])
        for k in range(4)
    ]
    assert named(frames) == [["0", "2"], ["1", "3"]]


def test_without_a_time_only_what_is_very_alike_belongs_together(shoot):
    frames = [shoot(f"{k}", moved("cat", 0.0, 0.02 * k)) for k in range(3)]
    assert named([*frames, shoot("3", moved("rocket", 0.0, 0.0)), shoot("4", moved("coffee", 0, 0))]) == [
        ["0", "1", "2"],
        ["3"],
        ["4"],
    ]
    assert bursts([]) == []


def test_the_time_has_fractions_and_zones(shoot):
    early = shoot("a", SCENES["cat"], "2024:05:01 12:00:00", "250", "+02:00")
    late = shoot("b", SCENES["cat"], "2024:05:01 10:00:01", "5", "+00:00")
    assert late.taken - early.taken == pytest.approx(1.25)
    for wrong in ("0000:00:00 00:00:00", "yesterday", "", "    :  :     :  :  "):
        assert shoot("c", SCENES["cat"], wrong).taken is None
    assert taken_at(read_metadata(shoot("d", SCENES["cat"], "2024:05:01 12:00:00", "x").path).tags) is not None


def test_frames_of_a_scene_are_more_alike_than_other_scenes():
    def shot(pixels):
        return shot_of(Path("x"), as_photograph(pixels), read_tags())

    def read_tags():
        from defocus.photograph.exif import Exif

        return Exif()

    for name in SCENES:
        first = shot(moved(name, 0, 0))
        same = [shot(moved(name, 0.2, 0.0)), shot(moved(name, 0.0, 0.1)), shot(moved(name, 0.05, 0.05, blur=4))]
        other = [shot(moved(each, 0, 0)) for each in SCENES if each != name]
        assert min(likeness(first, each) for each in same) > max(likeness(first, each) for each in other) + 0.1
    grey, black = (shot(np.full((48, 64, 3), level, np.uint8)) for level in (128, 0))
    assert likeness(grey, grey) == 1
    assert likeness(grey, black) == 0


def test_a_thousand_frames_take_a_comparison_each(shoot, monkeypatch):
    import defocus.culling.bursts as module

    compared = []
    monkeypatch.setattr(module, "likeness", lambda a, b: compared.append(1) or 1.0)
    one = shoot("a", SCENES["cat"], "2024:05:01 12:00:00")
    assert len(bursts([one] * 1000)) == 1
    assert len(compared) == 999
