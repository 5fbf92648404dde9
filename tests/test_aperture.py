"""Scenes seen through an aperture have the blur that their truth says."""

import numpy as np
import pytest
from skimage import data

from defocus.errors import DefocusError
from defocus.evaluation import aperture, generators, render
from defocus.evaluation.bare_scenes import bare_scene
from defocus.evaluation.datasets import Example
from defocus.optics.light import linear_to_srgb, srgb_to_linear

PICTURE = data.coffee()[150:246, 200:328]


@pytest.mark.parametrize("kernel", ["gaussian", "disc"])
@pytest.mark.parametrize("sigma", [1.0, 2.0, 4.0])
def test_a_flat_scene_is_blurred_as_a_whole(kernel, sigma):
    seen = aperture.render_picture(PICTURE, np.full(PICTURE.shape[:2], sigma), kernel)
    whole = render.gaussian_blur(PICTURE, sigma) if kernel == "gaussian" else render.disc_blur(PICTURE, 2 * sigma)
    assert np.abs(seen.astype(float) - whole).mean() / 255 < 0.003
    behind = aperture.render_picture(PICTURE, np.full(PICTURE.shape[:2], -sigma), kernel)
    assert np.abs(behind.astype(float) - whole).mean() / 255 < 0.003


def test_what_is_in_focus_keeps_its_pixels():
    np.testing.assert_array_equal(aperture.render_picture(PICTURE, np.zeros(PICTURE.shape[:2])), PICTURE)


@pytest.mark.parametrize("kernel", ["gaussian", "disc"])
def test_the_outline_of_a_blurred_foreground_is_as_soft_as_its_mask_blurred(kernel):
    near = np.zeros((60, 100))
    near[:, 50:] = 1
    picture = np.where(near[..., None] > 0, 200, 60).astype(np.uint8).repeat(3, axis=2)
    seen = aperture.render_picture(picture, 4 * near, kernel)
    blur = {"gaussian": lambda: render.gaussian_blur(near, 4, False), "disc": lambda: render.disc_blur(near, 8, False)}
    opacity = blur[kernel]()[..., None]
    dark, light = srgb_to_linear(np.array([60, 200]) / 255)
    expected = 255 * linear_to_srgb(opacity * light + (1 - opacity) * dark)
    assert np.abs(seen - expected).max() < 3


def test_a_sharp_foreground_covers_a_blurred_background():
    near = np.zeros(PICTURE.shape[:2], bool)
    near[30:70, 40:90] = True
    dark = PICTURE // 3
    picture = np.where(near[..., None], np.uint8(255) - dark, dark)
    seen = aperture.render_picture(picture, np.where(near, 0.0, -4.0))
    # Inside nothing comes through; outside nothing of the foreground is spread.
    np.testing.assert_array_equal(seen[31:69, 41:89], picture[31:69, 41:89])
    assert seen[~near].max() <= dark.max() + 25


def test_nearer_surfaces_cover_farther_ones_in_any_order():
    shape = (30, 30)
    everywhere, half = np.ones(shape, bool), np.zeros(shape, bool)
    half[:, 15:] = True
    red, blue = (np.broadcast_to(np.float64(c), (*shape, 3)) for c in ((1, 0, 0), (0, 0, 1)))
    wall = aperture.Surface(red, np.full(shape, -1.0), everywhere)
    screen = aperture.Surface(blue, np.zeros(shape), half)
    seen = aperture.render_surfaces([wall, screen])
    np.testing.assert_array_equal(seen, aperture.render_surfaces([screen, wall]))
    np.testing.assert_array_equal(seen[:, :5], np.broadcast_to([1.0, 0, 0], (10, 5, 3)))
    np.testing.assert_array_equal(seen[:, 5:], np.broadcast_to([0, 0, 1.0], (10, 5, 3)))


def test_photosites_take_means_of_their_area():
    colour = np.random.default_rng(0).random((30, 36, 3))
    scene = [aperture.Surface(colour, np.zeros((30, 36)), np.ones((30, 36), bool))]
    means = colour.reshape(10, 3, 12, 3, 3).mean(axis=(1, 3))
    assert np.abs(aperture.render_surfaces(scene) - means).max() < 0.02
    np.testing.assert_allclose(aperture.render_surfaces(scene, photosites=False), colour[1::3, 1::3], atol=1e-6)


@pytest.mark.parametrize("kernel", ["gaussian", "disc"])
def test_points_have_the_deviation_of_the_aperture(kernel):
    points = aperture.aperture_points(kernel, 256)
    np.testing.assert_allclose(points[:, :2].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(points[:, :2].std(axis=0), 1)
    assert abs(np.corrcoef(points.T) - np.eye(4)).max() < 0.05
    places = (points[:, 2:] * aperture.OVERSAMPLING).astype(int)
    assert np.bincount(places @ [3, 1], minlength=9).min() >= 26  # 256 / 9 = 28.4


def test_impossible_scenes_are_refused():
    with pytest.raises(DefocusError, match="power of 2"):
        aperture.aperture_points("disc", 100)
    with pytest.raises(DefocusError, match="one size"):
        aperture.render_picture(PICTURE, np.zeros((3, 3)))
    colour, sigma, present = np.zeros((6, 6, 3)), np.zeros((6, 6)), np.ones((6, 6), bool)
    with pytest.raises(DefocusError, match="multiple of 3"):
        aperture.render_surfaces([aperture.Surface(colour[:4], sigma[:4], present[:4])])
    present[:3, :3] = False
    with pytest.raises(DefocusError, match="some surface at every pixel"):
        aperture.render_surfaces([aperture.Surface(colour, sigma, present)])


def test_noise_is_added_to_display_values():
    noisy = aperture.expose(np.full((80, 80, 3), 0.2), noise=4 / 255, seed=1)
    assert noisy.std() == pytest.approx(4, rel=0.05)
    np.testing.assert_array_equal(noisy, aperture.expose(np.full((80, 80, 3), 0.2), noise=4 / 255, seed=1))


@pytest.mark.slow
def test_rooms_are_bare_and_follow_from_their_seed():
    scene = bare_scene("floor", 3, "disc")
    assert scene.image.shape == (240, 320, 3) and scene.signed_sigma.shape == (240, 320)
    assert scene.signed_sigma.min() < 0 < scene.signed_sigma.max()  # something is in focus
    assert 2 < np.abs(scene.signed_sigma).max() < 4.1
    # The floor comes nearer towards the lower border, evenly.
    steps = np.diff(scene.signed_sigma[150:], axis=0)
    np.testing.assert_allclose(steps, steps.mean())
    assert steps.mean() > 0
    np.testing.assert_array_equal(bare_scene("floor", 3, "disc").image, scene.image)
    assert (bare_scene("floor", 4, "disc").signed_sigma != scene.signed_sigma).any()


def test_the_aperture_set_is_of_the_best_fitting_gaussian(monkeypatch):
    monkeypatch.setattr(generators, "BARE_SCENES", {})
    y, x = np.mgrid[:96, :128]
    disparity = np.where(np.hypot(y - 48, x - 64) < 30, 60, 20).astype(np.float32)
    known = x > 5
    scenes = [Example(name, PICTURE, disparity, known, name) for name in ("Aloe", "elsewhere")]
    made = list(generators.aperture_rendered("aperture", lambda: iter(scenes)).examples())
    assert [e.name for e in made] == ["Aloe@0..2px", "Aloe@0..4px"]
    for e, largest in zip(made, (2, 4), strict=True):
        assert e.image.shape == (48, 64, 3) and e.source == "Aloe"
        assert e.truth[e.valid].max() == pytest.approx(largest, rel=1e-3)
        assert not e.valid[:, :3].any() and e.valid[:, 3:].all()
