"""Detection of edges and measurement of their blur, used by several methods."""

from defocus.edges.canny import canny, gradient_maxima, relative_edges
from defocus.edges.gradient_ratio import EdgeBlur, chance_of_small_error, edge_blur
from defocus.edges.noise import noise_deviation

__all__ = [
    "EdgeBlur",
    "canny",
    "chance_of_small_error",
    "edge_blur",
    "gradient_maxima",
    "noise_deviation",
    "relative_edges",
]
