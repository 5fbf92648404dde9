"""Propagation of sparse measurements to all pixels, by the matting Laplacian and a solver for it."""

from __future__ import annotations

from defocus.propagation.matting_laplacian import matting_laplacian
from defocus.propagation.propagate import GridSolution, PropagatedPixels, propagate, propagate_pixels, solve_on_grid

__all__ = [
    "GridSolution",
    "PropagatedPixels",
    "matting_laplacian",
    "propagate",
    "propagate_pixels",
    "solve_on_grid",
]
