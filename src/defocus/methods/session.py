"""Networks in ONNX Runtime, opened once for all the photographs of a process, on the CPU or on an accelerator.

ONNX Runtime is imported only in this module, so that its telemetry is off before it loads.
"""

from __future__ import annotations

import ctypes
import os
import threading
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cached_property, lru_cache
from io import StringIO
from pathlib import Path
from typing import Any, Literal, get_args
from weakref import WeakSet

from defocus.errors import DefocusError, ParameterError, WeightsError
from defocus.runtime.cores import available_cores

__all__ = ["Device", "Session", "check_device_is_there", "open_session"]

Device = Literal["auto", "cpu", "cuda", "openvino", "coreml", "directml"]
"""What a network can be run on; "auto" is the first of `_AUTOMATIC` that works, or the CPU."""


@dataclass(frozen=True)
class _Accelerator:
    """What ONNX Runtime needs to know of a device other than the CPU.

    Attributes
    ----------
    provider : name of ONNX Runtime's execution provider.
    remedy : what makes the provider available.
    options : of the provider. All keep float32, so that a map does not depend on the device by more than rounding.
    few_shapes : whether the network is compiled, or the fastest way to compute it searched, for each size of the inputs
        anew, so that there should be few sizes.
    """

    provider: str
    remedy: str
    options: Mapping[str, str]
    few_shapes: bool


_INSTEAD = "pip uninstall onnxruntime, then pip install {}"
_ACCELERATORS = {
    "cuda": _Accelerator(
        "CUDAExecutionProvider",
        _INSTEAD.format("onnxruntime-gpu[cuda,cudnn]"),
        # TF32 rounds factors to 10 bits. The exhaustive search for a way to compute a convolution, and memory that is
        # doubled when it does not suffice, are for inputs of one size.
        {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"},
        few_shapes=True,
    ),
    "directml": _Accelerator(
        "DmlExecutionProvider", _INSTEAD.format("onnxruntime-directml") + " (Windows only)", {}, few_shapes=True
    ),
    "coreml": _Accelerator(
        "CoreMLExecutionProvider",
        "pip install onnxruntime on macOS, where it includes Core ML",
        # The older format and the Neural Engine have only half precision.
        {"ModelFormat": "MLProgram", "MLComputeUnits": "CPUAndGPU"},
        few_shapes=True,
    ),
    "openvino": _Accelerator(
        "OpenVINOExecutionProvider",
        _INSTEAD.format("onnxruntime-openvino"),
        {"device_type": "CPU", "precision": "ACCURACY"},
        few_shapes=False,
    ),
}
_AUTOMATIC = ("cuda", "directml")
"""The accelerators that "auto" tries, the best first: those that somebody has installed for the sake of their speed.
OpenVINO in float32 is no faster than ONNX Runtime's own code for the CPU, and Core ML, which nobody has measured, comes
with every ONNX Runtime for macOS."""

_open_here: WeakSet[Any] = WeakSet()
"""All sessions of this process that still exist."""


def _keep_for_ever() -> None:
    """Prevent, in a forked child, that the parent's sessions are ever destroyed.

    The threads of a session do not exist in the child. The destructor waits for them to end, so a child that destroys a
    session, at the latest when it exits, waits for ever. A reference that is never released prevents that.
    """
    for session in list(_open_here):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))
    _open_here.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_for_ever)


def check_device_is_there(device: str) -> None:
    """See that a device is known, and that the installed ONNX Runtime can use it, without opening a network.

    Raises
    ------
    ParameterError
        If not; the message says what to install.

    Examples
    --------
    >>> check_device_is_there("gpu")
    Traceback (most recent call last):
    ...
    defocus.errors.ParameterError: There is no device 'gpu': choose one of auto, cpu, cuda, openvino, coreml, directml.
    """
    if device not in get_args(Device):
        raise ParameterError(f"There is no device {device!r}: choose one of {', '.join(get_args(Device))}.")
    accelerator = _ACCELERATORS.get(device)
    if accelerator is not None and accelerator.provider not in _onnxruntime().get_available_providers():
        raise ParameterError(
            f"The ONNX Runtime that is installed cannot use {device}: {accelerator.remedy}; or use another device."
        )


class Session:
    """A network on a device, which goes over to the CPU for good when the device fails.

    Use `open_session`, which describes the parameters.
    """

    device: str
    """What the network is run on: "cpu" after an accelerator has failed."""

    def __init__(self, model: bytes, source: Path, *, threads: int, device: str, sizes_vary: bool) -> None:
        self._model, self._source, self._threads, self._sizes_vary = model, source, threads, sizes_vary
        self._one_at_a_time = threading.Lock()
        self.device, self._session = self._open_best(device)
        self._frees_memory = _onnxruntime().RunOptions()
        if sizes_vary:
            # What runs of other sizes have left behind, twice the memory of the largest.
            self._frees_memory.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

    @cached_property
    def metadata(self) -> dict[str, str]:
        """Custom metadata of the model."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    @property
    def wants_few_shapes(self) -> bool:
        """Whether inputs should have few different sizes, since each new one takes long."""
        return self.device in _ACCELERATORS and _ACCELERATORS[self.device].few_shapes

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Any]) -> list[Any]:
        """Run the network and return the outputs of these names; may be called by several threads at once.

        Warns
        -----
        UserWarning
            If the accelerator fails, for want of memory for example. The CPU then does this run and all further ones.
        """
        if self.device != "cpu":
            with self._one_at_a_time:  # not every accelerator can be used by several threads
                if self.device != "cpu":
                    try:
                        return list(self._session.run(outputs, inputs))
                    except Exception as error:
                        on_the_cpu = self._open_on_the_cpu()
                        # Raises if it is not the device's fault.
                        result = list(on_the_cpu.run(outputs, inputs, self._frees_memory))
                        fault = f"{self.device} failed ({_reason(error)})"
                    self._session, self.device = on_the_cpu, "cpu"
                    warnings.warn(f"{fault}: the CPU is used from now on.", stacklevel=2)
                    return result
        return list(self._session.run(outputs, inputs, self._frees_memory))

    def _open_best(self, device: str) -> tuple[str, Any]:
        """Return the device that is used, and the network opened on it."""
        wanted = _accelerators_offered() if device == "auto" else [device] if device != "cpu" else []
        faults: list[tuple[str, Exception]] = []
        for name in wanted:
            try:
                used, session = name, self._open_on(name)
                break
            except Exception as error:
                faults.append((f"ONNX Runtime offers {name}, which does not work here ({_reason(error)})", error))
        else:
            used, session = "cpu", self._open_on_the_cpu()  # raises if it is the weights' fault
        for fault, cause in faults:
            if device != "auto":
                raise ParameterError(f"{fault}: install what it needs, or use the device cpu.") from cause
            warnings.warn(f"{fault}: {'the CPU' if used == 'cpu' else used} is used instead.", stacklevel=2)
        return used, session

    def _open_on_the_cpu(self) -> Any:
        try:
            return self._opened(["CPUExecutionProvider"], self._options())
        except Exception as error:  # ONNX Runtime raises its own classes, which share no base but Exception
            raise WeightsError(f"ONNX Runtime cannot open {self._source}: {_reason(error)}.") from error

    def _open_on(self, device: str) -> Any:
        """Open the network on an accelerator, without a word of ONNX Runtime's own if that does not work."""
        onnxruntime, accelerator = _onnxruntime(), _ACCELERATORS[device]
        # OpenVINO has threads of its own, and knows of no limit.
        cores = {"num_of_threads": str(available_cores())} if device == "openvino" else {}
        options = self._options()
        options.enable_mem_pattern = False  # which DirectML cannot do
        onnxruntime.set_default_logger_severity(4)
        try:
            if device == "cuda" and hasattr(onnxruntime, "preload_dlls"):
                with redirect_stdout(StringIO()):
                    onnxruntime.preload_dlls()  # finds CUDA where pip has installed it
            session = self._opened(
                [accelerator.provider, "CPUExecutionProvider"],
                options,
                provider_options=[{**accelerator.options, **cores}, {}],
                enable_fallback=0,
            )
        finally:
            onnxruntime.set_default_logger_severity(2)
        if accelerator.provider not in session.get_providers():
            raise DefocusError("hardware, a driver or a library is missing")
        return session

    def _opened(self, providers: list[str], options: Any, **more: Any) -> Any:
        session = _onnxruntime().InferenceSession(self._model, options, providers=providers, **more)
        _open_here.add(session)
        return session

    def _options(self) -> Any:
        options = _onnxruntime().SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = self._threads
        options.enable_mem_pattern = not self._sizes_vary
        # Idle threads sleep: spinning, they would take the cores from the rest of the program.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return options


def open_session(model: bytes, source: Path, *, threads: int, device: str = "cpu", sizes_vary: bool = False) -> Session:
    """Return a network, ready to run; equal calls in a process return the same session.

    Opening takes 0.1 s, about as long as reading a small photograph. A session may be used by several threads at once.

    No data leaves the machine: ONNX Runtime is imported with ORT_DISABLE_TELEMETRY=1 in the environment, unless the
    variable is set already. A program that imports ONNX Runtime itself before the first estimate has to set the
    variable before that import.

    Parameters
    ----------
    model : contents of the ONNX file. They are the key of the cache, so a replaced file gets a new session.
    source : the file, to be named in errors.
    threads : number of threads that one run of the network uses on the CPU.
    device : one of `Device`.
    sizes_vary : the inputs differ in size from run to run, so no memory plan is kept for each size, and memory is given
        back after each run on the CPU. It is reserved as one piece all the same: to reserve each array by itself takes
        a fifth of the time of a large run.

    Warns
    -----
    UserWarning
        If the device is "auto" and ONNX Runtime offers an accelerator that does not work; the CPU is then used.

    Raises
    ------
    WeightsError
        If the bytes are not a model.
    ParameterError
        If the device, other than "auto", is unknown, not there or does not work.
    DefocusError
        If ONNX Runtime is not installed.
    """
    check_device_is_there(device)
    if device == "auto" and not _accelerators_offered():
        device = "cpu"
    # ONNX Runtime's threads do not survive a fork, so a child opens its own sessions.
    return _open(model, source, threads, device, sizes_vary, os.getpid())


@lru_cache(maxsize=4)
def _open(model: bytes, source: Path, threads: int, device: str, sizes_vary: bool, _process: int) -> Session:
    return Session(model, source, threads=threads, device=device, sizes_vary=sizes_vary)


def _onnxruntime() -> Any:
    """Return ONNX Runtime, which takes 0.2 s to import; `defocus --help` must not pay that."""
    # Read only when the library loads: later calls stop neither its files in the home folder nor its look-up of a host.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError:
        onnxruntime = None
    # Where two packages of it were installed, and one of them was removed, part of its folder is left.
    if not hasattr(onnxruntime, "InferenceSession"):
        raise DefocusError("ONNX Runtime is missing or incomplete: pip install --force-reinstall onnxruntime.")
    return onnxruntime


def _accelerators_offered() -> list[str]:
    """Return those that "auto" takes and ONNX Runtime offers, the best first, whether they work or not."""
    offered = _onnxruntime().get_available_providers()
    return [name for name in _AUTOMATIC if _ACCELERATORS[name].provider in offered]


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".")
