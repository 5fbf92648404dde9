import subprocess
import sys

import numpy as np
import pytest
import skimage.data
from PIL import Image

import defocus
from defocus import ParameterError, PhotographError, estimate
from defocus.methods import METHODS
from defocus.photograph import photograph_from_array, read_photograph
from fake_method import FakeParameters

PICTURE = skimage.data.astronaut()[100:140, 200:260]


def test_path_image_array_and_photograph_give_the_same_map(tmp_path, fake_method):
    path = tmp_path / "a.png"
    Image.fromarray(PICTURE).save(path)
    with Image.open(path) as image:
        inputs = [path, str(path), image.copy(), PICTURE, photograph_from_array(PICTURE), read_photograph(path)]
    maps = [estimate(photo, method=fake_method) for photo in inputs]
    for m in maps:
        assert m.sigma.shape == PICTURE.shape[:2]
        np.testing.assert_array_equal(m.sigma, maps[0].sigma)


def test_depths_agree(fake_method):
    from_bytes = estimate(PICTURE, method=fake_method).sigma
    # uint16 and floats hold the same values; float32 sigma rounds at 1e-7
    np.testing.assert_allclose(estimate(PICTURE.astype(np.uint16) * 257, method=fake_method).sigma, from_bytes, 1e-6)
    np.testing.assert_allclose(estimate(PICTURE / 255, method=fake_method).sigma, from_bytes, 1e-6)


def test_input_is_not_modified(fake_method):
    array = PICTURE.copy()
    estimate(array, method=fake_method)
    np.testing.assert_array_equal(array, PICTURE)


def test_parameters_by_default_name_and_object(fake_method):
    default = estimate(PICTURE, method=fake_method)
    assert default.metadata["parameters"]["gain"] == 1.5
    assert estimate(PICTURE, method=fake_method, parameters="released").metadata["parameters"]["gain"] == 1.0
    own = estimate(PICTURE, method=fake_method, parameters=FakeParameters(gain=0.25))
    assert own.metadata["parameters"]["gain"] == 0.25


def test_wrong_parameters_list_the_right_ones(fake_method):
    with pytest.raises(ParameterError, match=r"choose one of pyramid, dhde, .*, fake"):
        estimate(PICTURE, method="dhdee")
    with pytest.raises(ParameterError, match="default, released"):
        estimate(PICTURE, method=fake_method, parameters="realised")
    with pytest.raises(ParameterError, match="FakeParameters"):
        estimate(PICTURE, method=fake_method, parameters={"gain": 1})


def test_parameters_are_checked_before_a_large_photograph_is_read(fake_method):
    with pytest.raises(ParameterError):
        estimate("missing.jpg", method=fake_method, parameters="realised")
    with pytest.raises(PhotographError, match="no file"):
        estimate("missing.jpg", method=fake_method)


def test_progress_is_told(fake_method):
    told = []
    estimate(
        PICTURE,
        method=fake_method,
        parameters=FakeParameters(steps=3),
        progress=lambda step, share: told.append((step, share)),
    )
    assert told == [("waiting", 0), ("waiting", 1 / 3), ("waiting", 2 / 3)]


def test_weights_reach_the_method(fake_method, tmp_path):
    assert estimate(PICTURE, method=fake_method, weights="w.onnx").metadata["weights"] == "w.onnx"
    assert estimate(PICTURE, method=fake_method, weights=tmp_path).metadata["weights"] == str(tmp_path)


def test_every_method_has_a_line_and_a_default():
    listed = defocus.available_methods()
    assert "dhde" in listed
    for name, summary in listed.items():
        assert summary
        assert "\n" not in summary
        assert "default" in METHODS[name].load().PRESETS


def test_every_public_name_exists():
    for name in defocus.__all__:
        assert getattr(defocus, name) is not None
    assert set(defocus.__all__) <= set(dir(defocus))
    with pytest.raises(AttributeError, match="nonsense"):
        defocus.nonsense  # noqa: B018


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_import_is_light():
    heavy = "{'numpy', 'scipy', 'PIL', 'onnxruntime', 'onnx', 'tifffile', 'rich', 'typer', 'torch'}"
    done = run_python(f"import sys, defocus; print(sorted({heavy} & set(sys.modules)))")
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    "first", ["defocus.methods.dhde.method", "defocus.estimation", "defocus.methods", "defocus.maps.defocus_map"]
)
def test_functions_stay_functions_whatever_is_imported_first(first):
    code = f"import {first}, defocus; print(defocus.available_methods()['dhde']); print(defocus.estimate.__name__)"
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1] == "estimate"
