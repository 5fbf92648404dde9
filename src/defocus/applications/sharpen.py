"""All in focus: deconvolution by the blur that the map gives.

Non-blind deconvolution for each of a few sigmas by a Wiener filter with a prior on gradients (their spectrum falls as
1/f^2), weighed by the photograph's own noise; every pixel takes the two nearest sigmas' results, in proportion. Ringing
comes from a sigma that is too large (Zhang et al., JVCIR 2016): only what exceeds the sharpest parts counts, no result
may leave the range of the photograph around the pixel by much, and where blurring it again does not give the photograph
back, it yields to the photograph.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from defocus.applications.guide import edit_strength, map_or_estimate_in_px, sigma_beyond_focus
from defocus.edges import noise_deviation
from defocus.errors import ParameterError
from defocus.optics.light import luma
from defocus.photograph import PhotographLike, as_photograph
from defocus.progress import Progress
from defocus.runtime.cores import available_cores

if TYPE_CHECKING:
    from defocus.maps.defocus_map import DefocusMap

Floats = NDArray[np.float32]

UNSURE, SURE = 0.35, 0.6
"""Confidence at which nothing is deconvolved, and at which all of sigma is."""
SMALLEST, RATIO = 0.5, 1.25
"""Smallest sigma in px that is deconvolved, and the ratio between neighbouring ones."""
LARGEST = 6.0
"""Largest sigma in px that is deconvolved: of more blur no detail is left to restore."""
TILE = 448
NOISE_FLOOR = 0.5 / 255
DETAIL = 0.01
"""Assumed standard deviation of the gradient, 0..1 per px: low, and so the regularisation strong."""
OVERSHOOT = 0.25
"""Fraction of the local range of values by which a result may exceed it."""


def sharpen(
    photo: PhotographLike,
    defocus_map: DefocusMap | None = None,
    *,
    strength: float = 1.0,
    progress: Progress | None = None,
) -> NDArray[Any]:
    """Return the photograph with its defocus blur reduced.

    Parameters
    ----------
    photo : path, array, PIL image or `Photograph`.
    defocus_map : its map, in px; estimated by the default method if None.
    strength : 0 = off, 1 = the full estimated blur, as far as noise allows; at most 2.
    progress : called with the name of the step and the fraction of the work done, 0..1.

    Returns
    -------
    H x W x 3, of the photograph's own type.

    Raises
    ------
    ParameterError
        If the strength is outside 0..2, the map is a score without unit or of another size.

    Examples
    --------
    >>> import defocus
    >>> photo = np.random.default_rng(1).integers(0, 256, (60, 90, 3), np.uint8)
    >>> bool((defocus.sharpen(photo, strength=0) == photo).all())
    True
    """
    report = progress if progress is not None else lambda step, fraction: None
    if not 0 <= strength <= 2:
        raise ParameterError(f"strength must be in 0..2, not {strength}.")
    photograph = as_photograph(photo)
    defocus_map = map_or_estimate_in_px(photograph, defocus_map, lambda step, fraction: report(step, 0.4 * fraction))
    pixels = np.asarray(photograph.pixels)
    if strength == 0:
        return np.array(pixels)
    full = np.float32(1 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max)
    noise = max(noise_deviation(luma(pixels[:2048, :2048].astype(np.float32) / full)), NOISE_FLOOR)
    # Less than the true sigma never rings, so what the map is less sure of is taken for sharper.
    sigma = np.minimum(sigma_beyond_focus(defocus_map), LARGEST) * edit_strength(photograph, defocus_map, UNSURE, SURE)
    levels = _levels(float(sigma.max()))
    reach = int(np.ceil(4 * levels[-1])) + 4
    result = np.empty_like(pixels)
    windows = [
        (slice(y, min(y + TILE, photograph.height)), slice(x, min(x + TILE, photograph.width)))
        for y in range(0, photograph.height, TILE)
        for x in range(0, photograph.width, TILE)
    ]

    def work(window: tuple[slice, slice]) -> None:
        rows, columns = (
            np.clip(np.arange(s.start - reach, s.stop + reach), 0, size - 1)
            for s, size in zip(window, sigma.shape, strict=True)
        )
        cut = pixels[np.ix_(rows, columns)].astype(np.float32) / full
        sharp = _deconvolved(cut, sigma[window], levels, reach, noise)
        blurred = cut[reach:-reach, reach:-reach]
        shown = np.clip(blurred + np.float32(strength) * (sharp - blurred), 0, 1) * full
        result[window] = (np.rint(shown) if pixels.dtype.kind != "f" else shown).astype(pixels.dtype)

    with ThreadPoolExecutor(available_cores()) as pool:
        for done, _ in enumerate(pool.map(work, windows)):
            report("deconvolution", 0.4 + 0.6 * (done + 1) / len(windows))
    return result


def _levels(largest: float) -> NDArray[np.float64]:
    """0 and sigmas from `SMALLEST` in steps of `RATIO`, past the largest."""
    count = max(int(np.ceil(np.log(max(largest, SMALLEST) / SMALLEST) / np.log(RATIO))), 0) + 1
    return np.concatenate([[0.0], SMALLEST * RATIO ** np.arange(count)])


def _deconvolved(cut: Floats, sigma: Floats, levels: NDArray[np.float64], reach: int, noise: float) -> Floats:
    """The middle of a tile with margins: h x w x 3."""
    place = np.interp(sigma, levels, np.arange(len(levels))).astype(np.float32)
    inner = cut[reach:-reach, reach:-reach]
    if not place.any():
        return inner
    size = [fft.next_fast_len(n, real=True) for n in cut.shape[:2]]
    # Fade the margin into its mirror, or the jump from one side to the other would ring.
    padded = np.pad(cut, ((0, size[0] - cut.shape[0]), (0, size[1] - cut.shape[1]), (0, 0)), mode="edge")
    padded = _edges_faded(padded, reach // 2)
    spectra = fft.rfft2(padded, axes=(0, 1))
    v, u = fft.fftfreq(size[0])[:, None], fft.rfftfreq(size[1])[None, :]
    squared = (2 * np.pi) ** 2 * (u**2 + v**2)
    gradient = 4 * np.sin(np.pi * u) ** 2 + 4 * np.sin(np.pi * v) ** 2
    total, weights = np.zeros_like(inner), np.zeros(inner.shape[:2], np.float32)
    low = ndimage.minimum_filter(inner, (5, 5, 1))
    high = ndimage.maximum_filter(inner, (5, 5, 1))
    slack = OVERSHOOT * (high - low) + 2 * np.float32(noise)
    for level in range(int(np.floor(place.min())), int(np.ceil(place.max())) + 1):
        weight = np.maximum(1 - np.abs(place - level), 0)
        if not weight.any():
            continue
        if level == 0:
            sharp = inner
        else:
            transfer = np.exp(-0.5 * levels[level] ** 2 * squared)
            # Never below 1: what noise forbids to bring back stays as it is, it need not be smoothed away.
            wiener = np.maximum(transfer / (transfer**2 + (noise / DETAIL) ** 2 * gradient), 1.0)
            whole = fft.irfft2(spectra * wiener[..., None].astype(np.float32), size, axes=(0, 1))
            sharp = whole[reach : reach + inner.shape[0], reach : reach + inner.shape[1]]
            sharp = np.clip(sharp, low - slack, high + slack)
            sharp = _safe(sharp, inner, float(levels[level]), noise)
        total += weight[..., None] * sharp
        weights += weight
    return total / weights[..., None]


def _safe(sharp: Floats, blurred: Floats, sigma: float, noise: float) -> Floats:
    """Yield to the photograph where the result, blurred again, is not the photograph."""
    again = ndimage.gaussian_filter(sharp, (sigma, sigma, 0), mode="nearest")
    off = np.abs(again - blurred).mean(axis=2)
    off = ndimage.uniform_filter(off, 5, mode="nearest")
    allowed = 2 * noise + 0.01
    trust = np.clip(2 - off / allowed, 0, 1)[..., None]
    return np.asarray(blurred + trust * (sharp - blurred), np.float32)


def _edges_faded(padded: Floats, width: int) -> Floats:
    """Blend the outermost pixels of each side with those of the opposite side, so that the picture wraps."""
    for axis in (0, 1):
        n = padded.shape[axis]
        ramp = np.ones(n, np.float32)
        fade = np.linspace(0.5, 1, width, dtype=np.float32)
        ramp[:width], ramp[n - width :] = fade, fade[::-1]
        ramp = ramp.reshape([-1 if k == axis else 1 for k in range(3)])
        padded = ramp * padded + (1 - ramp) * np.flip(padded, axis)
    return padded
