from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data

from defocus.errors import ParameterError
from defocus.filters import guided_upsample, probability_joint_bilateral
from defocus.filters.box import block_average, block_sum, box_mean
from defocus.methods.dhde.rolling_guidance import rolling_guidance_filter
from defocus.methods.dhde.weighted_median import joint_weighted_median

GOLDEN = Path(__file__).resolve().parents[2] / "shared" / "golden"
needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="../shared/golden is not beside this checkout")


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return data.astronaut()[:150, 150:261].astype(np.float32) / 255  # odd sizes, 150 x 111


@pytest.fixture(scope="module", params=["0001", "0002"])
def golden(request):
    with (
        np.load(GOLDEN / f"dhde_{request.param}.npz") as arrays,
        Image.open(GOLDEN / f"{request.param}.jpg") as jpeg,
    ):
        return {"photo": np.asarray(jpeg.convert("RGB")) / np.float32(255), **arrays}


# Rolling guidance


def test_rolling_guidance_is_the_definition(photo):
    image = photo[40:62, 30:55].astype(np.float64)
    sigma_space, sigma_colour, radius = 1.0, 0.1, 3
    ys, xs = np.mgrid[: image.shape[0], : image.shape[1]]
    guide = np.zeros_like(image)
    for _ in range(3):
        result = np.empty_like(image)
        for y, x in np.ndindex(image.shape[:2]):
            near = np.maximum(abs(ys - y), abs(xs - x)) <= radius
            d2 = (ys - y) ** 2 + (xs - x) ** 2
            weight = np.exp(-d2 / (2 * sigma_space**2))
            weight *= np.exp(-((guide - guide[y, x]) ** 2).sum(2) / (2 * sigma_colour**2)) * near
            result[y, x] = (image * weight[..., None]).sum((0, 1)) / weight.sum()
        guide = result
    found = rolling_guidance_filter(photo[40:62, 30:55], sigma_space=1.0, sigma_colour=0.1)
    # float32 sums of 49 terms of size 1: a few 1e-7, doubled by feeding one iteration into the next.
    np.testing.assert_allclose(found, guide, atol=5e-6)


@needs_golden
def test_rolling_guidance_agrees_with_the_authors(golden):
    found = rolling_guidance_filter(golden["photo"])
    difference = np.abs(found - golden["rolling_guidance"] / 65535)
    # The authors' bilateral grid acts like a slightly smaller sigma_space (1.4): 0.0023 and 0.0010 in the
    # mean, 0.04 and 0.05 at the worst pixel. Not filtering at all is off by 0.013 and 0.007.
    assert difference.mean() < 0.0025
    assert difference.max() < 0.07
    assert difference.mean() < 0.25 * np.abs(golden["photo"] - golden["rolling_guidance"] / 65535).mean()


def test_rolling_guidance_agrees_with_opencv(photo):
    grey = np.ascontiguousarray(photo[..., 1])  # OpenCV adds up colour differences, so only grey has one definition
    found = rolling_guidance_filter(grey, sigma_space=2, sigma_colour=0.3)
    reference = cv2.ximgproc.rollingGuidanceFilter(grey, d=13, sigmaColor=0.3, sigmaSpace=2, numOfIter=4)
    inner = np.s_[8:-8, 8:-8]  # OpenCV mirrors the border
    # OpenCV's window is a disc, its weights come from a table, and it starts from another guide.
    assert np.abs(found - reference)[inner].mean() < 1e-3
    gaussian_only = rolling_guidance_filter(grey, sigma_space=2, iterations=1)
    assert np.abs(gaussian_only - reference)[inner].mean() > 1.5e-3


def test_rolling_guidance_keeps_a_step_and_removes_speckle():
    image = np.zeros((40, 40), dtype=np.float32)
    image[:, 20:] = 1
    image[10, 10] = 0.3
    found = rolling_guidance_filter(image, sigma_space=1.5, sigma_colour=0.1, iterations=6)
    assert found[10, 10] < 0.05  # a Gaussian of sigma 1.5 leaves 0.3 * 0.07
    assert found[30, 18] < 0.02 and found[30, 21] > 0.98


@pytest.mark.parametrize("flip", [np.s_[::-1], np.s_[:, ::-1]])
def test_rolling_guidance_commutes_with_flips_and_transposes(photo, flip):
    found = rolling_guidance_filter(photo, sigma_colour=0.1)
    # Sums in another order: float32 rounding only.
    np.testing.assert_allclose(rolling_guidance_filter(photo[flip], sigma_colour=0.1)[flip], found, atol=5e-6)
    turned = rolling_guidance_filter(photo.transpose(1, 0, 2), sigma_colour=0.1).transpose(1, 0, 2)
    np.testing.assert_allclose(turned, found, atol=5e-6)


@pytest.mark.parametrize("rows", [1, 3, 64])
def test_rolling_guidance_strips_change_nothing(photo, rows):
    whole = rolling_guidance_filter(photo, sigma_colour=0.1, strip_rows=1000)
    # The order of the sums inside one pixel does not depend on the strips.
    np.testing.assert_array_equal(rolling_guidance_filter(photo, sigma_colour=0.1, strip_rows=rows), whole)


def test_rolling_guidance_of_a_constant_and_of_tiny_images():
    np.testing.assert_allclose(rolling_guidance_filter(np.full((9, 4, 3), 0.3)), 0.3, atol=1e-6)
    assert rolling_guidance_filter(np.ones((1, 1, 3))).shape == (1, 1, 3)
    assert rolling_guidance_filter(np.ones((2, 7))).shape == (2, 7)


def test_rolling_guidance_refuses_bad_parameters(photo):
    with pytest.raises(ParameterError, match="positive"):
        rolling_guidance_filter(photo, sigma_colour=0)


# Probability-joint bilateral


@needs_golden
def test_probability_joint_bilateral_equals_the_authors(golden):
    found = probability_joint_bilateral(
        golden["sparse_sigma"],
        golden["confidence"],
        golden["edges"] > 0,
        golden["photo"][..., 0],
        sigma_space=100,
        sigma_colour=100,
        sigma_probability=1.0,
    )
    # Golden is float32: its rounding at values up to 2 is 1.2e-7, ours is the same again.
    np.testing.assert_allclose(found, golden["filtered_sparse_sigma"], atol=5e-7)


def test_probability_joint_bilateral_is_the_definition(photo):
    rng = np.random.default_rng(1)
    guide = photo[:30, :26]
    shape = guide.shape[:2]
    edges, sigma, p = rng.random(shape) < 0.2, rng.uniform(0.5, 2, shape), rng.random(shape)
    found = probability_joint_bilateral(
        np.where(edges, sigma, np.nan),
        p,
        edges,
        guide,
        radius=4,
        sigma_space=2,
        sigma_colour=0.2,
        sigma_probability=0.4,
    )
    ys, xs = np.mgrid[: shape[0], : shape[1]]
    expected = np.zeros(shape)
    for y, x in np.argwhere(edges):
        weight = np.exp(-((ys - y) ** 2 + (xs - x) ** 2) / 8)
        weight *= np.exp(-((guide.astype(float) - guide[y, x]) ** 2).sum(2) / 0.08) * np.exp(-((1 - p) ** 2) / 0.32)
        weight *= edges & (np.maximum(abs(ys - y), abs(xs - x)) <= 4)
        expected[y, x] = (weight * sigma).sum() / weight.sum()
    np.testing.assert_allclose(found, expected, atol=3e-6)  # float32 weights


def test_probability_joint_bilateral_keeps_a_constant_ignores_unsure_labels_and_has_no_edges():
    rng = np.random.default_rng(2)
    edges = rng.random((40, 50)) < 0.3
    guide = rng.random((40, 50, 3))
    settings = {"sigma_space": 5.0, "sigma_colour": 0.3, "sigma_probability": 0.1}
    constant = probability_joint_bilateral(np.full(edges.shape, 1.3), guide[..., 0], edges, guide, **settings)
    np.testing.assert_allclose(constant[edges], 1.3, rtol=1e-6)
    assert (constant[~edges] == 0).all()

    pair = np.zeros((5, 5), dtype=bool)
    pair[2, 2] = pair[2, 3] = True
    sigma = np.where(np.arange(5) == 3, 2.0, 0.5) * np.ones((5, 1))
    probability = np.where(np.arange(5) == 3, 0.2, 1.0) * np.ones((5, 1))
    found = probability_joint_bilateral(sigma, probability, pair, np.zeros((5, 5)), **settings)
    np.testing.assert_allclose(found[pair], 0.5, atol=1e-6)  # the unsure label weighs exp(-32)

    assert not probability_joint_bilateral(sigma, probability, np.zeros_like(pair), sigma, **settings).any()
    with pytest.raises(ParameterError):
        probability_joint_bilateral(sigma, probability, pair, sigma, **(settings | {"sigma_colour": 0.0}))


def test_probability_joint_bilateral_chunks_change_nothing(photo, monkeypatch):
    rng = np.random.default_rng(3)
    shape = photo.shape[:2]
    arguments = (rng.random(shape), rng.random(shape), rng.random(shape) < 0.1, photo)
    settings = {"sigma_space": 5.0, "sigma_colour": 0.3, "sigma_probability": 0.5}
    whole = probability_joint_bilateral(*arguments, **settings)
    module = sys.modules[probability_joint_bilateral.__module__]
    monkeypatch.setattr(module, "PAIRS_AT_A_TIME", 50)  # less than some pixels' own pairs
    np.testing.assert_array_equal(probability_joint_bilateral(*arguments, **settings), whole)


# Joint weighted median


def _median_oracle(values, guide, radius, sigma):
    result = np.empty_like(values)
    for y, x in np.ndindex(values.shape):
        window = np.s_[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
        weight = np.exp(-((guide[window] - guide[y, x]) ** 2).sum(-1) / (2 * sigma**2)).ravel()
        order = np.argsort(values[window].ravel(), kind="stable")
        total = np.cumsum(weight[order])
        result[y, x] = values[window].ravel()[order][np.argmax(total >= total[-1] / 2)]
    return result


def test_weighted_median_is_the_definition(photo):
    rng = np.random.default_rng(4)
    guide = photo[50:80, 40:75].astype(np.float64)
    values = rng.integers(0, 256, guide.shape[:2]).astype(float)
    values[0, :2] = 0, 255
    found = joint_weighted_median(values, guide, radius=3, sigma=0.25, iterations=1)
    # Weights in steps of 1/4095 decide near-ties the other way now and then.
    assert (found != _median_oracle(values, guide, 3, 0.25)).mean() < 0.005


@pytest.mark.parametrize("sigma", [10.0, 63.75])
def test_weighted_median_agrees_with_opencv(photo, sigma):
    guide, values = ((photo[..., c] * 255).round().astype(np.uint8) for c in (1, 0))
    values[0, :2] = 0, 255
    reference = cv2.ximgproc.weightedMedianFilter(guide, values, 5, sigma=sigma, weightType=cv2.ximgproc.WMF_EXP)
    found = joint_weighted_median(values.astype(float), guide / 255.0, radius=5, sigma=sigma / 255, iterations=1)
    # Near-ties fall either way, by one step of the values present in the window.
    assert (found != reference).mean() < 0.03
    assert np.abs(found - reference).mean() < 0.05


def test_weighted_median_removes_a_spot_but_not_a_supported_object():
    values = np.full((30, 30), 0.5)
    values[:, 15:] = 1.5
    guide = np.repeat((values - 0.5)[..., None], 3, axis=2)
    spotted = values.copy()
    spotted[5:8, 5:8] = 1.5
    np.testing.assert_allclose(joint_weighted_median(spotted, guide), values, atol=1e-6)


def test_weighted_median_symmetry_strips_and_constants(photo):
    rng = np.random.default_rng(5)
    values = rng.uniform(0.5, 2, photo.shape[:2])
    found = joint_weighted_median(values, photo, radius=2, levels=200)
    assert found.min() >= values.min() - 1e-6 and found.max() <= values.max() + 1e-6
    for rows in (1, 7, 1000):
        np.testing.assert_array_equal(
            joint_weighted_median(values, photo, radius=2, levels=200, strip_rows=rows), found
        )
    np.testing.assert_array_equal(
        joint_weighted_median(values[::-1, ::-1], photo[::-1, ::-1], radius=2, levels=200)[::-1, ::-1], found
    )
    np.testing.assert_array_equal(joint_weighted_median(np.full((6, 7), 1.25), np.zeros((6, 7, 3))), 1.25)
    with pytest.raises(ParameterError):
        joint_weighted_median(values, photo, levels=1)


# Boxes, blocks and guided upsampling


def test_box_mean_and_blocks_count_only_what_is_there():
    rng = np.random.default_rng(6)
    values = rng.random((7, 10))
    mean = box_mean(values, 2)
    assert mean[0, 0] == pytest.approx(values[:3, :3].mean())
    assert mean[6, 5] == pytest.approx(values[4:, 3:8].mean())
    blocks = block_average(values, 4)
    assert blocks.shape == (2, 3)
    assert blocks[1, 2] == pytest.approx(values[4:, 8:].mean())
    assert block_sum(values, 4).sum() == pytest.approx(values.sum())


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
@pytest.mark.parametrize("shape", [(64, 80), (61, 83)])
def test_guided_upsampling_does_not_shift(shape, factor):
    # A guide without information leaves bilinear interpolation, which is exact for ramps between block
    # centres.
    ramps = np.stack(np.mgrid[: shape[0], : shape[1]], axis=-1).astype(np.float64)
    coarse = block_average(ramps, factor)
    grey = np.full((*shape, 3), 0.5)
    found = guided_upsample(coarse, block_average(grey, factor), grey, reduction=factor, radius=0)
    inner = np.s_[factor:-factor, factor:-factor]
    np.testing.assert_allclose(found[inner], ramps[inner], atol=1e-4)  # float32 at values up to 83


@pytest.mark.parametrize("factor", [2, 4])
def test_guided_upsampling_is_exact_for_maps_linear_in_the_guide(photo, factor):
    target = photo @ np.array([0.4, -0.7, 1.1]) + 0.6
    stacked = np.stack([target, 1 - target], axis=-1)
    small = block_average(photo, factor)
    found = guided_upsample(block_average(stacked, factor), small, photo, reduction=factor, eps=1e-9)
    # eps shrinks the slopes a little where the window is nearly flat.
    np.testing.assert_allclose(found, stacked, atol=2e-3)
    single = guided_upsample(block_average(target, factor), small, photo, reduction=factor, eps=1e-9)
    np.testing.assert_allclose(single, found[..., 0], atol=1e-5)


def test_guided_upsampling_bands_change_nothing(photo, monkeypatch):
    small = block_average(photo, 4)
    whole = guided_upsample(small[..., 0] ** 2, small, photo, reduction=4)
    monkeypatch.setattr(sys.modules[guided_upsample.__module__], "PIXELS_AT_A_TIME", 300)
    np.testing.assert_array_equal(guided_upsample(small[..., 0] ** 2, small, photo, reduction=4), whole)
