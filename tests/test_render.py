import numpy as np
import pytest

from defocus.errors import DefocusError
from defocus.evaluation import render
from defocus.optics.kernels import disc_radius


def picture(height=60, width=80, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("blur", [render.gaussian_blur, render.disc_blur])
@pytest.mark.parametrize("linear", [True, False])
def test_blur_keeps_flat_pictures_types_and_energy(blur, linear):
    flat = np.full((20, 30, 3), 77, np.uint8)
    assert (blur(flat, 2.0, linear) == 77).all()
    assert (blur(picture(), 0, linear) == picture()).all()
    # A point in the middle keeps its sum, in the domain in which the blur happens.
    point = np.zeros((41, 41))
    point[20, 20] = 1
    blurred = blur(point, 2.5, linear)
    total = (render.srgb_to_linear(blurred) if linear else blurred).sum()
    assert blurred.dtype == np.float64
    assert total == pytest.approx(1, abs=1e-9)  # FFT, clipping and the sRGB curve's rounding


def test_srgb_curve_and_back():
    values = np.linspace(0, 1, 1001)
    # The standard's two branches meet only to about 1e-8 in their rounded constants.
    assert render.linear_to_srgb(render.srgb_to_linear(values)) == pytest.approx(values, abs=1e-6)
    assert render.srgb_to_linear(np.array(0.5)) == pytest.approx(0.21404, abs=1e-5)


def test_linear_light_makes_edges_brighter():
    edge = np.zeros((20, 40), np.uint8)
    edge[:, 20:] = 255
    linear, displayed = (render.gaussian_blur(edge, 2.0, linear_light) for linear_light in (True, False))
    assert linear[10, 19] > displayed[10, 19]


@pytest.mark.parametrize("kernel", ["gaussian", "disc"])
@pytest.mark.parametrize("linear", [True, False])
def test_uniform_depth_is_plain_blur(kernel, linear):
    image = picture()
    scene = render.render_depth(image, np.full((60, 80), 9.0), None, 4.0, 1.6, kernel, linear_light=linear)
    blur, size = (render.gaussian_blur, 1.6) if kernel == "gaussian" else (render.disc_blur, disc_radius(1.6))
    plain = blur(image, size, linear)
    assert (scene.image == plain).all()
    assert (scene.sigma == np.float32(1.6)).all()
    assert scene.valid.all()


def test_sigma_is_proportional_to_the_distance_from_focus():
    disparity = np.tile(np.arange(16.0), (24, 5))
    scene = render.render_depth(picture(24), disparity, None, 5.0, 3.0)
    assert scene.sigma == pytest.approx(0.3 * np.abs(disparity - 5), abs=1e-6)  # float32


def test_sharp_foreground_leaks_nothing_onto_the_background():
    # A white square in focus before a black wall far out of focus.
    disparity = np.ones((60, 80))
    disparity[20:40, 30:50] = 10
    image = np.where(disparity[..., None] == 10, 255, 0).repeat(3, axis=2).astype(np.uint8)
    for kernel in ("gaussian", "disc"):
        scene = render.render_depth(image, disparity, None, 10.0, 4.0, kernel)
        assert (scene.image == image).all()


def test_blurred_foreground_spreads_over_a_sharp_background():
    disparity = np.ones((60, 80))
    disparity[:, 40:] = 10
    image = np.where(disparity[..., None] == 10, 200, 60).repeat(3, axis=2).astype(np.uint8)
    scene = render.render_depth(image, disparity, None, 1.0, 3.0, linear_light=False)
    # Two flat halves: the foreground's opacity is its blurred mask, so the profile is the plain blurred edge.
    assert np.abs(scene.image.astype(int) - render.gaussian_blur(image, 3.0, False)).max() <= 1  # rounding


def test_a_slanted_surface_shows_no_seams():
    # A grey plane through focus: whatever the layers, it must stay the grey it was.
    disparity = np.tile(np.linspace(1, 60, 200), (40, 1))
    disparity[10:30, 90:110] += 25
    flat = np.full((40, 200, 3), 140, np.uint8)
    for kernel in ("gaussian", "disc"):
        assert (render.render_depth(flat, disparity, None, 20.0, 4.0, kernel).image == 140).all()
    # With texture, away from the occluder, it must stay close to the blur of sigma changing smoothly.
    slope = np.tile(np.linspace(1, 60, 200), (40, 1))
    textured = picture(40, 200)
    scene = render.render_depth(textured, slope, None, 1.0, 2.0, linear_light=False)
    for column in (60, 120, 180):
        plain = render.gaussian_blur(textured, float(scene.sigma[20, column]), linear_light=False)
        # Within one layer's width (6 columns) sigma moves by 0.06 px, about 3 levels on white noise of
        # 0..255.
        error = np.abs(scene.image[:, column].astype(int) - plain[:, column].astype(int))
        assert error.mean() < 4


def test_unknown_disparity_is_filled_from_behind_and_marked():
    disparity = np.array([[2.0, 0, 0, 8, 8], [0, 0, 0, 0, 0], [0, 3, 0, 0, 0]])
    filled = render.fill_unknown(disparity, disparity > 0)
    assert filled[0].tolist() == [2, 2, 2, 8, 8]
    assert filled[2].tolist() == [3, 3, 3, 3, 3]
    assert set(filled[1]) <= {2, 3, 8}
    scene = render.render_depth(picture(3, 5), disparity, disparity > 0, 2.0, 1.0)
    assert (scene.valid == (disparity > 0)).all()
    with pytest.raises(DefocusError, match="no known pixel"):
        render.fill_unknown(disparity, np.zeros_like(disparity))


def test_same_seed_same_scene():
    disparity = np.tile(np.linspace(1, 9, 80), (60, 1))
    scenes = [
        render.render_depth(picture(), disparity, None, 3.0, 2.0, noise=4 / 255, jpeg=90, seed=s).image
        for s in (1, 1, 2)
    ]
    assert (scenes[0] == scenes[1]).all()
    assert (scenes[0] != scenes[2]).any()


def test_noise_has_the_strength_asked_for():
    noisy = render.add_noise(np.full((200, 200), 0.5), 0.02, seed=3)
    # 40,000 samples: the standard error of a standard deviation is 0.35 %.
    assert noisy.std() == pytest.approx(0.02, rel=0.02)


def test_jpeg_changes_little_and_keeps_the_shape():
    smooth = render.gaussian_blur(picture(), 3.0)
    stored = render.jpeg_round_trip(smooth, 90)
    assert stored.shape == smooth.shape and stored.dtype == np.uint8
    # Quality 90 on a smooth picture: quantisation and 4:2:0 chroma leave a few levels in the mean.
    assert 0 < np.abs(stored.astype(int) - smooth).mean() < 5


def test_downscaling_takes_means_of_colours_and_nearest_of_disparities():
    image = np.array([[0, 4, 9], [8, 4, 9]], np.uint8)
    assert render.downscale(image, 2).tolist() == [[4]]
    fine = np.array([[0, 6, 0, 0], [2, 2, 0, 0]])
    disparity, valid = render.downscale_disparity(fine, fine > 0, 2)
    assert disparity.tolist() == [[3, 0]]
    assert valid.tolist() == [[True, False]]


def test_impossible_requests_are_refused():
    with pytest.raises(DefocusError, match="0 px or more"):
        render.gaussian_blur(picture(), -1)
    with pytest.raises(DefocusError, match="one size"):
        render.render_depth(picture(), np.ones((5, 5)), None, 1, 1)
