"""The probability-joint bilateral filter of DHDE, which gives probable labels more weight."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from defocus.errors import ParameterError
from defocus.filters.strips import strips_of

__all__ = ["filter_edge_pixels", "probability_joint_bilateral"]

PAIRS_AT_A_TIME = 1 << 17  # bounds the temporaries to about 8 MB, which also suits the processor's cache


def probability_joint_bilateral(
    sparse_sigma: NDArray[np.floating],
    probability: NDArray[np.floating],
    edge_mask: NDArray[np.bool_],
    guide: NDArray[np.floating],
    *,
    radius: int = 13,
    sigma_space: float,
    sigma_colour: float,
    sigma_probability: float,
) -> NDArray[np.float32]:
    """Return the weighted mean of the sparse sigma over the edge pixels of a window.

    The weight of edge pixel j for edge pixel i is
    exp(-|x_i - x_j|^2 / (2 sigma_space^2)) exp(-|I_i - I_j|^2 / (2 sigma_colour^2))
    exp(-(1 - p_j)^2 / (2 sigma_probability^2)).

    Parameters
    ----------
    sparse_sigma : H x W floats, px; read at edge pixels only, so NaN elsewhere is fine.
    probability : H x W floats, 0..1, the probability of each sigma; read at edge pixels only.
    edge_mask : H x W bool, the edge pixels.
    guide : H x W or H x W x C floats, 0..1. The released DHDE takes the red channel of the photograph only.
    radius : window radius in px; the window is (2 radius + 1)^2, cut off at the image border.
    sigma_space : spatial standard deviation in px, > 0 (released: 100, next to constant over the window).
    sigma_colour : range standard deviation in the guide's unit, > 0 (released: 100, constant on a 0..1 image).
    sigma_probability : standard deviation over probability, > 0 (released: 1.0).

    Returns
    -------
    H x W float32, px: the filtered sigma at the edge pixels, 0 away from them.

    Raises
    ------
    ParameterError
        A standard deviation is not positive or radius is negative.

    Notes
    -----
    With the released values and the red channel in 0..1, before or after rolling guidance, this
    reproduces the authors' output to 3e-7; a 0..255 guide does not (it differs by up to 0.04 px).

    Time and memory: proportional to the number of pairs of edge pixels that share a window; a bounded number
    of pairs is held at a time.

    References
    ----------
    Park, Tai, Cho, Kweon, CVPR 2017 (probability-joint bilateral filter).

    Examples
    --------
    >>> sigma = np.array([[1.0, 3.0, np.nan]])
    >>> edges = np.array([[True, True, False]])
    >>> filtered = probability_joint_bilateral(
    ...     sigma, np.array([[1.0, 0.5, 0.0]]), edges, np.zeros((1, 3)),
    ...     sigma_space=100, sigma_colour=100, sigma_probability=0.5,
    ... )
    >>> filtered.round(2)
    array([[1.76, 1.76, 0.  ]], dtype=float32)
    """
    filtered = np.zeros(edge_mask.shape, dtype=np.float32)
    ys, xs = np.nonzero(edge_mask)
    filtered[ys, xs] = filter_edge_pixels(
        edge_mask,
        sparse_sigma[ys, xs],
        probability[ys, xs],
        np.atleast_3d(guide)[ys, xs],
        radius=radius,
        sigma_space=sigma_space,
        sigma_colour=sigma_colour,
        sigma_probability=sigma_probability,
    )
    return filtered


def filter_edge_pixels(
    edge_mask: NDArray[np.bool_],
    sigma: NDArray[np.floating],
    probability: NDArray[np.floating],
    colours: NDArray[np.floating],
    *,
    radius: int = 13,
    sigma_space: float,
    sigma_colour: float,
    sigma_probability: float,
) -> NDArray[np.float32]:
    """Apply the filter to a list of the edge pixels, which takes less memory than planes.

    Parameters
    ----------
    edge_mask : H x W bool, the n edge pixels.
    sigma, probability : n floats, in the order of `np.nonzero(edge_mask)`.
    colours : n x C floats, the guide at these pixels.
    radius, sigma_space, sigma_colour, sigma_probability : as for `probability_joint_bilateral`.

    Returns
    -------
    n float32, px: the filtered sigma.

    Raises
    ------
    ParameterError
        A standard deviation is not positive or radius is negative.

    Examples
    --------
    >>> edges = np.array([[True, True, False]])
    >>> filtered = filter_edge_pixels(
    ...     edges, np.array([1.0, 3.0]), np.array([1.0, 0.5]), np.zeros((2, 3)),
    ...     sigma_space=100, sigma_colour=100, sigma_probability=0.5,
    ... )
    >>> filtered.round(2)
    array([1.76, 1.76], dtype=float32)
    """
    if not (min(sigma_space, sigma_colour, sigma_probability) > 0 and radius >= 0):
        raise ParameterError(
            "The probability-joint bilateral filter needs positive standard deviations and a radius "
            f"of at least 0; it was given {sigma_space}, {sigma_colour}, {sigma_probability} and {radius}."
        )
    # Scaled coordinates whose squared distance is the exponent of the spatial and range weights together.
    half = np.sqrt(0.5)
    values = np.empty(len(sigma), dtype=np.float32)
    before = np.concatenate([[0], np.cumsum(np.count_nonzero(edge_mask, axis=1))])  # edge pixels above each row
    for strip in strips_of(edge_mask.shape, margin=radius):
        outer = slice(before[strip.outer.start], before[strip.outer.stop])
        inner = slice(before[strip.inner.start], before[strip.inner.stop])
        if inner.start == inner.stop:
            continue
        ys, xs = np.nonzero(edge_mask[strip.outer])
        trust = np.exp(-0.5 * ((1 - probability[outer]) / sigma_probability) ** 2).astype(np.float32)
        coordinates = [
            ((ys + strip.outer.start) * (half / sigma_space)).astype(np.float32),
            (xs * (half / sigma_space)).astype(np.float32),
        ]
        coordinates += [(channel * (half / sigma_colour)).astype(np.float32) for channel in colours[outer].T]
        kept = slice(inner.start - outer.start, inner.stop - outer.start)
        runs = _neighbour_runs(edge_mask[strip.outer], ys[kept], xs[kept], radius)
        values[inner] = _weighted_means(np.asarray(sigma[outer], np.float32), trust, coordinates, kept.start, *runs)
    return values


def _weighted_means(
    sigma: NDArray[np.float32],
    trust: NDArray[np.float32],
    coordinates: list[NDArray[np.float32]],
    offset: int,
    first: NDArray[np.int32],
    count: NDArray[np.int32],
) -> NDArray[np.float32]:
    """Return the filtered sigma of the edge pixels from number `offset` on, whose neighbours the runs are."""
    total_pixels = len(count)
    pairs_before = np.concatenate([[0], np.cumsum(count.sum(1))])
    values = np.empty(total_pixels, dtype=np.float32)
    start = 0
    while start < total_pixels:
        limit = pairs_before[start] + PAIRS_AT_A_TIME
        stop = max(start + 1, int(np.searchsorted(pairs_before, limit, side="right")) - 1)
        lengths = count[start:stop].ravel()
        ends = np.cumsum(lengths)
        neighbour = np.repeat(first[start:stop].ravel() - (ends - lengths), lengths)
        neighbour += np.arange(len(neighbour))
        per_pixel = np.diff(pairs_before[start : stop + 1])
        exponent = np.zeros(len(neighbour), dtype=np.float32)
        for coordinate in coordinates:
            difference = np.repeat(coordinate[offset + start : offset + stop], per_pixel)
            difference -= coordinate[neighbour]
            difference *= difference
            exponent -= difference
        weight = np.exp(exponent, out=exponent)
        weight *= trust[neighbour]
        begins = pairs_before[start:stop] - pairs_before[start]
        total = np.add.reduceat(weight, begins, dtype=np.float64)
        weight *= sigma[neighbour]
        values[start:stop] = np.add.reduceat(weight, begins, dtype=np.float64) / total
        start = stop
    return values


def _neighbour_runs(
    edge_mask: NDArray[np.bool_], ys: NDArray[np.intp], xs: NDArray[np.intp], radius: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the neighbours of each edge pixel as runs of the row-major edge list, one run per window row.

    Returns
    -------
    first, count : N x (2 radius + 1) int32, where the run of each window row starts and how long it is.

    """
    height, width = edge_mask.shape
    # before[y, x] = edge pixels ahead of (y, x) in row-major order, with a column for "end of row".
    before = np.zeros((height, width + 1), dtype=np.int32)
    np.cumsum(edge_mask, axis=1, out=before[:, 1:])
    before[1:] += np.cumsum(before[:-1, -1])[:, None].astype(np.int32)
    rows = ys[:, None] + np.arange(-radius, radius + 1)
    inside = (rows >= 0) & (rows < height)
    rows = np.clip(rows, 0, height - 1)
    first = before[rows, np.maximum(xs - radius, 0)[:, None]]
    last = before[rows, np.minimum(xs + radius + 1, width)[:, None]]
    return first, np.where(inside, last - first, np.int32(0))
