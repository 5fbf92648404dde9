"""The recursive domain-transform filter: edge-preserving smoothing in a few passes over rows and columns.

Gastal, Oliveira, *Domain Transform for Edge-Aware Image and Video Processing*, ACM TOG 30(4), 2011, section 5.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from defocus.errors import ParameterError

__all__ = ["domain_transform"]

_Floats = NDArray[np.floating]


def domain_transform(
    values: _Floats, guide: _Floats, sigma_space: float, sigma_colour: float, iterations: int = 3
) -> _Floats:
    """Smooth values along a guide, not across its edges.

    Each iteration runs forwards and backwards over rows, then over columns, with the feedback a^d between
    neighbours, d = 1 + sigma_space / sigma_colour * (sum over channels of the guide's difference), and
    a = exp(-sqrt(2) / s); s falls from iteration to iteration so that the last one leaves no stripes (equation 14).

    Parameters
    ----------
    values : H x W or H x W x K floats, any unit; K maps share the guide.
    guide : H x W or H x W x C floats, 0..1.
    sigma_space : px, > 0, standard deviation of the smoothing where the guide is flat.
    sigma_colour : > 0, in the guide's unit: differences well above it stop the smoothing.
    iterations : >= 1.

    Returns
    -------
    Same shape and dtype as `values` (float32 or float64). A weighted mean: never outside the range of `values`.

    Raises
    ------
    ParameterError
        If shapes do not agree or a parameter is not positive.

    Examples
    --------
    >>> guide = np.array([[0.0, 0.0, 0.0, 1.0, 1.0, 1.0]])
    >>> domain_transform(np.array([[1.0, 2.0, 3.0, 7.0, 8.0, 9.0]]), guide, sigma_space=5, sigma_colour=0.01).round(1)
    array([[1.5, 1.6, 1.6, 7.5, 7.6, 7.6]])
    """
    if guide.shape[:2] != values.shape[:2]:
        raise ParameterError(f"Values {values.shape} and guide {guide.shape} must agree in height and width.")
    if not (sigma_space > 0 and sigma_colour > 0 and iterations >= 1):
        raise ParameterError(
            "The domain transform needs sigma_space and sigma_colour above 0 and at least one iteration; it was given "
            f"{sigma_space}, {sigma_colour} and {iterations}."
        )
    planes = guide.reshape(*guide.shape[:2], -1)
    ratio = sigma_space / sigma_colour
    across = 1 + ratio * np.abs(np.diff(planes, axis=1)).sum(axis=2)
    down = 1 + ratio * np.abs(np.diff(planes, axis=0)).sum(axis=2)
    maps = values.reshape(*values.shape[:2], -1)
    # The line that the recursion runs along comes first, so that each step is one contiguous vector operation.
    for i in range(1, iterations + 1):
        s = sigma_space * np.sqrt(3) * 2 ** (iterations - i) / np.sqrt(4**iterations - 1)
        feedback = np.exp(-np.sqrt(2) / s)
        by_column = np.ascontiguousarray(maps.transpose(1, 0, 2))
        _recurse(by_column, np.ascontiguousarray((feedback**across).T).astype(maps.dtype, copy=False))
        maps = np.ascontiguousarray(by_column.transpose(1, 0, 2))
        _recurse(maps, (feedback**down).astype(maps.dtype, copy=False))
    return maps.reshape(values.shape)


def _recurse(lines: _Floats, weights: _Floats) -> None:
    """Run forwards and backwards over the first axis of n x m x K lines, in place; weights are (n - 1) x m."""
    for n, weight in enumerate(weights[..., None], start=1):
        lines[n] += weight * (lines[n - 1] - lines[n])
    for n in range(len(weights) - 1, -1, -1):
        lines[n] += weights[n, :, None] * (lines[n + 1] - lines[n])
