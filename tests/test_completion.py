"""The network that completes the map: what goes in, tiles, weights with and without it."""

import json

import numpy as np
import pytest
from skimage import data

import defocus
from defocus.errors import WeightsError
from defocus.methods import find_method
from defocus.methods.pyramid import completion
from defocus.methods.pyramid.blur_reader import BlurReader, Readings
from defocus.methods.pyramid.completion import Completion, Evidence, evidence_planes, range_of
from defocus.methods.pyramid.completion_weights import CHANNELS, CompletionWeights, completion_shapes
from defocus.methods.pyramid.filling import Filled
from defocus.methods.pyramid.method import PyramidParameters
from defocus.methods.pyramid.weights import PyramidWeights

SHIPPED = find_method("pyramid").weights_file()


def readings_of(log2_sigma, certainty):
    readings = Readings.empty(log2_sigma.shape)
    readings.log2_sigma[:], readings.certainty[:] = log2_sigma, certainty
    readings.smaller[:] = readings.larger[:] = 0.1
    readings.coarser[:] = log2_sigma
    return readings


def evidence_of(height, width, seed=0):
    random = np.random.default_rng(seed)
    log2 = random.normal(1, 1, (height, width)).astype(np.float32)
    readings = readings_of(log2, random.uniform(0.2, 0.9, log2.shape).astype(np.float32))
    guide = random.integers(0, 65536, (3, height, width)).astype(np.uint16)
    detail = random.uniform(0, 0.1, log2.shape).astype(np.float16)
    return Evidence(readings, np.ones(log2.shape, np.float16), guide, detail, Filled(log2 - 0.5, log2))


@pytest.fixture(scope="module")
def shipped():
    return Completion(BlurReader().completion_model, SHIPPED)


def test_the_range_is_that_of_certain_readings():
    log2 = np.full((20, 20), 5.0, np.float32)
    log2[:10] = np.linspace(-1, 1, 10)[:, None]
    certainty = np.where(np.arange(20) < 10, 0.8, 0.2)[:, None] * np.ones((1, 20), np.float32)
    low, middle, high = range_of(readings_of(log2, certainty), np.ones(log2.shape, np.float16))
    assert -1.1 < low < -0.7 and abs(middle) < 0.3 and 0.7 < high < 1.1  # 5 is read without certainty
    unreadable = np.ones(log2.shape, np.float16)
    unreadable[:10] = 0
    assert range_of(readings_of(log2, certainty), unreadable)[2] > 4  # now all count alike


def test_planes_of_a_part_are_a_part_of_the_planes():
    evidence = evidence_of(40, 50)
    limits = range_of(evidence.readings, evidence.readable)
    whole = evidence_planes(evidence, limits, slice(None), slice(None))
    part = evidence_planes(evidence, limits, slice(8, 30), slice(5, 41))
    assert whole.shape == (CHANNELS, 40, 50)
    np.testing.assert_array_equal(part, whole[:, 8:30, 5:41])
    assert np.isfinite(whole).all() and np.abs(whole).max() < 10


def test_tiles_leave_no_seam(shipped, monkeypatch):
    evidence = evidence_of(224, 320)
    whole = shipped.complete(evidence, lambda certainty: certainty)
    monkeypatch.setattr(completion, "_TILE", 96)
    tiled = shipped.complete(evidence, lambda certainty: certainty)
    # The margin is as wide as the network sees, so only rounding is left.
    for one, other in zip(tiled, whole, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-3)


@pytest.mark.parametrize("shape", [(1, 1), (3, 70), (33, 31)])
def test_any_shape_is_completed(shipped, shape):
    log2, right = shipped.complete(evidence_of(*shape), lambda certainty: certainty)
    assert log2.shape == right.shape == shape
    assert np.isfinite(log2).all() and right.min() >= 0 and right.max() <= 1


def test_a_bare_wall_takes_the_blur_of_what_hangs_on_it():
    """A wall without detail around a picture: both are as far away, and the wall is a guess."""
    from defocus.evaluation.render import gaussian_blur

    wall = np.full((320, 480, 3), 150.0)
    wall += np.linspace(-20, 20, 480)[None, :, None]
    wall[110:210, 180:300] = data.astronaut()[100:200, 170:290]
    soft = gaussian_blur(np.rint(wall).astype(np.uint8), 3.0)
    noisy = np.clip(soft + np.random.default_rng(0).normal(0, 1, soft.shape), 0, 255).astype(np.uint8)
    m = defocus.estimate(noisy)
    assert m.metadata["completed"]
    far = np.ones(m.sigma.shape, bool)
    far[80:240, 150:330] = False
    assert 1.5 < np.median(m.sigma[far]) < 6
    assert np.median(m.confidence[far]) < np.median(m.confidence[120:200, 190:290])


def test_without_completion_three_rounds_of_propagation_fill_the_map():
    photograph = data.coffee()[:200, :300]
    without = defocus.estimate(photograph, parameters=PyramidParameters(completion=False))
    assert not without.metadata["completed"]
    assert not np.array_equal(without.sigma, defocus.estimate(photograph).sigma)


def test_weights_without_a_completion_say_so(tmp_path):
    pytest.importorskip("onnx")
    weights = PyramidWeights.load(SHIPPED)
    assert weights.completion is not None
    PyramidWeights(weights.parameters, weights.card).save(tmp_path / "reader.onnx")
    photograph = data.coffee()[:120, :160]
    m = defocus.estimate(photograph, weights=tmp_path / "reader.onnx")
    assert not m.metadata["completed"]
    shipped = defocus.estimate(photograph, parameters=PyramidParameters(completion=False))
    np.testing.assert_array_equal(m.sigma, shipped.sigma)


def test_saved_weights_read_back(tmp_path):
    pytest.importorskip("onnx")
    random = np.random.default_rng(3)
    values = {name: random.normal(0, 0.05, shape).astype(np.float16) for name, shape in completion_shapes().items()}
    card = {"calibration": {"certainty": [0.0, 1.0], "confidence": [0.2, 0.6]}}
    mine = CompletionWeights({name: value.astype(np.float32) for name, value in values.items()}, card)
    reader = PyramidWeights.load(SHIPPED)
    PyramidWeights(reader.parameters, reader.card, mine).save(tmp_path / "own.onnx")
    back = PyramidWeights.load(tmp_path / "own.onnx").completion
    assert back is not None and back.card == card
    for name, value in values.items():
        np.testing.assert_array_equal(back.parameters[name], value.astype(np.float32))
    bare = np.full((96, 128, 3), 120, np.uint8) + np.arange(128, dtype=np.uint8)[:, None] // 4
    m = defocus.estimate(bare, weights=tmp_path / "own.onnx")
    assert 0 < m.confidence.max() <= 0.6 + 1e-6  # by the card's calibration, as no reading is believed


@pytest.mark.parametrize(
    ("completion_text", "said"),
    [("no base64!", "damaged completion"), ("AAAA", "not an ONNX model"), (None, "no card")],
)
def test_a_damaged_completion_is_refused(tmp_path, completion_text, said):
    onnx = pytest.importorskip("onnx")
    import base64

    model = onnx.load(SHIPPED)
    properties = {each.key: each.value for each in model.metadata_props}
    if completion_text is None:
        inner = onnx.load_from_string(base64.b64decode(properties["completion"]))
        onnx.helper.set_model_props(inner, {"card": json.dumps([1])})
        completion_text = base64.b64encode(inner.SerializeToString()).decode()
    onnx.helper.set_model_props(model, properties | {"completion": completion_text})
    onnx.save(model, tmp_path / "w.onnx")
    with pytest.raises(WeightsError, match=said):
        defocus.estimate(data.coffee()[:64, :64], weights=tmp_path / "w.onnx")


def test_arrays_of_another_shape_are_refused():
    values = {name: np.zeros(shape, np.float32) for name, shape in completion_shapes().items()}
    with pytest.raises(WeightsError, match="lack"):
        CompletionWeights({name: value for name, value in values.items() if name != "stem.weight"})
    with pytest.raises(WeightsError, match="shape"):
        CompletionWeights(values | {"stem.weight": np.zeros((1, 2), np.float32)})
    with pytest.raises(WeightsError, match="finite"):
        CompletionWeights(values | {"stem.bias": np.full(24, np.nan, np.float32)})
