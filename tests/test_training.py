"""Training: same seed, same network; killed and resumed equals uninterrupted; photographs are never shared."""

import numpy as np
import pytest
from PIL import Image
from skimage import data

from defocus.errors import DefocusError
from defocus.methods.dhde.features.layout import LARGE, SMALL
from defocus.training.dhde.patches import RELEASED, PatchRecipe, PatchSet, make_patches

torch = pytest.importorskip("torch", reason="training needs the extra `train` (PyTorch)")

from defocus.methods.dhde.classifier import PatchClassifier  # noqa: E402
from defocus.training.dhde.fitting import (  # noqa: E402
    TrainingParameters,
    calibrated_temperature,
    fit,
    score,
    train_network,
)
from defocus.training.dhde.network import DHDENetwork, standardisation  # noqa: E402
from defocus.training.photographs import find_photographs, split_photographs  # noqa: E402

RECIPE = PatchRecipe(patches_per_label=6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("photographs")
    for index, pixels in enumerate((data.astronaut(), data.coffee(), data.rocket())):
        Image.fromarray(pixels[:200, 100:360]).save(path / f"{index}.png")
    return path


@pytest.fixture(scope="module")
def patches(folder):
    return make_patches(find_photographs(folder), RECIPE, seed=1)


def test_patches_are_balanced_and_consistent(patches):
    assert len(patches.large) == len(patches.small) > 100
    assert np.array_equal(
        np.bincount(patches.large_labels, minlength=11), np.bincount(patches.small_labels, minlength=11)
    )
    assert patches.large.shape[1:] == (3, LARGE.width, LARGE.width)
    assert patches.small.shape[1:] == (3, SMALL.width, SMALL.width)
    assert np.isfinite(patches.large_features).all()
    assert not patches.large_beyond[(patches.large_labels > 0) & (patches.large_labels < 10)].any()


def test_blurrier_labels_have_softer_patches(patches):
    def steepness(label):
        grey = patches.large[patches.large_labels == label].max(axis=1).astype(float)
        spread = grey.max(axis=(1, 2)) - grey.min(axis=(1, 2))
        return float((np.abs(np.diff(grey, axis=2)).max(axis=(1, 2)) / (spread + 1)).mean())

    assert steepness(0) > steepness(5) > steepness(10)


def test_patches_do_not_depend_on_the_number_of_processes(folder, patches):
    again = make_patches(find_photographs(folder), RECIPE, seed=1, processes=2)
    assert np.array_equal(again.large, patches.large)
    assert np.array_equal(again.small_features, patches.small_features)
    other = make_patches(find_photographs(folder), RECIPE, seed=2)
    assert not np.array_equal(other.large[:50], patches.large[:50])


def test_released_recipe_has_no_beyond(folder):
    released = make_patches(find_photographs(folder)[:1], RELEASED, seed=0)
    assert not released.large_beyond.any()


def test_patch_sets_are_kept_without_loss(patches, tmp_path):
    patches.save(tmp_path / "set.npz")
    back = PatchSet.load(tmp_path / "set.npz")
    assert np.array_equal(back.large, patches.large)
    assert np.array_equal(back.small_labels, patches.small_labels)
    assert [path.name for path in tmp_path.iterdir()] == ["set.npz"]


def test_photographs_are_never_shared(folder):
    training, held_out = split_photographs(find_photographs(folder), 0.34, seed=0)
    assert len(held_out) == 1
    assert set(training).isdisjoint(held_out)
    assert set(training) | set(held_out) == set(find_photographs(folder))


def test_a_network_learns_and_the_same_seed_gives_the_same(patches):
    parameters = TrainingParameters(recipe=RECIPE, epochs=6, batch=64)
    losses = []
    first = fit(patches, parameters, report=lambda step, share, words: losses.append(float(words.split()[-1])))
    second = fit(patches, parameters)
    assert losses[-1] < 0.9 * losses[0]
    for one, other in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_folded_weights_give_what_the_network_gives(patches, tmp_path):
    parameters = TrainingParameters(recipe=RECIPE, epochs=2, batch=64)
    network = fit(patches, parameters)
    network.weights({"name": "test"}).save(tmp_path / "w.onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (60, 60, 3)).astype(np.float32)
    value = pixels.max(axis=2).astype(float) / 255
    positions = np.array([[30, 30], [10, 40]])
    from defocus.methods.dhde.classifier import cnn_patches
    from defocus.methods.dhde.features.layout import HandCrafted
    from defocus.methods.dhde.features.patches import PatchReader, pad_edges

    for scale in (LARGE, SMALL):
        found = PatchClassifier(tmp_path / "w.onnx").probabilities(pixels, value, positions, scale)
        cut = cnn_patches(PatchReader(pad_edges(pixels, scale.radius), scale.radius)(positions))
        with torch.no_grad():
            scores = network(torch.from_numpy(cut), torch.from_numpy(HandCrafted(value, scale)(positions)))
        np.testing.assert_allclose(found, torch.softmax(scores, 1).numpy(), atol=1e-4)  # float32 in another order


def test_features_left_out_have_no_influence(patches):
    mean, deviation = standardisation(patches.large_features, patches.small_features)
    torch.manual_seed(0)
    network = DHDENetwork(mean, deviation, features=("dct",)).eval()
    features = torch.from_numpy(patches.large_features[:8])
    changed = features.clone()
    changed[:, 40:65] = 0.5  # the gradient feature's values of the large patch
    pixels = torch.zeros(8, 3, 27, 27)
    with torch.no_grad():
        assert torch.equal(network(pixels, features), network(pixels + 9, changed))
        moved = features.clone()
        moved[:, 5] += 0.5
        assert not torch.equal(network(pixels, features), network(pixels, moved))


class Killed(Exception):
    """Stands for the process being killed."""


@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted(folder, tmp_path):
    parameters = TrainingParameters(recipe=RECIPE, epochs=3, batch=64, held_out=0.34)
    whole = train_network(folder, tmp_path / "whole.onnx", parameters)

    def kill(step, share, words):
        if step == "training" and share > 0.7:
            raise Killed

    with pytest.raises(Killed):
        train_network(folder, tmp_path / "cut.onnx", parameters, report=kill)
    assert not (tmp_path / "cut.onnx").exists()
    resumed = train_network(folder, tmp_path / "cut.onnx", parameters, resume=True)
    assert resumed == whole
    card = (tmp_path / "cut.md").read_text(encoding="utf-8")
    assert "held out" in card
    with pytest.raises(DefocusError, match="other parameters"):
        train_network(folder, tmp_path / "cut.onnx", TrainingParameters(recipe=RECIPE, epochs=4), resume=True)


def test_scores_and_temperature():
    labels = np.repeat(np.arange(11), 50)
    right = np.full((550, 11), 0.01)
    right[np.arange(550), labels] = 0.9
    figures = score(right, labels)
    assert figures.top1 == 1
    assert figures.argmax_error == 0
    assert figures.calibration_error == pytest.approx(0.1, abs=1e-3)  # it says 0.9 and is always right
    assert calibrated_temperature(right, labels) < 0.9


def test_wrong_folders(tmp_path):
    with pytest.raises(DefocusError, match="no folder"):
        find_photographs(tmp_path / "missing")
    with pytest.raises(DefocusError, match="no photographs"):
        find_photographs(tmp_path)
    for index in range(2):
        Image.new("RGB", (64, 64), (90, 90, 90)).save(tmp_path / f"{index}.png")
    with pytest.raises(DefocusError, match="edges sharp enough"):
        make_patches(find_photographs(tmp_path), RECIPE, seed=0)
