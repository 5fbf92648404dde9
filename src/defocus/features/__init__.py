"""What a patch or an edge says about its blur: the features of all methods, and DHDE's layout of its own."""

from defocus.features.dct import dct_feature
from defocus.features.discriminative import FEATURE_NAMES, STRIDE, discriminative_features
from defocus.features.edgelets import Edgelets, edgelets
from defocus.features.gradient import gradient_bins, gradient_feature
from defocus.features.gradient_ratio import EdgeBlur, chance_of_small_error, edge_blur
from defocus.features.layout import FEATURE_SIZE, FEATURES, HAND_CRAFTED_SIZE, LARGE, SMALL, HandCrafted, PatchScale
from defocus.features.patches import PatchReader, pad_edges
from defocus.features.sparse_code import atoms_needed
from defocus.features.svd import svd_feature

__all__ = [
    "FEATURES",
    "FEATURE_NAMES",
    "FEATURE_SIZE",
    "HAND_CRAFTED_SIZE",
    "LARGE",
    "SMALL",
    "STRIDE",
    "EdgeBlur",
    "Edgelets",
    "HandCrafted",
    "PatchReader",
    "PatchScale",
    "atoms_needed",
    "chance_of_small_error",
    "dct_feature",
    "discriminative_features",
    "edge_blur",
    "edgelets",
    "gradient_bins",
    "gradient_feature",
    "pad_edges",
    "svd_feature",
]
