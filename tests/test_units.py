import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from defocus.errors import ParameterError
from defocus.optics.kernels import best_fitting_sigma, disc_kernel
from defocus.units import (
    circle_of_confusion_from_sigma,
    disc_radius_from_sigma,
    sigma_from_circle_of_confusion,
    sigma_from_disc_radius,
)


def test_the_default_is_the_gaussian_that_best_explains_the_disc():
    # Rings of a large disc, each as heavy as it is long: their mean of i0e(r^2 / (4 sigma^2)) is 1 / sqrt(2), the
    # condition of the least error over pictures of straight edges.
    r = (np.arange(200_000) + 0.5) / 200_000 * 30
    sigma = sigma_from_disc_radius(30.0)
    assert np.average(special.i0e((r / sigma) ** 2 / 4), weights=r) == pytest.approx(1 / np.sqrt(2), abs=1e-6)
    assert sigma_from_disc_radius(30.0) == sigma_from_disc_radius(30.0, "best_fit")
    assert sigma_from_circle_of_confusion(60.0) == pytest.approx(sigma)
    assert circle_of_confusion_from_sigma(2.0) == pytest.approx(2 * disc_radius_from_sigma(2.0))


@pytest.mark.parametrize("radius", [4, 8, 20])
def test_the_default_is_what_discs_on_the_pixel_grid_have(radius):
    assert best_fitting_sigma(disc_kernel(radius)) == pytest.approx(sigma_from_disc_radius(radius), rel=0.009)


def test_second_moment_is_that_of_a_disc():
    # A finely drawn disc of radius 7: the standard deviation of its x-coordinate.
    axis = np.linspace(-7, 7, 2001)
    x, y = np.meshgrid(axis, axis)
    inside = x**2 + y**2 <= 49
    # sampling the disc's rim with 2001 steps leaves about 1e-3
    assert sigma_from_disc_radius(7.0, "second_moment") == pytest.approx(x[inside].std(), rel=1e-3)
    assert sigma_from_circle_of_confusion(14.0, "second_moment") == sigma_from_disc_radius(7.0, "second_moment")


@pytest.mark.parametrize(("radius", "sigma"), [(0, 0), (0.5, 0.3), (2, 1.125), (4, 2.2), (6, 3.275), (12, 6.55)])
def test_dandres_table(radius, sigma):
    assert sigma_from_disc_radius(radius, "dandres") == pytest.approx(sigma, rel=1e-12)


def test_dandres_agrees_with_the_best_fit_and_not_with_the_second_moment():
    radii = np.arange(3.0, 6.1, 0.25)
    by = {rule: sigma_from_disc_radius(radii, rule) for rule in ("second_moment", "dandres", "best_fit")}
    # the table is rounded to 0.025 px
    np.testing.assert_allclose(by["dandres"] / by["second_moment"], 1.095, atol=0.02)
    np.testing.assert_allclose(by["dandres"] / by["best_fit"], 1.01, atol=0.011)


def test_syndof():
    assert sigma_from_circle_of_confusion(29, "syndof") == 7  # the largest of the data set
    np.testing.assert_array_equal(sigma_from_circle_of_confusion([0, 0.5, 1], "syndof"), 0)
    assert circle_of_confusion_from_sigma(0, "syndof") == 1


@given(st.floats(0, 1e4), st.sampled_from(["best_fit", "second_moment", "dandres"]))
def test_radius_and_back(sigma, rule):
    # rounding of two multiplications or interpolations
    back = sigma_from_disc_radius(disc_radius_from_sigma(sigma, rule), rule)
    assert back == pytest.approx(sigma, rel=1e-12, abs=1e-12)


@given(st.floats(0, 1e4), st.sampled_from(["best_fit", "second_moment", "syndof"]))
def test_diameter_and_back(sigma, rule):
    back = sigma_from_circle_of_confusion(circle_of_confusion_from_sigma(sigma, rule), rule)
    assert back == pytest.approx(sigma, rel=1e-12, abs=1e-12)


@given(st.lists(st.floats(0, 20), min_size=2, max_size=20))
def test_more_blur_is_more_blur(radii):
    radii = np.sort(radii)
    for rule in ("best_fit", "second_moment", "dandres"):
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
        with pytest.raises(ParameterError, match="choose best_fit, second_moment"):
            convert(1.0, "thumb")
