"""Edge-preserving filters, each with its paper; arrays in, arrays out."""

from __future__ import annotations

from defocus.filters.domain_transform import domain_transform
from defocus.filters.guided import guided_upsample
from defocus.filters.probability_joint_bilateral import probability_joint_bilateral
from defocus.filters.rolling_guidance import rolling_guidance_filter
from defocus.filters.weighted_median import joint_weighted_median

__all__ = [
    "domain_transform",
    "guided_upsample",
    "joint_weighted_median",
    "probability_joint_bilateral",
    "rolling_guidance_filter",
]
