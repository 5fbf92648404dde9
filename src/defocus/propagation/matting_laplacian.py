"""The matting Laplacian, which couples neighbouring pixels the more, the better a linear model of colour fits them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from defocus.errors import ParameterError
from defocus.filters.symmetric import inverse_of_symmetric

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["matting_laplacian"]

PIXELS_AT_A_TIME = 1 << 14
"""Number of pixels processed at once, few enough to stay in the cache."""


def matting_laplacian(
    guide: NDArray[np.floating], *, radius: int = 1, eps: float = 1e-5, dtype: type[np.floating] = np.float64
) -> csr_array:
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
    (H W) x (H W) sparse array in CSR form with sorted indices, pixels in row-major order, no unit. With
    radius 1 a row has 25 entries, fewer near the border.

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
    from scipy.sparse import csr_array

    height, width = guide.shape[:2]
    if radius < 1 or not eps > 0 or min(height, width) < 2 * radius + 1:
        raise ParameterError(
            f"The matting Laplacian needs eps > 0, radius >= 1 and a guide of at least {2 * radius + 1} x "
            f"{2 * radius + 1} px; it was given eps {eps}, radius {radius} and {width} x {height} px."
        )
    planes = _affinity_planes(guide, radius=radius, eps=eps)
    reach = 2 * radius
    side = 2 * reach + 1
    offsets = [(dy, dx) for dy in range(-reach, reach + 1) for dx in range(-reach, reach + 1)]
    in_row = _inside(height, reach)
    in_column = _inside(width, reach)
    row_lengths = np.multiply.outer(in_row.sum(1), in_column.sum(1))
    pointers = np.concatenate([[0], np.cumsum(row_lengths.ravel())])
    index_type = np.int32 if pointers[-1] < 2**31 else np.int64
    data = np.empty(pointers[-1], dtype=dtype)
    indices = np.empty(pointers[-1], dtype=index_type)

    steps = np.array([dy * width + dx for dy, dx in offsets], dtype=index_type)
    rows = max(1, PIXELS_AT_A_TIME // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        block = np.zeros((bottom - top, width, len(offsets)))
        for i, (dy, dx) in enumerate(offsets):
            if (dy, dx) > (0, 0):
                block[:, :, i] = planes[dy, dx][top:bottom]
            elif (dy, dx) < (0, 0):
                # The entry for (p, p + o) is that for (p + o, p), kept at p + o.
                first = max(top, -dy)
                here = slice(max(0, -dx), width - max(0, dx))
                there = slice(max(0, dx), width - max(0, -dx))
                if first < bottom:
                    block[first - top :, here, i] = planes[-dy, -dx][first + dy : bottom + dy, there]
        block[:, :, side * reach + reach] = block.sum(2)
        np.negative(block, out=block)
        block[:, :, side * reach + reach] *= -1
        valid = (in_row[top:bottom, None, :, None] & in_column[None, :, None, :]).reshape(block.shape)
        entries = slice(pointers[top * width], pointers[bottom * width])
        data[entries] = block[valid]
        pixels = np.arange(top * width, bottom * width, dtype=index_type).reshape(-1, width, 1)
        indices[entries] = (pixels + steps)[valid]
    matrix = csr_array((data, indices, pointers.astype(index_type)), shape=(height * width,) * 2)
    matrix.has_sorted_indices = True
    matrix.has_canonical_format = True
    return matrix


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


def _inside(length: int, reach: int) -> NDArray[np.bool_]:
    """Return which of the offsets -reach..reach stay inside, for each position: length x (2 reach + 1)."""
    positions = np.arange(length)[:, None] + np.arange(-reach, reach + 1)
    return (positions >= 0) & (positions < length)
