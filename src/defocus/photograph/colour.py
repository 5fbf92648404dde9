"""Conversion of colours from the file's own colour space to display-referred sRGB."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from defocus.errors import PhotographWarning

__all__ = ["CHANNELS", "Space", "srgb_conversion"]

Space: TypeAlias = Literal["gray", "rgb", "cmyk"]
"""Colour model of the stored pixels."""
CHANNELS: dict[Space, int] = {"gray": 1, "rgb": 3, "cmyk": 4}
"""Number of channels of each colour model."""


def srgb_conversion(
    dtype: np.dtype[Any], space: Space, profile: bytes | None, name: str
) -> Callable[[NDArray[Any]], NDArray[Any]] | None:
    """Return the conversion to sRGB of pixels, each by itself; None where they are sRGB.

    By LittleCMS, relative colorimetric with black point compensation, at the depth of the pixels. Without a profile
    CMYK is converted by (1 - ink)(1 - black), and the rest is taken for sRGB.

    Parameters
    ----------
    dtype : type of the pixels, uint8, uint16 or float32.
    space : what their channels are.
    profile : ICC profile, or None.
    name : name of the file, for the warning.

    Returns
    -------
    Function of H x W x 1, 3 or 4 pixels that returns H x W x 3, or None.

    Warns
    -----
    PhotographWarning
        If the profile cannot be used.

    Examples
    --------
    >>> srgb_conversion(np.dtype(np.uint8), "rgb", None, "photo.tif") is None
    True
    >>> convert = srgb_conversion(np.dtype(np.uint8), "cmyk", None, "print.tif")
    >>> convert(np.array([[[255, 0, 0, 0]]], np.uint8)).tolist()  # cyan ink
    [[[0, 255, 255]]]
    """
    if profile:
        try:
            if space == "rgb" and _is_srgb(profile):
                return None
            _lcms(np.zeros((1, 1, CHANNELS[space]), dtype), space, profile)  # fails here rather than later
        except imagecodecs.CmsError:
            warnings.warn(
                f"{name} has a damaged or unfitting colour profile, which was ignored.", PhotographWarning, stacklevel=3
            )
        else:
            return lambda pixels: _lcms(pixels, space, profile)
    return _without_ink if space == "cmyk" else None


def _without_ink(pixels: NDArray[Any]) -> NDArray[Any]:
    white = np.iinfo(pixels.dtype).max
    paper = (white - pixels).astype(np.uint32)
    return ((paper[..., :3] * paper[..., 3:] + white // 2) // white).astype(pixels.dtype)


def _is_srgb(profile: bytes) -> bool:
    """Return whether an ICC profile changes no colour."""
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    probe = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 27, 3)
    change = np.abs(_lcms(probe, "rgb", profile).astype(int) - probe)
    return bool(change.max() <= 1)


def _lcms(pixels: NDArray[Any], space: Space, profile: bytes) -> NDArray[Any]:
    dtype = pixels.dtype
    flags: int = imagecodecs.CMS.FLAGS.BLACKPOINTCOMPENSATION
    if dtype != np.uint8 or space == "gray":
        # LittleCMS's tables are off by up to 15/255 for 16 bits (at the gamut's boundary), 10/255 for linear grey.
        flags |= imagecodecs.CMS.FLAGS.NOOPTIMIZE
    if space == "gray":
        pixels = pixels[..., 0]
    converted: NDArray[Any] = imagecodecs.cms_transform(
        np.ascontiguousarray(pixels),
        profile,
        imagecodecs.cms_profile("srgb"),
        colorspace=space,
        outcolorspace="rgb",
        intent=imagecodecs.CMS.INTENT.RELATIVE_COLORIMETRIC,
        flags=flags,
    )
    if dtype.kind == "f":  # floats are not bounded by LittleCMS
        np.clip(converted, 0, 1, out=converted)
    return converted
