"""Formats that Pillow reads well: pictures of 8 bits, and what else its modes hold."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from defocus.errors import PhotographError
from defocus.photograph.colour import Space
from defocus.photograph.decoded import Decoded, incomplete, several, warn
from defocus.photograph.photograph import checked_floats
from defocus.photograph.source import Source

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
_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "JPEG2000", "PPM", "TIFF")


@contextmanager
def open_pillow(file: BinaryIO, source: Source) -> Iterator[Image.Image]:
    """Open a picture with Pillow, of the formats that photographs come in.

    Pillow's own limit of size, which is one for the whole process, is neither asked nor changed.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(?i).*exif.*")
        warnings.filterwarnings("ignore", message="(?i).*truncated file read.*")
        image = _open(file)
    with image:
        source.check_size(image.height, image.width, _BYTES.get(image.mode, 4))
        yield image


def _open(file: BinaryIO) -> Image.Image:
    Image.init()
    head = file.read(16)
    for name in _FORMATS:
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


def read_png(source: Source) -> Decoded:
    """Read a PNG; one of 16 bits keeps them, and one that is cut short keeps the rows that are there."""
    if source.head()[24:25] == b"\x10":  # bit depth of the header chunk
        return _read_deep_png(source)
    try:
        return read_pillow(source)
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, PhotographError):
            raise
        return _read_cut_png(source, error)


def _read_deep_png(source: Source) -> Decoded:
    """16-bit PNG; Pillow would make 8 bits of its colours."""
    import imagecodecs

    source.file.seek(0)
    with open_pillow(source.file, source) as image:
        source.check_size(image.height, image.width, 8)
        profile, (exif, xmp) = image.info.get("icc_profile"), metadata(image, source)
    pixels = imagecodecs.png_decode(_pixels_alone(source.read()))
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    return _split(pixels, profile, exif, xmp)


def _pixels_alone(png: bytes) -> bytes:
    """A PNG without what is not needed for its pixels: libpng has things to say about damaged metadata."""
    kept, place = [png[:8]], 8
    while place + 12 <= len(png):
        length, kind = struct.unpack_from(">I4s", png, place)
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            kept.append(png[place : place + 12 + length])
        place += 12 + length
    return b"".join(kept)


def _split(pixels: NDArray[Any], profile: bytes | None, exif: bytes | None, xmp: bytes | None) -> Decoded:
    """Tell colours from alpha by the number of channels: grey, grey and alpha, RGB, RGB and alpha."""
    space: Space = "gray" if pixels.shape[2] <= 2 else "rgb"
    colours = 1 if space == "gray" else 3
    alpha = pixels[..., colours] if pixels.shape[2] > colours else None
    return Decoded(pixels[..., :colours], space, profile, exif, xmp, alpha)


def _read_cut_png(source: Source, error: Exception) -> Decoded:
    """The rows of a PNG that are there, by Pillow's decoder for streams."""
    parser = ImageFile.Parser()
    try:
        parser.feed(source.read())
    except Exception:  # the decoder stops at what is damaged; what it has decoded so far stays
        if parser.image is None:
            raise error from None
    image = parser.image
    if image is None or image.format != "PNG" or getattr(image, "im", None) is None:
        raise error
    source.check_size(image.height, image.width, 4)
    decoded = from_pillow(image, source, loaded=True)
    # Rows that were not decoded are 0 in every channel.
    there = np.flatnonzero(decoded.pixels.reshape(len(decoded.pixels), -1).any(axis=1))
    first = int(there[-1]) + 1 if len(there) else 0
    if first == 0 or image.info.get("interlace"):
        raise error
    missing = np.zeros(decoded.pixels.shape[:2], bool)
    missing[first - 1 :] = True  # the last row may be half there
    incomplete(source, f"is cut short or damaged: {missing.mean():.0%} of its pixels are missing")
    return replace(decoded, missing=missing)


def from_pillow(image: Image.Image, source: Source, *, loaded: bool = False) -> Decoded:
    """Take pixels and what belongs to them out of a Pillow image.

    Parameters
    ----------
    image : opened.
    source : for messages.
    loaded : its pixels are decoded already.
    """
    # A phone's MPO is the photograph followed by previews or gain maps, not by more photographs.
    if not loaded and getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        several(source)
        image.seek(0)
    if not loaded:
        image.load()
    exif, xmp = metadata(image, source)
    profile = image.info.get("icc_profile")
    if image.mode == "F":
        return Decoded(checked_floats(np.asarray(image), source.name)[..., None], "gray", profile, exif, xmp)
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):  # of a PGM with 16 bits
        return Decoded(np.asarray(image).astype(np.uint16)[..., None], "gray", profile, exif, xmp)
    if image.mode == "I":
        raise PhotographError(f"{source.name} has 32-bit integer pixels: save it with 8 or 16 bits.")
    transparent = image.mode == "P" and "transparency" in image.info
    plain = _in_plain_mode(image)
    pixels = np.asarray(plain)
    if plain.mode == "CMYK":
        return Decoded(pixels, "cmyk", profile, exif, xmp)
    decoded = _split(pixels.reshape(*pixels.shape[:2], -1), profile, exif, xmp)
    if image.mode == "P" and not transparent:
        return replace(decoded, alpha=None)
    return decoded


def metadata(image: Image.Image, source: Source) -> tuple[bytes | None, bytes | None]:
    """EXIF and XMP of an opened Pillow image, as the file holds them; damaged EXIF is a warning, never an error."""
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    if isinstance(xmp, str):
        xmp = xmp.encode("utf-8", "replace")
    exif = image.info.get("exif")
    if exif is None and "Raw profile type exif" in image.info:
        try:
            lines = str(image.info["Raw profile type exif"]).strip().split("\n", 2)
            exif = bytes.fromhex("".join(lines[2].split()))
        except (ValueError, IndexError):
            warn(f"{source.name} has damaged EXIF, which was ignored.")
    return (exif if isinstance(exif, bytes) else None), (xmp if isinstance(xmp, bytes) else None)


def _in_plain_mode(image: Image.Image) -> Image.Image:
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
