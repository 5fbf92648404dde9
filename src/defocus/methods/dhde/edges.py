"""Step 1 of DHDE: the value channel, and its weak and strong edges with the patch size that each is read with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from defocus.edges import noise_deviation
from defocus.edges.canny import SMOOTHING_SIGMA, hysteresis, relative_edges, smoothed_gradient
from defocus.filters.strips import Plane, strips_of
from defocus.photograph import Photograph

__all__ = ["EDGE_NONE", "EDGE_STRONG", "EDGE_WEAK", "ValueChannel", "add_local_edges", "edge_scales", "value_channel"]

EDGE_NONE, EDGE_WEAK, EDGE_STRONG = 0, 1, 2
"""Values of an edge map: no edge; a weak edge, read with the large patch; a strong one, read with the small patch."""


def value_channel(rgb: NDArray[np.floating]) -> NDArray[np.float64]:
    """V of HSV, the grey image DHDE works on.

    Parameters
    ----------
    rgb : H x W x 3 float array, 0..1.

    Returns
    -------
    H x W float64, the largest of R, G and B, 0..1.
    """
    return rgb.max(axis=2).astype(np.float64, copy=False)


class ValueChannel:
    """The value channel of a photograph, of which some rows at a time are computed: `value[5:10]`.

    Parameters
    ----------
    photograph : upright photograph in sRGB.

    Examples
    --------
    >>> value = ValueChannel(Photograph(np.full((4, 6, 3), (51, 102, 0), np.uint8)))
    >>> value.shape, value[1:2][0, 0]
    ((4, 6), np.float64(0.4))
    """

    def __init__(self, photograph: Photograph) -> None:
        self._photograph = photograph
        self.shape = (photograph.height, photograph.width)

    def __getitem__(self, rows: slice, /) -> NDArray[np.float64]:
        return value_channel(self._photograph.as_float(np.float64, rows=rows))


def edge_scales(
    magnitude: NDArray[np.floating],
    maxima: NDArray[np.bool_],
    weak: tuple[float, float],
    strong: tuple[float, float],
) -> NDArray[np.uint8]:
    """Edge pixels and the patch size each is read with (Park et al., CVPR 2017).

    Parameters
    ----------
    magnitude, maxima : of `gradient_maxima` of the value channel.
    weak, strong : (low, high) Canny thresholds, fractions of the largest gradient magnitude.

    Returns
    -------
    H x W uint8: `EDGE_NONE`, `EDGE_WEAK` or `EDGE_STRONG`. A pixel that both pairs find is strong.
    """
    scales = np.full(magnitude.shape, EDGE_NONE, dtype=np.uint8)
    scales[relative_edges(magnitude, maxima, *weak)] = EDGE_WEAK
    scales[relative_edges(magnitude, maxima, *strong)] = EDGE_STRONG
    return scales


def add_local_edges(
    scales: NDArray[np.uint8],
    grey: Plane,
    magnitude: NDArray[np.floating],
    maxima: NDArray[np.bool_],
    thresholds: tuple[float, float],
    *,
    window: int,
    noise_factor: float,
) -> NDArray[np.uint8]:
    """Edges that stand out of their neighbourhood and of the noise, added to those that stand out of the photograph.

    Where only the subject has strong edges, the released thresholds leave a blurred background without any seed.

    Parameters
    ----------
    scales : H x W uint8, the map of `edge_scales`.
    grey : H x W float array or plane, the value channel, 0..1.
    magnitude, maxima : of `gradient_maxima` of it.
    thresholds : (low, high) as fractions of the largest gradient within the window.
    window : its width in px.
    noise_factor : gradients below this many standard deviations of the noise's own gradient are left out.

    Returns
    -------
    H x W uint8: `scales`, with `EDGE_WEAK` at the edges that are new.
    """
    floor = noise_factor * noise_deviation(grey) * _noise_gain(SMOOTHING_SIGMA)
    candidates, strong = maxima.copy(), np.empty_like(maxima)
    for strip in strips_of(magnitude.shape, margin=2 * (window // 2)):
        # The largest gradient nearby, without the steps a sliding maximum has.
        nearby = ndimage.maximum_filter(magnitude[strip.outer], window, mode="nearest")
        nearby = ndimage.uniform_filter(nearby, window, mode="nearest", output=np.float64)[strip.kept]
        low = np.maximum(thresholds[0] * nearby, floor)
        high = np.maximum(thresholds[1] * nearby, floor * thresholds[1] / thresholds[0])
        candidates[strip.inner] &= magnitude[strip.inner] > low
        np.greater(magnitude[strip.inner], high, out=strong[strip.inner])
    edges = hysteresis(candidates, strong)
    return np.where((scales == EDGE_NONE) & edges, np.uint8(EDGE_WEAK), scales)


def _noise_gain(sigma: float) -> float:
    """Standard deviation of one derivative of `smoothed_gradient` on white noise of unit deviation."""
    extent = int(np.ceil(4 * sigma))
    impulse = np.zeros((4 * extent + 1, 4 * extent + 1))
    impulse[2 * extent, 2 * extent] = 1
    gx, _ = smoothed_gradient(impulse, sigma)
    return float(np.sqrt((gx**2).sum()))
