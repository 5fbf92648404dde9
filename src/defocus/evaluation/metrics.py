"""Metrics of one map against one truth. They take arrays and return numbers.

There are two kinds, for different truths:

* Detection: the truth is a mask, **True = blurred**, and the score is any map in which **higher = more blurred**, such
  as a sigma map in px. A map of the other polarity gives bad figures; it is not inverted.
* Estimation: both map and truth are sigma in px.

Every function evaluates one image. Over a data set the project averages the per-image values (the mean over images, not
over the pool of all pixels), with `bootstrap_interval` over images. Metrics of the same names differ elsewhere in
normalisation and pooling, so each docstring states its definition in full.

`valid` marks the pixels that count; None means all. A constant score map counts as "all blurred" in every detection
metric.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.stats import bootstrap, spearmanr

from defocus.errors import DefocusError, UndefinedMetricError
from defocus.maps.accuracy import CONFIDENT

__all__ = [
    "AffineError",
    "BoundaryError",
    "Calibration",
    "PrecisionRecall",
    "SizeBin",
    "accuracy_at_alpha",
    "affine_invariant_error",
    "average_precision",
    "bootstrap_interval",
    "boundary_error",
    "calibration",
    "error_by_coverage",
    "error_by_size",
    "f_at_threshold",
    "f_beta",
    "grossly_wrong",
    "iou_at_threshold",
    "leave_one_out",
    "max_f",
    "mean_absolute_error",
    "median_ratio",
    "precision_recall",
    "relative_error",
    "root_mean_square_error",
    "spearman",
    "sure_and_wrong",
]

_Floats = NDArray[np.float64]
_Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class PrecisionRecall:
    """Precision and recall of "blurred" at ascending thresholds on the normalised score.

    Attributes
    ----------
    thresholds, precision, recall : float64 arrays of equal length, values 0..1; recall never rises.

    Examples
    --------
    >>> curve = precision_recall([[0.0, 0.2, 1.0]], [[False, False, True]], thresholds=3)
    >>> curve.thresholds, curve.recall
    (array([0. , 0.5, 1. ]), array([1., 1., 1.]))
    """

    thresholds: _Floats
    precision: _Floats
    recall: _Floats


@dataclass(frozen=True)
class SizeBin:
    """Errors over the pixels whose true sigma lies in [lower, upper) px; NaN where `pixels` is 0.

    Attributes
    ----------
    lower, upper : bounds of the true sigma, px.
    pixels : number of valid pixels in the bin.
    mean_absolute_error, bias : mean of |estimate - truth| and of (estimate - truth), px.

    Examples
    --------
    >>> error_by_size([[1.5, 3.0]], [[1.0, 4.0]], edges=(0, 2))
    [SizeBin(lower=0.0, upper=2.0, pixels=1, mean_absolute_error=0.5, bias=0.5)]
    """

    lower: float
    upper: float
    pixels: int
    mean_absolute_error: float
    bias: float


@dataclass(frozen=True)
class AffineError:
    """Errors of `scale * estimate + offset`, in the truth's unit.

    Attributes
    ----------
    scale, offset : the least-squares fit. A negative scale means that the map falls where the truth rises.
    root_mean_square_error, mean_absolute_error : errors over the valid pixels, after the fit.

    Examples
    --------
    >>> affine_invariant_error([[0.0, 1.0]], [[1.0, 3.0]])
    AffineError(scale=2.0, offset=1.0, root_mean_square_error=0.0, mean_absolute_error=0.0)
    """

    scale: float
    offset: float
    root_mean_square_error: float
    mean_absolute_error: float


@dataclass(frozen=True)
class BoundaryError:
    """Mean absolute error near the edges of the truth and in the rest of the image.

    Attributes
    ----------
    near, elsewhere : errors in the unit of the maps; `elsewhere` is NaN if all valid pixels are near an edge.

    Examples
    --------
    >>> BoundaryError(near=0.5, elsewhere=0.1).near
    0.5
    """

    near: float
    elsewhere: float


@dataclass(frozen=True)
class Calibration:
    """How often estimates of a given confidence are right, in bins of equal width over 0..1.

    Attributes
    ----------
    edges : bins + 1 bounds; the last bin includes 1.
    pixels : number of samples per bin.
    confidence, correct : mean confidence and fraction of correct samples per bin; NaN in empty bins.
    expected_error : |confidence - correct| averaged with the bins' sample counts as weights, 0..1.

    Examples
    --------
    >>> calibration([0.9, 0.9], [True, False], bins=2).correct
    array([nan, 0.5])
    """

    edges: _Floats
    pixels: NDArray[np.int64]
    confidence: _Floats
    correct: _Floats
    expected_error: float


def _counted(*maps: ArrayLike, valid: ArrayLike | None) -> list[NDArray[Any]]:
    """Return each map's valid pixels as one flat array, after checking that the shapes agree."""
    arrays = [np.asarray(m) for m in maps]
    shape = arrays[0].shape
    counted = np.ones(shape, dtype=bool) if valid is None else np.asarray(valid, dtype=bool)
    if any(a.shape != shape for a in (*arrays, counted)):
        shapes = ", ".join(str(a.shape) for a in (*arrays, counted))
        raise DefocusError(f"Map, truth and valid mask must have one shape, not {shapes}.")
    if not counted.any():
        raise UndefinedMetricError("No pixel is valid, so nothing can be measured: check the ignore mask.")
    return [a[counted] for a in arrays]


def _finite(values: NDArray[Any], what: str) -> _Floats:
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise UndefinedMetricError(f"The {what} holds NaN or infinity at valid pixels: mask those out.")
    return values


def _detection(score_map: ArrayLike, truth_mask: ArrayLike, valid: ArrayLike | None) -> tuple[_Floats, _Mask]:
    """Return the valid scores and labels of a detection problem that has both classes."""
    score, truth = _counted(score_map, truth_mask, valid=valid)
    truth = truth.astype(bool)
    if truth.all() or not truth.any():
        only = "blurred" if truth.all() else "sharp"
        raise UndefinedMetricError(f"The truth has only {only} pixels: leave the image out.")
    return _finite(score, "score map"), truth


def _estimation(estimate: ArrayLike, truth: ArrayLike, valid: ArrayLike | None) -> tuple[_Floats, _Floats]:
    values, wanted = _counted(estimate, truth, valid=valid)
    return _finite(values, "estimate"), _finite(wanted, "truth")


def f_beta(precision: ArrayLike, recall: ArrayLike, beta2: float = 0.3) -> _Floats:
    """Return (1 + beta2) P R / (beta2 P + R), and 0 where both are 0.

    Parameters
    ----------
    precision, recall : arrays of one shape, 0..1.
    beta2 : beta squared; 0.3 is the field's value and weighs precision more.

    Returns
    -------
    Array of the same shape, 0..1.

    Examples
    --------
    >>> f_beta([1.0, 0.5, 0.0], [0.5, 1.0, 0.0]).round(3)
    array([0.812, 0.565, 0.   ])
    """
    p, r = np.asarray(precision, dtype=np.float64), np.asarray(recall, dtype=np.float64)
    below = beta2 * p + r
    return np.divide((1 + beta2) * p * r, below, out=np.zeros_like(below), where=below > 0)


def _hits_above(score: _Floats, truth: _Mask, thresholds: _Floats) -> tuple[_Floats, _Floats]:
    """Return, per threshold, how many scores reach it and how many of those are blurred in truth."""
    positives = np.sort(score[truth])
    everything = np.sort(score)
    predicted = everything.size - np.searchsorted(everything, thresholds, side="left")
    hits = positives.size - np.searchsorted(positives, thresholds, side="left")
    return predicted.astype(np.float64), hits.astype(np.float64)


def precision_recall(
    score_map: ArrayLike, truth_mask: ArrayLike, valid: ArrayLike | None = None, thresholds: int = 256
) -> PrecisionRecall:
    """Return precision and recall after per-image min-max normalisation.

    The score is mapped to 0..1 by its own minimum and maximum over the valid pixels; at each of `thresholds`
    equally spaced values t in 0..1, both ends included, "blurred" is score >= t. Precision = hits /
    predicted, recall = hits / blurred in truth. A constant map is "all blurred" at every threshold. The map
    needs no unit, which is also the metric's weakness: noise on a flat map is stretched to 0..1.

    Parameters
    ----------
    score_map : H x W, higher = more blurred, any unit.
    truth_mask : H x W, True = blurred.
    valid : H x W, True = counts; None = all.
    thresholds : number of thresholds, at least 2.

    Returns
    -------
    PrecisionRecall

    Raises
    ------
    UndefinedMetricError
        No valid pixel, a truth of one class only, or NaN scores.

    Examples
    --------
    >>> curve = precision_recall([[0.0, 0.6, 1.0]], [[False, False, True]], thresholds=3)
    >>> curve.precision.round(2)
    array([0.33, 0.5 , 1.  ])
    """
    score, truth = _detection(score_map, truth_mask, valid)
    low, high = score.min(), score.max()
    normalised = (score - low) / (high - low) if high > low else np.ones_like(score)
    levels = np.linspace(0.0, 1.0, thresholds)
    predicted, hits = _hits_above(normalised, truth, levels)
    return PrecisionRecall(levels, hits / predicted, hits / truth.sum())


def max_f(
    score_map: ArrayLike,
    truth_mask: ArrayLike,
    valid: ArrayLike | None = None,
    beta2: float = 0.3,
    thresholds: int = 256,
) -> float:
    """Return the largest F over the thresholds of `precision_recall`: each image has its own threshold.

    It is an upper bound, since the threshold is chosen with knowledge of the truth. Parameters and errors as in
    `precision_recall`; `beta2` as in `f_beta`.

    Returns
    -------
    float, 0..1. A constant map gets the value of "all blurred".

    Examples
    --------
    >>> max_f([[0.1, 0.6, 0.9]], [[False, False, True]])
    1.0
    """
    curve = precision_recall(score_map, truth_mask, valid, thresholds)
    return float(f_beta(curve.precision, curve.recall, beta2).max())


def average_precision(score_map: ArrayLike, truth_mask: ArrayLike, valid: ArrayLike | None = None) -> float:
    """Return the average precision, exact over all distinct scores.

    With the distinct scores taken from high to low, AP = sum of (R_k - R_(k-1)) P_k: equal scores enter
    together, and there is no interpolation and no binning. Only the order of the scores counts, so they need no
    normalisation.

    Parameters
    ----------
    score_map : H x W, higher = more blurred, any unit.
    truth_mask : H x W, True = blurred.
    valid : H x W, True = counts; None = all.

    Returns
    -------
    float, 0..1; a constant map gets the fraction of blurred pixels.

    Raises
    ------
    UndefinedMetricError
        No valid pixel, a truth of one class only, or NaN scores.

    Examples
    --------
    >>> average_precision([[0.1, 0.6, 0.9]], [[False, True, True]])
    1.0
    """
    score, truth = _detection(score_map, truth_mask, valid)
    predicted, hits = _hits_above(score, truth, np.unique(score)[::-1])
    return float(np.sum(np.diff(hits, prepend=0.0) * hits / predicted) / truth.sum())


def accuracy_at_alpha(
    score_map: ArrayLike, truth_mask: ArrayLike, valid: ArrayLike | None = None, alpha: float = 0.3
) -> float:
    """Return the fraction of pixels classified right by the rule of DHDE.

    Blurred is where score >= alpha max + (1 - alpha) min. Maximum and minimum are those of this image's own valid
    scores, so the threshold depends on two pixels of the map (Park et al., CVPR 2017; the authors' code for the rule is
    not published).

    Parameters
    ----------
    score_map : H x W, higher = more blurred, any unit.
    truth_mask : H x W, True = blurred. One class alone is allowed.
    valid : H x W, True = counts; None = all.
    alpha : position of the threshold between minimum (0) and maximum (1).

    Returns
    -------
    float, 0..1; a constant map is "all blurred".

    Raises
    ------
    UndefinedMetricError
        No valid pixel, or NaN scores.

    Examples
    --------
    >>> accuracy_at_alpha([[0.0, 0.2, 1.0, 0.4]], [[False, False, True, False]])
    0.75
    """
    score, truth = _counted(score_map, truth_mask, valid=valid)
    score = _finite(score, "score map")
    low, high = score.min(), score.max()
    # As an offset from the minimum, so that a constant map reaches its own threshold despite rounding.
    return float(np.mean((score >= low + alpha * (high - low)) == truth.astype(bool)))


def f_at_threshold(
    score_map: ArrayLike,
    truth_mask: ArrayLike,
    threshold: ArrayLike,
    valid: ArrayLike | None = None,
    beta2: float = 0.3,
) -> _Floats:
    """Return F of "blurred where score >= threshold", at given thresholds in the unit of the score.

    The score is not normalised. With one threshold in px for all images, this is the fair figure for an absolute
    estimator; choose the threshold on other images (`leave_one_out`).

    Parameters
    ----------
    score_map : H x W, higher = more blurred; a sigma map in px.
    truth_mask : H x W, True = blurred.
    threshold : one value or an array of them, the unit of `score_map`.
    valid : H x W, True = counts; None = all.
    beta2 : as in `f_beta`.

    Returns
    -------
    Array of the shape of `threshold`, 0..1; 0 where no pixel is classified as blurred.

    Raises
    ------
    UndefinedMetricError
        No valid pixel, a truth of one class only, or NaN scores.

    Examples
    --------
    >>> f_at_threshold([[0.5, 1.0, 3.0]], [[False, False, True]], threshold=[0.8, 2.0]).round(2)
    array([0.57, 1.  ])
    """
    score, truth = _detection(score_map, truth_mask, valid)
    predicted, hits = _hits_above(score, truth, np.asarray(threshold, dtype=np.float64))
    precision = np.divide(hits, predicted, out=np.zeros_like(hits), where=predicted > 0)
    return f_beta(precision, hits / truth.sum(), beta2)


def iou_at_threshold(
    score_map: ArrayLike, truth_mask: ArrayLike, threshold: ArrayLike, valid: ArrayLike | None = None
) -> _Floats:
    """Return the intersection over union of "blurred where score >= threshold" and the truth, at given thresholds.

    Parameters and errors as in `f_at_threshold`.

    Returns
    -------
    Array of the shape of `threshold`, 0..1.

    Examples
    --------
    >>> iou_at_threshold([[0.5, 1.0, 3.0]], [[False, False, True]], threshold=[0.8, 2.0])
    array([0.5, 1. ])
    """
    score, truth = _detection(score_map, truth_mask, valid)
    predicted, hits = _hits_above(score, truth, np.asarray(threshold, dtype=np.float64))
    return np.asarray(hits / (predicted + truth.sum() - hits))


def leave_one_out(f_of_images: ArrayLike) -> tuple[NDArray[np.int64], _Floats]:
    """Return each image's F at the one threshold that is best for all the other images.

    For image i it is the threshold with the largest mean F over the images other than i (the middle one of equals).

    Parameters
    ----------
    f_of_images : images x thresholds array, from `f_at_threshold` with the same thresholds for every image.

    Returns
    -------
    chosen : index of the threshold of each image.
    f : F of each image at its threshold, 0..1.

    Raises
    ------
    UndefinedMetricError
        Fewer than two images.

    Examples
    --------
    >>> leave_one_out([[0.9, 0.5], [0.6, 0.7]])  # the first image gets the best threshold of the second
    (array([1, 0]), array([0.5, 0.6]))
    """
    table = np.asarray(f_of_images, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] < 2:
        raise UndefinedMetricError("A threshold chosen on the other images needs at least two images.")
    of_others = table.sum(axis=0) - table
    chosen = np.empty(table.shape[0], dtype=np.int64)
    for i, total in enumerate(of_others):
        # Sums of the same terms may differ by rounding and count as equal.
        best = np.flatnonzero(total >= total.max() - 1e-9)
        chosen[i] = best[best.size // 2]
    return chosen, table[np.arange(table.shape[0]), chosen]


def mean_absolute_error(estimate: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None) -> float:
    """Return the mean of |estimate - truth| over the valid pixels of one image.

    Parameters
    ----------
    estimate, truth : H x W, sigma in px (or any one unit).
    valid : H x W, True = counts; None = all.

    Returns
    -------
    float, in the unit of the maps.

    Raises
    ------
    UndefinedMetricError
        No valid pixel, or NaN at valid pixels.

    Examples
    --------
    >>> mean_absolute_error([[1.0, 2.0]], [[1.5, 3.0]])
    0.75
    """
    values, wanted = _estimation(estimate, truth, valid)
    return float(np.mean(np.abs(values - wanted)))


def root_mean_square_error(estimate: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None) -> float:
    """Return the root of the mean of (estimate - truth)^2 over the valid pixels of one image.

    Parameters, unit and errors as in `mean_absolute_error`.

    Examples
    --------
    >>> root_mean_square_error([[1.0, 2.0]], [[4.0, 6.0]]) == 12.5**0.5
    True
    """
    values, wanted = _estimation(estimate, truth, valid)
    return float(np.sqrt(np.mean((values - wanted) ** 2)))


def boundary_error(
    estimate: ArrayLike,
    truth: ArrayLike,
    valid: ArrayLike | None = None,
    *,
    jump: float = 0.25,
    distance: float = 8.0,
) -> BoundaryError:
    """Return the mean absolute error near the edges of the truth, and elsewhere.

    An edge of the truth is where two valid neighbours (horizontal or vertical) differ by more than `jump`.

    Parameters
    ----------
    estimate, truth : H x W, sigma in px (or any one unit).
    valid : H x W, True = counts; None = all.
    jump : least difference across an edge, in the unit of the maps.
    distance : distance from an edge, px, up to which a pixel is near it.

    Returns
    -------
    BoundaryError

    Raises
    ------
    UndefinedMetricError
        No valid pixel, NaN at valid pixels, or a truth without such an edge.

    Examples
    --------
    >>> truth = np.repeat([[1.0, 3.0]], 10, axis=1)
    >>> boundary_error(np.full((1, 20), 2.0), truth, distance=2)
    BoundaryError(near=1.0, elsewhere=1.0)
    """
    _estimation(estimate, truth, valid)
    values, wanted = np.asarray(estimate, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    counted = np.ones(wanted.shape, dtype=bool) if valid is None else np.asarray(valid, dtype=bool)
    edge = np.zeros(wanted.shape, dtype=bool)
    for one, other in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])):
        jumps = (np.abs(wanted[one] - wanted[other]) > jump) & counted[one] & counted[other]
        edge[one] |= jumps
        edge[other] |= jumps
    if not edge.any():
        raise UndefinedMetricError(f"The truth has no edge of more than {jump:g}: leave the image out.")
    near = (ndimage.distance_transform_edt(~edge) <= distance) & counted
    far = counted & ~near
    error = np.abs(values - wanted)
    return BoundaryError(float(error[near].mean()), float(error[far].mean()) if far.any() else float("nan"))


def grossly_wrong(estimate: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None) -> float:
    """Return the fraction of the valid pixels whose error is above 1 px and above the truth itself.

    Parameters
    ----------
    estimate, truth : H x W, sigma in px.
    valid : H x W, True = counts; None = all.

    Returns
    -------
    float, 0..1.

    Raises
    ------
    UndefinedMetricError
        No valid pixel, or NaN at valid pixels.

    Examples
    --------
    >>> grossly_wrong([[1.4, 1.6, 7.0, 9.0]], [[0.5, 0.5, 4.0, 4.0]])
    0.5
    """
    values, wanted = _estimation(estimate, truth, valid)
    return float(np.mean(np.abs(values - wanted) > np.maximum(1.0, wanted)))


def error_by_coverage(
    estimate: ArrayLike,
    truth: ArrayLike,
    confidence: ArrayLike,
    coverages: Sequence[float],
    valid: ArrayLike | None = None,
) -> _Floats:
    """Return the mean absolute error of the surest pixels, for several fractions of all pixels (risk against coverage).

    Of pixels of equal confidence, of which only a part is taken, all count with that part as their weight (El-Yaniv and
    Wiener, JMLR 2010, define risk and coverage).

    Parameters
    ----------
    estimate, truth : H x W, sigma in px (or any one unit).
    confidence : H x W, larger = surer.
    coverages : fractions of the valid pixels, above 0 and up to 1.
    valid : H x W, True = counts; None = all.

    Returns
    -------
    One error for each coverage, in the unit of the maps; that of 1 is the mean absolute error.

    Raises
    ------
    UndefinedMetricError
        No valid pixel, or NaN at valid pixels.

    Examples
    --------
    >>> error_by_coverage([[1.0, 2.0, 3.0, 4.0]], [[1.1, 2.3, 4.0, 4.0]], [[0.9, 0.8, 0.1, 0.1]], (0.5, 1.0)).round(3)
    array([0.2 , 0.35])
    """
    values, wanted = _estimation(estimate, truth, valid)
    sure = _finite(_counted(confidence, valid=valid)[0], "confidence")
    _, group, pixels = np.unique(-sure, return_inverse=True, return_counts=True)
    taken = np.concatenate([[0], np.cumsum(pixels)])
    error = np.concatenate([[0], np.cumsum(np.bincount(group, weights=np.abs(values - wanted)))])
    wanted_pixels = np.asarray(coverages, dtype=np.float64) * sure.size
    return np.asarray(np.interp(wanted_pixels, taken, error) / wanted_pixels)


def relative_error(estimate: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None) -> float:
    """Return the mean of |estimate - truth| / truth over the valid pixels whose truth is above 0.

    Parameters
    ----------
    estimate, truth : H x W, sigma in px (or any one unit).
    valid : H x W, True = counts; None = all.

    Returns
    -------
    float, 0 or more, without unit; 0 is perfect.

    Raises
    ------
    UndefinedMetricError
        No valid pixel with a truth above 0, or NaN at valid pixels.

    Examples
    --------
    >>> relative_error([[1.5, 3.0]], [[2.0, 4.0]])
    0.25
    """
    return float(np.mean(np.abs(_ratios(estimate, truth, valid, "A relative error") - 1)))


def median_ratio(estimate: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None) -> float:
    """Return the median of estimate / truth over the valid pixels whose truth is above 0, which shows a bias.

    Parameters
    ----------
    estimate, truth : H x W, sigma in px (or any one unit).
    valid : H x W, True = counts; None = all.

    Returns
    -------
    float, 0 or more, without unit; 1 is no bias.

    Raises
    ------
    UndefinedMetricError
        No valid pixel with a truth above 0, or NaN at valid pixels.

    Examples
    --------
    >>> median_ratio([[1.5, 3.0]], [[2.0, 4.0]])
    0.75
    """
    return float(np.median(_ratios(estimate, truth, valid, "A ratio to the truth")))


def _ratios(estimate: ArrayLike, truth: ArrayLike, valid: ArrayLike | None, metric: str) -> _Floats:
    """Return estimate / truth at the valid pixels whose truth is above 0."""
    values, wanted = _estimation(estimate, truth, valid)
    blurred = wanted > 0
    if not blurred.any():
        raise UndefinedMetricError(f"{metric} needs a truth above 0 somewhere.")
    return np.asarray(values[blurred] / wanted[blurred])


def error_by_size(
    estimate: ArrayLike, truth: ArrayLike, edges: Sequence[float], valid: ArrayLike | None = None
) -> list[SizeBin]:
    """Return mean absolute error and bias in bins of the true sigma.

    Parameters
    ----------
    estimate, truth : H x W, sigma in px.
    edges : ascending bounds in px; bin k is [edges[k], edges[k + 1]). Pixels outside all bins are left out.
    valid : H x W, True = counts; None = all.

    Returns
    -------
    One `SizeBin` per pair of neighbouring bounds.

    Raises
    ------
    UndefinedMetricError
        No valid pixel, or NaN at valid pixels.

    Examples
    --------
    >>> [size.bias for size in error_by_size([[1.5, 3.0]], [[1.0, 4.0]], edges=(0, 2, 8))]
    [0.5, -1.0]
    """
    values, wanted = _estimation(estimate, truth, valid)
    error = values - wanted
    bounds = np.asarray(edges, dtype=np.float64)
    count = bounds.size - 1
    place = np.searchsorted(bounds, wanted, side="right") - 1
    inside = (place >= 0) & (place < count)
    pixels = np.bincount(place[inside], minlength=count)
    divisor = np.where(pixels > 0, pixels, np.nan)
    absolute = np.bincount(place[inside], weights=np.abs(error[inside]), minlength=count) / divisor
    signed = np.bincount(place[inside], weights=error[inside], minlength=count) / divisor
    return [
        SizeBin(float(bounds[k]), float(bounds[k + 1]), int(pixels[k]), float(absolute[k]), float(signed[k]))
        for k in range(count)
    ]


def sure_and_wrong(
    estimate: ArrayLike,
    truth: ArrayLike,
    confidence: ArrayLike,
    valid: ArrayLike | None = None,
    unreadable: ArrayLike | None = None,
) -> tuple[float, float]:
    """Return the fraction of pixels that are sure and wrong, and the fraction that are sure.

    Sure is a confidence of `CONFIDENT` (0.5) and more; wrong is an estimate that differs from the truth by more than
    half an octave, |log2(estimate / truth)| > 0.5. Where nobody can know the truth, whatever is sure is wrong.

    Parameters
    ----------
    estimate, truth : H x W, sigma in px; truths of 0 are matched by an estimate of 0 only, so clip them to what the
        method can tell.
    confidence : H x W, 0..1.
    valid : H x W, True = the truth counts; None = all.
    unreadable : H x W, True = nobody can know the truth, so the pixel counts whether it is valid or not; None = none.

    Returns
    -------
    wrong, sure : fractions of all pixels that count, 0..1. The first is never larger than the second.

    Raises
    ------
    UndefinedMetricError
        No pixel counts, or NaN at pixels that do.

    Examples
    --------
    >>> sure_and_wrong([[1.0, 1.0, 1.0, 1.0]], [[1.2, 4.0, 4.0, 0.0]], [[0.9, 0.8, 0.1, 0.2]])
    (0.25, 0.5)
    """
    expected = np.asarray(truth, dtype=np.float64)
    unknowable = np.zeros(expected.shape, bool) if unreadable is None else np.asarray(unreadable, dtype=bool)
    counted = np.ones(expected.shape, bool) if valid is None else np.asarray(valid, dtype=bool)
    values, sure, blank = _counted(estimate, confidence, unknowable, valid=counted | unknowable)
    wanted = _counted(expected, valid=counted | unknowable)[0]
    values, sure = _finite(values, "estimate"), _finite(sure, "confidence") >= CONFIDENT
    wanted = _finite(np.where(blank, 0.0, wanted), "truth")
    half_octave = 2**0.5
    wrong = blank | (values > half_octave * wanted) | (half_octave * values < wanted)
    return float(np.mean(sure & wrong)), float(np.mean(sure))


def spearman(score_map: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None) -> float:
    """Return Spearman's rank correlation over the valid pixels of one image; equal values get their mean rank.

    Parameters
    ----------
    score_map : H x W, higher = more blurred, any unit.
    truth : H x W, higher = more blurred, any unit.
    valid : H x W, True = counts; None = all.

    Returns
    -------
    float, -1..1; a constant map gets 0, since it orders nothing.

    Raises
    ------
    UndefinedMetricError
        No valid pixel, NaN at valid pixels, or a constant truth.

    Examples
    --------
    >>> round(spearman([[0.1, 0.2, 0.9]], [[1.0, 2.0, 8.0]]), 6)
    1.0
    """
    values, wanted = _estimation(score_map, truth, valid)
    if np.ptp(wanted) == 0:
        raise UndefinedMetricError("A constant truth has no order to correlate with: leave the image out.")
    if np.ptp(values) == 0:
        return 0.0
    return float(spearmanr(values, wanted).statistic)


def affine_invariant_error(estimate: ArrayLike, truth: ArrayLike, valid: ArrayLike | None = None) -> AffineError:
    """Return the errors after the least-squares fit of `scale * estimate + offset` to the truth.

    For truths whose unit is unknown. The fit may invert the map: check the sign of `scale`.

    Parameters
    ----------
    estimate, truth : H x W, any units.
    valid : H x W, True = counts; None = all.

    Returns
    -------
    AffineError, in the truth's unit. A constant estimate is fitted with scale 0 and the truth's mean.

    Raises
    ------
    UndefinedMetricError
        No valid pixel, or NaN at valid pixels.

    Examples
    --------
    >>> affine_invariant_error([[0.0, 1.0, 2.0]], [[1.0, 3.0, 5.0]]).scale
    2.0
    """
    values, wanted = _estimation(estimate, truth, valid)
    centred = values - values.mean()
    spread = float(np.sum(centred**2))
    scale = float(np.sum(centred * (wanted - wanted.mean()))) / spread if np.ptp(values) > 0 else 0.0
    offset = float(wanted.mean() - scale * values.mean())
    rest = scale * values + offset - wanted
    return AffineError(scale, offset, float(np.sqrt(np.mean(rest**2))), float(np.mean(np.abs(rest))))


def calibration(confidence: ArrayLike, correct: ArrayLike, bins: int = 10) -> Calibration:
    """Compare confidences with how often the estimates are right, all samples pooled.

    Parameters
    ----------
    confidence : any shape, 0..1.
    correct : the same shape, True where the estimate was right (by a tolerance of the caller's choice).
    bins : number of bins of equal width over 0..1.

    Returns
    -------
    Calibration

    Raises
    ------
    UndefinedMetricError
        No sample, or a confidence that is NaN or outside 0..1.

    Examples
    --------
    >>> round(calibration([0.9, 0.9, 0.1, 0.1], [True, True, False, False]).expected_error, 3)
    0.1
    """
    values, right = _counted(confidence, correct, valid=None)
    values = _finite(values, "confidence")
    if values.min() < 0 or values.max() > 1:
        raise UndefinedMetricError("Confidences must lie in 0..1.")
    place = np.minimum((values * bins).astype(np.int64), bins - 1)
    pixels = np.bincount(place, minlength=bins)
    divisor = np.where(pixels > 0, pixels, np.nan)
    mean_confidence = np.bincount(place, weights=values, minlength=bins) / divisor
    fraction = np.bincount(place, weights=right.astype(np.float64), minlength=bins) / divisor
    gap = np.nansum(np.abs(mean_confidence - fraction) * pixels) / pixels.sum()
    return Calibration(np.linspace(0, 1, bins + 1), pixels, mean_confidence, fraction, float(gap))


def bootstrap_interval(
    values: ArrayLike,
    statistic: Callable[..., Any] = np.mean,
    seed: int = 0,
    level: float = 0.95,
    resamples: int = 10_000,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a statistic over images.

    Parameters
    ----------
    values : one value per image.
    statistic : function of an array and `axis` (which may be negative), such as `numpy.mean` or `numpy.median`.
    seed : seed of the resampling.
    level : coverage of the interval, 0..1.
    resamples : number of resamples, each of as many images drawn with replacement.

    Returns
    -------
    low, high : bounds in the unit of `values`.

    Raises
    ------
    UndefinedMetricError
        Fewer than two values, or NaN among them.

    Examples
    --------
    >>> low, high = bootstrap_interval([0.6, 0.7, 0.8, 0.9])
    >>> bool(0.6 < low < 0.75 < high < 0.9)
    True
    """
    sample = _finite(np.asarray(values).ravel(), "list of values")
    if sample.size < 2:
        raise UndefinedMetricError("An interval over images needs at least two images.")
    interval = bootstrap(
        (sample,),
        statistic,
        n_resamples=resamples,
        vectorized=True,
        confidence_level=level,
        method="percentile",
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)
