"""Edges: where a photograph says something about its blur."""

from defocus.edges.canny import EDGE_NONE, EDGE_STRONG, EDGE_WEAK, canny, edge_scales, value_channel

__all__ = ["EDGE_NONE", "EDGE_STRONG", "EDGE_WEAK", "canny", "edge_scales", "value_channel"]
