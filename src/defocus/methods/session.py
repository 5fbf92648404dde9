"""Networks in ONNX Runtime, opened once for all the photographs of a process.

ONNX Runtime is imported only in this module, so that its telemetry is off before it loads.
"""

from __future__ import annotations

import ctypes
import os
from functools import lru_cache
from typing import Any
from weakref import WeakSet

__all__ = ["open_session"]

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


def open_session(model: bytes, *, threads: int, providers: tuple[str, ...], sizes_vary: bool = False) -> Any:
    """Return an `onnxruntime.InferenceSession` of a model; equal calls in a process return the same session.

    Opening takes 0.1 s, about as long as reading a small photograph. A session may be used by several threads at once.

    No data leaves the machine: ONNX Runtime is imported with ORT_DISABLE_TELEMETRY=1 in the environment, unless the
    variable is set already. A program that imports ONNX Runtime itself before the first estimate has to set the
    variable before that import.

    Parameters
    ----------
    model : contents of the ONNX file. They are the key of the cache, so a replaced file gets a new session.
    threads : number of threads that one run of the network uses.
    providers : ONNX Runtime's execution providers, the best first; those that are not available are skipped.
    sizes_vary : the inputs differ in size from run to run, so no memory plan is kept for each size. Memory itself is
        kept between runs in any case: allocating it anew takes a fifth of the time of a large run.

    Raises
    ------
    Exception
        ONNX Runtime's own, which share no base class, if the bytes are not a model.
    """
    # ONNX Runtime's threads do not survive a fork, so a child opens its own sessions.
    return _open(model, threads, providers, sizes_vary, os.getpid())


@lru_cache(maxsize=4)
def _open(model: bytes, threads: int, providers: tuple[str, ...], sizes_vary: bool, _process: int) -> Any:
    # Read only when the library loads: later calls stop neither its files in the home folder nor its look-up of a host.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    # ONNX Runtime takes 0.2 s to import, which `defocus --help` must not pay.
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    options.enable_mem_pattern = not sizes_vary
    # Idle threads sleep: spinning, they would take the cores from the rest of the program.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    offered = onnxruntime.get_available_providers()
    session = onnxruntime.InferenceSession(model, options, providers=[name for name in providers if name in offered])
    _open_here.add(session)
    return session
