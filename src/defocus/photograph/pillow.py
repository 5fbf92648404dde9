"""Formats that Pillow reads well: pictures of 8 bits, and what else its modes hold."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

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
    try:
        return _read_png(source)
    except (OSError, SyntaxError, ValueError, struct.error, imagecodecs.PngError) as error:
        if isinstance(error, PhotographError):
            raise
        mended, rows = _with_all_rows(source, error)
    decoded = _read_png(replace(source, file=io.BytesIO(mended)))
    missing = np.zeros(decoded.pixels.shape[:2], bool)
    missing[rows:] = True
    incomplete(source, f"is cut short or damaged: {missing.mean():.0%} of its pixels are missing")
    return replace(decoded, missing=missing)


def _read_png(source: Source) -> Decoded:
    deep = source.head()[24:25] == b"\x10"  # bit depth of the header chunk; Pillow would make 8 bits of its colours
    source.file.seek(0)
    with open_pillow(source.file, source) as image:
        if not deep:
            return from_pillow(image, source)
        source.check_size(image.height, image.width, 8)
        profile, (exif, xmp) = image.info.get("icc_profile"), metadata(image, source)
    pixels = imagecodecs.png_decode(_pixels_alone(source.read()))
    return _split(pixels.reshape(*pixels.shape[:2], -1), profile, exif, xmp)


def _with_all_rows(source: Source, error: Exception) -> tuple[bytes, int]:
    """A PNG whose data end early or are damaged, with black rows in their place, and how many rows are there.

    Raises
    ------
    Exception
        The decoder's own error, if its header is damaged, it is interlaced, or not a single row is there.
    """
    png = source.read()
    if png[12:16] != b"IHDR" or len(png) < 33:
        raise error
    width, height, bits, colours, _, _, interlaced = struct.unpack(">IIBBBBB", png[16:29])
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colours)
    if channels is None or interlaced or not 1 <= bits <= 16:
        raise error
    source.check_size(height, width, channels * max(bits, 8) / 8)
    row = 1 + (width * channels * bits + 7) // 8  # a row begins with the number of its filter
    kept, packed = [], b""
    for kind, body in _chunks(png):
        if kind == b"IDAT":
            packed += body
        elif kind in (b"PLTE", b"tRNS", b"iCCP", b"eXIf", b"iTXt", b"tEXt"):
            kept.append(_chunk(kind, body))
    unpack = zlib.decompressobj()
    raw = b""
    try:
        raw = unpack.decompress(packed, row * height)
    except zlib.error:  # what comes before the damage, in ever smaller pieces
        unpack, step = zlib.decompressobj(), 4096
        for place in range(0, len(packed), step):
            try:
                raw += unpack.decompress(packed[place : place + step], max(row * height - len(raw), 1))
            except zlib.error:
                break
    rows = min(len(raw) // row, height)
    filters = np.frombuffer(raw[: rows * row], np.uint8).reshape(rows, row)[:, 0]
    rows = int(np.flatnonzero(filters > 4)[0]) if (filters > 4).any() else rows
    if rows == 0:
        raise error
    whole = raw[: rows * row] + bytes(row * (height - rows))
    chunks = [_chunk(b"IHDR", png[16:29]), *kept, _chunk(b"IDAT", zlib.compress(whole, 1)), _chunk(b"IEND", b"")]
    return png[:8] + b"".join(chunks), rows


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kinds and bodies of a PNG's chunks; the last body may be cut."""
    place = 8
    while place + 8 <= len(png):
        length, kind = struct.unpack_from(">I4s", png, place)
        yield kind, png[place + 8 : place + 8 + length]
        place += 12 + length


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _pixels_alone(png: bytes) -> bytes:
    """A PNG without what is not needed for its pixels: libpng has things to say about damaged metadata."""
    needed = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
    return png[:8] + b"".join(_chunk(kind, body) for kind, body in _chunks(png) if kind in needed)


def _split(pixels: NDArray[Any], profile: bytes | None, exif: bytes | None, xmp: bytes | None) -> Decoded:
    """Tell colours from alpha by the number of channels: grey, grey and alpha, RGB, RGB and alpha."""
    space: Space = "gray" if pixels.shape[2] <= 2 else "rgb"
    colours = 1 if space == "gray" else 3
    alpha = pixels[..., colours] if pixels.shape[2] > colours else None
    return Decoded(pixels[..., :colours], space, profile, exif, xmp, alpha)


def from_pillow(image: Image.Image, source: Source) -> Decoded:
    """Take pixels and what belongs to them out of a Pillow image.

    Parameters
    ----------
    image : opened.
    source : for messages.
    """
    # A phone's MPO is the photograph followed by previews or gain maps, not by more photographs.
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        several(source)
        image.seek(0)
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
