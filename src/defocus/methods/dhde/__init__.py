"""DHDE (Park et al., CVPR 2017): its patches, features, network and weights."""

from defocus.methods.dhde.method import PRESETS, DHDEParameters, estimate

__all__ = ["PRESETS", "DHDEParameters", "estimate"]
