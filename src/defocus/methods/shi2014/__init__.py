"""The blur score of Shi, Xu, Jia, CVPR 2014: its features, classifier and weights."""

from defocus.methods.shi2014.method import PRESETS, Shi2014Parameters, estimate

__all__ = ["PRESETS", "Shi2014Parameters", "estimate"]
