"""The pyramid method of this package: its network, how a photograph is read with it, and weights."""

from defocus.methods.pyramid.method import PRESETS, PyramidParameters, estimate

__all__ = ["PRESETS", "PyramidParameters", "estimate"]
