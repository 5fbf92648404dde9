"""Discriminative blur features: each tells sharp from blurred, and the naive Bayes of them does better."""

import numpy as np
import pytest
from scipy import ndimage
from skimage import data

import defocus
from defocus.errors import ParameterError, WeightsError
from defocus.methods.shi2014.features import (
    FEATURE_NAMES,
    STRIDE,
    discriminative_features,
    gradient_kurtosis,
    gradient_span,
)
from defocus.methods.shi2014.method import LAYOUT, Shi2014Parameters, probability_of_blur
from defocus.methods.weights_file import read_array_weights


@pytest.fixture(scope="module")
def grey():
    return ndimage.zoom(data.camera() / 255, 0.5, order=1)


@pytest.mark.parametrize("size", [11, 15, 21])
def test_every_feature_tells_sharp_from_blurred(grey, size):
    filters = read_array_weights("shi2014", LAYOUT).arrays[f"filters_{size}"]
    sharp = discriminative_features(grey, size, filters)
    blurred = discriminative_features(ndimage.gaussian_filter(grey, 2.5), size, filters)
    assert sharp.shape == (-(-grey.shape[0] // STRIDE), -(-grey.shape[1] // STRIDE), len(FEATURE_NAMES))
    assert np.isfinite(sharp).all()
    deviation = ndimage.generic_filter(grey, np.std, size=9)[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]
    detailed = deviation > 0.06
    for index, name in enumerate(FEATURE_NAMES):
        higher = np.mean(sharp[..., index][detailed] > blurred[..., index][detailed])
        assert higher > 0.7, name


def test_kurtosis_of_a_patch_is_that_of_its_gradients():
    random = np.random.default_rng(0)
    grey = random.random((60, 60))
    place = 6  # of the grid; its patch is centred at 26
    patch = np.s_[21:32, 21:32]
    across, down = np.diff(grey, axis=1, append=grey[:, -1:])[patch], np.diff(grey, axis=0, append=grey[-1:])[patch]

    def kurtosis(g):
        return np.mean((g - g.mean()) ** 4) / np.var(g) ** 2

    wanted = np.log(max(min(kurtosis(across), kurtosis(down)), 1))
    assert gradient_kurtosis(grey, 11)[place, place] == pytest.approx(wanted, rel=1e-6)


def test_the_span_grows_with_contrast_and_is_finite_without_any():
    random = np.random.default_rng(0)
    texture = random.random((80, 80))
    assert gradient_span(texture, 15).mean() > gradient_span(0.2 * texture, 15).mean() + 1
    assert np.isfinite(gradient_span(np.full((40, 40), 0.5), 15)).all()


def test_naive_bayes_by_hand():
    classes = np.array([[[1.0, 0.0], [1.0, 4.0]], [[-1.0, 0.0], [1.0, 1.0]]])
    features = np.array([0.3, 2.0])

    def density(mean, variance):
        return np.prod(np.exp(-0.5 * (features - mean) ** 2 / variance) / np.sqrt(variance))

    blurred, sharp = (density(*c) for c in classes)
    assert probability_of_blur(features[None], classes)[0] == pytest.approx(blurred / (blurred + sharp))


def test_the_score_rises_with_blur():
    pixels = data.astronaut()[::2, ::2]
    means = []
    for sigma in (0, 1, 2, 4):
        blurred = np.rint(ndimage.gaussian_filter(pixels.astype(float), (sigma, sigma, 0))).astype(np.uint8)
        m = defocus.estimate(blurred, method="shi2014")
        assert m.unit == "score"
        means.append(m.sigma.mean())
    assert (np.diff(means) > 0).all()


def test_wrong_parameters_and_weights_are_refused(tmp_path):
    for wrong in ({"coupling": -1.0}, {"node_weight": 0.0}, {"sweeps": 0}):
        with pytest.raises(ParameterError):
            Shi2014Parameters(**wrong)
    with pytest.raises(WeightsError):
        defocus.estimate(data.astronaut()[:64, :64], method="shi2014", weights=tmp_path / "missing.npz")
