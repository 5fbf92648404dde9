"""Edge-preserving filters that several methods use, each with its paper. They take and return arrays."""

from __future__ import annotations

from defocus.filters.domain_transform import domain_transform
from defocus.filters.guided import guided_upsample
from defocus.filters.probability_joint_bilateral import probability_joint_bilateral

__all__ = ["domain_transform", "guided_upsample", "probability_joint_bilateral"]
