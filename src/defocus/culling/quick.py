"""A quick reading of a photograph: blur read from a reduced copy, without propagation, completion and upsampling.

It has one value for each 4 x 4 px of the copy, and low confidence where nothing can be read. Sigma is in px of the
whole photograph, so that figures compare with those of a map. What is lost: from 24 MP, blur below about 1 px is not
told apart (`quick_sharpness`), and plain areas stay unknown.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from defocus.applications.rank import THRESHOLD, Sharpness, sharpness
from defocus.filters.box import block_sum
from defocus.maps.defocus_map import DefocusMap, Seeds
from defocus.maps.motion import Motion
from defocus.methods.pyramid.blur_reader import BlurReader
from defocus.methods.pyramid.luma import PhotographLuma
from defocus.methods.pyramid.method import SIGMA_RANGE, read_blur
from defocus.methods.pyramid.parameters import PyramidParameters
from defocus.methods.pyramid.survey import survey_photograph
from defocus.methods.pyramid.weights import STRIDE
from defocus.photograph import Photograph
from defocus.photograph.content import Content, find_content
from defocus.progress import Progress
from defocus.runtime.cores import single_blas_thread
from defocus.version import __version__

__all__ = ["QUICK_SIDE", "quick_map", "quick_sharpness"]

QUICK_SIDE = 2048
"""Length in px of the longer side that photographs are read at."""
_LEAST_THRESHOLD = 0.45
"""px of the copy. Shares counted at it are those of full maps counted at the same; at 0.35 px they are not."""
_NOTHING = 0.5 / 255


def quick_sharpness(
    photograph: Photograph,
    found: DefocusMap,
    *,
    threshold: float = THRESHOLD,
    subject: tuple[float, float, float, float] | None = None,
) -> Sharpness:
    """Measure how much of a photograph is in focus by a quick reading, as `defocus.sharpness` does by a map.

    A reduced copy does not tell small sigmas apart. So a pixel counts as half in focus at 0.45 px of the copy, where
    that is more than `threshold`: 1.3 px of a photograph of 24 MP.

    Parameters
    ----------
    photograph : of `read_reduced(path, QUICK_SIDE)`.
    found : `quick_map` of it.
    threshold, subject : as for `defocus.sharpness`.

    Returns
    -------
    Sharpness
        In px of the whole photograph. `counted_at` is the sigma at which pixels did count as half in focus.

    Examples
    --------
    >>> photograph = Photograph(np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8), full_size=(512, 384))
    >>> s = quick_sharpness(photograph, quick_map(photograph))
    >>> s.in_focus > 0.5, round(s.counted_at, 2)
    (True, 1.8)
    """
    counted_at = max(threshold, _LEAST_THRESHOLD * _reduction(photograph))
    return replace(sharpness(found, threshold=counted_at, subject=subject), threshold=threshold)


def quick_map(photograph: Photograph, device: str = "auto", progress: Progress | None = None) -> DefocusMap:
    """Read the blur of a photograph quickly.

    Parameters
    ----------
    photograph : of `read_reduced(path, QUICK_SIDE)`, or any other.
    device : see `defocus.methods.session.open_session`.
    progress : called with the step at hand and the fraction of the work done.

    Returns
    -------
    DefocusMap
        With one value for each 4 x 4 px of `photograph`; sigma, and lengths of movements, are in px of the whole
        photograph (`Photograph.full_size`). The directions of movements are as they are.

    Examples
    --------
    >>> photograph = Photograph(np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8))
    >>> m = quick_map(photograph)
    >>> m.sigma.shape, bool(np.median(m.sigma) < 1)
    ((24, 32), True)
    """
    report = progress if progress is not None else lambda step, fraction: None
    report("reading", 0.0)
    scale = _reduction(photograph)
    shape = (-(-photograph.height // STRIDE), -(-photograph.width // STRIDE))
    least, most = (limit * scale for limit in SIGMA_RANGE)
    reader = BlurReader(device=device)
    metadata = {
        "defocus": __version__,
        "weights": reader.card.get("name", "unnamed"),
        "weights_sha256": reader.sha256,
        "quick": True,
    }
    with single_blas_thread():
        content = find_content(photograph)
        part = content.cut(photograph)
        grey = PhotographLuma(part)
        survey = survey_photograph(part, grey)
        if survey.brightest - survey.darkest < _NOTHING:
            return DefocusMap.without_evidence(shape, "pyramid", (least, most), metadata=metadata)
        readings, readable, motion = read_blur(
            part, grey, survey, reader, PyramidParameters(), lambda done: report("reading", done)
        )
    metadata["device"] = reader.device
    raw = np.exp2(readings.log2_sigma) * np.float32(scale)
    sigma = np.clip(raw, least, most)
    confidence = np.clip(reader.confidence(readings.certainty) * readable, 0, 1).astype(np.float32)
    sigma, confidence, motion = _put_back(content, sigma, confidence, _on_grid(motion, scale), shape)
    return DefocusMap(
        sigma,
        confidence,
        (sigma <= least) | (sigma >= most),
        Seeds.none(shape),
        "pyramid",
        (least, most),
        metadata=metadata,
        motion=motion,
    )


def _reduction(photograph: Photograph) -> float:
    if photograph.full_size is None:
        return 1.0
    return max(1.0, max(photograph.full_size) / max(photograph.width, photograph.height))


def _on_grid(motion: Motion, scale: float) -> Motion:
    """Motion in px of the whole photograph, with a block for as many values of the grid as it had of px."""
    length, direction, sure = motion.camera
    return replace(
        motion,
        length=motion.length * np.float32(scale),
        block=motion.block // STRIDE,
        shape=(-(-motion.shape[0] // STRIDE), -(-motion.shape[1] // STRIDE)),
        camera=type(motion.camera)(round(length * scale, 1), direction, sure),
    )


def _put_back(
    content: Content,
    sigma: NDArray[np.float32],
    confidence: NDArray[np.float32],
    motion: Motion,
    shape: tuple[int, int],
) -> tuple[NDArray[np.float32], NDArray[np.float32], Motion]:
    """Values of the whole frame from those of the part within bars; confidence is 0 elsewhere."""
    if content.hidden is not None:
        hidden = np.asarray(block_sum(content.hidden.astype(np.uint8), STRIDE)).astype(bool)
        hidden = hidden[content.rows.start // STRIDE :, content.columns.start // STRIDE :]
        inner = hidden[: confidence.shape[0], : confidence.shape[1]]
        confidence[: inner.shape[0], : inner.shape[1]][inner] = 0
    if sigma.shape == shape:
        return sigma, confidence, motion
    top, left = content.rows.start // STRIDE, content.columns.start // STRIDE
    rows, columns = slice(top, top + sigma.shape[0]), slice(left, left + sigma.shape[1])
    whole = np.full(shape, sigma.max(), np.float32)
    trusted = np.zeros(shape, np.float32)
    across = whole[rows, columns].shape
    whole[rows, columns] = sigma[: across[0], : across[1]]
    trusted[rows, columns] = confidence[: across[0], : across[1]]
    return whole, trusted, motion.placed(top, left, shape)
