"""Canny edges as MATLAB's `edge` defines them.

Canny, A computational approach to edge detection, PAMI 1986, in the variant MATLAB documents: the gradient is
normalised by its largest value, so both thresholds are fractions of the strongest edge; non-maximum suppression
interpolates along the gradient direction; hysteresis follows 8-connected pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from defocus.filters.strips import Plane, strips_of

__all__ = ["SMOOTHING_SIGMA", "canny", "gradient_maxima", "hysteresis", "relative_edges", "smoothed_gradient"]

SMOOTHING_SIGMA = float(np.sqrt(2.0))
"""Default sigma of the smoothing, px."""
_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)


def smoothed_gradient(
    grey: NDArray[np.floating], sigma: float = SMOOTHING_SIGMA
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the horizontal and vertical derivative of a Gaussian-smoothed image.

    Parameters
    ----------
    grey : H x W float array.
    sigma : sigma of the Gaussian, px, which is cut off at ceil(4 sigma); borders are replicated.

    Returns
    -------
    (gx, gy), each H x W float64. The two halves of the derivative kernel each sum to one, so a step of height 1
    gives a derivative of about 1 whatever sigma.

    Examples
    --------
    >>> step = np.repeat([[0.0, 1.0]], 8, axis=1).repeat(4, axis=0)
    >>> gx, gy = smoothed_gradient(step)
    >>> gx[0].round(1)[6:10], bool(np.allclose(gy, 0))
    (array([0.6, 1. , 1. , 0.6]), True)
    """
    extent = int(np.ceil(4 * sigma))
    x = np.arange(-extent, extent + 1, dtype=np.float64)
    smooth = np.exp(-(x**2) / (2 * sigma**2))
    smooth /= smooth.sum()
    derivative = np.gradient(smooth)
    derivative[derivative > 0] /= derivative[derivative > 0].sum()
    derivative[derivative < 0] /= -derivative[derivative < 0].sum()

    def separable(along: int) -> NDArray[np.float64]:
        across = ndimage.convolve1d(grey, smooth, axis=1 - along, mode="nearest", output=np.float64)
        return ndimage.convolve1d(across, derivative, axis=along, mode="nearest")

    return separable(1), separable(0)


def _non_maximum_suppression(
    gx: NDArray[np.float64], gy: NDArray[np.float64], magnitude: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return the pixels whose gradient magnitude is not exceeded on either side along the gradient.

    The magnitude on either side is interpolated linearly between the two neighbours the gradient points between.

    Parameters
    ----------
    gx, gy, magnitude : H x W float64.

    Returns
    -------
    H x W bool; the outermost pixels are never local maxima.
    """
    maxima = np.zeros(magnitude.shape, dtype=bool)
    if min(magnitude.shape) < 3:
        return maxima
    # Only pixels with a gradient can be edges; working on their list instead of the full image saves most of the time.
    rows, columns = np.nonzero(magnitude[1:-1, 1:-1] > 0)
    rows, columns = rows + 1, columns + 1
    dx, dy, centre = gx[rows, columns], gy[rows, columns], magnitude[rows, columns]
    steep = np.abs(dy) > np.abs(dx)
    # A step along the main axis of the gradient, and one along the other axis towards where it points.
    step_row = np.where(steep, np.sign(dy), 0).astype(np.intp)
    step_column = np.where(steep, 0, np.sign(dx)).astype(np.intp)
    side_row = np.where(steep, 0, np.sign(dy)).astype(np.intp)
    side_column = np.where(steep, np.sign(dx), 0).astype(np.intp)
    slant = np.minimum(np.abs(dx), np.abs(dy)) / np.maximum(np.abs(dx), np.abs(dy))

    def beside(direction: int) -> NDArray[np.float64]:
        straight = magnitude[rows + direction * step_row, columns + direction * step_column]
        diagonal = magnitude[
            rows + direction * (step_row + side_row), columns + direction * (step_column + side_column)
        ]
        return straight * (1 - slant) + diagonal * slant

    keep = (centre >= beside(1)) & (centre >= beside(-1))
    maxima[rows[keep], columns[keep]] = True
    return maxima


def hysteresis(candidates: NDArray[np.bool_], strong: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the candidates that are connected to a strong pixel by an 8-connected path of candidates.

    Parameters
    ----------
    candidates, strong : H x W bool; only strong pixels that are candidates count.

    Returns
    -------
    H x W bool.

    Examples
    --------
    >>> candidates = np.array([[True, True, False, True]])
    >>> hysteresis(candidates, strong=np.array([[True, False, False, False]]))
    array([[ True,  True, False, False]])
    """
    labels, count = ndimage.label(candidates, structure=_EIGHT_NEIGHBOURS)
    reached = np.zeros(count + 1, dtype=bool)
    reached[labels[strong & candidates]] = True
    reached[0] = False
    result = np.empty(candidates.shape, dtype=bool)
    for strip in strips_of(candidates.shape):  # NumPy converts the labels to its own type of an index
        result[strip.inner] = reached[labels[strip.inner]]
    return result


def gradient_maxima(
    grey: Plane, sigma: float = SMOOTHING_SIGMA, dtype: type[np.floating] = np.float64
) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    """Return the gradient magnitude of a smoothed image and its local maxima across edges.

    Parameters
    ----------
    grey : H x W float array, or another plane of which rows can be read.
    sigma : sigma of the smoothing, px.
    dtype : type of the magnitude; float32 halves the memory, the computation is in float64 either way.

    Returns
    -------
    (magnitude, maxima) : H x W floats in the unit of `grey`, and H x W bool.

    Examples
    --------
    >>> step = np.zeros((5, 12))
    >>> step[:, 6:] = 1
    >>> magnitude, maxima = gradient_maxima(step)
    >>> np.flatnonzero(maxima[2])
    array([5, 6])
    """
    magnitude, maxima = np.empty(grey.shape, dtype), np.zeros(grey.shape, dtype=bool)
    # One row more than the smoothing reaches, for the neighbours that a maximum is compared with.
    for strip in strips_of(grey.shape, margin=int(np.ceil(4 * sigma)) + 1):
        gx, gy = smoothed_gradient(grey[strip.outer], sigma)
        lengths = np.hypot(gx, gy)
        # A flat photograph leaves rounding errors of about 1e-16 here, which must not be taken for edges.
        lengths[lengths < 1e-9] = 0
        magnitude[strip.inner] = lengths[strip.kept]
        maxima[strip.inner] = _non_maximum_suppression(gx, gy, lengths)[strip.kept]
    return magnitude, maxima


def relative_edges(
    magnitude: NDArray[np.floating], maxima: NDArray[np.bool_], low: float, high: float
) -> NDArray[np.bool_]:
    """Return Canny edges for thresholds relative to the largest gradient of the image.

    Parameters
    ----------
    magnitude, maxima : H x W arrays from `gradient_maxima`.
    low, high : hysteresis thresholds as fractions (0..1) of the largest gradient magnitude, low < high.

    Returns
    -------
    H x W bool. An image without any gradient has no edges.

    Examples
    --------
    >>> magnitude = np.array([[0.1, 0.4, 1.0]])
    >>> relative_edges(magnitude, np.ones((1, 3), bool), low=0.2, high=0.5)
    array([[False,  True,  True]])
    """
    largest = magnitude.max(initial=0.0)
    if largest == 0:
        return np.zeros(magnitude.shape, dtype=bool)
    candidates, strong = maxima.copy(), np.empty_like(maxima)
    for strip in strips_of(magnitude.shape):
        relative = magnitude[strip.inner] / largest
        candidates[strip.inner] &= relative > low
        np.greater(relative, high, out=strong[strip.inner])
    return hysteresis(candidates, strong)


def canny(grey: NDArray[np.floating], low: float, high: float, *, sigma: float = SMOOTHING_SIGMA) -> NDArray[np.bool_]:
    """Return Canny edges as MATLAB's `edge(grey, "canny", [low high], sigma)` does.

    Parameters
    ----------
    grey : H x W float array.
    low, high : hysteresis thresholds as fractions (0..1) of the largest gradient magnitude, low < high.
    sigma : sigma of the smoothing, px.

    Returns
    -------
    H x W bool.

    Examples
    --------
    >>> step = np.zeros((5, 12))
    >>> step[:, 6:] = 1
    >>> np.flatnonzero(canny(step, 0.1, 0.2)[2])
    array([5, 6])
    """
    return relative_edges(*gradient_maxima(grey, sigma), low, high)
