"""Less than the whole photograph in less time: what its file says of it, and a reduced copy."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import BinaryIO

from defocus.errors import OutputError, PhotographError
from defocus.photograph.decoded import Decoded
from defocus.photograph.exif import Exif, parse_exif
from defocus.photograph.formats import Format, find_format
from defocus.photograph.heif import heif_metadata
from defocus.photograph.jpeg import read_reduced_jpeg
from defocus.photograph.jpegxl import jpegxl_metadata
from defocus.photograph.photograph import MIN_SIDE, Photograph, reduce_photograph
from defocus.photograph.pillow import metadata, open_pillow
from defocus.photograph.png import png_metadata
from defocus.photograph.raw import open_raw, raw_metadata, read_preview, read_raw
from defocus.photograph.read import decoding, finished
from defocus.photograph.source import Source, opened
from defocus.photograph.tiff import tiff_metadata
from defocus.provenance import provenance_of

__all__ = ["Metadata", "read_metadata", "read_reduced"]

_LEAST_PREVIEW = 0.75
"""Least length of the longer side of a RAW file's preview, as a fraction of what is wanted, to be used instead."""
_METADATA: Mapping[str, Callable[[Source], tuple[tuple[int, int], bytes | Exif | None, bytes | None]]] = {
    "HEIC": heif_metadata,
    "JPEG XL": jpegxl_metadata,
    "PNG": png_metadata,
    "TIFF": tiff_metadata,
}
"""Of the formats that are not read by Pillow."""
_TURNED = ("HEIC", "JPEG XL")
"""Formats of which the size is that of the upright photograph, whatever the EXIF says."""
_EXIF_TURNS = {0: 1, 3: 3, 5: 8, 6: 6}
"""EXIF orientation for LibRaw's."""


@dataclass(frozen=True)
class Metadata:
    """What a photograph's file says of it.

    Attributes
    ----------
    width, height : px of the upright photograph.
    tags : entries of its EXIF.
    xmp : the XMP within it, or None.
    """

    width: int
    height: int
    tags: Exif
    xmp: bytes | None


def read_metadata(photo: str | os.PathLike[str] | bytes | BinaryIO) -> Metadata:
    """Return what a photograph's file says of it, without decoding its pixels.

    Parameters
    ----------
    photo : as for `read_photograph`.

    Raises
    ------
    PhotographError
        As `read_photograph`, as far as that is found without decoding.

    Examples
    --------
    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (640, 480)).save(file, "JPEG")
    >>> found = read_metadata(file.getvalue())
    >>> found.width, found.height, found.xmp
    (640, 480, None)
    """
    with opened(photo, None, strict=False) as source, decoding(source.name):
        kind = _format(source)
        exif: bytes | Exif | None
        turned = False
        if kind.name == "RAW":
            with open_raw(source) as raw:
                (width, height), turned = _raw_size(raw), True
                exif, xmp = raw_metadata(source, raw)
        elif kind.name in _METADATA:
            (width, height), exif, xmp = _METADATA[kind.name](source)
            turned = kind.name in _TURNED
        else:
            source.file.seek(0)
            with open_pillow(source.file, source) as image:
                width, height = image.size
                exif, xmp = metadata(image)
        tags = exif if isinstance(exif, Exif) else parse_exif(exif)
    if not turned and tags.orientation >= 5:
        width, height = height, width
    return Metadata(width, height, tags, xmp)


def read_reduced(
    photo: str | os.PathLike[str] | bytes | BinaryIO,
    longest: int,
    *,
    max_pixels: int | None = None,
    strict: bool = False,
    refuse_outputs: bool = False,
) -> Photograph:
    """Read a photograph at a smaller size, as fast as its format allows.

    A JPEG is decoded at a half, a quarter or an eighth of its size, which takes a fraction of the time. Of camera RAW
    the camera's own preview is read where it is large enough, which the camera has sharpened; or else one pixel is made
    of each 2 x 2 of the sensor. Other formats are decoded as a whole. The rest of the way is the mean over areas.

    Parameters
    ----------
    photo, max_pixels, strict, refuse_outputs : as for `read_photograph`.
    longest : px of the longer side, 3 or more.

    Returns
    -------
    Photograph
        Upright, in sRGB, at most `longest` px. `full_size` is the size of the whole photograph, also where that is not
        larger. It has no digest.

    Raises
    ------
    PhotographError, OutputError
        As `read_photograph`.
    ValueError
        If `longest` is less than 3.

    Examples
    --------
    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (640, 480)).save(file, "JPEG")
    >>> small = read_reduced(file.getvalue(), 100)
    >>> small.width, small.height, small.full_size
    (100, 75, (640, 480))
    """
    if longest < MIN_SIDE:
        raise ValueError(f"longest must be {MIN_SIDE} px or more, not {longest}.")
    with opened(photo, max_pixels, strict) as source, decoding(source.name):
        if refuse_outputs and provenance_of(source.file) is not None:
            raise OutputError(f"{source.name} was written by defocus: give a photograph.")
        kind = _format(source)
        size: tuple[int, int] | None = None
        decoded: Decoded | None = None
        if kind.name == "JPEG":
            decoded, size = read_reduced_jpeg(source, longest) or (None, None)
        elif kind.name == "RAW":
            decoded, size = _reduced_raw(source, longest)
        if decoded is None:
            decoded = kind.read(source)
        photograph = finished(decoded, source.name, source, own_colours=False, digest=None, file_format=kind.name)
        if size is None:
            size = photograph.width, photograph.height
        elif photograph.orientation >= 5 and not decoded.turned:
            size = size[1], size[0]
    return replace(reduce_photograph(photograph, longest), full_size=size)


def _format(source: Source) -> Format:
    kind = find_format(source)
    if kind is None:
        raise PhotographError(f"{source.name} is not a photograph, or damaged at its start.")
    return kind


def _raw_size(raw: object) -> tuple[int, int]:
    """Width and height, px, of the upright photograph."""
    sizes = raw.sizes  # type: ignore[attr-defined]
    return (sizes.height, sizes.width) if sizes.flip in (5, 6) else (sizes.width, sizes.height)


def _reduced_raw(source: Source, longest: int) -> tuple[Decoded | None, tuple[int, int]]:
    """The preview, or the half size, of a RAW file; None where that would be too small. And its full size, upright."""
    with open_raw(source) as raw:
        size = _raw_size(raw)
        turn = _EXIF_TURNS.get(raw.sizes.flip, 1)
        preview = read_preview(raw)
        exif = raw_metadata(source, raw)[0].to_bytes() or None
    if preview is not None:
        inner = Source(io.BytesIO(preview), source.name, None, len(preview), source.max_pixels, source.strict)
        with open_pillow(inner.file, inner) as image:
            large_enough = max(image.size) >= min(_LEAST_PREVIEW * longest, max(size))
            # A preview of another shape shows another part of the photograph.
            ratio = max(image.size) / min(image.size) * min(size) / max(size)
        found = read_reduced_jpeg(inner, longest) if large_enough and 0.98 < ratio < 1.02 else None
        if found is not None:
            return replace(found[0], exif=exif, orientation=turn), (size if turn < 5 else size[::-1])
    if max(size) >= 2 * longest:
        return read_raw(source, half=True), size
    return None, size
