"""Weights files of somebody else: whatever is wrong with one is said in one sentence, before anything runs."""

import io
import json
import os
import subprocess
import sys
import time
import zipfile
import zlib

import numpy as np
import pytest

import defocus
from defocus import WeightsError
from defocus.methods import find_method
from defocus.methods.shi2014.method import LAYOUT as SHI2014
from defocus.methods.shi2015jnb.method import LAYOUT as SHI2015JNB
from defocus.methods.shi2015tog.method import LAYOUT as SHI2015TOG
from defocus.methods.weights_file import LARGEST, read_array_weights
from defocus.training.trainer import TrainingOptions

PHOTO = np.random.default_rng(5).integers(0, 255, (48, 48), dtype=np.uint8)
LAYOUTS = {"shi2014": SHI2014, "shi2015jnb": SHI2015JNB, "shi2015tog": SHI2015TOG}


def stored(method):
    with np.load(find_method(method).weights_file()) as file:
        return dict(file)


def refused(path, method):
    start = time.monotonic()
    with pytest.raises(WeightsError) as caught:
        defocus.estimate(PHOTO, method=method, weights=path)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - start < 5
    return str(caught.value)


@pytest.mark.parametrize("method", LAYOUTS)
def test_arrays_that_are_not_the_method_s_are_refused(tmp_path, method):
    arrays = stored(method)
    name = next(iter(LAYOUTS[method]))
    path = tmp_path / "w.npz"
    for change in (
        {name: arrays[name][..., :1][:3]},
        {name: arrays[name].astype(int)},
        {name: np.full_like(arrays[name], np.nan)},
        {name: np.zeros((0,) * arrays[name].ndim, np.float32)},
        {name: np.array("text")},
        {"card": np.array("[1, 2]")},
        {"card": np.array("[" * 100_000)},
        {"card": np.array(json.dumps({"method": "another"}))},
    ):
        np.savez(path, **(arrays | change))
        refused(path, method)
    np.savez(path, **{key: value for key, value in arrays.items() if key != name})
    assert name in refused(path, method)
    np.savez(path, **arrays)
    assert read_array_weights(method, LAYOUTS[method], path).arrays.keys() == LAYOUTS[method].keys()


def test_damaged_compression_is_a_weights_error(tmp_path):
    contents = bytearray(find_method("shi2014").weights_file().read_bytes())
    with zipfile.ZipFile(io.BytesIO(bytes(contents))) as archive:
        member = next(each for each in archive.infolist() if each.filename == "filters_21.npy")
    start = member.header_offset + 60
    contents[start : start + 40] = bytes(255 for _ in range(40))
    with pytest.raises(zlib.error), zipfile.ZipFile(io.BytesIO(bytes(contents))) as archive:
        archive.read(member)  # the fault is the one that is meant
    (tmp_path / "w.npz").write_bytes(contents)
    assert "damaged" in refused(tmp_path / "w.npz", "shi2014")


@pytest.mark.parametrize("claimed", [(10**6, 10**6), (2**40,)])
def test_an_array_that_says_it_is_huge_is_not_made(tmp_path, claimed):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": claimed})
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
        archive.writestr("filters_11.npy", header.getvalue() + bytes(16))
    refused(tmp_path / "w.npz", "shi2014")


def test_a_bomb_is_not_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("filters_11.npy", bytes(LARGEST + 1))
    refused(tmp_path / "w.npz", "shi2014")


@pytest.mark.parametrize("method", ["pyramid", "dhde"])
def test_a_graph_of_somebody_else_is_never_run(tmp_path, method):
    """The right metadata and a loop of 2^62 rounds: the numbers are missed, and the loop does not begin."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    flag = helper.make_tensor_value_info("flag", 9, [])
    turn = helper.make_tensor_value_info("turn", 7, [])
    body = helper.make_graph(
        [helper.make_node("Identity", ["flag"], ["on"])],
        "b",
        [turn, flag],
        [helper.make_tensor_value_info("on", 9, [])],
    )
    inputs = [helper.make_tensor_value_info(name, 1, None) for name in ("pixels", "finest")]
    graph = helper.make_graph(
        [
            helper.make_node("Loop", ["many", "yes"], [], body=body),
            helper.make_node("Identity", ["pixels"], ["probability"]),
        ],
        "loop",
        inputs,
        [helper.make_tensor_value_info("probability", 1, None)],
        [helper.make_tensor("many", 7, [], [2**62]), helper.make_tensor("yes", 9, [], [True])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"defocus": json.dumps({"kind": method, "card": {}})})
    (tmp_path / "w.onnx").write_bytes(model.SerializeToString())
    assert "lack" in refused(tmp_path / "w.onnx", method)


@pytest.mark.parametrize("method", ["pyramid", "dhde"])
def test_networks_with_wrong_numbers_are_refused(tmp_path, method):
    onnx = pytest.importorskip("onnx")
    from defocus.methods.onnx_file import _initialisers

    def changed(change):
        model = onnx.load(find_method(method).weights_file())
        arrays = {each.name: each for each in _initialisers(model.graph)}
        first = next(each for name, each in arrays.items() if name.endswith("weight"))
        change(model, first)
        (tmp_path / "w.onnx").write_bytes(model.SerializeToString())
        return refused(tmp_path / "w.onnx", method)

    def card(text):
        def change(model, array):
            onnx.helper.set_model_props(model, {"defocus": text})

        return change

    def outside(model, array):
        array.data_location = onnx.TensorProto.EXTERNAL
        array.external_data.add(key="location", value="/etc/passwd")

    assert "another file" in changed(outside) or "not an ONNX" in changed(outside)
    assert "size" in changed(lambda model, array: array.dims.__setitem__(0, 2**40))
    assert "lack" in changed(lambda model, array: setattr(array, "name", "other"))
    assert "finite" in changed(
        lambda model, array: setattr(array, "raw_data", np.full(array.dims, np.nan, np.float32).tobytes())
    )
    huge = changed(lambda model, array: setattr(array, "raw_data", np.full(array.dims, 3e38, np.float32).tobytes()))
    assert "overflow" in huge
    changed(card("[]"))
    changed(card(json.dumps({"kind": method, "card": 3})))
    changed(card("[" * 100_000))
    (tmp_path / "w.onnx").write_bytes(b"")
    refused(tmp_path / "w.onnx", method)


@pytest.mark.parametrize("method", ["pyramid", "dhde"])
def test_a_copy_of_the_shipped_weights_reads_as_they_do(tmp_path, method):
    (tmp_path / "w.onnx").write_bytes((find_method(method).weights_file()).read_bytes())
    ours, copy = (defocus.estimate(PHOTO, method=method, weights=path) for path in (None, tmp_path / "w.onnx"))
    np.testing.assert_array_equal(ours.sigma, copy.sigma)
    assert ours.metadata == copy.metadata


@pytest.mark.parametrize(("name", "method"), [("loop.onnx", "pyramid"), ("shi2014_zlib.npz", "shi2014")])
def test_files_of_attacks_are_refused(shared, name, method):
    refused(shared / "cases" / "attack" / name, method)


WITHOUT_ONNX = """
import sys

sys.modules["onnx"] = None  # as if it were not installed
import numpy as np
import defocus

photo = np.random.default_rng(5).integers(0, 255, (48, 48), dtype=np.uint8)
for method in ("pyramid", "dhde"):
    defocus.estimate(photo, method=method)
    for path in sys.argv[1:]:
        try:
            defocus.estimate(photo, method=method, weights=path)
        except defocus.WeightsError as error:
            print(error)
"""


def test_only_networks_of_one_s_own_need_the_package_onnx(tmp_path):
    copies = [tmp_path / name for name in ("pyramid.onnx", "authors.caffemodel")]
    copies[0].write_bytes(find_method("pyramid").weights_file().read_bytes())
    copies[1].write_bytes(b"any")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_ONNX, *map(str, copies)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["Networks of your own need one more package: pip install onnx."] * 4


@pytest.mark.parametrize(("method", "part"), [("pyramid", None), ("pyramid", "completion"), ("dhde", None)])
def test_a_training_asks_for_the_package_onnx_before_it_begins(tmp_path, monkeypatch, method, part):
    pytest.importorskip("torch")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(WeightsError, match="pip install onnx"):
        find_method(method).load_trainer(part).train(
            tmp_path, tmp_path / "w.onnx", TrainingOptions(), lambda step, fraction, figures: None
        )
