from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pymatting
import pytest
from skimage import data

from defocus.errors import DefocusError, ParameterError
from defocus.propagation import matting_laplacian, propagate
from defocus.propagation.multigrid import build_hierarchy, solve

GOLDEN = Path(__file__).resolve().parents[2] / "shared" / "golden"
needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="../shared/golden is not beside this checkout")


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return data.astronaut()[:131, 140:280].astype(np.float32) / 255  # 131 x 140: 4 does not divide 131


@pytest.fixture(scope="module")
def seeded(photo):
    """Seeds of a smooth field at strong gradients."""
    gradient = np.hypot(*np.gradient(photo.mean(2)))
    weights = (gradient > np.quantile(gradient, 0.9)).astype(np.float32)
    y, x = np.mgrid[: photo.shape[0], : photo.shape[1]]
    sigma = 1.25 + 0.75 * np.sin(y / 40) * np.cos(x / 50)
    return np.where(weights > 0, sigma, np.nan), weights


def _direct(seeds, weights, guide, leak=0.0):
    from scipy.sparse import diags_array
    from scipy.sparse.linalg import spsolve

    data_term = 0.005 * weights.ravel().astype(np.float64)
    matrix = (matting_laplacian(guide) + diags_array(data_term + leak)).tocsc()
    return spsolve(matrix, data_term * np.nan_to_num(seeds).ravel()).reshape(weights.shape)


# The matting Laplacian


@pytest.mark.parametrize("radius", [1, 2])
def test_laplacian_equals_pymatting(photo, radius):
    guide = photo[:20, :17].astype(np.float64)
    found = matting_laplacian(guide, radius=radius, eps=1e-5)
    reference = pymatting.cf_laplacian(guide, epsilon=1e-5, radius=radius)
    # Inverses of covariances with a condition up to 1e5, in double precision.
    np.testing.assert_allclose(found.toarray(), reference.toarray(), atol=1e-8)


def test_laplacian_is_symmetric_semidefinite_with_zero_rows(photo):
    laplacian = matting_laplacian(photo[:24, :19])
    dense = laplacian.toarray()
    np.testing.assert_array_equal(dense, dense.T)
    np.testing.assert_allclose(dense.sum(1), 0, atol=1e-12)
    assert np.linalg.eigvalsh(dense).min() > -1e-12
    assert len(laplacian.offsets) == 25
    assert matting_laplacian(photo[:24, :19], dtype=np.float32).dtype == np.float32


def test_laplacian_strips_change_nothing(photo, monkeypatch):
    whole = matting_laplacian(photo[:30, :20])
    monkeypatch.setattr(sys.modules[matting_laplacian.__module__], "PIXELS_AT_A_TIME", 25)
    strips = matting_laplacian(photo[:30, :20])
    np.testing.assert_array_equal(strips.offsets, whole.offsets)
    # Other sums of the same terms along strip borders.
    np.testing.assert_allclose(strips.data, whole.data, atol=1e-12)


def test_laplacian_refuses_what_holds_no_window(photo):
    with pytest.raises(ParameterError, match="at least 3 x 3"):
        matting_laplacian(photo[:2])
    with pytest.raises(ParameterError, match="eps"):
        matting_laplacian(photo, eps=0)


# The solver


def test_solver_agrees_with_the_direct_one_in_few_iterations(photo, seeded):
    from scipy.sparse import diags_array

    seeds, weights = seeded
    data_term = 0.005 * weights.ravel().astype(np.float64)
    matrix = (matting_laplacian(photo) + diags_array(data_term)).tocsr()
    functions = np.concatenate([np.ones((photo[..., 0].size, 1)), photo.reshape(-1, 3)], axis=1)
    hierarchy = build_hierarchy(matrix, functions, photo.shape[:2])
    right_side = data_term * np.nan_to_num(seeds).ravel()
    expected = _direct(seeds, weights, photo).ravel()
    found, iterations = solve(matrix, right_side, hierarchy, rtol=1e-4)
    assert np.abs(found - expected).max() < 2e-3  # a hundredth of a DHDE class step; measured 4e-5 at 640 x 480
    # 23 at 640 x 480; blockwise constant coarse grids take 77: this fails if the colour functions are lost.
    assert iterations <= 40
    closer, _ = solve(matrix, right_side, hierarchy, rtol=1e-9)
    np.testing.assert_allclose(closer, expected, atol=1e-6)

    with pytest.warns(RuntimeWarning, match="relative residual"):
        solve(matrix, right_side, hierarchy, rtol=1e-12, max_iterations=3)
    with pytest.raises(ParameterError):
        solve(matrix, right_side, hierarchy, rtol=0)


# Propagation


@pytest.mark.parametrize("reduction", [1, 2, 4])
def test_constant_seeds_give_the_constant(photo, seeded, reduction):
    _, weights = seeded
    found = propagate(np.full(weights.shape, 1.4), weights, photo, reduction=reduction)
    assert found.dtype == np.float32 and found.shape == weights.shape
    np.testing.assert_allclose(found, 1.4, atol=1e-5)  # float32 coefficients of the upsampling


def test_exact_propagation_is_the_direct_solution(photo, seeded):
    seeds, weights = seeded
    found = propagate(seeds, weights, photo, reduction=1)
    # A hundredth of a DHDE class step.
    np.testing.assert_allclose(found, _direct(*seeded, photo), atol=2e-3)
    leaking = propagate(seeds, weights, photo, reduction=1, leak=1e-4)
    np.testing.assert_allclose(leaking, _direct(*seeded, photo, leak=1e-4), atol=2e-3)


@pytest.mark.parametrize(("reduction", "bound"), [(2, 0.03), (4, 0.05), (8, 0.08)])
def test_reduced_propagation_stays_close_to_the_exact_one(photo, seeded, reduction, bound):
    exact = propagate(*seeded, photo, reduction=1)
    reduced = propagate(*seeded, photo, reduction=reduction)
    # A third of a DHDE class step (0.15 px) at reduction 4; a golden photograph gives 0.015, 0.023, 0.029 px.
    assert np.abs(reduced - exact).mean() < bound


@pytest.mark.parametrize(("reduction", "tolerance"), [(1, 0.03), (4, 0.15)])
def test_a_step_in_the_guide_stays_a_step_in_the_map(reduction, tolerance):
    side = np.arange(64) >= 32
    guide = np.repeat(np.where(side, 0.9, 0.1)[None, :, None], 48, axis=0) * np.ones(3)
    weights = np.zeros((48, 64))
    weights[:, [5, 58]] = 1
    seeds = np.broadcast_to(np.where(side, 2.0, 0.5), weights.shape)
    found = propagate(seeds, weights, guide, reduction=reduction, rtol=1e-6)
    # eps lets the sides pull at each other a little, and upsampling mixes in windows of the other side for
    # two pixels beside the step (0.11). A map that ignores the guide is off by 0.7 there.
    np.testing.assert_allclose(found, seeds, atol=tolerance)
    np.testing.assert_allclose(found[:, [10, 50]], seeds[:, [10, 50]], atol=0.03)


def test_several_maps_at_once_are_those_one_by_one_and_linear(photo, seeded):
    seeds, weights = seeded
    other = np.random.default_rng(0).random(weights.shape)
    both = propagate(np.stack([seeds, other], axis=-1), weights, photo, rtol=1e-8)
    np.testing.assert_allclose(both[..., 0], propagate(seeds, weights, photo, rtol=1e-8), atol=1e-6)
    mixed = propagate(2 * seeds - 3 * other, weights, photo, rtol=1e-8)
    # The solver's tolerance and float32, both far below this.
    np.testing.assert_allclose(mixed, 2 * both[..., 0] - 3 * both[..., 1], atol=1e-3)


@pytest.mark.parametrize("turn", [lambda a: a[::-1], lambda a: a[:, ::-1], lambda a: np.swapaxes(a, 0, 1)])
@pytest.mark.parametrize("reduction", [1, 4])
def test_turned_photographs_give_turned_maps(photo, seeded, turn, reduction):
    # 128 x 140: blocks of 4 fall on the same pixels after a flip.
    seeds, weights, guide = seeded[0][:128], seeded[1][:128], photo[:128]
    found = propagate(seeds, weights, guide, reduction=reduction, rtol=1e-7)
    turned = propagate(turn(seeds), turn(weights), turn(guide), reduction=reduction, rtol=1e-7)
    # The solver's tolerance, with aggregates elsewhere.
    np.testing.assert_allclose(turned, turn(found), atol=1e-3)


def test_values_hardly_leave_the_seeds_range(photo, seeded):
    seeds, weights = seeded
    low, high = np.nanmin(seeds), np.nanmax(seeds)
    for reduction in (1, 4):
        found = propagate(seeds, weights, photo, reduction=reduction)
        # Locally linear models extrapolate: up to 0.09 px measured on golden photographs with a range of 0.9.
        assert found.min() > low - 0.25 * (high - low)
        assert found.max() < high + 0.25 * (high - low)


def test_a_leak_lowers_what_is_far_from_seeds():
    rng = np.random.default_rng(1)
    guide = 0.5 + 0.05 * rng.random((40, 60, 3))
    weights = np.zeros((40, 60))
    weights[:, :5] = 1
    found = propagate(np.ones((40, 60)), weights, guide, reduction=1, leak=1e-4, rtol=1e-8)
    assert found[:, -5:].mean() < found[:, :5].mean() < 1
    # Rows of the Laplacian sum to 0, so what the seeds put in is what the leak takes out.
    put_in, taken_out = 0.005 * (weights * (1 - found)).sum(), 1e-4 * found.sum()
    assert put_in == pytest.approx(taken_out, rel=1e-4)  # float32 differences 1 - found


@pytest.mark.parametrize("shape", [(3, 3), (3, 50), (13, 11), (50, 70)])
def test_small_photographs_and_grey_guides_are_propagated(shape):
    weights = np.zeros(shape)
    weights[1, 1] = 1
    found = propagate(np.full(shape, 0.8), weights, np.full((*shape, 3), 0.4))
    np.testing.assert_allclose(found, 0.8, atol=1e-5)


def test_a_further_plane_of_the_guide_lets_values_change_where_no_colour_does():
    """One grey surface, 1 known at the left rim and 3 at the right: without more, the values run into one another."""
    shape = (12, 40)
    seeds, weights = np.ones(shape), np.zeros(shape)
    seeds[:, 20:] = 3
    weights[:, [0, 1, -2, -1]] = 1
    grey = np.full((*shape, 3), 0.5)
    step = np.zeros((*shape, 1))
    step[:, 20:] = 0.2
    even = propagate(seeds, weights, grey)
    tied = propagate(seeds, weights, np.concatenate([grey, step], 2))
    assert 1.5 < even[6, 15] < 2.5
    np.testing.assert_allclose(tied[:, :18], 1, atol=0.05)
    np.testing.assert_allclose(tied[:, 22:], 3, atol=0.05)


def test_refusals_name_the_fault(photo, seeded):
    seeds, weights = seeded
    with pytest.raises(DefocusError, match="no seed"):
        propagate(seeds, np.zeros_like(weights), photo)
    with pytest.raises(ParameterError, match="guide H x W x C"):
        propagate(seeds, weights, photo[..., 0])
    with pytest.raises(ParameterError, match="not negative"):
        propagate(seeds, -weights, photo)
    with pytest.raises(ParameterError, match="not finite"):
        propagate(seeds, np.ones_like(weights), photo)
    with pytest.raises(ParameterError, match="reduction"):
        propagate(seeds, weights, photo, reduction=0)


@pytest.mark.slow
@needs_golden
def test_reductions_on_a_golden_photograph():
    with np.load(GOLDEN / "dhde_0002.npz") as arrays:
        guide = (arrays["rolling_guidance"] / 65535).astype(np.float32)
        seeds, weights = arrays["filtered_sparse_sigma"], (arrays["edges"] > 0).astype(np.float32)
    exact = propagate(seeds, weights, guide, reduction=1)
    # Measured against the direct solution: 0.015 (2), 0.023 (4), 0.029 px (8); averaged weights give 0.06.
    for reduction, bound in ((2, 0.017), (4, 0.026), (8, 0.032)):
        error = np.abs(propagate(seeds, weights, guide, reduction=reduction) - exact)
        assert error.mean() < bound
        assert error.max() < 0.4


def test_importing_propagation_leaves_the_linear_algebra_alone():
    code = "import sys, defocus.propagation; sys.exit('scipy.sparse.linalg' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
