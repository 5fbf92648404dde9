import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defocus.errors import ParameterError
from defocus.units import (
    circle_of_confusion_from_sigma,
    disc_radius_from_sigma,
    sigma_from_circle_of_confusion,
    sigma_from_disc_radius,
)


def test_second_moment_is_that_of_a_disc():
    # A finely drawn disc of radius 7: the standard deviation of its x-coordinate.
    axis = np.linspace(-7, 7, 2001)
    x, y = np.meshgrid(axis, axis)
    inside = x**2 + y**2 <= 49
    # sampling the disc's rim with 2001 steps leaves about 1e-3
    assert sigma_from_disc_radius(7.0) == pytest.approx(x[inside].std(), rel=1e-3)
    assert sigma_from_circle_of_confusion(14.0) == sigma_from_disc_radius(7.0)


@pytest.mark.parametrize(("radius", "sigma"), [(0, 0), (0.5, 0.3), (2, 1.125), (4, 2.2), (6, 3.275), (12, 6.55)])
def test_dandres_table(radius, sigma):
    assert sigma_from_disc_radius(radius, "dandres") == pytest.approx(sigma, rel=1e-12)


def test_dandres_is_about_nine_percent_more_for_larger_discs():
    radii = np.arange(2.0, 6.1, 0.25)
    ratio = sigma_from_disc_radius(radii, "dandres") / sigma_from_disc_radius(radii)
    # the table is rounded to 0.025 px
    np.testing.assert_allclose(ratio, 1.095, atol=0.04)


def test_syndof():
    assert sigma_from_circle_of_confusion(29, "syndof") == 7  # the largest of the data set
    np.testing.assert_array_equal(sigma_from_circle_of_confusion([0, 0.5, 1], "syndof"), 0)
    assert circle_of_confusion_from_sigma(0, "syndof") == 1


@given(st.floats(0, 1e4), st.sampled_from(["second_moment", "dandres"]))
def test_radius_and_back(sigma, rule):
    # rounding of two multiplications or interpolations
    back = sigma_from_disc_radius(disc_radius_from_sigma(sigma, rule), rule)
    assert back == pytest.approx(sigma, rel=1e-12, abs=1e-12)


@given(st.floats(0, 1e4), st.sampled_from(["second_moment", "syndof"]))
def test_diameter_and_back(sigma, rule):
    back = sigma_from_circle_of_confusion(circle_of_confusion_from_sigma(sigma, rule), rule)
    assert back == pytest.approx(sigma, rel=1e-12, abs=1e-12)


@given(st.lists(st.floats(0, 20), min_size=2, max_size=20))
def test_more_blur_is_more_blur(radii):
    radii = np.sort(radii)
    for rule in ("second_moment", "dandres"):
        # rounding at equal neighbours
        assert (np.diff(sigma_from_disc_radius(radii, rule)) >= -1e-12).all()


def test_shapes_are_kept_and_bad_lengths_named():
    assert disc_radius_from_sigma(np.ones((2, 3), np.float32), "dandres").shape == (2, 3)
    for convert in (
        sigma_from_disc_radius,
        disc_radius_from_sigma,
        sigma_from_circle_of_confusion,
        circle_of_confusion_from_sigma,
    ):
        for bad in (-1, np.nan, np.inf):
            with pytest.raises(ParameterError, match="finite"):
                convert(bad)
        with pytest.raises(ParameterError, match="choose second_moment"):
            convert(1.0, "thumb")
