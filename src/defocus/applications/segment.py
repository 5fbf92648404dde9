"""Which parts of a photograph are blurred: a mask, an alpha matte, and where the map does not know.

Three rules: the threshold that divides the map best (Otsu, IEEE Trans. SMC 1979, on the logarithm of sigma, pixels
weighed by confidence; not below 0.8 px, and none where there are not two classes); one threshold in px, which means the
same on every photograph; and the paper's (Park et al., CVPR 2017: blurred where sigma >= alpha max + (1 - alpha) min of
the map), which is meant for maps that end at 2 px.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from defocus.applications.guide import map_or_estimate
from defocus.errors import ParameterError
from defocus.maps.accuracy import CONFIDENT
from defocus.photograph import PhotographLike, as_photograph
from defocus.progress import Progress
from defocus.propagation import propagate

if TYPE_CHECKING:
    from defocus.maps.defocus_map import DefocusMap
    from defocus.photograph import Photograph

Rule = Literal["alpha", "threshold", "auto"]
UNDECIDED = 0.25
"""Confidence below which the mask is a guess: there 64 to 70 % of the pixels of half of a set with truth were right,
above it 82 % and more (`benchmarks/applications.py`). It is also where `rank` stops counting."""
SOFTNESS = 0.25
"""Width of the transition of an unrefined matte from 0 to 1, as a fraction of the threshold."""
BAND = 0.02
"""Half width of the band that is refined, as a fraction of the photograph's longer side."""
ONE_CLASS, SHARP_PX = 1.25, 1.0
LEAST_THRESHOLD = 0.8
"""px; what is less blurred than this is in focus, so no automatic threshold is lower."""
SMALL, READABLE, SURE = 0.08, 0.3, 0.45
"""A blurred class of less than this fraction of what is readable (confidence 0.3 and more) divides a photograph only if
a quarter of it is read with a confidence of at least 0.45."""
LEAST_TOLD = 0.005
"""Fraction of guesses from which on they are told in words."""
_BINS = 128
_SMALLEST = 0.05


@dataclass(frozen=True)
class Guesses:
    """How much of a mask is a guess: where the map's confidence is below 0.5.

    Attributes
    ----------
    area : fraction of what is in focus, 0..1; 0 where nothing is in focus.
    outline : fraction of the boundary between blurred and in focus, 0..1; 0 where there is none.

    Examples
    --------
    >>> mask = np.array([[False, False, True], [False, False, True]])
    >>> Guesses.of(mask, np.array([[0.9, 0.9, 0.9], [0.1, 0.2, 0.9]])).in_words()
    'Guesses make up 50 % of what is in focus and 50 % of its outline.'
    """

    area: float
    outline: float

    @classmethod
    def of(cls, mask: NDArray[np.bool_], confidence: NDArray[np.floating]) -> Guesses:
        """Count the guesses of a mask.

        Parameters
        ----------
        mask : H x W, True = blurred.
        confidence : of the map, H x W, 0..1.
        """
        guess = confidence < CONFIDENT
        # The boundary runs between two pixels, and is as sure as the less sure of them.
        crossed = guessed = 0
        for here, there in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
            boundary = mask[here] != mask[there]
            crossed += int(boundary.sum())
            guessed += int((boundary & (guess[here] | guess[there])).sum())
        return cls(int((guess & ~mask).sum()) / max(int((~mask).sum()), 1), guessed / max(crossed, 1))

    def in_words(self) -> str:
        """Return it as a sentence; "" where next to nothing is a guess."""
        parts = [(self.area, "of what is in focus"), (self.outline, "of its outline")]
        told = [f"{100 * share:.0f} % {what}" for share, what in parts if share >= LEAST_TOLD]
        return f"Guesses make up {' and '.join(told)}." if told else ""


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Blurred and sharp parts of a photograph.

    Attributes
    ----------
    mask : bool H x W, True = blurred.
    matte : float32 H x W, 0 sharp to 1 blurred; 0.5 and more is the mask.
    undecided : bool H x W, True where the map's confidence is below 0.25, so the mask is a guess.
    threshold : the value of the map from which on it is called blurred, in `unit`.
    rule : "alpha", "threshold" or "auto".
    unit : "px" or "score".
    guesses : how much of the mask is a guess by the measure of the page: a confidence below 0.5.
    """

    mask: NDArray[np.bool_]
    matte: NDArray[np.float32]
    undecided: NDArray[np.bool_]
    threshold: float
    rule: Rule
    unit: str
    guesses: Guesses


def segment(
    photo: PhotographLike,
    defocus_map: DefocusMap | None = None,
    *,
    threshold: float | None = None,
    auto: bool = False,
    alpha: float | None = None,
    refine: bool = False,
    grow: float = 0.0,
    feather: float | None = None,
    progress: Progress | None = None,
) -> Segmentation:
    """Divide a photograph into blurred and sharp parts.

    Parameters
    ----------
    photo : path, array, PIL image or `Photograph`.
    defocus_map : its map, in px or a score; estimated by the default method if None.
    threshold : a pixel is blurred if its value is at least this, in the map's unit.
    auto : find the threshold that divides the map best, which is also done where no rule is given.
    alpha : 0..1, the rule of the DHDE paper, which uses 0.3. At most one of the three rules may be given.
    refine : let the boundary follow the objects: a band around it is matted anew by the photograph's colours
        (closed-form matting, Levin, Lischinski, Weiss, TPAMI 2008).
    grow : px by which what is in focus is made larger all round; less than 0 makes it smaller.
    feather : px over which the matte passes from 0 to 1, centred on the boundary; less than 1 gives a hard one. With
        None the matte follows the map (or, with `refine`, the photograph), and of a boundary that `grow` has moved it
        is hard.
    progress : called with the name of the step and the fraction of the work done, 0..1.

    Returns
    -------
    Segmentation

    Raises
    ------
    ParameterError
        If two rules are given, a value is out of range, or the map is of another size.

    Examples
    --------
    >>> import defocus
    >>> photo = np.random.default_rng(1).integers(0, 256, (60, 90, 3), np.uint8)
    >>> s = defocus.segment(photo, threshold=2.0)
    >>> s.mask.shape, s.threshold, bool(s.mask.mean() < 0.5)  # the photograph is sharp
    ((60, 90), 2.0, True)
    """
    report = progress if progress is not None else lambda step, fraction: None
    if (threshold is not None) + (alpha is not None) + auto > 1:
        raise ParameterError("Give one of threshold, alpha and auto.")
    if alpha is not None and not 0 <= alpha <= 1:
        raise ParameterError(f"alpha must be in 0..1, not {alpha}.")
    if threshold is not None and not 0 <= threshold < np.inf:
        raise ParameterError(f"threshold must be 0 or more, not {threshold}.")
    if not np.isfinite(grow):
        raise ParameterError(f"grow must be a number of px, not {grow}.")
    if feather is not None and not 0 <= feather < np.inf:
        raise ParameterError(f"feather must be 0 px or more, not {feather}.")
    photograph = as_photograph(photo)
    defocus_map = map_or_estimate(photograph, defocus_map, lambda step, fraction: report(step, 0.8 * fraction))
    rule: Rule = "threshold" if threshold is not None else "auto" if alpha is None else "alpha"
    if threshold is None:
        threshold = otsu_threshold(defocus_map) if alpha is None else alpha_threshold(defocus_map.sigma, alpha)
    report("matte", 0.8)
    matte = np.clip(0.5 + (defocus_map.sigma - threshold) / max(SOFTNESS * threshold, 1e-6), 0, 1).astype(np.float32)
    mask = defocus_map.sigma >= threshold
    if refine and mask.any() and not mask.all():
        matte = refined(mask, photograph.as_float(np.float32))
        mask = matte >= 0.5
    if grow or feather is not None:
        matte = moved_border(mask, -grow, feather or 0.0)
        mask = matte >= 0.5
    report("done", 1.0)
    return Segmentation(
        mask,
        matte,
        defocus_map.confidence < UNDECIDED,
        float(threshold),
        rule,
        defocus_map.unit,
        Guesses.of(mask, defocus_map.confidence),
    )


def moved_border(mask: NDArray[np.bool_], grow: float, feather: float) -> NDArray[np.float32]:
    """Return a mask grown by some px and with a soft border, as a matte: H x W float32, 0..1.

    Parameters
    ----------
    mask : H x W.
    grow : px by which it grows; less than 0 shrinks it.
    feather : px over which the matte passes from 0 to 1; less than 1 gives a hard border.

    Examples
    --------
    >>> moved_border(np.array([[False, False, True, True]]), 1, 0)
    array([[0., 1., 1., 1.]], dtype=float32)
    """
    if mask.all() or not mask.any() or (grow == 0 and feather <= 1):
        return mask.astype(np.float32)
    # To the boundary, which runs between two pixels: more than 0 inside.
    inside = ndimage.distance_transform_edt(mask).astype(np.float32)
    outside = ndimage.distance_transform_edt(~mask).astype(np.float32)
    border = np.where(mask, inside - np.float32(0.5), np.float32(0.5) - outside) + np.float32(grow)
    if feather <= 1:
        return np.asarray(border > 0, np.float32)
    return np.clip(0.5 + border / np.float32(feather), 0, 1).astype(np.float32)


def cut_out(photograph: Photograph, s: Segmentation) -> Photograph:
    """Return the photograph with what is blurred made transparent; what was transparent stays so.

    Parameters
    ----------
    photograph : H x W px.
    s : its segmentation; the matte says how transparent.

    Raises
    ------
    ParameterError
        If the segmentation is of another size.

    Examples
    --------
    >>> import defocus
    >>> photo = defocus.Photograph(np.random.default_rng(1).integers(0, 256, (60, 90, 3), np.uint8))
    >>> defocus.cut_out(photo, defocus.segment(photo, threshold=2.0)).alpha.shape
    (60, 90)
    """
    if s.matte.shape != (photograph.height, photograph.width):
        raise ParameterError("The segmentation is of another photograph: segment this one.")
    dtype = photograph.pixels.dtype
    full = 1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max)
    alpha: NDArray[Any] = (1 - s.matte) * np.float32(full)
    if photograph.alpha is not None:
        alpha *= (photograph.alpha / full).astype(np.float32)
    return replace(photograph, alpha=(alpha if dtype.kind == "f" else np.rint(alpha)).astype(dtype))


def alpha_threshold(sigma: NDArray[np.float32], alpha: float) -> float:
    """Alpha max + (1 - alpha) min of the map."""
    low, high = float(sigma.min()), float(sigma.max())
    return low + alpha * (high - low)


def otsu_threshold(defocus_map: DefocusMap) -> float:
    """The value that divides log sigma into two classes with the largest variance between them.

    Pixels weigh by their confidence, those below 0.25 next to nothing; of a map in px it is at least 0.8. There is
    only one class where the classes' means differ by less than a quarter, or the blurred one is both small and unsure:
    then all is in focus if the median is below 1 px, else all is blurred.
    """
    values = np.log(np.maximum(defocus_map.sigma, _SMALLEST)).ravel()
    if np.ptp(values) < 1e-6:
        return _one_class(defocus_map)
    confidence = defocus_map.confidence.ravel()
    weights = np.where(confidence >= UNDECIDED, confidence, np.float32(1e-3))
    counts, edges = np.histogram(values, bins=_BINS, weights=weights)
    middles = (edges[1:] + edges[:-1]) / 2
    below, above = np.cumsum(counts)[:-1], np.cumsum(counts[::-1])[::-1][1:]
    mean_below = np.cumsum(counts * middles)[:-1] / np.maximum(below, 1e-12)
    mean_above = np.cumsum((counts * middles)[::-1])[::-1][1:] / np.maximum(above, 1e-12)
    best = int(np.argmax(below * above * (mean_above - mean_below) ** 2))
    threshold = float(np.exp(edges[best + 1]))
    if defocus_map.unit != "px":
        return threshold
    if mean_above[best] - mean_below[best] < np.log(ONE_CLASS):
        return _one_class(defocus_map)
    threshold = max(threshold, LEAST_THRESHOLD)
    blurred = defocus_map.sigma >= threshold
    readable = defocus_map.confidence >= READABLE
    small = (blurred & readable).sum() < SMALL * max(int(readable.sum()), 1)
    if not blurred.any() or (small and np.percentile(defocus_map.confidence[blurred], 75) < SURE):
        return _one_class(defocus_map)
    return threshold


def _one_class(defocus_map: DefocusMap) -> float:
    """A threshold that leaves a photograph undivided."""
    if defocus_map.unit == "px" and float(np.median(defocus_map.sigma)) < SHARP_PX:
        return max(float(defocus_map.sigma.max()) * 1.01, LEAST_THRESHOLD)
    return float(defocus_map.sigma.min())


def refined(mask: NDArray[np.bool_], rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """Matte of a mask whose boundary is only known to some pixels: H x W float32, 0..1.

    Parameters
    ----------
    mask : H x W, with both classes.
    rgb : H x W x 3, 0..1.
    """
    width = max(BAND * max(mask.shape), 2.0)
    inside, outside = ndimage.distance_transform_edt(mask), ndimage.distance_transform_edt(~mask)
    # Farther from the boundary the mask is surer.
    weights = np.clip((np.maximum(inside, outside) - width / 2) / width, 0, 1).astype(np.float32)
    if not (weights > 0).any():
        return mask.astype(np.float32)
    matte = propagate(mask.astype(np.float32), weights, rgb, regularisation=1.0, eps=1e-5)
    return np.clip(matte, 0, 1).astype(np.float32)
