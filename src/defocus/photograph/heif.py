"""HEIC, by libheif: 10 and 12 bits are kept, as 16."""

from __future__ import annotations

from typing import Any

import numpy as np

from defocus.errors import PhotographError
from defocus.photograph.colour import Space
from defocus.photograph.decoded import Decoded, stretch, warn
from defocus.photograph.source import Source
from defocus.runtime.cores import available_cores

__all__ = ["heif_metadata", "is_heif", "read_heif"]

_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_HDR_TRANSFERS = (16, 18)  # PQ and HLG in ITU-T H.273


def is_heif(source: Source) -> bool:
    """Tell by the first bytes whether a file is HEIC."""
    head = source.head()
    return head[4:8] == b"ftyp" and head[8:12] in _BRANDS and b"avif" not in head[8:]


def _opened(source: Source) -> Any:
    """Open a HEIC file; its pixels are decoded when they are asked for."""
    try:
        import pillow_heif
    except ImportError as error:
        raise PhotographError(
            f"{source.name} is HEIC, which needs one more package: pip install pillow-heif."
        ) from error
    source.file.seek(0)
    usual = pillow_heif.options.DECODE_THREADS
    pillow_heif.options.DECODE_THREADS = min(usual, available_cores())
    try:
        return pillow_heif.open_heif(source.file, convert_hdr_to_8bit=False)
    finally:
        pillow_heif.options.DECODE_THREADS = usual


def heif_metadata(source: Source) -> tuple[tuple[int, int], bytes | None, bytes | None]:
    """Return width and height in px of the upright photograph, EXIF and XMP, without decoding its pixels."""
    picture = _opened(source)
    xmp = picture.info.get("xmp")
    return picture.size, picture.info.get("exif") or None, xmp if isinstance(xmp, bytes) else None


def read_heif(source: Source) -> Decoded:
    """Read a HEIC photograph.

    Raises
    ------
    PhotographError
        If pillow-heif is not installed.
    """
    picture = _opened(source)
    width, height = picture.size
    source.check_size(height, width, 8)
    nclx = picture.info.get("nclx_profile") or {}
    if nclx.get("transfer_characteristics") in _HDR_TRANSFERS:
        warn(f"{source.name} is HDR (PQ or HLG) and was read as if it were sRGB.")
    pixels = np.asarray(picture)
    bits = picture.info.get("bit_depth", 8)
    if pixels.dtype == np.uint16 and bits < 16:
        # libheif's 10 or 12 bits come shifted to the top of 16.
        pixels = stretch(pixels >> (16 - bits), bits)
    pixels = pixels.reshape(height, width, -1)
    space: Space = "gray" if pixels.shape[2] < 3 else "rgb"
    colours = 1 if space == "gray" else 3
    xmp = picture.info.get("xmp")
    return Decoded(
        pixels[..., :colours],
        space,
        picture.info.get("icc_profile"),
        picture.info.get("exif") or None,
        xmp if isinstance(xmp, bytes) else None,
        pixels[..., colours] if pixels.shape[2] > colours else None,
        turned=True,  # by libheif
    )
