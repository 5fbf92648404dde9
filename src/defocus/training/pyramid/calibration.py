"""The curve from how certain a network is to how often it is right, and how far confidence by it is off."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Calibration", "calibrate", "calibration_error"]

_KNOTS = 21
"""Number of points of the curve."""
_BINS = 10
"""Number of bins of confidence in which it is compared with how often it is right."""


class Calibration(NamedTuple):
    """A curve from certainty to confidence.

    Attributes
    ----------
    certainty, confidence : points of the curve, 0..1 each; certainty ascends.
    error : mean gap between confidence and how often it is right, on values that the curve was not fitted to.
    """

    certainty: NDArray[np.float64]
    confidence: NDArray[np.float64]
    error: float

    def __call__(self, certainty: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the confidence that belongs to a certainty."""
        return np.interp(certainty, self.certainty, self.confidence)

    def for_card(self) -> dict[str, list[float]]:
        """Return the curve as a model card holds it."""
        return {
            "certainty": [round(float(value), 3) for value in self.certainty],
            "confidence": [round(float(value), 4) for value in self.confidence],
        }


def calibrate(
    certainty: NDArray[np.floating],
    right: NDArray[np.bool_],
    fitted: NDArray[np.bool_],
    weight: NDArray[np.floating] | None = None,
) -> Calibration:
    """Return the curve by isotonic regression (Zadrozny & Elkan, KDD 2002).

    Parameters
    ----------
    certainty : n, of the network, 0..1.
    right : n, whether it was right.
    fitted : n, which values the curve is fitted to; the error is that of the others.
    weight : n, how much each value counts, 0 or more; None where all count alike.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> certainty = random.random(20000)
    >>> right = random.random(20000) < certainty**2  # more certain than it may be
    >>> curve = calibrate(certainty, right, fitted=np.arange(20000) % 2 == 0)
    >>> abs(float(curve(0.5)) - 0.25) < 0.05, curve.error < 0.05
    (True, True)
    """
    from sklearn.isotonic import IsotonicRegression

    weight = np.ones(certainty.shape) if weight is None else weight
    curve = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
    # In 32 bits sums over millions of values would be off.
    values = (each[fitted].astype(np.float64) for each in (certainty, right))
    curve.fit(*values, sample_weight=weight[fitted].astype(np.float64))
    knots = np.linspace(0, 1, _KNOTS)
    levels = np.asarray(curve.predict(knots), np.float64)
    confidence = np.interp(certainty[~fitted], knots, levels)
    return Calibration(knots, levels, calibration_error(confidence, right[~fitted], weight[~fitted]))


def calibration_error(
    confidence: NDArray[np.floating], right: NDArray[np.bool_], weight: NDArray[np.floating]
) -> float:
    """Return the mean gap between confidence and how often it is right, in ten bins of confidence.

    Parameters
    ----------
    confidence : n, 0..1.
    right : n, whether each value was right.
    weight : n, how much each counts, 0 or more.

    Examples
    --------
    >>> calibration_error(np.full(4, 0.5), np.array([True, True, True, False]), np.ones(4))
    0.25
    """
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(bins, weight * (confidence - right), _BINS)
    return float(np.abs(gaps).sum() / weight.sum())
