"""Scores of others to measure against: not methods of this package, no sigma, only for the benchmark."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from defocus.errors import DefocusError
from defocus.optics.light import luma

__all__ = ["PEERS", "laplacian_score"]

_LAPLACIAN_WINDOW = 21
"""px."""
_HIFST_STEP = 4
"""px between the places that blur-detector reads by default, down and across."""


def laplacian_score(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Minus the log of the local variance of the Laplacian, the score that everyone starts with.

    Parameters
    ----------
    image : H x W x 3 uint8.

    Returns
    -------
    H x W float32, higher = more blurred, no unit.
    """
    laplacian = ndimage.laplace(luma(image.astype(np.float64)))
    mean = ndimage.uniform_filter(laplacian, _LAPLACIAN_WINDOW)
    variance = ndimage.uniform_filter(laplacian**2, _LAPLACIAN_WINDOW) - mean**2
    # A grey level's rounding leaves about 0.1; the floor keeps flat patches finite without ordering noise.
    score: NDArray[np.float32] = (-np.log(np.maximum(variance, 1e-3))).astype(np.float32)
    return score


def _hifst_score(image: NDArray[np.uint8], step: int = _HIFST_STEP) -> NDArray[np.float32]:
    """HiFST (Golestaneh & Karam, CVPR 2017) by the package blur-detector.

    Parameters
    ----------
    image : H x W x 3 uint8.
    step : px between the places that are read, down and across; 1 reads every pixel, as the paper does. Everything else
        is at the package's defaults, whose windows of entropy and smoothing count places, not px.

    Returns
    -------
    H x W float32, higher = more blurred: minus the package's sharpness, no unit.

    Raises
    ------
    DefocusError
        If blur-detector is not installed.
    """
    try:
        from blur_detector import detectBlur
    except ImportError as error:
        raise DefocusError("HiFST needs the package blur-detector: pip install 'defocus[benchmark]'.") from error
    grey = np.rint(luma(image.astype(np.float64))).astype(np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what scikit-image has renamed, and of 64-bit values made 8-bit
        found = detectBlur(grey, downsampling_factor=step, show_progress=False)
    sharpness = np.asarray(found, dtype=np.float64)
    if sharpness.shape != grey.shape:
        factors = np.divide(grey.shape, sharpness.shape)
        sharpness = ndimage.zoom(sharpness, factors, order=1)
    return (-np.nan_to_num(sharpness)).astype(np.float32)


PEERS: dict[str, Callable[[NDArray[np.uint8]], NDArray[np.float32]]] = {
    "laplacian": laplacian_score,
    "hifst": _hifst_score,
    "hifst-dense": partial(_hifst_score, step=1),
}
"""Name to function: photograph in, score out, higher = more blurred."""
