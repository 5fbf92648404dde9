"""The blur features of Shi, Xu, Jia, *Discriminative Blur Detection Features*, CVPR 2014, on a grid of patches.

Each says of a square patch how likely it is sharp; none is a sigma. They are read at every `STRIDE` pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import fft, ndimage

from defocus.methods.dhde.features.patches import pad_edges

__all__ = ["FEATURE_NAMES", "STRIDE", "discriminative_features", "gradient_kurtosis", "gradient_span"]

_Floats = NDArray[np.float64]

STRIDE = 4
"""px between patches: neighbours share most of their pixels, so every pixel would say the same sixteen times."""
FEATURE_NAMES = ("gradient kurtosis", "gradient span", "spectrum", "filter 1", "filter 2")

_START_VARIANCES = (0.5, 1e-4)
_EM_STEPS = 40
_EM_TOLERANCE = 1e-3
_MAGNITUDE_BOUNDS = np.concatenate([[0.0], np.geomspace(1e-3, 1.0, 28), [2.0]])
_LOG_RADIUS_STEP = 0.2
_ROWS_AT_ONCE = 16
_SMALL = 1e-12


def discriminative_features(grey: _Floats, size: int, filters: _Floats) -> _Floats:
    """All features of patches of one size.

    Parameters
    ----------
    grey : H x W float64, 0..1.
    size : px, odd, width of the patches.
    filters : size^2 x 2, the learned local filters.

    Returns
    -------
    h x w x 5 float64, finite; h = ceil(H / STRIDE), w = ceil(W / STRIDE). Order of `FEATURE_NAMES`.
    """
    spectrum, responses = _spectrum_and_filters(grey, size, filters)
    kurtosis = gradient_kurtosis(grey, size)
    return np.stack([kurtosis, gradient_span(grey, size), spectrum, responses[..., 0], responses[..., 1]], axis=2)


def gradient_kurtosis(grey: _Floats, size: int) -> _Floats:
    """Logarithm of the smaller kurtosis of horizontal and vertical gradients (section 3.1): heavy tails are sharp.

    Kurtosis is the fourth central moment over the squared second one; a patch without gradients has that of a
    Gaussian, 3.
    """

    def of(gradient: _Floats) -> _Floats:
        one, two, three, four = (_means(gradient**power, size) for power in (1, 2, 3, 4))
        variance = np.maximum(two - one**2, 0)
        fourth = np.maximum(four - 4 * one * three + 6 * one**2 * two - 3 * one**4, 0)
        # Below the square of rounding to 8 bit there is no gradient to speak of.
        return np.where(variance > 1e-7, fourth / np.maximum(variance, 1e-7) ** 2, 3.0)

    across, down = _forward_differences(grey)
    return np.log(np.maximum(np.minimum(of(across), of(down)), 1.0))


def gradient_span(grey: _Floats, size: int) -> _Floats:
    """Logarithm of the wider deviation of a two-Gaussian mixture of the gradients (section 3.1): a wide tail is sharp.

    Expectation maximisation as in the paper, on histograms of the gradient magnitude (mirrored, so of mean 0) with 29
    bins, which makes it independent of the number of pixels in a patch.
    """
    magnitude = np.hypot(*_forward_differences(grey))
    bins = np.digitize(magnitude, _MAGNITUDE_BOUNDS[1:-1])
    fractions, squares = [], []
    for index in range(len(_MAGNITUDE_BOUNDS) - 1):
        within = bins == index
        fractions.append(_means(within.astype(np.float64), size))
        typical = magnitude[within]
        squares.append(float((typical**2).mean()) if typical.size else 0.0)
    fraction = np.stack(fractions, axis=2)
    square = np.array(squares)

    wide, narrow = (np.full(fraction.shape[:2], v) for v in _START_VARIANCES)
    weight = np.full(fraction.shape[:2], 0.5)
    for _ in range(_EM_STEPS):
        log_wide = np.log(weight / np.sqrt(wide))[..., None] - square / (2 * wide[..., None])
        log_narrow = np.log((1 - weight) / np.sqrt(narrow))[..., None] - square / (2 * narrow[..., None])
        of_wide = fraction / (1 + np.exp(np.clip(log_narrow - log_wide, -500, 500)))
        before, weight = weight, np.clip(of_wide.sum(axis=2), 1e-6, 1 - 1e-6)
        wide = np.maximum((of_wide * square).sum(axis=2) / weight, 1e-8)
        narrow = np.maximum(((fraction - of_wide) * square).sum(axis=2) / (1 - weight), 1e-8)
        if np.abs(weight - before).max() < _EM_TOLERANCE:
            break
    return 0.5 * np.log(np.maximum(wide, narrow))


def _spectrum_and_filters(grey: _Floats, size: int, filters: _Floats) -> tuple[_Floats, _Floats]:
    """Sum of the log power spectrum over rings (section 3.2), and log responses of the filters (section 3.3).

    The spectrum is of the patch divided by its sum; rings are of equal width in log radius, so that fine detail and
    coarse count alike; the last ring, of the corners, is left out as in the release.
    """
    half = size // 2
    frequencies = np.hypot(*np.mgrid[: half + 1, : half + 1])
    radius = np.rint(frequencies).astype(int)
    rings = np.where(radius > 0, np.floor(np.log(np.maximum(radius, 1)) / _LOG_RADIUS_STEP), -1).astype(int)
    kept = np.unique(rings[rings >= 0])[:-1]
    masks = np.stack([(rings == ring) / np.count_nonzero(rings == ring) for ring in kept])

    windows = sliding_window_view(pad_edges(grey.astype(np.float32), half), (size, size))
    rows, columns = _grid(grey.shape)
    spectrum = np.empty((len(rows), len(columns)))
    responses = np.empty((*spectrum.shape, filters.shape[1]))
    for top in range(0, len(rows), _ROWS_AT_ONCE):
        span = slice(top, top + _ROWS_AT_ONCE)
        patches = windows[np.ix_(rows[span], columns)]
        sums = np.maximum(patches.sum(axis=(2, 3), keepdims=True), 1e-3)
        power = np.abs(fft.rfft2(patches / sums)[..., : half + 1, :]) ** 2
        energy = np.einsum("hwuv,ruv->hwr", power, masks) / half**2
        spectrum[span] = np.log(energy + _SMALL).sum(axis=2)
        flat = patches - patches.mean(axis=(2, 3), keepdims=True)
        response = flat.reshape(*flat.shape[:2], -1) @ filters.astype(np.float32)
        responses[span] = np.log(np.abs(response) + 1e-3)
    return spectrum, responses


def _forward_differences(grey: _Floats) -> tuple[_Floats, _Floats]:
    """Horizontal and vertical; 0 beyond the last column and row."""
    return np.diff(grey, axis=1, append=grey[:, -1:]), np.diff(grey, axis=0, append=grey[-1:])


def _means(values: _Floats, size: int) -> _Floats:
    """Mean over the patches around the pixels of the grid."""
    return np.asarray(ndimage.uniform_filter(values, size, mode="nearest")[np.ix_(*_grid(values.shape))])


def _grid(shape: tuple[int, ...]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the patches' centres: the middle of blocks of `STRIDE` px a side."""
    rows, columns = (np.minimum(np.arange(0, n, STRIDE) + STRIDE // 2, n - 1) for n in shape)
    return rows, columns
