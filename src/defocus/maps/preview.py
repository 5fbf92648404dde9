"""Pictures of a map: in colours with a scale, or blended with the photograph."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from defocus.errors import ParameterError
from defocus.maps.accuracy import CONFIDENT
from defocus.maps.colours import viridis
from defocus.photograph import Photograph

__all__ = ["is_logarithmic", "limits_of_photograph", "overlay", "preview"]

_LUMA = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)  # ITU-R BT.709
_BACKGROUND, _INK = (255, 255, 255), (40, 40, 40)
_NARROWEST_BAR = 200  # px; fits a few ticks
_STRIP = 16  # rows coloured at once, which fit in the cache
_FADES = 64
"""Number of steps in which colours fade to grey. Neighbours differ by 3 of 255 at most; fewer would show as bands."""
_WIDE = 6.0
"""Least ratio of the limits that get a logarithmic scale: 0.5 and 2 px differ as visibly as 4 and 16 do, and on a
linear scale up to 32 px both would have one colour."""
_LEAST_RATIO = 3.0
_SAMPLES = 1_000_000  # about how many pixels the limits are computed from
_WIDEST = 1e4
"""Largest ratio of the limits of a logarithmic scale: beyond it the lower limit is practically 0."""


def preview(
    sigma: NDArray[np.floating],
    *,
    sigma_limits: tuple[float, float] | None = None,
    confidence: NDArray[np.floating] | NDArray[np.uint8] | None = None,
    scale_bar: bool = False,
    unit: str = "px",
) -> NDArray[np.uint8]:
    """Return a map as a picture in the colours of viridis: dark blue is sharp, yellow is blurred.

    The colour scale is linear in sigma; it is logarithmic where the limits are a factor of 6 to 10,000 apart.

    Parameters
    ----------
    sigma : H x W, in `unit`, finite.
    sigma_limits : sigmas of the first and the last colour; the smallest and largest in `sigma` if None.
    confidence : H x W, floats in 0..1 or uint8 in 0..255; where it is below 0.5 colours fade to grey, entirely at 0.
        Lightness stays, so sigma can still be read there.
    scale_bar : draw a scale with ticks underneath. The picture above it keeps its size; a photograph narrower
        than 200 px gets a white margin on the right.
    unit : unit of sigma, written beneath the ticks.

    Returns
    -------
    uint8 H x W x 3, sRGB; with `scale_bar` higher, and at least 200 px wide.

    Raises
    ------
    ParameterError
        If the limits are not two finite numbers, lowest first.

    Examples
    --------
    >>> preview(np.array([[0.0, 4.0]]))[0].tolist()  # dark blue, yellow
    [[68, 1, 84], [253, 231, 37]]
    """
    low, high = _limits(sigma, sigma_limits)
    bar = _scale_bar(sigma.shape[1], low, high, unit, fades=confidence is not None) if scale_bar else None
    picture, place = _canvas(sigma.shape[0], sigma.shape[1], bar)
    for top in range(0, len(sigma), _STRIP):
        rows = slice(top, top + _STRIP)
        _colour(sigma[rows], low, high, None if confidence is None else confidence[rows], out=place[rows])
    return picture


def overlay(
    photograph: Photograph,
    sigma: NDArray[np.floating],
    *,
    sigma_limits: tuple[float, float] | None = None,
    scale_bar: bool = False,
    unit: str = "px",
) -> NDArray[np.uint8]:
    """Return the photograph in grey, tinted with the colours of its map.

    Parameters
    ----------
    photograph : H x W px.
    sigma : H x W, in `unit`, finite.
    sigma_limits, scale_bar, unit : as in `preview`.

    Returns
    -------
    uint8 H x W x 3, sRGB; with `scale_bar` as in `preview`.

    Raises
    ------
    ParameterError
        If the sizes differ or the limits are not two finite numbers, lowest first.

    Examples
    --------
    >>> from defocus.photograph import photograph_from_array
    >>> photograph = photograph_from_array(np.ones((4, 6, 3)))
    >>> overlay(photograph, np.ones((4, 6)), sigma_limits=(0, 5)).shape
    (4, 6, 3)
    """
    if sigma.shape != (photograph.height, photograph.width):
        raise ParameterError(
            f"The map is {sigma.shape[1]} x {sigma.shape[0]} and the photograph {photograph.width} x "
            f"{photograph.height} pixels: use the map of this photograph."
        )
    low, high = _limits(sigma, sigma_limits)
    bar = _scale_bar(photograph.width, low, high, unit) if scale_bar else None
    picture, place = _canvas(photograph.height, photograph.width, bar)
    white = 1.0 if photograph.pixels.dtype.kind == "f" else np.iinfo(photograph.pixels.dtype).max
    # Half colour, half the photograph's lightness: shapes stay readable where the map is of one colour.
    weights = _LUMA * np.float32(0.5 * 255 / white)
    for top in range(0, len(sigma), _STRIP):
        rows = slice(top, top + _STRIP)
        pixels = photograph.pixels[rows, :]
        grey = sum(pixels[..., channel] * weight for channel, weight in enumerate(weights))
        _colour(sigma[rows], low, high, None, out=place[rows])
        blend = place[rows] * np.float32(0.5) + np.asarray(grey, np.float32)[..., None]
        place[rows] = np.rint(blend, out=blend)  # two halves of at most 127.5
    return picture


def limits_of_photograph(sigma: NDArray[np.floating], sigma_range: tuple[float, float]) -> tuple[float, float]:
    """Return readable limits of a scale for one map, so that a photograph of little blur is not all one colour.

    They are the 1st and the 99th percentile, rounded outward to one digit or a half (0.8, 1.5, 3), within the method's
    range. A map of one sigma gets a scale around it: limits are at least a factor of 3 apart, or, where the range
    begins at 0, a fifth of the range, so that noise does not look like a difference.

    Parameters
    ----------
    sigma : H x W, finite.
    sigma_range : lowest and highest sigma that the method can return.

    Returns
    -------
    Lower and upper limit, in the unit of sigma.

    Examples
    --------
    >>> limits_of_photograph(np.linspace(0.62, 2.1, 100).reshape(10, 10), (0.3, 32.0))
    (0.6, 3.0)
    """
    least, most = sigma_range
    every = max(1, math.isqrt(sigma.size // _SAMPLES))
    low, high = (float(value) for value in np.percentile(sigma[::every, ::every], [1, 99]))
    low, high = (min(max(value, least), most) for value in (low, high))
    if least > 0:
        if high < _LEAST_RATIO * low:
            middle = math.sqrt(low * high)
            low, high = middle / math.sqrt(_LEAST_RATIO), middle * math.sqrt(_LEAST_RATIO)
        low, high = _readable(low, up=False), _readable(high, up=True)
    else:
        tenth = (most - least) / 10
        first, last = math.floor((low - least) / tenth + 1e-6), math.ceil((high - least) / tenth - 1e-6)
        if last - first < 2:
            first = min(max(first - 1, 0), 8)
            last = first + 2
        low, high = least + first * tenth, least + last * tenth
    # Without the last digits of floating-point products, 0.30000000000000004 px.
    low, high = max(round(low, 9), least), min(round(high, 9), most)
    return (low, high) if low < high else sigma_range


def _readable(value: float, *, up: bool) -> float:
    """Return the nearest of 1, 1.5, 2, 3, 4, 5, 6, 8 times a power of ten at or above (without `up` below) a value."""
    power = 10.0 ** math.floor(math.log10(value))
    steps = [1, 1.5, 2, 3, 4, 5, 6, 8, 10]
    if up:
        return next((step * power for step in steps if step * power >= value * (1 - 1e-6)), 10 * power)
    return next(step * power for step in reversed(steps) if step * power <= value * (1 + 1e-6))


def _limits(sigma: NDArray[np.floating], wanted: tuple[float, float] | None) -> tuple[float, float]:
    if wanted is None:
        low, high = float(sigma.min()), float(sigma.max())
        # A constant map gets a scale around its value.
        return (low, high) if high - low > 1e-6 * max(high, 1) else (max(low - 0.5, 0.0), high + 0.5)
    low, high = float(wanted[0]), float(wanted[1])
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ParameterError(f"sigma_limits must be two finite numbers, lowest first, not {wanted}.")
    return low, high


def _colour(
    sigma: NDArray[np.floating],
    low: float,
    high: float,
    confidence: NDArray[np.floating] | NDArray[np.uint8] | None,
    out: NDArray[np.uint8],
) -> None:
    """Write the colours of a few rows of a map into `out`, H x W x 3; without a confidence none fades."""
    scaled = _place(sigma.astype(np.float32), low, high)
    scaled *= np.float32(255)
    places = np.clip(np.rint(scaled, out=scaled), 0, 255).astype(np.uint16)
    if confidence is None:
        places += np.uint16(256 * _FADES)
    else:
        full = 255 if confidence.dtype == np.uint8 else 1
        kept = confidence.astype(np.float32) * np.float32(_FADES / (CONFIDENT * full))
        places += np.uint16(256) * np.clip(np.rint(kept, out=kept), 0, _FADES).astype(np.uint16)
    np.take(_faded_colours(), places, axis=0, out=out, mode="clip")  # other modes buffer


@cache
def _faded_colours() -> NDArray[np.uint8]:
    """Return the colours of viridis, 256 a step, from entirely faded to not at all; lightness stays."""
    colours = viridis().astype(np.float32)
    grey = (colours @ _LUMA)[:, None]
    kept = np.linspace(0, 1, _FADES + 1, dtype=np.float32)[:, None, None]
    return np.rint(grey + kept * (colours - grey)).astype(np.uint8).reshape(-1, 3)


def is_logarithmic(low: float, high: float) -> bool:
    """Tell whether a scale between two limits is logarithmic: where they are a factor of 6 to 10,000 apart.

    Examples
    --------
    >>> is_logarithmic(0.3, 8), is_logarithmic(1, 3)
    (True, False)
    """
    return low > 0 and _WIDE * low <= high <= _WIDEST * low


def _place(sigma: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    """Return the position of each sigma on the scale: 0 at the lower limit, 1 at the upper."""
    if is_logarithmic(low, high):
        place = np.maximum(sigma, np.float32(low))
        np.log(place, out=place)
        place -= np.float32(math.log(low))
        place *= np.float32(1 / math.log(high / low))
        return place
    return (sigma - np.float32(low)) / np.float32(high - low)


def _canvas(height: int, width: int, bar: NDArray[np.uint8] | None) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return a picture with the bar at its bottom, if there is one, and the part of it above, which is to be filled."""
    if bar is None:
        picture = np.empty((height, width, 3), np.uint8)
        return picture, picture
    picture = np.empty((height + bar.shape[0], bar.shape[1], 3), np.uint8)
    picture[:height, width:] = _BACKGROUND
    picture[height:] = bar
    return picture, picture[:height, :width]


def _scale_bar(width: int, low: float, high: float, unit: str, *, fades: bool = False) -> NDArray[np.uint8]:
    """Return a strip of colours with ticks, `width` wide but at least `_NARROWEST_BAR`."""
    width = max(width, _NARROWEST_BAR)
    text_px = min(max(round(width / 45), 12), 60)
    font = ImageFont.load_default(text_px)
    margin, gap = round(1.5 * text_px), max(text_px // 3, 3)
    line = max(text_px // 12, 1)
    bar_top, bar_height = text_px, round(1.2 * text_px)
    caption_top = bar_top + bar_height + gap + text_px + gap + gap
    height = caption_top + 2 * text_px
    strip = Image.new("RGB", (width, height), _BACKGROUND)
    draw = ImageDraw.Draw(strip)

    length = min(width - 2 * margin, 40 * text_px)  # a long bar says no more than a short one
    along = np.geomspace(low, high, length) if is_logarithmic(low, high) else np.linspace(low, high, length)
    ramp = np.empty((bar_height, length, 3), np.uint8)
    _colour(np.broadcast_to(along, (bar_height, length)), low, high, None, out=ramp)
    strip.paste(Image.fromarray(ramp), (margin, bar_top))
    for tick, text in _ticks(low, high, most=max(length // (4 * text_px), 2)):
        x = margin + round(float(_place(np.array([tick], np.float32), low, high)[0]) * (length - 1))
        bottom = bar_top + bar_height
        draw.rectangle((x - line // 2, bottom, x - line // 2 + line - 1, bottom + gap - 1), fill=_INK)
        draw.text((x, bottom + 2 * gap), text, fill=_INK, font=font, anchor="mt")
    captions = [f"blur (sigma) in {unit}, dark = sharp", f"blur (sigma), {unit}", f"blur, {unit}"]
    if fades:
        # Where space is short, the meaning of grey goes first: the meaning of dark can be read off the scale.
        captions = [f"{captions[0]}, grey = uncertain", f"{captions[1]}, grey = uncertain", "grey = uncertain"]
    fitting = next((text for text in captions if draw.textlength(text, font=font) <= width - margin), captions[-1])
    draw.text((margin, caption_top), fitting, fill=_INK, font=font, anchor="lt")
    return np.asarray(strip)


def _ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """Return round numbers between two limits, at most about `most`, and how they are written."""
    if is_logarithmic(low, high):
        powers = 2.0 ** np.arange(math.ceil(math.log2(low) - 1e-6), math.floor(math.log2(high) + 1e-6) + 1)
        # The limits themselves always get a tick; powers of 2 do where they leave room for the limits.
        room = (high / low) ** (1 / max(most, 2))
        inner = [float(tick) for tick in powers if low * room <= tick <= high / room]
        every = max(1, -(-len(inner) // max(most - 2, 1)))
        return [(tick, f"{tick:.3g}") for tick in (low, *inner[::-1][::every][::-1], high)]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    steps = [factor * power for factor in (1, 2, 2.5, 5, 10, 20, 25) if factor * power >= rough * (1 - 1e-9)]
    step = next((step for step in steps if _divides(step, low) and _divides(step, high)), steps[0])
    first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
    decimals = next(digits for digits in range(12) if digits == 11 or round(step, digits) == round(step, 11))
    return [(number * step, f"{number * step:.{decimals}f}") for number in range(first, last + 1)]


def _divides(step: float, value: float) -> bool:
    return abs(value / step - round(value / step)) < 1e-6
