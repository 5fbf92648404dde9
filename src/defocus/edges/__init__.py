"""Edges: where a photograph says something about its blur."""

from defocus.edges.canny import (
    EDGE_NONE,
    EDGE_STRONG,
    EDGE_WEAK,
    canny,
    edge_scales,
    gradient_maxima,
    luma,
    relative_edges,
    value_channel,
)
from defocus.edges.local import add_local_edges, noise_deviation

__all__ = [
    "EDGE_NONE",
    "EDGE_STRONG",
    "EDGE_WEAK",
    "add_local_edges",
    "canny",
    "edge_scales",
    "gradient_maxima",
    "luma",
    "noise_deviation",
    "relative_edges",
    "value_channel",
]
