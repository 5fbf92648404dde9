"""Networks in ONNX Runtime, opened once for all the photographs of a process.

The one place of this package that imports ONNX Runtime, so that its telemetry is off before it loads.
"""

from __future__ import annotations

import ctypes
import os
from functools import lru_cache
from typing import Any
from weakref import WeakSet

__all__ = ["open_session"]

_open_here: WeakSet[Any] = WeakSet()
"""Every session of this process that still exists."""


def _keep_for_ever() -> None:
    """Run in a forked child: let the parent's sessions never be destroyed here.

    The threads of a session stay behind in the parent. Its destructor waits for them to end, so a child that destroys
    one, at the latest when it exits, waits for ever. A reference that nobody gives back prevents that.
    """
    for session in list(_open_here):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))
    _open_here.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_for_ever)


def open_session(model: bytes, *, threads: int, providers: tuple[str, ...], sizes_vary: bool = False) -> Any:
    """Return an `onnxruntime.InferenceSession` of a model: the one of last time if it was the same.

    Opening takes 0.1 s, about as long as reading a small photograph. A session may be used by several threads at once.

    Nothing leaves the machine: ONNX Runtime is imported with ORT_DISABLE_TELEMETRY=1 in the environment, unless the
    variable is set already. A program that imported ONNX Runtime itself, before the first estimate, has decided on its
    telemetry by then; it sets the variable before that import if it wants none.

    Parameters
    ----------
    model : the contents of the ONNX file. They are the key, so a file that was replaced is never taken for the old one.
    threads : that one run of the network uses.
    providers : ONNX Runtime's execution providers, the best first; those it was built without are passed over.
    sizes_vary : runs are of ever different sizes, so no plan of the memory is kept for each of them. Memory itself is
        kept between runs in any case: to get it from the system anew takes a fifth of the time of a large run.

    Raises
    ------
    Exception
        ONNX Runtime's own, which share no base class, if the bytes are not a model.
    """
    # ONNX Runtime's threads do not survive a fork: a child opens sessions of its own.
    return _open(model, threads, providers, sizes_vary, os.getpid())


@lru_cache(maxsize=4)
def _open(model: bytes, threads: int, providers: tuple[str, ...], sizes_vary: bool, _process: int) -> Any:
    # Read when the library loads: later calls stop neither its files in the home folder nor its look-up of a host.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    # ONNX Runtime takes 0.2 s to import, which `defocus --help` must not pay.
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    options.enable_mem_pattern = not sizes_vary
    # Threads without work sleep: spinning, they take the cores from whatever else the program does.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    offered = onnxruntime.get_available_providers()
    session = onnxruntime.InferenceSession(model, options, providers=[name for name in providers if name in offered])
    _open_here.add(session)
    return session
