"""Karaali & Jung: blurred steps in linear light, the filter along edges, and its limits."""

import numpy as np
import pytest
from scipy.special import erf

import defocus
from defocus.errors import ParameterError
from defocus.methods.karaali2018 import Karaali2018Parameters, scales_of_edges, smooth_along_edges


def blurred_step(sigma, angle, noise=0.0):
    """A straight edge that was blurred by sigma in linear light, as display values."""
    y, x = np.mgrid[:120, :120] - 59.63
    across = np.cos(angle) * x + np.sin(angle) * y
    light = 0.5 + 0.25 * erf(across / np.sqrt(2) / sigma)
    display = light ** (1 / 2.4) + np.random.default_rng(5).normal(0, noise, light.shape)
    return np.repeat(np.clip(display, 0, 1)[..., None], 3, axis=2)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0, 3.0, 4.0])
def test_blurred_steps_read_their_sigma(sigma):
    for angle in (0.0, 0.3, np.pi / 4, 1.2):
        # The filter along the edge runs into its ends at the frame, where half the edge is missing.
        m = defocus.estimate(blurred_step(sigma, angle), method="karaali2018")
        assert np.nanmedian(m.seeds.sigma[20:-20, 20:-20]) == pytest.approx(sigma, rel=0.05)
        assert np.median(m.sigma) == pytest.approx(sigma, rel=0.1)
        m = defocus.estimate(blurred_step(sigma, angle, noise=2 / 255), method="karaali2018")
        assert np.nanmedian(m.seeds.sigma[20:-20, 20:-20]) == pytest.approx(sigma, rel=0.15)


def test_blur_beyond_the_range_is_saturated():
    assert defocus.estimate(blurred_step(8.0, 0.3), method="karaali2018").saturated.mean() > 0.5


def test_only_edges_that_last_are_kept():
    step = np.zeros((60, 60))
    step[:, 30:] = 1.0
    lasts = scales_of_edges(step)
    assert (lasts[10:50, 29:31].max(axis=1) == 9).all()
    assert not scales_of_edges(np.zeros((20, 20))).any()
    dot = np.zeros((60, 60))
    dot[30, 30] = 1.0  # the ring around a dot moves outwards as the smoothing grows
    assert (scales_of_edges(dot) < 9).all()


def test_the_filter_along_edges_mends_an_outlier_and_keeps_edges_apart():
    seeds = np.zeros((9, 40), bool)
    seeds[2], seeds[6] = True, True
    values = np.where(seeds, 1.0, np.nan)
    values[6] = 3.0
    values[2, 20] = 4.0
    lasts = np.where(seeds, 9, 0)
    lasts[2, 20] = 4
    smooth = np.full(seeds.shape, np.nan)
    smooth[seeds] = smooth_along_edges(values, lasts, seeds, 10.0)
    assert smooth[2, 20] < 1.7
    np.testing.assert_allclose(smooth[6], 3.0, atol=1e-4)  # nothing crosses to the other edge


def test_wrong_parameters_are_refused():
    for wrong in ({"fine_blur": 1.3}, {"gamma": 0.0}, {"iterations": 0}):
        with pytest.raises(ParameterError):
            Karaali2018Parameters(**wrong)
