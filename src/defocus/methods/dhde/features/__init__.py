"""Step 2 of DHDE: the hand-crafted features of a patch (section 3.1 of the paper) and the two patch sizes."""

from defocus.methods.dhde.features.dct import dct_feature
from defocus.methods.dhde.features.gradient import gradient_bins, gradient_feature
from defocus.methods.dhde.features.layout import (
    FEATURE_SIZE,
    FEATURES,
    HAND_CRAFTED_SIZE,
    LARGE,
    SMALL,
    HandCrafted,
    PatchScale,
)
from defocus.methods.dhde.features.patches import PatchReader, pad_edges
from defocus.methods.dhde.features.svd import svd_feature

__all__ = [
    "FEATURES",
    "FEATURE_SIZE",
    "HAND_CRAFTED_SIZE",
    "LARGE",
    "SMALL",
    "HandCrafted",
    "PatchReader",
    "PatchScale",
    "dct_feature",
    "gradient_bins",
    "gradient_feature",
    "pad_edges",
    "svd_feature",
]
