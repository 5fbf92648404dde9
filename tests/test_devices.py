"""What the network is run on. No accelerator is here: that ONNX Runtime offers one, and how it fails, is made up."""

import json
import sys
import warnings

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from skimage import data

import defocus
from defocus.errors import DefocusError, ParameterError, WeightsError
from defocus.methods import session
from defocus.methods.pyramid.blur_reader import BlurReader
from defocus.methods.registry import find_method
from defocus.methods.session import open_session
from defocus.optics.light import luma
from defocus.runtime.cores import limited_cores

PROVIDERS = {
    "cuda": "CUDAExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
}
PACKAGES = {
    "cuda": "onnxruntime-gpu",
    "openvino": "onnxruntime-openvino",
    "coreml": "macOS",
    "directml": "onnxruntime-directml",
}


@pytest.fixture
def photo():
    return data.chelsea()[40:140, 60:220]


@pytest.fixture(autouse=True)
def no_session_is_left():
    session._open.cache_clear()
    yield
    session._open.cache_clear()


@pytest.fixture
def runtime(monkeypatch):
    """Make ONNX Runtime offer accelerators, which compute on the CPU, or fail in the way that is asked for."""
    made = Runtime()
    real = onnxruntime.InferenceSession

    class Made:
        def __init__(self, model, options, providers, provider_options=None, enable_fallback=1):
            accelerated = providers[0] != "CPUExecutionProvider"
            made.opened.append((providers[0], provider_options, enable_fallback))
            if accelerated and made.fails in ("at opening", f"at opening {providers[0]}"):
                raise RuntimeError("no driver\nof version 9.")
            self._providers = providers[-1:] if made.fails == "silently" else providers
            self._session = real(model, options, providers=["CPUExecutionProvider"])
            self._accelerated, self._runs = accelerated, 0

        def get_providers(self):
            return self._providers

        def get_modelmeta(self):
            return self._session.get_modelmeta()

        def run(self, outputs, inputs, run_options=None):
            self._runs += 1
            if self._accelerated:
                made.shapes.append(next(iter(inputs.values())).shape)
                if made.fails == "in the third run" and self._runs == 3:
                    raise RuntimeError("out of memory")
            return self._session.run(outputs, inputs, run_options)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Made)
    monkeypatch.setattr(
        onnxruntime,
        "get_available_providers",
        lambda: [*(PROVIDERS[name] for name in made.offers), "CPUExecutionProvider"],
    )
    return made


class Runtime:
    def __init__(self):
        self.offers, self.fails = (), None
        self.opened, self.shapes = [], []


def same(one, other):
    np.testing.assert_allclose(one.sigma, other.sigma, rtol=1e-4)
    np.testing.assert_allclose(one.confidence, other.confidence, atol=1e-4)


def test_the_cpu_is_used_without_a_word_where_there_is_nothing_else(photo, runtime):
    for device in ("auto", "cpu"):
        assert defocus.estimate(photo, device=device).metadata["device"] == "cpu"
    # The reader and the completion, once for both estimates.
    assert [provider for provider, *_ in runtime.opened] == ["CPUExecutionProvider"] * 2


@pytest.mark.parametrize("device", PROVIDERS)
def test_a_device_that_is_not_there_is_an_error_that_says_what_to_install(photo, runtime, device):
    with pytest.raises(ParameterError, match=f"cannot use {device}: .*{PACKAGES[device]}"):
        defocus.estimate(photo, device=device)
    assert not runtime.opened


def test_an_unknown_device_is_an_error(photo):
    with pytest.raises(ParameterError, match="no device 'gpu': choose one of auto, cpu, cuda"):
        defocus.estimate(photo, device="gpu")


@pytest.mark.parametrize("method", ["pyramid", "dhde"])
@pytest.mark.parametrize("device", PROVIDERS)
def test_a_device_that_works_makes_the_map(photo, runtime, device, method):
    runtime.offers = tuple(PROVIDERS)
    m = defocus.estimate(photo, device=device, method=method)
    assert m.metadata["device"] == device
    same(m, defocus.estimate(photo, device="cpu", method=method))


@pytest.mark.parametrize(
    ("offers", "chosen"),
    [
        (("cuda",), "cuda"),
        (("directml",), "directml"),
        (("openvino", "directml", "cuda"), "cuda"),
        (("openvino",), "cpu"),
        (("coreml",), "cpu"),
    ],
)
def test_auto_takes_what_was_installed_for_its_speed(photo, runtime, offers, chosen):
    runtime.offers = offers
    assert defocus.estimate(photo).metadata["device"] == chosen


def test_cuda_computes_in_float32(photo, runtime):
    runtime.offers = ("cuda",)
    defocus.estimate(photo)
    (_, options, fallback), (provider, *_) = runtime.opened
    assert provider == "CPUExecutionProvider"  # the completion's, which is small
    assert options[0]["use_tf32"] == "0"
    assert fallback == 0  # else ONNX Runtime prints and goes over to the CPU by itself


def test_openvino_computes_in_float32_and_heeds_the_limit_of_cores(photo, runtime):
    runtime.offers = ("openvino",)
    with limited_cores(1):
        defocus.estimate(photo, device="openvino")
    (_, options, _), _ = runtime.opened
    assert options[0]["precision"] == "ACCURACY"
    assert options[0]["num_of_threads"] == "1"


@pytest.mark.parametrize(("fails", "reason"), [("at opening", "no driver of version 9"), ("silently", "a library is")])
def test_auto_falls_back_to_the_cpu_with_one_warning(photo, runtime, fails, reason):
    runtime.offers, runtime.fails = ("cuda",), fails
    with pytest.warns(UserWarning, match=f"offers cuda, which does not work here .*{reason}.*CPU is used") as caught:
        m = defocus.estimate(photo)
        again = defocus.estimate(photo)
    assert len(caught) == 1
    assert m.metadata["device"] == again.metadata["device"] == "cpu"
    same(m, defocus.estimate(photo, device="cpu"))


def test_auto_takes_the_next_best_that_works(photo, runtime):
    runtime.offers, runtime.fails = ("cuda", "directml"), "at opening CUDAExecutionProvider"
    with pytest.warns(UserWarning, match="offers cuda, which does not work here .*: directml is used instead"):
        assert defocus.estimate(photo).metadata["device"] == "directml"


@pytest.mark.parametrize("fails", ["at opening", "silently"])
def test_a_device_that_was_asked_for_and_does_not_work_is_an_error(photo, runtime, fails):
    runtime.offers, runtime.fails = ("cuda",), fails
    with pytest.raises(
        ParameterError, match=r"which does not work here .*: install what it needs, or use the device cpu"
    ):
        defocus.estimate(photo, device="cuda")


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_the_cpu_does_the_rest_when_a_device_fails(photo, runtime, device):
    runtime.offers, runtime.fails = ("cuda",), "in the third run"
    with pytest.warns(UserWarning, match=r"cuda failed \(out of memory\): the CPU is used from now on") as caught:
        m = defocus.estimate(photo, device=device)
        again = defocus.estimate(photo, device=device)
    assert len(caught) == 1
    assert len(runtime.shapes) == 3
    assert m.metadata["device"] == again.metadata["device"] == "cpu"
    same(m, defocus.estimate(photo, device="cpu"))


def test_faulty_inputs_are_not_blamed_on_the_device(runtime):
    runtime.offers = ("cuda",)
    weights = find_method("pyramid").weights_file()
    network = open_session(weights.read_bytes(), weights, threads=1, device="cuda")
    with pytest.raises(Exception, match="input"):
        network.run(["logits"], {"pixels": np.zeros(3)})
    assert network.device == "cuda"


def test_damaged_weights_are_not_blamed_on_the_device(tmp_path, runtime):
    runtime.offers, runtime.fails = ("cuda",), "at opening"
    with pytest.raises(WeightsError, match=r"ONNX Runtime cannot open broken\.onnx"):
        open_session(b"no network", tmp_path.relative_to(tmp_path) / "broken.onnx", threads=1, device="auto")


def test_methods_without_a_network_run_on_the_cpu(photo, runtime):
    runtime.offers = ("cuda",)
    assert defocus.estimate(photo, method="zhuo2011").metadata["device"] == "cpu"
    with pytest.raises(ParameterError, match="zhuo2011 has no network that could be run on cuda"):
        defocus.estimate(photo, method="zhuo2011", device="cuda")


@pytest.mark.parametrize("left", ["nothing", "a part"])
def test_a_missing_runtime_is_one_sentence(photo, monkeypatch, left):
    import types

    monkeypatch.setitem(sys.modules, "onnxruntime", None if left == "nothing" else types.ModuleType("onnxruntime"))
    with pytest.raises(DefocusError, match="missing or incomplete: pip install --force-reinstall onnxruntime"):
        defocus.estimate(photo)


@pytest.mark.parametrize("tile", [128, 192, 1024])
def test_tiles_of_few_sizes_give_the_same_readings(runtime, tile):
    runtime.offers = ("cuda",)
    grey = luma(data.coffee()[:, :568] / 255).astype(np.float32)
    plain = BlurReader().read(grey, tile=tile)
    found = BlurReader(device="cuda").read(grey, tile=tile)
    np.testing.assert_allclose(found.log2_sigma, plain.log2_sigma, atol=1e-4)
    np.testing.assert_allclose(found.certainty, plain.certainty, atol=1e-4)


def test_tiles_within_a_level_are_of_one_size(runtime):
    runtime.offers = ("cuda",)
    BlurReader(device="cuda").read(luma(data.coffee() / 255).astype(np.float32), tile=128)
    # The two finest levels are divided in both directions; the others are no larger than a tile, in one or in both.
    assert {shape[2:] for shape in runtime.shapes if min(shape[2:]) > 200} == {(320, 320)}


def test_the_device_stands_in_the_file_and_in_json(tmp_path, run, photo, runtime):
    runtime.offers = ("cuda",)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    code, out, _ = run("estimate", tmp_path / "photo.png", "--json")
    assert code == 0
    assert json.loads(out)["device"] == "cuda"
    assert defocus.load(tmp_path / "photo.defocus.tiff").metadata["device"] == "cuda"
    _, out, _ = run("estimate", tmp_path / "photo.png", "--json", "--device", "cpu")
    assert json.loads(out)["device"] == "cpu"


@pytest.mark.parametrize("command", ["estimate", "segment", "magnify", "sharpen", "depth", "rank"])
def test_every_command_refuses_an_absent_device_before_it_reads(tmp_path, run, runtime, command):
    (tmp_path / "photo.png").write_bytes(b"no photograph")
    code, _, err = run(command, tmp_path / "photo.png", "--device", "openvino")
    assert code == 2
    assert "cannot use openvino" in " ".join(err.split())


def test_a_device_that_fails_costs_one_line(tmp_path, run, photo, runtime):
    runtime.offers, runtime.fails = ("directml",), "in the third run"
    for name in ("one.png", "two.png"):
        Image.fromarray(photo).save(tmp_path / name)
    code, _, err = run("estimate", tmp_path)
    assert code == 0
    assert err.count("directml failed (out of memory)") == 1


@pytest.mark.skipif(
    "OpenVINOExecutionProvider" not in onnxruntime.get_available_providers(),
    reason="needs onnxruntime-openvino instead of onnxruntime",
)
def test_openvino_gives_the_same_map(photo):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        m = defocus.estimate(photo, device="openvino")
    assert m.metadata["device"] == "openvino"
    same(m, defocus.estimate(photo, device="cpu"))
