"""From local evidence to a full map: the matting Laplacian with its solver, and belief propagation over scales."""

from __future__ import annotations

from defocus.propagation.belief_propagation import layered_beliefs
from defocus.propagation.matting_laplacian import matting_laplacian
from defocus.propagation.propagate import propagate

__all__ = ["layered_beliefs", "matting_laplacian", "propagate"]
