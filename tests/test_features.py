"""The hand-crafted features: the authors' numbers, and what they must not depend on."""

import numpy as np
import pytest
from scipy import ndimage
from skimage import data

from defocus.methods.dhde.edges import value_channel
from defocus.methods.dhde.features.layout import FEATURE_SIZE, HAND_CRAFTED_SIZE, LARGE, SMALL, HandCrafted
from defocus.methods.dhde.features.patches import PatchReader, pad_edges


@pytest.mark.parametrize("scale", [LARGE, SMALL], ids=lambda scale: scale.name)
@pytest.mark.parametrize("name", ["0001", "0002"])
def test_features_equal_the_authors(name, scale, authors_golden):
    pixels, golden = authors_golden(name)
    features = HandCrafted(value_channel(pixels / 255), scale).features(golden[f"positions_{scale.name}"])
    for feature, values in features.items():
        # Both are float64; 1e-9 is the project's bar, and the difference is in fact below 1e-15.
        np.testing.assert_allclose(values, golden[f"{feature}_{scale.name}"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("scale", [LARGE, SMALL], ids=lambda scale: scale.name)
def test_features_equal_the_recorded_sample(scale, astronaut_golden):
    value, golden = astronaut_golden
    features = HandCrafted(value, scale).features(golden[f"positions_{scale.name}"])
    for feature, values in features.items():
        np.testing.assert_allclose(values, golden[f"{feature}_{scale.name}"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("scale", [LARGE, SMALL], ids=lambda scale: scale.name)
def test_layout(scale):
    value = value_channel(data.coffee()[:100, :120] / 255)
    positions = np.array([[0, 0], [50, 60], [99, 119]])
    hand_crafted = HandCrafted(value, scale)
    vector, features = hand_crafted(positions), hand_crafted.features(positions)
    assert vector.shape == (3, HAND_CRAFTED_SIZE)
    for index, values in enumerate(features.values()):
        part = vector[:, index * FEATURE_SIZE : (index + 1) * FEATURE_SIZE]
        own = slice(scale.offset, scale.offset + scale.bins)
        np.testing.assert_array_equal(part[:, own], values.astype(np.float32))
        assert (part[:, scale.offset + scale.bins] == 1).all()
        other = np.delete(part, np.r_[own, scale.offset + scale.bins], axis=1)
        assert not other.any()
        np.testing.assert_allclose(values.sum(axis=1), 1, atol=1e-12)  # normalised by construction


def test_blur_moves_energy_to_low_frequencies_and_small_gradients():
    value = value_channel(data.coffee()[:200, :300] / 255)
    positions = np.argwhere(np.ones((200, 300), bool))[::997]
    means = []
    for sigma in (0, 1, 2):
        blurred = ndimage.gaussian_filter(value, sigma) if sigma else value
        features = HandCrafted(blurred, LARGE).features(positions)
        # The centre of each profile: where along frequency, gradient strength or rank the feature lies.
        means.append([float((f @ np.arange(25)).mean()) for f in features.values()])
    assert np.all(np.diff(means, axis=0) < 0)


def test_a_black_patch_has_finite_features():
    features = HandCrafted(np.zeros((40, 40)), LARGE).features(np.array([[20, 20]]))
    assert all(np.isfinite(values).all() for values in features.values())
    assert not features["dct"].any()


def test_patches_continue_the_border():
    image = np.arange(12.0).reshape(3, 4)
    patch = PatchReader(pad_edges(image, 1), 1)(np.array([[0, 3]]))[0]
    np.testing.assert_array_equal(patch, [[2, 3, 3], [2, 3, 3], [6, 7, 7]])
