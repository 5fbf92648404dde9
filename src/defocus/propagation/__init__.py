"""From sparse measurements to a full map, by the matting Laplacian and its solver."""

from __future__ import annotations

from defocus.propagation.matting_laplacian import matting_laplacian
from defocus.propagation.propagate import propagate

__all__ = ["matting_laplacian", "propagate"]
