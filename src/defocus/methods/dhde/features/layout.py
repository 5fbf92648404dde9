"""The vector of hand-crafted features a patch gives the classifier, and the two patch scales."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from defocus.methods.dhde.features.dct import dct_feature
from defocus.methods.dhde.features.gradient import gradient_bins, gradient_feature
from defocus.methods.dhde.features.patches import PatchReader, pad_edges
from defocus.methods.dhde.features.svd import svd_feature

__all__ = ["FEATURES", "FEATURE_SIZE", "HAND_CRAFTED_SIZE", "LARGE", "SMALL", "HandCrafted", "PatchScale"]


@dataclass(frozen=True)
class PatchScale:
    """A patch size and its place in the 40-vector each feature gives.

    Attributes
    ----------
    name : "large" or "small".
    radius : patches are 2 radius + 1 wide.
    bins : length of each feature at this scale.
    offset : where this scale's values start in the feature's 40-vector; the value after them is 1 (a bias).
    """

    name: str
    radius: int
    bins: int
    offset: int

    @property
    def width(self) -> int:
        """Pixels along a side of the patch."""
        return 2 * self.radius + 1


LARGE = PatchScale("large", radius=13, bins=25, offset=0)
"""27 x 27, for weak edges."""
SMALL = PatchScale("small", radius=7, bins=13, offset=26)
"""15 x 15, for strong edges."""

FEATURE_SIZE = LARGE.bins + 1 + SMALL.bins + 1
FEATURES = ("dct", "gradient", "svd")
HAND_CRAFTED_SIZE = FEATURE_SIZE * len(FEATURES)


class HandCrafted:
    """Hand-crafted features of one photograph at one patch scale.

    Parameters
    ----------
    value : H x W float64, value channel 0..1.
    scale : `LARGE` or `SMALL`.
    """

    def __init__(self, value: NDArray[np.floating], scale: PatchScale) -> None:
        self.scale = scale
        padded = pad_edges(value, scale.radius)
        self._grey = PatchReader(padded, scale.radius)
        self._binned = PatchReader(gradient_bins(padded, scale.bins), scale.radius)

    def features(self, positions: NDArray[np.integer]) -> dict[str, NDArray[np.float64]]:
        """The three features at positions (n x 2, row and column), by name, each n x bins."""
        grey, bins = self._grey(positions), self.scale.bins
        return {
            "dct": dct_feature(grey, bins),
            "gradient": gradient_feature(self._binned(positions), bins),
            "svd": svd_feature(grey, bins),
        }

    def __call__(self, positions: NDArray[np.integer]) -> NDArray[np.float32]:
        """The classifier's input at positions (n x 2, row and column).

        Returns
        -------
        n x 120 float32: for DCT, gradient and SVD in turn [25 values, 1, 13 values, 1], where the half that belongs
        to the other scale is zero, its 1 included.
        """
        vector = np.zeros((len(positions), HAND_CRAFTED_SIZE), dtype=np.float32)
        for index, feature in enumerate(self.features(positions).values()):
            start = index * FEATURE_SIZE + self.scale.offset
            vector[:, start : start + self.scale.bins] = feature
            vector[:, start + self.scale.bins] = 1
        return vector
