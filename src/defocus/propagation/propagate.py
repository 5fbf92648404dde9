"""Propagation of a sparse map to all pixels, guided by the colours of the photograph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from defocus.errors import DefocusError, ParameterError
from defocus.filters.box import block_average, block_sum
from defocus.filters.guided import GuidedUpsampling, guided_upsample
from defocus.filters.strips import strips_of
from defocus.propagation.matting_laplacian import matting_laplacian
from defocus.propagation.multigrid import Hierarchy, build_hierarchy, solve, with_finest

__all__ = ["GridSolution", "PropagatedPixels", "propagate", "propagate_pixels", "solve_on_grid"]

_UPSAMPLING_RADIUS = 2  # blocks
_UPSAMPLING_EPS = 1e-4
_NO_SEED = "There is no seed to propagate from; choose a value for the map or find more edges."


def propagate(
    seeds: NDArray[np.floating],
    weights: NDArray[np.floating],
    guide: NDArray[np.floating],
    *,
    regularisation: float = 0.005,
    eps: float = 1e-5,
    reduction: int = 4,
    rtol: float = 1e-4,
    leak: float = 0.0,
) -> NDArray[np.float32]:
    """Propagate values known at some pixels to all pixels: solve (L + lambda W + leak) x = lambda W b.

    L is the matting Laplacian of the guide (windows of radius 1), W = diag(weights), b = seeds. With a
    reduction above 1 the unknowns are blocks of reduction x reduction pixels: the guide is averaged over a block,
    weights and weighted seeds are summed (averaging them doubles the error), and the solution is enlarged by guided
    upsampling.

    Parameters
    ----------
    seeds : H x W or H x W x K floats, any unit (sigma in px). Read only where weights > 0, so NaN elsewhere
        is fine. K maps over the same weights share the matrix and its preconditioner.
    weights : H x W floats, >= 0, at least one of them positive. 1 at edge pixels in the paper.
    guide : H x W x C floats, colours of 0..1 and any further features of a pixel.
    regularisation : lambda, > 0; larger values follow the seeds more closely.
    eps : regularisation of the matting Laplacian, > 0; see `matting_laplacian`.
    reduction : block edge in px, >= 1; 1 solves the exact system. Lowered for images too small for 3 x 3
        blocks.
    rtol : relative tolerance of the solver; a smaller one than 1e-4 makes no visible difference.
    leak : >= 0, pulls every pixel towards 0 with this weight (per block when reduction > 1). Where all seeds are 1 (a
        confidence), pixels far from seeds then get a low value.

    Returns
    -------
    H x W or H x W x K float32, in the unit of the seeds. A matting Laplacian has no maximum principle: values
    may leave the range of the seeds a little.

    Raises
    ------
    DefocusError
        No weight is positive: there is nothing to propagate, and the caller has to decide what the map is.
    ParameterError
        Shapes do not agree, a weight is negative or not finite, a seed is not finite, or a parameter is out
        of range.

    References
    ----------
    Levin, Lischinski, Weiss, TPAMI 30(2), 2008; Zhuo, Sim, Pattern Recognition 44(9), 2011; Park,
    Tai, Cho, Kweon, CVPR 2017.

    Examples
    --------
    >>> guide = np.zeros((12, 12, 3))
    >>> guide[:, 6:] = 1  # two regions, with one seed in each
    >>> seeds, weights = np.zeros((12, 12)), np.zeros((12, 12))
    >>> seeds[6, 2], weights[6, 2] = 1.0, 1.0
    >>> seeds[6, 9], weights[6, 9] = 4.0, 1.0
    >>> propagate(seeds, weights, guide, reduction=1)[0, [0, 11]].round(1)
    array([1., 4.], dtype=float32)
    """
    _check(seeds, weights, guide, regularisation, reduction, leak)
    factor = max(1, min(reduction, *(n // 3 for n in weights.shape)))
    maps = seeds.reshape(*weights.shape, -1)
    sums: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]] = []
    for strip in strips_of(weights.shape, multiple=factor):
        rows = strip.inner
        each = weights[rows].astype(np.float64)
        values = np.where(each[..., None] > 0, maps[rows], 0).astype(np.float64)
        colours = block_average(guide[rows].astype(np.float32, copy=False), factor)
        sums.append((block_sum(values * each[..., None], factor), block_sum(each, factor), colours))
    weighted, total, coarse_guide = (np.concatenate(parts) for parts in zip(*sums, strict=True))

    solution: NDArray[np.floating] = solve_on_grid(
        weighted, total, coarse_guide, regularisation=regularisation, eps=eps, rtol=rtol, leak=leak
    ).values
    if factor > 1:
        solution = guided_upsample(
            solution, coarse_guide, guide, reduction=factor, radius=_UPSAMPLING_RADIUS, eps=_UPSAMPLING_EPS
        )
    return solution.reshape(seeds.shape).astype(np.float32, copy=False)


@dataclass(frozen=True)
class PropagatedPixels:
    """A map that was propagated on blocks of pixels, of which any rows can be had.

    Attributes
    ----------
    solution : 1 x h x w float32, the map on the blocks.
    coarse_guide : C x h x w float32, the guide's means over the blocks, 0..1.
    guide : returns rows of the guide, C x rows x W floats, 0..1, given as a slice.
    shape : height and width of the photograph, px.
    reduction : side of the blocks, px.
    """

    solution: NDArray[np.float32]
    coarse_guide: NDArray[np.float32]
    guide: Callable[[slice], NDArray[np.floating]]
    shape: tuple[int, int]
    reduction: int

    def rows(self, top: int, bottom: int) -> NDArray[np.float32]:
        """Return the rows of the map from `top` to before `bottom`, rows x W, in the unit of the seeds."""
        if self.reduction == 1:
            return self.solution[0, top:bottom]
        upsampling = GuidedUpsampling(
            lambda rows: self.solution[:, rows],
            lambda rows: self.coarse_guide[:, rows],
            self.shape,
            reduction=self.reduction,
            radius=_UPSAMPLING_RADIUS,
            eps=_UPSAMPLING_EPS,
        )
        return upsampling.rows(top, self.guide(slice(top, bottom)))[0]


def propagate_pixels(
    pixels: tuple[NDArray[np.integer], NDArray[np.integer]],
    seeds: NDArray[np.floating],
    weights: NDArray[np.floating],
    guide: Callable[[slice], NDArray[np.floating]],
    shape: tuple[int, int],
    *,
    regularisation: float,
    eps: float,
    reduction: int,
    rtol: float = 1e-4,
    leak: float = 0.0,
) -> PropagatedPixels:
    """Propagate as `propagate` does, with little memory: the seeds are a list, and the map is enlarged row by row.

    Parameters
    ----------
    pixels : rows and columns of n pixels, n integers each.
    seeds, weights : n floats, finite; weights are >= 0, at least one of them positive.
    guide : returns rows of the guide, given as a slice: C x rows x W floats, colours of 0..1 and any further features
        of a pixel.
    shape : height and width of the photograph, px.
    regularisation, eps, reduction, rtol, leak : as for `propagate`.

    Raises
    ------
    DefocusError
        No weight is positive.

    Examples
    --------
    >>> guide = np.zeros((3, 12, 12))
    >>> guide[..., 6:] = 1  # two regions, with one seed in each
    >>> pixels, seeds = (np.array([6, 6]), np.array([2, 9])), np.array([1.0, 4.0])
    >>> found = propagate_pixels(
    ...     pixels, seeds, np.ones(2), lambda rows: guide[:, rows], (12, 12),
    ...     regularisation=0.005, eps=1e-5, reduction=1,
    ... )
    >>> found.rows(0, 1)[0, [0, 11]].round(1)
    array([1., 4.], dtype=float32)
    """
    if not (weights > 0).any():
        raise DefocusError(_NO_SEED)
    factor = max(1, min(reduction, *(side // 3 for side in shape)))
    grid = -(-shape[0] // factor), -(-shape[1] // factor)
    block = (pixels[0] // factor).astype(np.intp) * grid[1] + pixels[1] // factor
    weighted, total = (
        np.bincount(block, each, minlength=grid[0] * grid[1]).reshape(grid) for each in (seeds * weights, weights)
    )
    means = [
        np.stack([block_average(plane, factor) for plane in guide(strip.inner)])
        for strip in strips_of(shape, multiple=factor)
    ]
    coarse_guide = np.concatenate(means, axis=1).astype(np.float32, copy=False)
    solution = solve_on_grid(
        weighted[..., None],
        total,
        np.moveaxis(coarse_guide, 0, 2),
        regularisation=regularisation,
        eps=eps,
        rtol=rtol,
        leak=leak,
    )
    found = np.asarray(solution.values[None, ..., 0], np.float32)
    return PropagatedPixels(found, coarse_guide, guide, shape, factor)


@dataclass(frozen=True)
class GridSolution:
    """Solution on a grid.

    Attributes
    ----------
    values : h x w x K float64, in the unit of the seeds.
    hierarchy : the coarse grids that it was found with.
    """

    values: NDArray[np.float64]
    hierarchy: Hierarchy


def solve_on_grid(
    weighted: NDArray[np.generic],
    total: NDArray[np.generic],
    guide: NDArray[np.floating],
    *,
    regularisation: float,
    eps: float,
    rtol: float,
    leak: float = 0.0,
    similar: GridSolution | None = None,
) -> GridSolution:
    """Solve the system of `propagate` for seeds that have been summed over the blocks of a grid.

    Parameters
    ----------
    weighted : h x w x K, sums of the seeds times their weights.
    total : h x w, sums of the weights, >= 0.
    guide : h x w x C floats, means of the guide; h and w at least 3.
    regularisation, eps, rtol, leak : as in `propagate`.
    similar : solution for the same seeds and a similar guide, to begin from. Its coarse grids are used again, which
        takes half the time.

    Examples
    --------
    >>> guide = np.random.default_rng(0).random((6, 6, 3))
    >>> total = np.ones((6, 6))
    >>> found = solve_on_grid(2 * total[..., None], total, guide, regularisation=1, eps=1e-3, rtol=1e-4)
    >>> found.values[0, 0].round(3)
    array([2.])
    """
    height, width, count = weighted.shape
    data_term = regularisation * np.asarray(total, dtype=np.float64).ravel()
    right_sides = regularisation * np.asarray(weighted, dtype=np.float64).reshape(-1, count)
    matrix = matting_laplacian(guide, eps=eps)
    matrix.setdiag(matrix.diagonal() + data_term + leak)
    hierarchy = None if similar is None else with_finest(similar.hierarchy, matrix)
    if hierarchy is None:
        colours = guide.reshape(-1, guide.shape[2])
        near_kernel = np.concatenate([np.ones((len(colours), 1)), colours], axis=1)
        hierarchy = build_hierarchy(matrix, near_kernel, (height, width))
    solutions = np.empty_like(right_sides)
    for k, right_side in enumerate(right_sides.T):
        # Starting from the best constant makes the solution exact where all seeds agree.
        first = right_side.sum() / (data_term + leak).sum() if similar is None else similar.values[..., k].ravel()
        start = np.broadcast_to(first, height * width)
        solutions[:, k], _ = solve(matrix, right_side, hierarchy, start=start, rtol=rtol)
    return GridSolution(solutions.reshape(height, width, count), hierarchy)


def _check(
    seeds: NDArray[np.floating],
    weights: NDArray[np.floating],
    guide: NDArray[np.floating],
    regularisation: float,
    reduction: int,
    leak: float,
) -> None:
    if weights.ndim != 2 or seeds.shape[:2] != weights.shape or guide.ndim != 3 or guide.shape[:2] != weights.shape:
        raise ParameterError(
            "Propagation needs weights H x W, seeds H x W or H x W x K and a guide H x W x C; it was given "
            f"{weights.shape}, {seeds.shape} and {guide.shape}."
        )
    if not (regularisation > 0 and reduction >= 1 and leak >= 0):
        raise ParameterError(
            "Propagation needs a positive regularisation, a reduction of at least 1 and a leak of at "
            f"least 0; it was given {regularisation}, {reduction} and {leak}."
        )
    if not (np.isfinite(weights).all() and weights.min() >= 0):
        raise ParameterError("Propagation weights must be finite and not negative; correct or mask them first.")
    known = weights > 0
    if not known.any():
        raise DefocusError(_NO_SEED)
    if not np.isfinite(seeds[known]).all():
        raise ParameterError("A seed with a positive weight is not finite; give it weight 0.")
