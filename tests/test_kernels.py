import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, special

from defocus.errors import ParameterError
from defocus.optics.kernels import (
    DISC_RATIO,
    best_fitting_sigma,
    disc_kernel,
    disc_radius,
    gaussian_kernel,
    movement_kernel,
    polygon_kernel,
)
from defocus.units import sigma_from_disc_radius


def moments(kernel):
    reach = kernel.shape[0] // 2
    x = np.arange(-reach, reach + 1)
    return [np.sqrt(np.sum(kernel * axis**2)) for axis in np.meshgrid(x, x)]


def by_frequencies(kernel, side=256):
    """The sigma of the least expected squared difference itself, summed over the frequencies of the grid."""
    f = np.fft.fftfreq(side)
    weight = 1 / np.maximum(np.hypot(f[:, None], f[None]), 1e-6) ** 3
    weight[0, 0] = 0
    x = np.arange(len(kernel)) - len(kernel) // 2
    wave = np.exp(-2j * np.pi * f[:, None] * x)
    transfer = wave @ kernel @ wave.T

    def error(sigma):
        line = gaussian_kernel(sigma)
        at = np.arange(line.size) - line.size // 2
        along = np.cos(2 * np.pi * f[:, None] * at) @ line
        return (weight * np.abs(transfer - np.outer(along, along)) ** 2).sum()

    return optimize.minimize_scalar(error, bounds=(0.1, len(kernel)), method="bounded").x


@pytest.mark.parametrize("sigma", [0.2, 0.3, 0.5, 0.65, 1, 2, 4.7, 26])
def test_a_gaussian_is_best_explained_by_itself(sigma):
    line = gaussian_kernel(sigma)
    assert best_fitting_sigma(np.outer(line, line)) == pytest.approx(sigma, rel=1e-6)


@pytest.mark.parametrize("radius", [0.52, 0.55, 0.7, 1, 1.2, 1.4, 2, 3.3, 6, 12])
def test_the_sigma_of_a_disc_is_where_the_error_is_least(radius):
    # The sum over the grid's frequencies and the formula part below 2 px: measured 0.21 % at most, 0.002 % above.
    kernel = disc_kernel(radius)
    assert best_fitting_sigma(kernel) == pytest.approx(by_frequencies(kernel), rel=0.0025 if radius < 2 else 0.0001)


@pytest.mark.parametrize(("sigma", "blades", "rim"), [(0.5, 5, 0.0), (1.3, 6, 1.0), (2.5, 9, -0.5), (5, 7, 0.5)])
def test_the_sigma_of_a_polygon_is_where_the_error_is_least(sigma, blades, rim):
    kernel = polygon_kernel(sigma, blades, 0.4, rim)
    assert by_frequencies(kernel) == pytest.approx(sigma, rel=0.01)


def test_neither_scale_nor_place_nor_orientation_of_a_kernel_matters():
    kernel = polygon_kernel(2.0, 5, 0.2, 0.7)
    sigma = best_fitting_sigma(kernel)
    moved = np.pad(kernel, ((0, 7), (3, 0)))
    assert best_fitting_sigma(5 * moved) == pytest.approx(sigma, rel=1e-9)
    assert best_fitting_sigma(kernel.T[::-1]) == pytest.approx(sigma, rel=1e-9)


def test_no_blur_has_no_sigma():
    assert best_fitting_sigma(np.ones((1, 1))) == 0
    assert best_fitting_sigma(np.pad(np.ones((1, 1)), 3)) == 0


@pytest.mark.parametrize("bad", [np.zeros((3, 3)), np.ones(3), [[1.0, -0.1]], [[np.nan, 1.0]], [[np.inf]]])
def test_what_is_no_kernel_is_refused(bad):
    with pytest.raises(ParameterError, match="matrix of finite weights"):
        best_fitting_sigma(bad)


def test_large_discs_approach_the_ratio_of_the_continuous_disc():
    # The condition of best_fitting_sigma integrated over a disc: the mean of i0e(x^2 / (4 sigma^2)) is i0e(u) + i1e(u).
    u = 1 / (4 * DISC_RATIO**2)
    assert special.i0e(u) + special.i1e(u) == pytest.approx(1 / np.sqrt(2), abs=1e-12)
    for radius in (20, 40):
        assert best_fitting_sigma(disc_kernel(radius)) == pytest.approx(DISC_RATIO * radius, rel=0.0004)
    # The pixel's area matters below, and only ever adds.
    radii = np.arange(2, 20, 0.5)
    ratios = [best_fitting_sigma(disc_kernel(radius)) / radius for radius in radii]
    assert (np.array(ratios) > DISC_RATIO).all()


def test_the_area_of_a_pixel_adds_to_the_square_of_sigma():
    # How the rim meets the grid moves single radii by 0.003 px; without the pixel's area all would be 0.01 px too big.
    radii = np.arange(8, 14, 0.1)
    again = [disc_radius(best_fitting_sigma(disc_kernel(radius))) for radius in radii]
    assert np.mean(again - radii) == pytest.approx(0, abs=0.0003)


def test_the_sigma_of_a_disc_is_that_of_dandres_table():
    # The table was measured on photographs, and is rounded to 0.025 px: that is within 1.1 % for 2 px.
    radii = np.arange(2, 6.01, 0.25)
    table = sigma_from_disc_radius(radii, "dandres")
    sigmas = np.array([best_fitting_sigma(disc_kernel(radius)) for radius in radii])
    np.testing.assert_allclose(sigmas, table, rtol=0.012)
    assert np.median(sigmas / table) == pytest.approx(0.997, abs=0.002)


def test_dandres_table_of_small_discs_is_close():
    # On the pixel grid discs of 1.25 and 1.5 px differ little. The table's first entry, 0.5 px, is no blur there.
    for radius in np.arange(0.75, 2, 0.25):
        table = sigma_from_disc_radius(radius, "dandres")
        assert best_fitting_sigma(disc_kernel(radius)) == pytest.approx(table, rel=0.05)


@pytest.mark.parametrize("sigma", [0.2, 0.3, 0.35, 0.5, 0.62, 1, 1.5, 2.2, 3.37, 3.38, 4, 8, 26])
def test_a_disc_can_be_had_by_its_sigma(sigma):
    # Interpolation between tabulated radii, and for large ones the first order of the pixel's variance.
    assert best_fitting_sigma(disc_kernel(disc_radius(sigma))) == pytest.approx(sigma, rel=0.005)


@given(st.lists(st.floats(0, 40), min_size=2, max_size=10))
def test_a_larger_sigma_never_has_a_smaller_disc(sigmas):
    radii = [disc_radius(sigma) for sigma in sorted(sigmas)]
    assert (np.diff(radii) >= 0).all()
    assert radii[0] >= 0.5


@pytest.mark.parametrize("sigma", [0.3, 0.45, 0.8, 1.7, 3.1, 7, 26])
@pytest.mark.parametrize(("blades", "turn", "rim"), [(5, 0.0, 1.0), (6, 2.0, -0.5), (9, 1.0, 0.0), (3, 0.0, -1.0)])
def test_a_polygon_can_be_had_by_its_sigma(sigma, blades, turn, rim):
    kernel = polygon_kernel(sigma, blades, turn, rim)
    assert kernel.sum() == pytest.approx(1, abs=1e-12)
    assert kernel.shape[0] == kernel.shape[1]
    assert kernel.shape[0] % 2 == 1
    assert best_fitting_sigma(kernel) == pytest.approx(sigma, rel=0.01)
    if sigma > 3:  # nothing is cut off
        assert not any(side.any() for side in (kernel[0], kernel[-1], kernel[:, 0], kernel[:, -1]))


def test_a_polygon_of_many_blades_is_a_disc():
    kernel, disc = polygon_kernel(4.0, 60), disc_kernel(disc_radius(4.0))
    extra = (kernel.shape[0] - disc.shape[0]) // 2
    np.testing.assert_allclose(kernel, np.pad(disc, extra), atol=0.1 * disc.max())


def test_a_rim_is_brighter_or_darker_than_the_middle():
    for rim in (1.0, -0.5):
        kernel = polygon_kernel(8.0, 6, 0.0, rim)
        row = kernel[len(kernel) // 2]
        lit = np.flatnonzero(row > 0.1 * row.max())
        rim_pixel, middle = row[lit[2]], row[len(row) // 2]
        assert rim_pixel / middle == pytest.approx((1 + rim / 2) / (1 - rim / 2), rel=0.3)
        assert (rim_pixel > middle) == (rim > 0)


@pytest.mark.parametrize("bad", [(0.0, 6, 0.0), (np.nan, 6, 0.0), (1.0, 2, 0.0), (1.0, 6, 1.5)])
def test_what_is_no_polygon_is_refused(bad):
    with pytest.raises(ParameterError, match="three blades or more"):
        polygon_kernel(bad[0], bad[1], rim=bad[2])


@pytest.mark.parametrize("radius", [0, 0.3, 0.5, 0.50001, 0.75, 1, 1.5, 2, 3.3, 7, 12.6])
def test_disc_kernel_covers_exact_areas(radius):
    kernel = disc_kernel(radius)
    assert kernel.sum() == pytest.approx(1, abs=1e-12)  # rounding only
    assert (kernel == kernel.T).all() or np.allclose(kernel, kernel.T, atol=1e-15)
    assert np.allclose(kernel, kernel[::-1, ::-1], atol=1e-15)
    if radius > 0.5:
        # Count 41 x 41 sample points a pixel; a border pixel's count is off by at most about one column,
        # 1/41.
        reach = kernel.shape[0] // 2
        fine = (np.arange((2 * reach + 1) * 41) + 0.5) / 41 - reach - 0.5
        inside = fine[:, None] ** 2 + fine[None] ** 2 <= radius**2
        share = inside.reshape(2 * reach + 1, 41, 2 * reach + 1, 41).mean(axis=(1, 3))
        assert np.abs(share - kernel * np.pi * radius**2).max() < 1 / 41


@pytest.mark.parametrize("radius", [2, 2.4, 3, 5, 10])
def test_disc_second_moment_is_half_the_radius(radius):
    # The pixel's area adds 1/12 px^2; sampling at whole pixels moves the sum by 1.7 % at most from radius 2
    # on.
    with_pixel = np.hypot(radius / 2, 12**-0.5)
    assert moments(disc_kernel(radius)) == pytest.approx([with_pixel] * 2, rel=0.02)
    # From 3 px on both together stay below 2.5 % of the plain rule.
    if radius >= 3:
        assert moments(disc_kernel(radius)) == pytest.approx([radius / 2] * 2, rel=0.025)


def test_disc_kernel_is_finite_at_any_radius():
    for radius in np.linspace(0.4, 12, 500):
        assert np.isfinite(disc_kernel(radius)).all()


@pytest.mark.parametrize("sigma", [0.65, 1, 2, 4])
def test_gaussian_kernel_has_the_sigma_it_was_asked_for(sigma):
    kernel = gaussian_kernel(sigma)
    x = np.arange(kernel.size) - kernel.size // 2
    assert kernel.sum() == pytest.approx(1, abs=1e-12)
    # Aliasing of the sampled Gaussian at 0.65 px costs 1 %; above 0.8 px it is below 0.1 %.
    assert np.sqrt(np.sum(kernel * x**2)) == pytest.approx(sigma, rel=0.02 if sigma < 0.8 else 0.001)


@pytest.mark.parametrize("turn", [0.0, 25.0])
def test_a_movement_is_a_line_of_its_length(turn):
    for direction in (0, 35, 90, 150):
        kernel = movement_kernel(20.0, direction, turn)
        assert kernel.sum() == pytest.approx(1)
        y, x = (place - (side - 1) / 2 for place, side in zip(np.indices(kernel.shape), kernel.shape, strict=True))
        x, y = x - (kernel * x).sum(), y - (kernel * y).sum()
        moments = np.array([[(kernel * a * b).sum() for a in (x, y)] for b in (x, y)])
        across, along = np.sqrt(np.linalg.eigvalsh(moments))
        # The standard deviation of an even line is its length by the square root of 12.
        assert along == pytest.approx(20 / 12**0.5, rel=0.03)
        assert across < 1
