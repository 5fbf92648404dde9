"""The network: the authors' weights and our own, and what a wrong weights file says."""

import os

import numpy as np
import pytest
from scipy import ndimage
from skimage import data

from defocus.errors import WeightsError
from defocus.methods.dhde.classifier import PatchClassifier
from defocus.methods.dhde.edges import value_channel
from defocus.methods.dhde.features.layout import LARGE, SMALL
from defocus.methods.dhde.weights import BLUR_LABELS, SHAPES, DHDEWeights

LABELS = np.array(BLUR_LABELS)


@pytest.mark.parametrize("name", ["0001", "0002"])
def test_the_authors_weights_give_the_authors_labels(name, authors_golden, authors_weights):
    pixels, golden = authors_golden(name)
    classifier = PatchClassifier(authors_weights)
    for label, scale in ((1, LARGE), (2, SMALL)):
        at = np.nonzero(golden["edges"] == label)
        found = classifier.probabilities(
            pixels.astype(np.float32), value_channel(pixels / 255), np.stack(at, axis=1), scale
        )
        # Every label agrees; 99.5 % is the project's bar.
        assert np.mean(np.abs(LABELS[found.argmax(axis=1)] - golden["sparse_sigma"][at]) < 1e-3) >= 0.995
        # Rounding a feature of x.5 to an integer may go the other way in MATLAB: 3e-4 at single pixels, 5e-6 elsewhere.
        assert np.abs(found.max(axis=1) - golden["confidence"][at]).max() < 1e-3
        assert np.median(np.abs(found.max(axis=1) - golden["confidence"][at])) < 1e-5


def random_weights(seed=0, **flags):
    random = np.random.default_rng(seed)
    parameters = {
        name: random.normal(0, 1 / np.sqrt(np.prod(shape[1:], initial=1)), shape).astype(np.float32)
        for name, shape in SHAPES.items()
    }
    parameters["conv1.weight"] /= 255
    return DHDEWeights(parameters, card={"name": "random"}, **flags)


def convolved(response, weight, bias):
    kernel = weight.shape[2]
    windows = np.lib.stride_tricks.sliding_window_view(response, (kernel, kernel), axis=(2, 3))
    return np.maximum(np.einsum("nchwij,kcij->nkhw", windows, weight) + bias[:, None, None], 0)


def pooled(response):
    """3 x 3 maximum with stride 3 whose last window may be partial, as Caffe pools."""
    size = -(-(response.shape[2] - 3) // 3) + 1
    blocks = [
        [response[:, :, 3 * y : 3 * y + 3, 3 * x : 3 * x + 3].max(axis=(2, 3)) for x in range(size)]
        for y in range(size)
    ]
    return np.array(blocks).transpose(2, 3, 0, 1)


@pytest.mark.parametrize("flags", [{}, {"rounded_features": True, "bounded_scores": True}])
def test_the_onnx_graph_is_the_network_of_the_paper(flags, tmp_path):
    import onnxruntime

    weights = random_weights(**flags)
    weights.save(tmp_path / "random.onnx")
    random = np.random.default_rng(1)
    patches = random.integers(0, 256, (4, 3, 27, 27)).astype(np.float32)
    hand_crafted = random.random((4, 120), dtype=np.float32)
    p = weights.parameters
    deep = pooled(convolved(patches, p["conv1.weight"], p["conv1.bias"]))
    deep = pooled(convolved(deep, p["conv2.weight"], p["conv2.bias"]))
    deep = convolved(convolved(deep, p["conv3.weight"], p["conv3.bias"]), p["conv4.weight"], p["conv4.bias"])
    features = np.rint(hand_crafted * 255) if flags else hand_crafted * 255
    response = np.concatenate([features, deep[:, :, 0, 0]], axis=1)
    response = np.maximum(response @ p["fc1.weight"].T + p["fc1.bias"], 0)
    response = np.maximum(response @ p["fc2.weight"].T + p["fc2.bias"], 0)
    response = response @ p["fc3.weight"].T + p["fc3.bias"]
    response = np.maximum(response, 0) if flags else response
    expected = np.exp(response - response.max(axis=1, keepdims=True))
    expected /= expected.sum(axis=1, keepdims=True)
    session = onnxruntime.InferenceSession(tmp_path / "random.onnx")
    (found,) = session.run(None, {"patches": patches, "hand_crafted": hand_crafted})
    np.testing.assert_allclose(found, expected, atol=1e-4)  # float32 sums of thousands of terms
    assert PatchClassifier(tmp_path / "random.onnx").card == {"name": "random"}


def test_shipped_weights_tell_known_blur():
    """Gaussian blur of known sigma on a photograph not trained on: the mean reading at edges follows it."""
    classifier = PatchClassifier()
    rng = np.random.default_rng(0)
    readings = []
    for sigma in (0.65, 1.1, 1.55, 2.0):
        pixels = np.rint(ndimage.gaussian_filter(data.coffee()[::2, ::2].astype(float), (sigma, sigma, 0)))
        value = value_channel(pixels / 255)
        strength = ndimage.gaussian_gradient_magnitude(value, 1.4)
        candidates = np.argwhere(strength > np.percentile(strength, 95))
        chosen = candidates[rng.choice(len(candidates), 300, replace=False)]
        probabilities = classifier.probabilities(pixels.astype(np.float32), value, chosen, LARGE)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
        readings.append(float((probabilities @ LABELS).mean()))
    assert np.all(np.diff(readings) > 0.15)
    # Not all of the photograph is in focus, so the mean may read above the added blur; a quarter px holds everywhere.
    np.testing.assert_allclose(readings, [0.65, 1.1, 1.55, 2.0], atol=0.25)


def test_probabilities_do_not_depend_on_the_batches(monkeypatch):
    pixels = data.coffee()[:120, :160]
    value = value_channel(pixels / 255)
    positions = np.argwhere(np.ones(value.shape, bool))[::97]
    classifier = PatchClassifier()
    together = classifier.probabilities(pixels.astype(np.float32), value, positions, SMALL)
    monkeypatch.setattr("defocus.methods.dhde.classifier.BATCH", 7)
    apart = classifier.probabilities(pixels.astype(np.float32), value, positions, SMALL)
    np.testing.assert_allclose(together, apart, atol=1e-5)  # matrix products sum in another order


def test_wrong_weights_files_say_what_is_wrong(tmp_path):
    with pytest.raises(WeightsError, match="no weights file"):
        PatchClassifier(tmp_path / "missing.onnx")
    (tmp_path / "text.onnx").write_text("not a network")
    with pytest.raises(WeightsError, match="not an ONNX model"):
        PatchClassifier(tmp_path / "text.onnx")
    (tmp_path / "text.caffemodel").write_bytes(b"\x0a\xff\xff\xff\xff")
    with pytest.raises(WeightsError, match="Caffe"):
        PatchClassifier(tmp_path / "text.caffemodel")
    (tmp_path / "empty.caffemodel").write_bytes(b"")
    with pytest.raises(WeightsError, match="no layer"):
        PatchClassifier(tmp_path / "empty.caffemodel")
    with pytest.raises(WeightsError, match="lack"):
        DHDEWeights({})
    complete = dict(random_weights().parameters)
    with pytest.raises(WeightsError, match="shape"):
        DHDEWeights(complete | {"fc3.bias": np.zeros(5, np.float32)})
    with pytest.raises(WeightsError, match="not finite"):
        DHDEWeights(complete | {"fc3.bias": np.full(11, np.nan, np.float32)})


def test_a_truncated_caffemodel_is_refused(authors_weights, tmp_path):
    (tmp_path / "cut.caffemodel").write_bytes(authors_weights.read_bytes()[:300_000])
    with pytest.raises(WeightsError, match="cut short"):
        PatchClassifier(tmp_path / "cut.caffemodel")


def test_an_onnx_file_of_another_kind_is_refused(tmp_path):
    from onnx import TensorProto, helper

    one = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    two = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "other", [one], [two])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "other.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(WeightsError, match="not a DHDE network"):
        PatchClassifier(tmp_path / "other.onnx")


def test_a_network_is_opened_once_and_a_replaced_file_is_noticed(tmp_path, monkeypatch):
    import onnxruntime

    opened = []
    original = onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda *args, **options: opened.append(1) or original(*args, **options)
    )
    path = tmp_path / "w.onnx"
    random_weights(seed=41).save(path)
    first = PatchClassifier(path)
    assert PatchClassifier(path).sha256 == first.sha256
    assert len(opened) == 1
    before = path.stat()
    random_weights(seed=42).save(path)
    assert path.stat().st_size == before.st_size
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a copy that keeps times does
    second = PatchClassifier(path)
    inputs = np.zeros((1, 3, 27, 27), np.uint8), np.zeros((1, 120), np.float32)
    assert len(opened) == 2
    assert not np.array_equal(first.read_patches(*inputs), second.read_patches(*inputs))
