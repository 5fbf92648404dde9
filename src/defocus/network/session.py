"""Networks in ONNX Runtime, opened once for all the photographs of a process."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any


def open_session(model: bytes, *, threads: int, providers: tuple[str, ...], sizes_vary: bool = False) -> Any:
    """Return an `onnxruntime.InferenceSession` of a model: the one of last time if it was the same.

    Opening takes 0.1 s, about as long as reading a small photograph. A session may be used by several threads at once.

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
    # ONNX Runtime takes 0.2 s to import, which `defocus --help` must not pay.
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    options.enable_mem_pattern = not sizes_vary
    offered = onnxruntime.get_available_providers()
    return onnxruntime.InferenceSession(model, options, providers=[name for name in providers if name in offered])
