"""The pictures of the content set are what their truth says."""

import numpy as np
import pytest
from scipy import ndimage
from skimage import data

from defocus.evaluation import benchmark, render
from defocus.evaluation.benchmark import Configuration, measure
from defocus.evaluation.content import KINDS, content
from defocus.evaluation.datasets import Example

PICTURE = data.coffee()[100:340, 150:470]


@pytest.fixture(scope="module")
def made():
    sharp = Example("coffee", PICTURE, np.zeros((240, 320), np.float32), np.ones((240, 320), bool), "coffee")
    return {e.condition: e for e in content("content", lambda: iter([sharp])).examples()}


def test_every_kind_is_there_once_and_follows_from_its_name(made):
    assert list(made) == list(KINDS)
    for kind, e in made.items():
        assert e.name == f"{kind}: coffee" and e.source == "coffee"
        assert e.image.dtype == np.uint8 and e.image.shape == (*e.truth.shape, 3)
        assert not (e.valid & e.unreadable).any()
        assert (e.truth[e.valid] > 0).all()
        assert (e.valid | e.unreadable).mean() > 0.5
    again = Example("coffee", PICTURE, made["sky"].truth, made["sky"].valid, "coffee")
    for e in content("content", lambda: iter([again])).examples():
        np.testing.assert_array_equal(e.image, made[e.condition].image)


@pytest.mark.parametrize(("kind", "scale"), [("grain 1.5 px", 1.5), ("grain 2.5 px", 2.5)])
def test_grain_has_its_strength_and_its_size(made, kind, scale):
    soft = render.gaussian_blur(PICTURE, 4).astype(float)
    unclipped = (soft > 40) & (soft < 215)
    grain = made[kind].image - soft
    assert grain[unclipped].std() == pytest.approx(8, rel=0.05)
    grain = np.where(unclipped, grain, 0)[..., 0]
    neighbours = np.mean(grain[:, 1:] * grain[:, :-1]) / np.mean(grain**2)
    assert neighbours == pytest.approx(np.exp(-1 / (4 * scale**2)), abs=0.04)


def test_frames_are_unreadable_and_what_they_hold_is_not(made):
    soft = render.gaussian_blur(PICTURE, 4)
    for kind, level in (("black frame", 0), ("white frame", 255), ("grey frame", 128), ("letterbox", 0)):
        e = made[kind]
        assert (e.image[e.unreadable] == level).all()
        np.testing.assert_array_equal(e.image[e.valid], soft.reshape(-1, 3))


def test_lamps_are_discs_of_the_blur_that_the_truth_says(made):
    for kind, clipped in (("lamps", False), ("clipped lamps", True)):
        e = made[kind]
        assert e.truth.max() == pytest.approx(14 / 1.83, rel=0.01)
        lit = e.image.max(axis=2) > 100
        assert 0.05 < lit.mean() < 0.3
        assert ((e.image[lit].min(axis=1) == 255).mean() > 0.9) == clipped
    # The area of one lamp that touches no other: pi 14^2 = 616 px.
    labels, _ = ndimage.label(made["clipped lamps"].image.min(axis=2) > 200)
    areas = np.bincount(labels.ravel())[1:]
    assert np.abs(areas - 616).min() < 40


def test_a_shaken_picture_has_no_truth_and_no_detail_across_its_movement(made):
    e = made["camera shake"]
    assert not e.valid.any() and e.unreadable.all()
    steps = [np.abs(np.diff(e.image.astype(float), axis=axis)).mean() for axis in (0, 1)]
    sharp = [np.abs(np.diff(PICTURE.astype(float), axis=axis)).mean() for axis in (0, 1)]
    assert min(s / t for s, t in zip(steps, sharp, strict=True)) < 0.8


def test_text_is_left_out_and_the_rest_is_the_blurred_picture(made):
    soft = render.gaussian_blur(PICTURE, 4)
    for kind in ("caption", "watermark"):
        e = made[kind]
        np.testing.assert_array_equal(e.image[e.valid], soft[e.valid])
        assert (e.image[~e.valid] != soft[~e.valid]).any()
        assert 0.02 < 1 - e.valid.mean() < 0.5


def test_few_levels_and_prints_are_grey(made):
    assert len(np.unique(made["16 grey levels"].image)) <= 16
    printed = made["halftone"].image
    assert (printed == printed[..., :1]).all()
    # Dots are gone where their period is taken as a mean; the picture remains.
    means = render.downscale(printed[..., 0], 12).astype(float)
    assert np.corrcoef(means.ravel(), render.downscale(PICTURE, 12).mean(axis=2).ravel())[0, 1] > 0.9


def test_saying_nothing_of_shake_is_right_and_boasting_is_wrong(made, monkeypatch):
    def outcome(confidence):
        shape = made["camera shake"].truth.shape
        plane = np.full(shape, confidence, np.float32)
        return benchmark.Outcome(np.full(shape, 2, np.float32), in_px=True, confidence=plane, span=(0.3, 8.0))

    for confidence, expected in ((0.9, (1.0, 1.0)), (0.3, (0.0, 0.0))):
        monkeypatch.setattr(benchmark, "estimate", lambda *_, c=confidence: outcome(c))
        values = measure(Configuration("pyramid", "pyramid"), "sigma", made["camera shake"])
        assert (values["sure and wrong"], values["sure"]) == expected
        assert "MAE" not in values
