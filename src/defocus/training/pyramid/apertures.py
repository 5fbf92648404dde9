"""Apertures that blur training scenes: one shape for all sigmas of a lens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from defocus.optics.kernels import disc_kernel, disc_radius, gaussian_kernel, polygon_kernel

__all__ = ["APERTURES", "SHARPEST", "Aperture", "blurred", "blurred_by_field"]

_Floats = NDArray[np.float32]

APERTURES = ("gaussian", "disc", "polygon")
"""Kinds of apertures."""
SHARPEST = 0.2
"""Sigma in px below which nothing is blurred."""


@dataclass(frozen=True)
class Aperture:
    """The shape of a lens's blur.

    Attributes
    ----------
    kind : one of `APERTURES`.
    blades, turn, rim : of a polygon, see `defocus.optics.kernels.polygon_kernel`.

    Examples
    --------
    >>> from defocus.optics.kernels import best_fitting_sigma
    >>> aperture = Aperture("polygon", blades=6)
    >>> [round(best_fitting_sigma(aperture.kernel(sigma)), 1) for sigma in (1.0, 4.0)]
    [1.0, 4.0]
    """

    kind: str
    blades: int = 6
    turn: float = 0.0
    rim: float = 0.0

    @classmethod
    def drawn(cls, kind: str, random: np.random.Generator) -> Aperture:
        """Return an aperture of a kind; a polygon has 5 to 9 blades, and a rim brighter or darker than its middle.

        Examples
        --------
        >>> Aperture.drawn("disc", np.random.default_rng(0)).kind
        'disc'
        """
        if kind != "polygon":
            return cls(kind)
        return cls(kind, int(random.integers(5, 10)), random.uniform(0, 2 * np.pi), random.uniform(-0.5, 1.0))

    def kernel(self, sigma: float) -> NDArray[np.float64]:
        """Return the blur of a point.

        Parameters
        ----------
        sigma : that of the Gaussian that best explains the blur, px; below `SHARPEST` there is none.

        Returns
        -------
        n x n float64, n odd, sum 1.

        Examples
        --------
        >>> Aperture("disc").kernel(0.1)
        array([[1.]])
        """
        if sigma < SHARPEST:
            return np.ones((1, 1))
        if self.kind == "gaussian":
            line = gaussian_kernel(sigma)
            return np.outer(line, line)
        if self.kind == "disc":
            return disc_kernel(disc_radius(sigma))
        return polygon_kernel(sigma, self.blades, self.turn, self.rim)


def blurred(planes: _Floats, kernels: Sequence[NDArray[np.float64]]) -> list[_Floats]:
    """Return planes blurred by each of several kernels; beyond their borders they continue as their mirror images.

    Parameters
    ----------
    planes : n x H x W.
    kernels : each of odd sides.

    Returns
    -------
    n x H x W float32 for each kernel.

    Examples
    --------
    >>> point = np.zeros((1, 5, 5), np.float32)
    >>> point[0, 2, 2] = 1
    >>> as_it_was, as_a_disc = blurred(point, [np.ones((1, 1)), disc_kernel(1.5)])
    >>> as_a_disc[0, 2, 1:4].round(2)
    array([0.14, 0.14, 0.14], dtype=float32)
    """
    reach = max(side for kernel in kernels for side in kernel.shape) // 2
    if reach == 0:
        return [planes for _ in kernels]
    height, width = planes.shape[1:]
    sides = [fft.next_fast_len(side + 2 * reach, real=True) for side in (height, width)]
    transformed = fft.rfft2(np.pad(planes, ((0, 0), (reach, reach), (reach, reach)), mode="symmetric"), sides)
    results: list[_Floats] = []
    for kernel in kernels:
        if kernel.size == 1:
            results.append(planes)
            continue
        whole = fft.irfft2(transformed * fft.rfft2(kernel.astype(np.float32), sides), sides)
        top, left = (reach + side // 2 for side in kernel.shape)
        results.append(np.asarray(whole[:, top : top + height, left : left + width], np.float32))
    return results


def blurred_by_field(planes: _Floats, sigma: _Floats, aperture: Aperture, steps: int) -> _Floats:
    """Return planes whose blur changes from pixel to pixel: between the two of several even blurs that enclose it.

    Parameters
    ----------
    planes : n x H x W.
    sigma : H x W, px, 0 or more.
    aperture : of the lens.
    steps : number of even blurs, 2 or more.

    Returns
    -------
    n x H x W float32.

    Examples
    --------
    >>> edge = np.zeros((1, 64, 64), np.float32)
    >>> edge[:, :, 32:] = 1
    >>> sigma = np.linspace(1, 6, 64, dtype=np.float32)[:, None].repeat(64, axis=1)
    >>> slope = np.diff(blurred_by_field(edge, sigma, Aperture("gaussian"), 6)[0]).max(axis=1)
    >>> bool(slope[5] > 2 * slope[-5])
    True
    """
    low, high = float(sigma.min()), float(sigma.max())
    place = (sigma - low) / max(high - low, 1e-6) * (steps - 1)
    result = np.zeros(planes.shape, np.float32)
    stack = blurred(planes, [aperture.kernel(each) for each in np.linspace(low, high, steps)])
    for number, even in enumerate(stack):
        result += np.maximum(1 - np.abs(place - number), 0).astype(np.float32) * even
    return result
