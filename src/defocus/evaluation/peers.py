"""Published blur scores that the benchmark compares with. They are no methods of this package and give no sigma."""

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
"""Side in px of the window of the local variance."""
_HIFST_STEP = 4
"""Distance in px, down and across, of the positions that blur-detector evaluates by default."""


def laplacian_score(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return minus the log of the local variance of the Laplacian, the simplest blur score in common use.

    Parameters
    ----------
    image : H x W x 3 uint8.

    Returns
    -------
    H x W float32, higher = more blurred, no unit.

    Examples
    --------
    >>> image = np.zeros((32, 64, 3), np.uint8)
    >>> image[:, 32:] = np.random.default_rng(0).integers(0, 255, (32, 32, 3))  # detail on the right
    >>> score = laplacian_score(image)
    >>> bool(score[16, 8] > score[16, 56])
    True
    """
    laplacian = ndimage.laplace(luma(image.astype(np.float64)))
    mean = ndimage.uniform_filter(laplacian, _LAPLACIAN_WINDOW)
    variance = ndimage.uniform_filter(laplacian**2, _LAPLACIAN_WINDOW) - mean**2
    # Rounding to grey levels leaves about 0.1, so the floor keeps flat patches finite without changing any order.
    score: NDArray[np.float32] = (-np.log(np.maximum(variance, 1e-3))).astype(np.float32)
    return score


def _hifst_score(image: NDArray[np.uint8], step: int = _HIFST_STEP) -> NDArray[np.float32]:
    """Return the score of HiFST (Golestaneh & Karam, CVPR 2017) as the package blur-detector computes it.

    Parameters
    ----------
    image : H x W x 3 uint8.
    step : distance in px, down and across, of the positions that are evaluated; 1 evaluates every pixel, as the paper
        does. All other settings are the package's defaults, whose windows of entropy and smoothing count positions, not
        px.

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
        warnings.simplefilter("ignore")  # about names that scikit-image has changed, and conversions to 8 bits
        detected = detectBlur(grey, downsampling_factor=step, show_progress=False)
    sharpness = np.asarray(detected, dtype=np.float64)
    if sharpness.shape != grey.shape:
        factors = np.divide(grey.shape, sharpness.shape)
        sharpness = ndimage.zoom(sharpness, factors, order=1)
    return (-np.nan_to_num(sharpness)).astype(np.float32)


PEERS: dict[str, Callable[[NDArray[np.uint8]], NDArray[np.float32]]] = {
    "laplacian": laplacian_score,
    "hifst": _hifst_score,
    "hifst-dense": partial(_hifst_score, step=1),
}
"""Functions by name: each takes a photograph and returns a score, higher = more blurred."""
