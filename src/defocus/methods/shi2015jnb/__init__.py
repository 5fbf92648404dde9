"""Just noticeable blur (Shi, Xu, Jia, CVPR 2015): its sparse code and weights."""

from defocus.methods.shi2015jnb.method import PRESETS, JNBParameters, estimate

__all__ = ["PRESETS", "JNBParameters", "estimate"]
