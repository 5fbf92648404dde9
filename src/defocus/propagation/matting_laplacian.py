"""The matting Laplacian, which couples neighbouring pixels the more, the better a linear model of colour fits them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from defocus.errors import ParameterError
from defocus.filters.symmetric import inverse_of_symmetric

if TYPE_CHECKING:
    from scipy.sparse import dia_array

__all__ = ["matting_laplacian"]

PIXELS_AT_A_TIME = 1 << 14
"""Number of pixels processed at once, few enough to stay in the cache."""


def matting_laplacian(
    guide: NDArray[np.floating], *, radius: int = 1, eps: float = 1e-5, dtype: type[np.floating] = np.float64
) -> dia_array:
    """Return the matting Laplacian of a colour image, a sparse symmetric positive semidefinite matrix.

    Its entry for the pixels i, j is the sum over all windows k that hold both of
    delta_ij - (1 + (I_i - mu_k)^T (Sigma_k + eps / n)^-1 (I_j - mu_k)) / n
    with n pixels per window and mu_k, Sigma_k the window's mean colour and covariance. Rows sum to 0.

    Parameters
    ----------
    guide : H x W x C floats, colours of 0..1 and any further features of a pixel; H and W at least 2 radius + 1.
    radius : window radius in px, >= 1. Only windows entirely inside the image count.
    eps : regularisation of the covariance, in squared units of the guide, > 0. (It is divided by n, as in the
        paper.)
    dtype : type of the entries; float32 halves the memory, the computation is in float64 either way.

    Returns
    -------
    (H W) x (H W) sparse array in DIA form, pixels in row-major order, no unit. With radius 1 it has 25 diagonals, one
    for each offset between two pixels of a window: products with it take half the time of those in CSR form.

    Raises
    ------
    ParameterError
        The guide is smaller than one window, radius is less than 1 or eps is not positive.

    References
    ----------
    Levin, Lischinski, Weiss, "A closed-form solution to natural image matting", TPAMI 30(2), 2008,
    equation 12.

    Examples
    --------
    >>> guide = np.random.default_rng(0).random((6, 8, 3))
    >>> laplacian = matting_laplacian(guide)
    >>> laplacian.shape
    (48, 48)
    >>> bool(np.allclose(laplacian @ guide[..., 0].ravel(), 0, atol=1e-3))  # linear in colour
    True
    """
    from scipy.sparse import dia_array

    height, width = guide.shape[:2]
    if radius < 1 or not eps > 0 or min(height, width) < 2 * radius + 1:
        raise ParameterError(
            f"The matting Laplacian needs eps > 0, radius >= 1 and a guide of at least {2 * radius + 1} x "
            f"{2 * radius + 1} px; it was given eps {eps}, radius {radius} and {width} x {height} px."
        )
    planes = _affinity_planes(guide, radius=radius, eps=eps)
    size = height * width
    # A diagonal holds the entries (p, p + o) of one offset o at p + o. Of narrow images two offsets may share one, as
    # (0, 2) and (1, -1) do with rows of 3 px, but then one of them is 0 at each p.
    diagonals: dict[int, NDArray[np.floating]] = {0: np.zeros(size, dtype)}
    total = np.zeros(size)
    for (dy, dx), plane in planes.items():
        offset = dy * width + dx
        affinity = plane.ravel()
        if offset >= size:
            continue
        total += affinity
        total[offset:] += affinity[: size - offset]
        for place in (offset, -offset):
            if place not in diagonals:
                diagonals[place] = np.zeros(size, dtype)
        diagonals[offset][offset:] -= affinity[: size - offset]
        diagonals[-offset] -= affinity
    diagonals[0][:] = total
    offsets = sorted(diagonals)
    data = np.empty((len(offsets), size), dtype)
    for row, offset in zip(data, offsets, strict=True):
        row[:] = diagonals.pop(offset)
    return dia_array((data, np.array(offsets)), shape=(size, size))


def _affinity_planes(
    guide: NDArray[np.floating], *, radius: int, eps: float
) -> dict[tuple[int, int], NDArray[np.float64]]:
    """Return the affinity of each pixel p to p + (dy, dx), for offsets after (0, 0) in raster order; 0 outside."""
    height, width = guide.shape[:2]
    reach = 2 * radius
    window = [(y, x) for y in range(2 * radius + 1) for x in range(2 * radius + 1)]
    n = len(window)
    planes = {
        (dy, dx): np.zeros((height, width))
        for dy in range(reach + 1)
        for dx in range(-reach, reach + 1)
        if (dy, dx) > (0, 0)
    }
    # Windows are indexed by their first pixel. Rows of windows are processed in strips that stay in the cache.
    windows_down, windows_across = height - reach, width - reach
    rows = max(1, PIXELS_AT_A_TIME // width)
    for top in range(0, windows_down, rows):
        bottom = min(top + rows, windows_down)
        shape = (bottom - top, windows_across)
        strip = np.moveaxis(guide[top : bottom + reach], 2, 0).astype(np.float64)
        colours = np.stack([strip[:, y : y + shape[0], x : x + shape[1]] for y, x in window])  # n x C x h x w
        colours -= colours.mean(0)
        covariance = np.einsum("ncyx,ndyx->cdyx", colours, colours) / n
        for c in range(len(covariance)):
            covariance[c, c] += eps / n
        inverse = inverse_of_symmetric(covariance)
        # 1 / n spread over both sides of the product, so that each pair costs one dot product.
        whitened = np.einsum("cdyx,ndyx->ncyx", inverse, colours) / n
        for j, (yj, xj) in enumerate(window):
            for i, (yi, xi) in enumerate(window[:j]):
                affinity = colours[i, 0] * whitened[j, 0]
                for c in range(1, len(covariance)):
                    affinity += colours[i, c] * whitened[j, c]
                affinity += 1 / n
                planes[yj - yi, xj - xi][top + yi : bottom + yi, xi : xi + shape[1]] += affinity
    return planes
