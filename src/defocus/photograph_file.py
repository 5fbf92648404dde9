"""Saving an edited photograph: the original's format, bit depth, colour profile and EXIF, upright, under a new name."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from defocus.atomic import atomic_write
from defocus.camera_raw import is_raw, read_raw_exif
from defocus.errors import PhotographError
from defocus.photograph import Photograph

JPEG_QUALITY = 95
_ORIENTATION, _WIDTH, _HEIGHT = 0x0112, 0xA002, 0xA003
_PILLOW_FORMATS = {".jpg": "JPEG", ".png": "PNG", ".tif": "TIFF", ".webp": "WEBP"}
# A TIFF's own directory is its EXIF: how its pixels are stored is not the copy's.
_OF_THE_PIXELS = {
    254,
    255,
    256,
    257,
    258,
    259,
    262,
    266,
    273,
    277,
    278,
    279,
    284,
    317,
    320,
    322,
    323,
    324,
    325,
    338,
    339,
}
_OF_THE_PIXELS |= {340, 341, 347, 530, 532, 34675}
_TIFF_TEXTS = {270: "description", 271: "make", 272: "model", 306: "date", 315: "artist", 33432: "copyright"}


def suffix_for(photograph: Photograph) -> str:
    """Suffix to save an edit of a photograph under.

    JPEG, PNG, TIFF and WebP keep theirs, HEIC and the rest become JPEG; of more than 8 bits TIFF stays and the rest,
    RAW among it, becomes PNG.
    """
    own = photograph.path.suffix.lower() if photograph.path is not None else ".png"
    own = {".jpeg": ".jpg", ".jpe": ".jpg", ".jfif": ".jpg", ".tiff": ".tif"}.get(own, own)
    if photograph.pixels.dtype != np.uint8:
        return ".tif" if own == ".tif" else ".png"
    return own if own in _PILLOW_FORMATS else ".jpg"


def save_photograph(path: Path, pixels: NDArray[Any], original: Photograph) -> None:
    """Write pixels that were made from a photograph.

    EXIF comes along, turned upright as the pixels are; the profile is the one the pixels are in. A 16-bit TIFF keeps
    the camera's and author's tags of the EXIF, not its sub-directories.

    Parameters
    ----------
    path : ends in what `suffix_for` says, or another of .jpg, .png, .tif, .webp; written whole or not at all.
    pixels : H x W x 3 of the original's type (floats are written with 16 bits); or H x W for a mask or a depth.
    original : what they were made from.

    Raises
    ------
    PhotographError
        If the file is the original itself, the format is none of these, or it cannot be written.
    """
    if original.path is not None and path.resolve() == original.path.resolve():
        raise PhotographError(f"{path} is the photograph itself: choose another name, originals are never overwritten.")
    if path.suffix.lower() not in _PILLOW_FORMATS:
        raise PhotographError(f"{path.name}: photographs are saved as {', '.join(_PILLOW_FORMATS)}.")
    if pixels.dtype.kind == "f":
        pixels = np.rint(np.clip(pixels, 0, 1) * 65535).astype(np.uint16)
    exif = _upright_exif(original, pixels.shape)
    if pixels.dtype == np.uint16 and path.suffix.lower() not in (".png", ".tif"):
        pixels = np.rint(pixels / 257).astype(np.uint8)
    try:
        with atomic_write(path) as file:
            if pixels.dtype == np.uint16 and path.suffix.lower() == ".tif":
                _write_deep_tiff(file, pixels, exif, original.profile)
            elif pixels.dtype == np.uint16 and pixels.ndim == 3:
                file.write(_deep_png(pixels, exif, original.profile))
            else:
                options: dict[str, Any] = {"format": _PILLOW_FORMATS[path.suffix.lower()], "exif": exif.tobytes()}
                if original.profile:
                    options["icc_profile"] = original.profile
                if options["format"] in ("JPEG", "WEBP"):
                    options |= {"quality": JPEG_QUALITY}
                if options["format"] == "JPEG":
                    options |= {"subsampling": 0}
                Image.fromarray(pixels).save(file, **options)
    except OSError as error:
        raise PhotographError(f"Cannot write {path}: {error.strerror or error}.") from error


def read_exif(original: Photograph) -> Image.Exif:
    """EXIF of the file a photograph came from; empty where there is none or it cannot be read."""
    if original.path is None:
        return Image.Exif()
    try:
        with original.path.open("rb") as file:
            raw = is_raw(original.path, file.read(32))
        if raw:
            return read_raw_exif(original.path)
        if original.path.suffix.lower() in (".heic", ".heif", ".hif"):
            import pillow_heif

            exif = Image.Exif()
            exif.load(pillow_heif.open_heif(original.path).info.get("exif") or b"")
            return exif
        with Image.open(original.path) as image:
            exif = image.getexif()
            exif.get_ifd(0x8769)  # read now: the file closes
            return exif
    except Exception:  # decoders raise many kinds; the pixels were read, which is what counts
        return Image.Exif()


def _upright_exif(original: Photograph, shape: tuple[int, ...]) -> Image.Exif:
    found = read_exif(original)
    exif = Image.Exif()
    exif.load(found.tobytes())
    for tag in _OF_THE_PIXELS.intersection(exif):
        del exif[tag]
    if _ORIENTATION in exif:
        exif[_ORIENTATION] = 1
    camera = exif.get_ifd(0x8769)
    for tag, size in ((_WIDTH, shape[1]), (_HEIGHT, shape[0])):
        if tag in camera:
            camera[tag] = size
    return exif


def _deep_png(pixels: NDArray[np.uint16], exif: Image.Exif, profile: bytes | None) -> bytes:
    """16-bit colour, which Pillow cannot write, with the chunks iCCP and eXIf after the header."""
    encoded = bytes(imagecodecs.png_encode(pixels))
    header_end = 8 + 12 + 13
    chunks = b""
    if profile:
        chunks += _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile))
    raw = exif.tobytes().removeprefix(b"Exif\0\0")
    if len(exif):
        chunks += _chunk(b"eXIf", raw)
    return encoded[:header_end] + chunks + encoded[header_end:]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _write_deep_tiff(
    file: io.BufferedWriter | Any, pixels: NDArray[np.uint16], exif: Image.Exif, profile: bytes | None
) -> None:
    texts = [(tag, "s", 0, str(exif[tag]), True) for tag in _TIFF_TEXTS if tag in exif]
    tifffile.imwrite(
        file,
        pixels,
        photometric="rgb" if pixels.ndim == 3 else "minisblack",
        compression="zlib",
        predictor=True,
        iccprofile=profile,
        extratags=texts,
        metadata=None,
    )
