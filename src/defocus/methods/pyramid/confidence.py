"""Confidence by the curve in a model card, from how certain a network is to how often it was right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["confidence_by_card", "is_calibration"]


def confidence_by_card(card: Mapping[str, Any], certainty: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how often a network was right on held-out scenes where it was as certain.

    Parameters
    ----------
    card : model card; its `calibration` is the curve.
    certainty : what the network says, any shape, 0..1.

    Returns
    -------
    The same shape, 0..1. The certainty itself if the card has no curve.

    Examples
    --------
    >>> card = {"calibration": {"certainty": [0, 1], "confidence": [0, 0.5]}}
    >>> confidence_by_card(card, np.float32([0.5])), confidence_by_card({}, np.float32([0.5]))
    (array([0.25], dtype=float32), array([0.5], dtype=float32))
    """
    curve = card.get("calibration")
    if curve is None:
        return certainty
    return np.interp(certainty, curve["certainty"], curve["confidence"]).astype(np.float32)


def is_calibration(curve: Any) -> bool:
    """Return whether a card's calibration is none, or two lists of 0..1 of one length, certainty in ascending order.

    Examples
    --------
    >>> is_calibration({"certainty": [0, 1], "confidence": [0.1, 0.9]}), is_calibration({"certainty": [1, 0]})
    (True, False)
    """
    if curve is None:
        return True
    try:
        certainty, confidence = (np.asarray(curve[name], np.float64) for name in ("certainty", "confidence"))
    except (KeyError, TypeError, ValueError):
        return False
    if certainty.ndim != 1 or certainty.shape != confidence.shape or not certainty.size:
        return False
    within = all(((values >= 0) & (values <= 1)).all() for values in (certainty, confidence))
    return bool(within and (np.diff(certainty) >= 0).all())
