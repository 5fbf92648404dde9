"""Shallower depth of field, as a larger aperture would have given, and a focal plane moved elsewhere.

Bae & Durand, *Defocus magnification*, Eurographics 2007, had the idea: a blur of sigma becomes one of amount x sigma.
As blurs add in squares, sqrt(amount^2 - 1) sigma is added, in linear light and by layers (`layered_blur`). What is in
focus is not perfectly sharp either (pixels, lens, the lower end of a method's range): only what exceeds that grows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from defocus.applications.grain import measure_grain
from defocus.applications.guide import edit_strength, map_or_estimate_in_px, sigma_beyond_focus
from defocus.errors import ParameterError
from defocus.optics.layered_blur import Aperture, blur_by_layers
from defocus.optics.light import linear_to_srgb, srgb_to_linear
from defocus.photograph import PhotographLike, as_photograph
from defocus.progress import Progress

if TYPE_CHECKING:
    from defocus.maps.defocus_map import DefocusMap

UNSURE, SURE = 0.15, 0.35
"""Confidence at which no blur is added, and at which all of it is. Blur hardly shows a sigma that is slightly wrong."""
HIGHLIGHT = 0.98
"""sRGB value that all channels of a highlight exceed where it is clipped."""
LAMP_CONFIDENCE = 0.5
"""Confidence from which on a place is surely out of focus."""
WIDEST_LAMP = 1 / 30
"""Largest lamp as a fraction of the longer side: wider and higher highlights are surfaces, and stay as they are."""
FAINT, CLEAR = 0.15, 0.3
"""Contrast with its surroundings (sRGB, 0..1) at which a highlight is no lamp, and at which it fully is one."""
IN_FOCUS = 0.3
"""Blur in px beyond that of the sharpest parts, below which a pixel is in focus."""
HIGHLIGHT_GAIN = 2.0
"""Light added to a fully clipped highlight, as a multiple of its value."""


Side = Literal["both", "behind", "front"]
SIDES: tuple[Side, ...] = ("both", "behind", "front")


def magnify(
    photo: PhotographLike,
    defocus_map: DefocusMap | None = None,
    *,
    amount: float = 2.0,
    aperture: Aperture = "disc",
    focus: tuple[int, int] | None = None,
    side: Side = "both",
    highlights: bool = False,
    progress: Progress | None = None,
) -> NDArray[Any]:
    """Return the photograph with more defocus.

    Parameters
    ----------
    photo : path, array, PIL image or `Photograph`.
    defocus_map : its map, in px; estimated by the default method if None.
    amount : at least 1; every sigma becomes this many times itself. 1 without `focus` returns the input bit for bit.
    aperture : shape that points out of focus take: "disc", "hexagon" or "gaussian".
    focus : (x, y) of the pixel to be in focus, from the left and the top. Blur is redistributed: sigma becomes
        amount times the difference from sigma there. What has to become sharper than it is is deconvolved (`sharpen`).
    side : blur only what lies "behind" the plane of focus, or "front" of it, or "both". A photograph does not say which
        is which: what lies lower in the frame than the lowest thing in focus of its column is taken to be in front.
    highlights : brighten lamps that are clipped in all channels and surely out of focus before blurring, so that they
        become bright discs, as with a lens.
    progress : called with the name of the step and the fraction of the work done, 0..1.

    Returns
    -------
    H x W x 3, of the photograph's own type.

    Raises
    ------
    ParameterError
        If the amount is below 1, the pixel lies outside, the map is a score without unit or of another size.

    Notes
    -----
    More blur is taken to be farther away: what is blurred in front of the subject is treated as if behind it. Where the
    map is not confident of its sigma, less is added, and nothing where it does not know (`edit_strength`). The grain of
    the photograph is put back where blur has removed it.

    Examples
    --------
    >>> import defocus
    >>> photo = np.random.default_rng(1).integers(0, 256, (60, 90, 3), np.uint8)
    >>> edited = defocus.magnify(photo, amount=3)
    >>> edited.shape, edited.dtype
    ((60, 90, 3), dtype('uint8'))
    """
    report = progress if progress is not None else lambda step, fraction: None
    if not 1 <= amount < np.inf:
        raise ParameterError(f"amount must be 1 or more, not {amount}: magnify adds blur, sharpen takes it away.")
    photograph = as_photograph(photo)
    defocus_map = map_or_estimate_in_px(photograph, defocus_map, lambda step, fraction: report(step, 0.4 * fraction))
    sigma = sigma_beyond_focus(defocus_map)
    pixels = original = np.asarray(photograph.pixels)
    if side not in SIDES:
        raise ParameterError(f"side must be one of {', '.join(SIDES)}, not {side!r}.")
    if focus is None:
        if amount == 1:
            return np.array(pixels)
        added = np.float32(np.sqrt(amount**2 - 1)) * sigma
    else:
        from defocus.applications.sharpen import sharpen

        x, y = focus
        if not (0 <= x < photograph.width and 0 <= y < photograph.height):
            raise ParameterError(
                f"focus {x},{y} lies outside the photograph of {photograph.width} x {photograph.height}."
            )
        there = float(np.median(sigma[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]))
        wanted = np.float32(amount) * np.abs(sigma - np.float32(there))
        pixels = sharpen(photograph, defocus_map)
        # Where enough blur is there already it stays, and only the rest is added.
        keeps = wanted >= sigma * 0.8
        pixels = np.where(keeps[..., None], original, pixels)
        added = np.where(keeps, np.sqrt(np.maximum(wanted**2 - sigma**2, 0)), wanted).astype(np.float32)

    added *= edit_strength(photograph, defocus_map, UNSURE, SURE)
    if side != "both":
        before = in_front(sigma, defocus_map)
        added *= before if side == "front" else 1 - before
    full = np.float32(1 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max)
    grain = measure_grain(original, float(full))
    result = np.empty_like(pixels)
    widest_lamp = max(5, round(WIDEST_LAMP * max(pixels.shape[:2])) | 1)

    def light(window: tuple[slice, slice]) -> NDArray[np.float32]:
        shown = pixels[window].astype(np.float32) / full
        linear = srgb_to_linear(shown, by_table=True)
        if highlights:
            # Coloured lamps that are clipped in one channel, and shining skin, are not white.
            brightest = shown.min(axis=2)
            clipped = np.clip((brightest - HIGHLIGHT) / (1 - HIGHLIGHT), 0, 1) ** 2
            clipped *= defocus_map.confidence[window] >= LAMP_CONFIDENCE
            # A lamp, not a sky or a shining floor: what an opening takes away is small.
            lamp = clipped - ndimage.grey_opening(clipped, (widest_lamp, widest_lamp), mode="nearest")
            around = ndimage.uniform_filter(brightest, 3 * widest_lamp, mode="nearest")
            lamp *= np.clip((brightest - around - FAINT) / (CLEAR - FAINT), 0, 1)
            linear *= 1 + (HIGHLIGHT_GAIN * lamp * np.clip(added[window], 0, 1))[..., None]
        return linear

    def write(window: tuple[slice, slice], linear: NDArray[np.float32]) -> None:
        shown = linear_to_srgb(linear, by_table=True)
        if grain is not None:
            shown = np.clip(shown + grain.over(shown, window, added[window]), 0, 1)
        shown *= full
        if pixels.dtype.kind != "f":
            shown = np.rint(shown)
        untouched = (added[window] < 0.1)[..., None]
        result[window] = np.where(untouched, pixels[window], shown.astype(pixels.dtype))

    blur_by_layers(light, added, aperture, write, lambda fraction: report("blurring", 0.4 + 0.6 * fraction))
    return result


def in_front(sigma: NDArray[np.float32], defocus_map: DefocusMap) -> NDArray[np.float32]:
    """What is taken to lie in front of the plane of focus: H x W float32, 0..1.

    In each column that is what is lower in the frame than the lowest pixel in focus; columns without one go by their
    neighbours. The ground runs from the camera into the picture, so what is lower is mostly nearer.

    Parameters
    ----------
    sigma : H x W, px, 0 in focus.
    defocus_map : the map.
    """
    height, width = sigma.shape
    focused = (sigma < IN_FOCUS) & (defocus_map.confidence >= SURE)
    has = focused.any(axis=0)
    if not has.any():
        return np.zeros((height, width), np.float32)
    lowest = np.where(has, height - 1 - focused[::-1].argmax(axis=0), 0)
    columns = np.arange(width)
    line = np.interp(columns, columns[has], lowest[has])
    line = ndimage.percentile_filter(line, 80, size=max(3, width // 20 | 1), mode="nearest")
    line = ndimage.gaussian_filter1d(line, max(width / 40, 1), mode="nearest")
    soft = max(height / 50, 2)
    return np.clip((np.arange(height)[:, None] - line) / soft, 0, 1).astype(np.float32)
