"""Zhuo & Sim: the closed form on blurred steps, the published maps, and its limits."""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from scipy.special import erf
from skimage import data

import defocus
from defocus.errors import ParameterError
from defocus.evaluation.metrics import spearman
from defocus.methods.zhuo2011 import Zhuo2011Parameters

SIGMAS = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
ANGLES = (0.0, 0.3, np.pi / 4, 1.2)


def blurred_step(sigma, angle, contrast=0.5, noise=0.0):
    """A straight edge blurred by exactly sigma, off the pixel grid, as float RGB."""
    y, x = np.mgrid[:120, :120] - 59.63
    across = np.cos(angle) * x + np.sin(angle) * y
    grey = 0.5 + 0.5 * contrast * erf(across / np.sqrt(2) / sigma)
    grey = grey + np.random.default_rng(5).normal(0, noise, grey.shape)
    return np.repeat(np.clip(grey, 0, 1)[..., None], 3, axis=2)


def reading(pixels):
    """Median over the seeds that do not see the frame."""
    m = defocus.estimate(pixels, method="zhuo2011")
    return np.nanmedian(m.seeds.sigma[20:-20, 20:-20])


@pytest.mark.parametrize("sigma", SIGMAS)
def test_blurred_steps_read_their_sigma(sigma):
    for angle in ANGLES:
        assert reading(blurred_step(sigma, angle)) == pytest.approx(sigma, rel=0.03)
    assert reading(blurred_step(sigma, 0.3, contrast=0.1)) == pytest.approx(sigma, rel=0.03)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_noise_of_two_grey_levels_moves_it_by_less_than_a_tenth(sigma):
    for angle in ANGLES:
        assert reading(blurred_step(sigma, angle, noise=2 / 255)) == pytest.approx(sigma, rel=0.1)


@pytest.mark.slow
def test_published_maps_are_matched(shared):
    rank = []
    for name in ("bird", "boy", "building", "pumpkin"):
        m = defocus.estimate(shared / "data" / "dev" / "zhuo_sim" / f"{name}.png", method="zhuo2011")
        published = np.asarray(
            Image.open(shared / "data" / "dev" / "zhuo_sim" / f"{name}_published.png").convert("L"), float
        )
        rank.append(spearman(m.sigma, published))
    assert np.mean(rank) >= 0.9
    assert min(rank) >= 0.85


def test_a_photograph_reads_the_blur_it_was_given():
    pixels = data.astronaut().reshape(256, 2, 256, 2, 3).mean(axis=(1, 3))
    for sigma in (1.0, 2.0, 3.0):
        m = defocus.estimate(ndimage.gaussian_filter(pixels / 255, (sigma, sigma, 0)), method="zhuo2011")
        # Not every edge of a photograph is a straight step: corners and textures read up to a fifth off.
        assert np.nanmedian(m.seeds.sigma) == pytest.approx(sigma, rel=0.2)
        assert np.median(m.sigma) == pytest.approx(sigma, rel=0.25)


def test_blur_beyond_the_range_is_saturated():
    assert defocus.estimate(blurred_step(7.0, 0.3), method="zhuo2011").saturated.mean() > 0.5
    assert not defocus.estimate(blurred_step(2.0, 0.3), method="zhuo2011").saturated.any()


def test_noise_lowers_the_confidence():
    clear, noisy = (
        np.nanmean(defocus.estimate(blurred_step(3.0, 0.3, 0.2, noise), method="zhuo2011").seeds.probability)
        for noise in (0.0, 4 / 255)
    )
    # A soft step of a fifth of the range: rounding to 8 bit alone leaves some doubt.
    assert clear > 0.6
    assert noisy < 0.6 * clear


def test_wrong_parameters_are_refused():
    for wrong in ({"fine_blur": 2.0}, {"edge_thresholds": (0.3, 0.1)}, {"reduction": 0}, {"average_radius": -1}):
        with pytest.raises(ParameterError):
            Zhuo2011Parameters(**wrong)
