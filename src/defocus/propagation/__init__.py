"""Propagation of sparse values over an image: the matting Laplacian, its solver, and the two together."""

from __future__ import annotations

from defocus.propagation.matting_laplacian import matting_laplacian
from defocus.propagation.propagate import propagate

__all__ = ["matting_laplacian", "propagate"]
