"""Rolling guidance: removes structures smaller than a scale, then restores the borders of the larger ones."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from defocus.errors import ParameterError

__all__ = ["reach_of_rolling_guidance", "rolling_guidance_filter"]

_TRUNCATION = 3.0  # window radius in units of sigma_space; a Gaussian holds 98.9 % of its 2-D mass within 3 sigma


def rolling_guidance_filter(
    image: NDArray[np.floating],
    *,
    sigma_space: float = 1.5,
    sigma_colour: float = 1.5,
    iterations: int = 3,
    rows: slice = slice(None),
    strip_rows: int | None = None,
) -> NDArray[np.float32]:
    """Rolling guidance filter with an exact joint bilateral filter in each iteration.

    The first iteration has a constant guide and so is a Gaussian; every further one filters the original
    image with the previous result as the guide. The range weight is exp(-|J(p) - J(q)|^2 / (2 sigma_colour^2))
    with the Euclidean distance over all channels of the guide J, one weight for all channels.

    Parameters
    ----------
    image : H x W or H x W x C floats, 0..1.
    sigma_space : standard deviation of the spatial weight in px, > 0. Windows are square with radius
        ceil(3 sigma_space), cut off at the image border, where the weights are renormalised.
    sigma_colour : standard deviation of the range weight, in the image's unit, > 0. The released DHDE uses
        1.5, which on a 0..1 image is next to no range term.
    iterations : number of iterations, >= 1; 1 is the Gaussian alone.
    rows : rows of the result that are wanted. Where the image is a part of a larger one, they are those of the whole's
        result if the image has `reach_of_rolling_guidance` more rows on either side, or ends where the whole does.
    strip_rows : rows worked on at a time. It bounds the memory and does not change the result; None chooses
        strips that stay in the processor's cache.

    Returns
    -------
    float32 array of the shape of these rows of the image, 0..1.

    Raises
    ------
    ParameterError
        A sigma is not positive or iterations is less than 1.

    References
    ----------
    Zhang, Shen, Xu, Jia, "Rolling guidance filter", ECCV 2014.

    """
    if not (sigma_space > 0 and sigma_colour > 0 and iterations >= 1):
        raise ParameterError(
            "The rolling guidance filter needs positive sigma_space and sigma_colour and at least one "
            f"iteration; it was given {sigma_space}, {sigma_colour} and {iterations}."
        )
    planes = np.ascontiguousarray(np.moveaxis(np.atleast_3d(image), 2, 0), dtype=np.float32)
    radius = _radius(sigma_space)
    profile = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma_space) ** 2)

    result = _gaussian_inside(planes, profile)
    first, last, _ = rows.indices(planes.shape[1])
    for further in reversed(range(iterations - 1)):
        # The iterations that follow reach this far beyond the rows that are wanted.
        needed = slice(max(first - further * radius, 0), min(last + further * radius, planes.shape[1]))
        result = _joint_bilateral(planes, result, profile, sigma_colour, needed, strip_rows)
    result = result[:, first:last]
    return result[0] if image.ndim == 2 else np.ascontiguousarray(np.moveaxis(result, 0, 2))


def reach_of_rolling_guidance(sigma_space: float, iterations: int) -> int:
    """Return how far, in px, a pixel is from those that it depends on after the rolling guidance filter.

    Parameters
    ----------
    sigma_space, iterations : as for `rolling_guidance_filter`.

    Examples
    --------
    >>> reach_of_rolling_guidance(sigma_space=1.5, iterations=3)
    15
    """
    return iterations * _radius(sigma_space)


def _radius(sigma_space: float) -> int:
    return max(1, math.ceil(_TRUNCATION * sigma_space))


def _gaussian_inside(planes: NDArray[np.float32], profile: NDArray[np.float64]) -> NDArray[np.float32]:
    """Gaussian over the part of the window inside the image: C x H x W -> C x H x W."""
    result = planes
    for axis in (1, 2):
        result = ndimage.correlate1d(result, profile, axis=axis, mode="constant")
        inside = ndimage.correlate1d(np.ones(planes.shape[axis]), profile, mode="constant").astype(np.float32)
        result = result / (inside[:, None] if axis == 1 else inside)
    return result


def _joint_bilateral(
    planes: NDArray[np.float32],
    guide: NDArray[np.float32],
    profile: NDArray[np.float64],
    sigma_colour: float,
    needed: slice,
    strip_rows: int | None,
) -> NDArray[np.float32]:
    """Joint bilateral filter, C x H x W, by window offsets; 0 in rows that are not needed.

    The weight of the pair (p, p + o) is that of (p + o, p), so half of the offsets suffice: each weight plane
    is used twice. A strip therefore also looks at the pairs that begin up to `radius` rows above it.
    """
    channels, height, width = planes.shape
    radius = len(profile) // 2
    rows = strip_rows or max(8, 60_000 // width)
    # Scaled once, so that the squared distance is the exponent itself.
    scaled = guide * np.float32(math.sqrt(0.5) / sigma_colour)
    result = np.zeros_like(planes)
    scratch = np.empty((3, (rows + radius) * width), dtype=np.float32)
    for top in range(needed.start, needed.stop, rows):
        bottom = min(top + rows, needed.stop)
        total = planes[:, top:bottom].copy()
        weights = np.ones((bottom - top, width), dtype=np.float32)
        for dy in range(radius + 1):
            # Pairs (p, p + (dy, dx)) with at least one end in the strip.
            first, last = max(0, top - dy), min(bottom, height - dy)
            if first >= last:
                continue
            for dx in range(-radius, radius + 1):
                if (dy == 0 and dx <= 0) or abs(dx) >= width:
                    continue
                here = slice(max(0, -dx), width - max(0, dx))
                there = slice(max(0, dx), width - max(0, -dx))
                shape = (last - first, width - abs(dx))
                exponent, square, product = (s[: shape[0] * shape[1]].reshape(shape) for s in scratch)
                exponent.fill(-math.log(profile[radius + dy] * profile[radius + dx]))
                for channel in scaled:
                    np.subtract(channel[first:last, here], channel[first + dy : last + dy, there], out=square)
                    np.multiply(square, square, out=square)
                    exponent += square
                np.negative(exponent, out=exponent)
                weight = np.exp(exponent, out=exponent)
                # p in the strip receives q = p + o ...
                own = slice(max(first, top), last)
                w = weight[own.start - first :]
                if own.start < last:
                    into = slice(own.start - top, last - top)
                    weights[into, here] += w
                    part = product[: w.shape[0]]
                    for c in range(channels):
                        np.multiply(w, planes[c, own.start + dy : own.stop + dy, there], out=part)
                        total[c, into, here] += part
                # ... and q in the strip receives p.
                own = slice(first, min(last, bottom - dy))
                w = weight[: own.stop - own.start]
                into = slice(own.start + dy - top, own.stop + dy - top)
                if own.start < own.stop:
                    weights[into, there] += w
                    part = product[: w.shape[0]]
                    for c in range(channels):
                        np.multiply(w, planes[c, own, here], out=part)
                        total[c, into, there] += part
        result[:, top:bottom] = total / weights
    return result
