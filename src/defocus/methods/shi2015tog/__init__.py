"""Edgelets and depth after Shi, Tao, Xu, Jia, TOG 2015: its edgelets and weights."""

from defocus.methods.shi2015tog.method import PRESETS, Shi2015TOGParameters, estimate

__all__ = ["PRESETS", "Shi2015TOGParameters", "estimate"]
