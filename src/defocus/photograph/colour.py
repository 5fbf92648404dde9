"""Conversion of colours from the file's own colour space to display-referred sRGB."""

from __future__ import annotations

import warnings
from typing import Any, Literal, TypeAlias

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from defocus.errors import PhotographWarning

__all__ = ["CHANNELS", "Space", "to_srgb"]

Space: TypeAlias = Literal["gray", "rgb", "cmyk"]
"""Colour model of the stored pixels."""
CHANNELS: dict[Space, int] = {"gray": 1, "rgb": 3, "cmyk": 4}
"""Number of channels of each colour model."""


def to_srgb(pixels: NDArray[Any], space: Space, profile: bytes | None, name: str) -> NDArray[Any]:
    """Convert to sRGB; H x W x 3, or H x W x 1 for grey that needs no conversion.

    By LittleCMS, relative colorimetric with black point compensation, at the depth of the pixels. Without a profile
    CMYK is converted by (1 - ink)(1 - black), and the rest is taken for sRGB.

    Parameters
    ----------
    pixels : H x W x 1, 3 or 4, as `space` says; uint8, uint16 or float32 0..1.
    space : what the channels are.
    profile : ICC profile, or None.
    name : name of the file, for the warning.

    Warns
    -----
    PhotographWarning
        If the profile cannot be used.

    Examples
    --------
    >>> to_srgb(np.array([[[255, 0, 0, 0]]], np.uint8), "cmyk", None, "print.tif").tolist()  # cyan ink
    [[[0, 255, 255]]]
    """
    if profile:
        try:
            return _apply_profile(pixels, space, profile)
        except imagecodecs.CmsError:
            warnings.warn(
                f"{name} has a damaged or unfitting colour profile, which was ignored.", PhotographWarning, stacklevel=2
            )
    if space == "cmyk":
        white = np.iinfo(pixels.dtype).max
        paper = (white - pixels).astype(np.uint32)
        return ((paper[..., :3] * paper[..., 3:] + white // 2) // white).astype(pixels.dtype)
    return pixels


def _apply_profile(pixels: NDArray[Any], space: Space, profile: bytes) -> NDArray[Any]:
    """Convert from an ICC profile to sRGB; the pixels stay as they are where the profile is sRGB itself."""
    if space == "rgb":
        steps = np.linspace(0, 255, 9).round().astype(np.uint8)
        probe = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 27, 3)
        change = np.abs(_lcms(probe, space, profile).astype(int) - probe)
        if change.max() <= 1:
            return pixels
    return _lcms(pixels, space, profile)


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
