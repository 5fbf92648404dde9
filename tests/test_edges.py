"""Edges: MATLAB's Canny, the two scales, and the edges a strong subject would hide."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from skimage import data

from defocus.edges import canny, gradient_maxima, noise_deviation
from defocus.methods.dhde.edges import EDGE_NONE, EDGE_STRONG, EDGE_WEAK, add_local_edges, edge_scales, value_channel

WEAK, STRONG = (0.117, 0.176), (0.234, 0.351)


def scales_of(grey):
    return edge_scales(*gradient_maxima(grey), WEAK, STRONG)


@pytest.mark.parametrize("name", ["0001", "0002"])
def test_edges_equal_the_authors_at_every_pixel(name, authors_golden):
    pixels, golden = authors_golden(name)
    assert np.array_equal(scales_of(value_channel(pixels / 255)), golden["edges"])


def test_edges_equal_the_recorded_sample(astronaut_golden):
    value, golden = astronaut_golden
    edges = scales_of(value)
    assert np.array_equal(np.packbits(np.stack([edges == EDGE_WEAK, edges == EDGE_STRONG])), golden["edges"])


def test_a_step_is_one_pixel_wide_and_where_it_is():
    grey = np.zeros((40, 60))
    grey[:, 30:] = 0.7
    edges = canny(grey, 0.1, 0.2)
    columns = np.unique(np.nonzero(edges)[1])
    # The step lies between columns 29 and 30, at equal distance: MATLAB's >= on both sides keeps both.
    assert set(columns) <= {29, 30}
    assert edges[1:-1, 29:31].any(axis=1).all()


@pytest.mark.parametrize("turn", [lambda a: a[:, ::-1], lambda a: a[::-1], np.rot90, np.transpose])
def test_edges_turn_with_the_photograph(turn):
    value = value_channel(data.coffee()[:200, :300] / 255)
    # Interpolation between the same neighbours in another order rounds differently; a handful of ties may flip.
    assert np.mean(scales_of(turn(value)) != turn(scales_of(value))) < 1e-4


def test_edges_do_not_depend_on_exposure():
    value = value_channel(data.coffee()[:200, :300] / 255)
    assert np.mean(scales_of(0.5 * value) != scales_of(value)) < 1e-4  # rounding at the thresholds


def test_a_flat_photograph_has_no_edges():
    assert not scales_of(np.full((50, 50), 0.3)).any()
    assert not scales_of(np.zeros((4, 4))).any()


def test_noise_is_measured():
    grey = ndimage.gaussian_filter(np.random.default_rng(0).random((200, 200)), 8)
    noisy = grey + np.random.default_rng(1).normal(0, 0.02, grey.shape)
    assert noise_deviation(noisy) == pytest.approx(0.02, rel=0.05)  # 40,000 pixels: 1 % of chance, 4 % for the texture


def blurred_background(noise):
    """A sharp, strong square on a soft, faint pattern."""
    random = np.random.default_rng(3)
    grey = 0.3 + 0.35 * ndimage.gaussian_filter(random.normal(0, 1, (240, 320)), 3)
    grey[90:150, 30:90] = 1.0
    return np.clip(grey + random.normal(0, noise, grey.shape), 0, 1)


def test_a_faint_background_gets_edges_of_its_own():
    grey = blurred_background(0.002)
    magnitude, maxima = gradient_maxima(grey)
    plain = edge_scales(magnitude, maxima, WEAK, STRONG)
    local = add_local_edges(plain, grey, magnitude, maxima, WEAK, window=65, noise_factor=4)
    far = np.s_[:, 180:]
    assert np.count_nonzero(local[far]) > 5 * max(np.count_nonzero(plain[far]), 20)
    assert np.array_equal(local[plain != EDGE_NONE], plain[plain != EDGE_NONE])


def test_noise_makes_no_edges_of_its_own():
    random = np.random.default_rng(5)
    grey = np.full((240, 320), 0.5)
    grey[90:150, 30:90] = 1.0
    grey += random.normal(0, 0.02, grey.shape)
    magnitude, maxima = gradient_maxima(grey)
    none = np.zeros(grey.shape, np.uint8)
    local = add_local_edges(none, grey, magnitude, maxima, WEAK, window=65, noise_factor=4)
    # 4 standard deviations in each of 20,000 nearly independent places: a few survive hysteresis at 1.5 times as much.
    assert np.count_nonzero(local[:, 180:]) < 20


def test_golden_sample_is_of_our_own_making():
    script = Path(__file__).parent / "golden" / "make.py"
    assert "skimage" in script.read_text(encoding="utf-8")
