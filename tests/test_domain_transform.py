"""The domain-transform filter against OpenCV's, against what it must keep, and at its limits."""

import numpy as np
import pytest

from defocus.errors import ParameterError
from defocus.filters import domain_transform

RANDOM = np.random.default_rng(3)


def test_agrees_with_opencv():
    cv2 = pytest.importorskip("cv2.ximgproc", reason="opencv-contrib has the filter to compare with")
    guide = np.kron(RANDOM.random((6, 8)), np.ones((8, 8))).astype(np.float32)
    values = RANDOM.random((48, 64)).astype(np.float32)
    ours = domain_transform(values, guide, 12.0, 0.3, 3)
    theirs = cv2.dtFilter(guide, values, 12.0, 0.3, mode=2, numIters=3)
    assert np.abs(ours - theirs).max() < 2e-3  # float32, and OpenCV tabulates the powers


def test_a_step_in_the_guide_stops_it():
    guide = np.zeros((40, 60))
    guide[:, 30:] = 1.0
    values = guide + RANDOM.normal(0, 0.1, guide.shape)
    smooth = domain_transform(values, guide, 8.0, 0.05)
    assert abs(smooth[:, :30].mean()) < 0.02
    assert abs(smooth[:, 30:].mean() - 1) < 0.02
    assert smooth[:, :30].std() < 0.3 * values[:, :30].std()


def test_flat_guide_smooths_like_a_filter_of_sigma_space():
    impulse = np.zeros((121, 121))
    impulse[60, 60] = 1.0
    smooth = domain_transform(impulse, np.zeros_like(impulse), 6.0, 1.0, 3)
    assert smooth.sum() == pytest.approx(1, abs=0.01)
    x = np.arange(121) - 60
    # A recursive filter has heavier tails than the Gaussian; the standard deviation is what it is built to match.
    assert np.sqrt((smooth.sum(axis=0) * x**2).sum()) == pytest.approx(6.0, rel=0.1)


def test_stays_in_range_mirrors_and_keeps_maps_apart():
    guide, values = RANDOM.random((30, 41, 3)), RANDOM.random((30, 41, 2))
    smooth = domain_transform(values, guide, 5.0, 0.5)
    assert smooth.min() >= values.min()
    assert smooth.max() <= values.max()
    np.testing.assert_allclose(smooth[..., 1], domain_transform(values[..., 1], guide, 5.0, 0.5))
    assert domain_transform(values.astype(np.float32), guide, 5.0, 0.5).dtype == np.float32
    # A wide, one-pixel-high picture is the one-dimensional filter.
    assert domain_transform(values[:1], guide[:1], 5.0, 0.5).shape == (1, 41, 2)


def test_refuses_what_it_cannot_do():
    with pytest.raises(ParameterError, match="agree"):
        domain_transform(np.zeros((3, 4)), np.zeros((4, 3)), 1.0, 1.0)
    with pytest.raises(ParameterError, match="sigma_space"):
        domain_transform(np.zeros((3, 4)), np.zeros((3, 4)), 0.0, 1.0)
