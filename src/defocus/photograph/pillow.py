"""Formats that are read by Pillow: pictures of 8 bits, and those of its other modes."""

from __future__ import annotations

import importlib
import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import GifImagePlugin, Image, UnidentifiedImageError

from defocus.errors import PhotographError
from defocus.photograph.colour import Space
from defocus.photograph.decoded import Decoded, incomplete, several
from defocus.photograph.exif import exif_from_text
from defocus.photograph.photograph import checked_floats
from defocus.photograph.source import Source

__all__ = ["encoded_size", "from_pillow", "in_plain_mode", "metadata", "open_pillow", "read_pillow", "split_alpha"]

_PLAIN_MODES = {
    "1": "L",
    "La": "LA",
    "P": "RGBA",
    "PA": "RGBA",
    "RGBa": "RGBA",
    "RGBX": "RGB",
    "YCbCr": "RGB",
    "HSV": "RGB",
}
_BYTES = {"1": 1, "L": 1, "LA": 2, "P": 4, "RGB": 3, "RGBA": 4, "CMYK": 4, "I;16": 2, "I": 4, "F": 4}
_FORMATS = {
    "JPEG": "JpegImagePlugin",
    "WEBP": "WebPImagePlugin",
    "AVIF": "AvifImagePlugin",
    "GIF": "GifImagePlugin",
    "BMP": "BmpImagePlugin",
    "JPEG2000": "Jpeg2KImagePlugin",
    "PPM": "PpmImagePlugin",
    "TIFF": "TiffImagePlugin",
}
"""Pillow's modules of the formats, each imported when it is tried: all of Pillow's formats take 0.03 s to import."""

_FILTERS = threading.Lock()
"""Warnings are filtered for the whole process: two threads at once would leave each other's filters behind."""


@contextmanager
def open_pillow(file: BinaryIO, source: Source) -> Iterator[Image.Image]:
    """Open a picture with Pillow, of the formats that photographs come in.

    Pillow's own limit of size, which is one for the whole process, is neither asked nor changed.
    """
    with _open(file) as image:
        source.check_size(image.height, image.width, _BYTES.get(image.mode, 4))
        yield image


def encoded_size(data: bytes) -> tuple[int, int] | None:
    """Return the width and height in px that an encoded picture states, without decoding it; None where it does not.

    Parameters
    ----------
    data : contents of a file of any format that Pillow reads.
    """
    try:
        with _open(io.BytesIO(data)) as image:
            return image.size
    except Exception:  # damaged data make it raise anything
        return None


def _open(file: BinaryIO) -> Image.Image:
    with _FILTERS, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(?i).*exif.*")
        warnings.filterwarnings("ignore", message="(?i).*truncated file read.*")
        return _open_by_content(file)


def _open_by_content(file: BinaryIO) -> Image.Image:
    head = file.read(16)
    for name, module in _FORMATS.items():
        with suppress(ImportError):  # AVIF came with Pillow 11.3
            importlib.import_module(f"PIL.{module}")
        if name not in Image.OPEN:
            continue
        factory, accept = Image.OPEN[name]
        accepted = accept is None or accept(head)
        if not accepted or isinstance(accepted, str):  # a text says which codec is missing
            continue
        file.seek(0)
        try:
            return factory(file, "")
        except SyntaxError:  # not this one after all
            continue
    raise UnidentifiedImageError("it is none of the formats that photographs come in")


def read_pillow(source: Source) -> Decoded:
    """Read a picture of any format that Pillow knows."""
    source.file.seek(0)
    with open_pillow(source.file, source) as image:
        return from_pillow(image, source)


def split_alpha(pixels: NDArray[Any], profile: bytes | None, exif: bytes | None, xmp: bytes | None) -> Decoded:
    """Tell colours from alpha by the number of channels.

    Parameters
    ----------
    pixels : H x W x 1 (grey), 2 (grey and alpha), 3 (RGB) or 4 (RGB and alpha).
    profile, exif, xmp : of the file.
    """
    space: Space = "gray" if pixels.shape[2] <= 2 else "rgb"
    colours = 1 if space == "gray" else 3
    alpha = pixels[..., colours] if pixels.shape[2] > colours else None
    return Decoded(pixels[..., :colours], space, profile, exif, xmp, alpha)


def from_pillow(image: Image.Image, source: Source, pixels: NDArray[Any] | None = None) -> Decoded:
    """Return the pixels and metadata of a Pillow image.

    Parameters
    ----------
    image : opened.
    source : for messages.
    pixels : H x W x 1 (grey) or 3 (RGB), where they have been decoded already; otherwise Pillow decodes them.
    """
    # A phone's MPO is the photograph followed by previews or gain maps, not by more photographs.
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        several(source)
        image.seek(0)
    missing = _outside_frame(image)
    if pixels is None:
        image.load()
    exif, xmp = metadata(image)
    profile = image.info.get("icc_profile")
    if pixels is not None:
        return split_alpha(pixels, profile, exif, xmp)
    if image.mode == "F":
        return Decoded(checked_floats(np.asarray(image), source.name)[..., None], "gray", profile, exif, xmp)
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):  # of a PGM with 16 bits
        return Decoded(np.asarray(image).astype(np.uint16)[..., None], "gray", profile, exif, xmp)
    if image.mode == "I":
        raise PhotographError(f"{source.name} has 32-bit integer pixels: save it with 8 or 16 bits.")
    transparent = image.mode == "P" and "transparency" in image.info
    plain = in_plain_mode(image)
    if image.mode == "LAB":
        profile = None  # of L*a*b*, which is sRGB now
    pixels = np.asarray(plain)
    if plain.mode == "CMYK":
        return Decoded(pixels, "cmyk", profile, exif, xmp)
    decoded = split_alpha(pixels.reshape(*pixels.shape[:2], -1), profile, exif, xmp)
    if missing is not None:
        incomplete(source, f"does not fill its frame: {missing.mean():.0%} of its pixels are missing")
        decoded = replace(decoded, missing=missing)
    if image.mode == "P" and not transparent:
        return replace(decoded, alpha=None)
    return decoded


def _outside_frame(image: Image.Image) -> NDArray[np.bool_] | None:
    """Where a GIF's first frame, which may be smaller than its canvas, has no pixels; None where it has all."""
    if not isinstance(image, GifImagePlugin.GifImageFile) or not image.tile:
        return None
    left, top, right, bottom = image.tile[0][1] or (0, 0, *image.size)
    missing = np.ones((image.height, image.width), bool)
    missing[max(top, 0) : bottom, max(left, 0) : right] = False
    return missing if missing.any() else None


def metadata(image: Image.Image) -> tuple[bytes | None, bytes | None]:
    """Return EXIF and XMP of an opened Pillow image as the file holds them."""
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    if isinstance(xmp, str):
        xmp = xmp.encode("utf-8", "replace")
    exif = image.info.get("exif")
    if exif is None and "Raw profile type exif" in image.info:
        with suppress(ValueError):
            exif = exif_from_text(str(image.info["Raw profile type exif"]))
    return (exif if isinstance(exif, bytes) else None), (xmp if isinstance(xmp, bytes) else None)


def in_plain_mode(image: Image.Image) -> Image.Image:
    """Return the image as L, LA, RGB, RGBA or CMYK."""
    if image.mode in _PLAIN_MODES:
        return image.convert(_PLAIN_MODES[image.mode])
    if image.mode != "LAB":
        return image
    from PIL import ImageCms  # LAB reaches RGB through a profile only

    converted = ImageCms.profileToProfile(
        image, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    if converted is None:
        raise ValueError("its L*a*b* pixels cannot be read")
    return converted
