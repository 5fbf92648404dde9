"""How many CPU cores this process works on."""

from __future__ import annotations

import os

_most: int | None = None


def available_cores() -> int:
    """CPU cores this process may use: those the system gives it, or fewer after `limit_cores`."""
    given = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return given if _most is None else min(given, _most)


def limit_cores(most: int) -> None:
    """Use no more than `most` cores (1 or more) from now on, in ONNX Runtime, BLAS and OpenMP too.

    For processes that work beside others of their kind: threads of all of them on all cores slow each other down.
    """
    global _most
    from threadpoolctl import threadpool_limits

    _most = most
    # Libraries that are not loaded yet read these when they are.
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(most)))
    threadpool_limits(most)
