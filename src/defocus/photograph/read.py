"""Reading a photograph: the file is opened and decoded once for pixels, colours, metadata and digest."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from defocus.errors import OutputError, PhotographError
from defocus.photograph.colour import srgb_conversion
from defocus.photograph.decoded import Decoded, warn
from defocus.photograph.exif import parse_exif
from defocus.photograph.formats import find_format
from defocus.photograph.orientation import turn_upright
from defocus.photograph.photograph import Photograph, check_sides, native, protected
from defocus.photograph.pillow import from_pillow
from defocus.photograph.source import LARGEST_FILE, Source, opened
from defocus.photograph.stored_pixels import StoredPixels
from defocus.provenance import provenance_of

__all__ = ["decoding", "finished", "photograph_from_image", "read_photograph"]

_OF_THE_PROGRAM = (AssertionError, AttributeError, LookupError, TypeError, struct.error)
_KNOWN = "give a JPEG, PNG, TIFF, WebP, HEIC or RAW file"


def read_photograph(
    photo: str | os.PathLike[str] | bytes | BinaryIO,
    *,
    max_pixels: int | None = None,
    own_colours: bool = False,
    strict: bool = False,
    refuse_outputs: bool = False,
) -> Photograph:
    """Read a photograph from a file: upright, sRGB, at the bit depth of the file.

    The formats are JPEG, PNG and TIFF (8 and 16 bits; TIFF also float), WebP, AVIF, GIF, BMP, JPEG 2000, JPEG XL, PNM,
    HEIC where pillow-heif is installed, and camera RAW where rawpy is. They are recognised by content. EXIF orientation
    is applied. An embedded ICC profile (grey, RGB or CMYK) is converted to sRGB by LittleCMS, relative colorimetric
    with black point compensation, at the file's bit depth; without a profile pixels are taken for sRGB, and CMYK is
    converted by (1 - ink)(1 - black). RAW is developed by LibRaw with the camera's white balance into 16 bits, without
    automatic brightening, sharpening or noise reduction. Alpha is kept separately, not composited: a composite would
    invent edges where alpha changes. Of several pictures the first that is no thumbnail is read.

    Parameters
    ----------
    photo : path of the file, its bytes, or an open binary file, which is read from its current position.
    max_pixels : refuse photographs of more pixels before decoding; they may be decompression bombs. By default 200
        million where the file has to be read whole; a large TIFF in strips or tiles, without alpha, is not: its size is
        bounded by what an estimate needs of memory.
    own_colours : leave RGB pixels in the file's own profile, to be edited and saved with it. Estimates need sRGB.
    strict : refuse a file of which a part is missing. Otherwise what is there is read, with a warning, and
        `Photograph.missing` marks the rest.
    refuse_outputs : refuse a map, mask or picture that this package wrote, whatever it is called.

    Returns
    -------
    Photograph
        uint8, uint16 or float32 pixels. Those of a TIFF of 64 megapixels and more stay in the file where they can be
        read part by part.

    Warns
    -----
    PhotographWarning
        If only the first of several pictures is read, a part of the file is missing, or a colour profile or EXIF could
        not be used.

    Raises
    ------
    PhotographError
        If the file is missing, a folder, a pipe, empty, damaged or no photograph, smaller than 3 x 3 pixels, larger
        than `max_pixels` or than free memory allows, HEIC without pillow-heif, or RAW without rawpy or of an unknown
        camera.
    OutputError
        With `refuse_outputs`, if this package wrote the file.

    Examples
    --------
    >>> import io
    >>> import defocus
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (640, 480)).save(file, "PNG")
    >>> photograph = defocus.read_photograph(file.getvalue())
    >>> photograph.pixels.shape, photograph.pixels.dtype, photograph.file_format
    ((480, 640, 3), dtype('uint8'), 'PNG')
    """
    with opened(photo, max_pixels, strict) as source, decoding(source.name):
        if refuse_outputs and provenance_of(source.file) is not None:
            raise OutputError(f"{source.name} was written by defocus: give a photograph.")
        kind = find_format(source)
        if kind is None:
            raise PhotographError(f"{source.name} is not a photograph, or damaged at its start: {_KNOWN}.")
        if source.size > LARGEST_FILE and not kind.in_parts:
            raise PhotographError(
                f"{source.name} has {source.size / 1e9:.0f} GB, and {kind.name} has to be read whole, with "
                f"{LARGEST_FILE / 1e9:.0f} at most: save it as a tiled TIFF, which is read part by part."
            )
        digest = source.sha256()
        decoded = kind.read(source)
        return finished(decoded, source.name, source, own_colours, digest, kind.name)


def photograph_from_image(image: Image.Image) -> Photograph:
    """Convert a PIL image to a photograph: upright, sRGB.

    Parameters
    ----------
    image : image of any mode.

    Raises
    ------
    PhotographError
        If it is smaller than 3 x 3 pixels, or its pixels cannot be read.

    Examples
    --------
    >>> photograph_from_image(Image.new("L", (640, 480))).pixels.shape
    (480, 640, 3)
    """
    name = "the image"
    check_sides(image.height, image.width, name)
    with decoding(name):
        decoded = from_pillow(image, _nowhere(name))
        return finished(decoded, name, None, own_colours=False, digest=None, file_format=None)


def _nowhere(name: str) -> Source:
    import io

    return Source(io.BytesIO(), name, None, 0, None, strict=False)


def finished(
    decoded: Decoded, name: str, source: Source | None, own_colours: bool, digest: str | None, file_format: str | None
) -> Photograph:
    """Build the photograph: upright, in sRGB or, with `own_colours`, in the profile of the file."""
    exif = parse_exif(decoded.exif)
    if decoded.exif and exif.damaged:
        warn(f"{name} has damaged EXIF, of which only a part was read.")
    orientation = decoded.orientation or exif.orientation
    pixels, profile, convert = decoded.pixels, None, None
    if own_colours and decoded.profile and decoded.space == "rgb":
        profile = decoded.profile
    else:
        convert = srgb_conversion(pixels.dtype, decoded.space, decoded.profile, name)
    turn = 1 if decoded.turned else orientation
    if isinstance(pixels, StoredPixels):
        pixels = (pixels if convert is None else pixels.changed(convert)).turned(turn)
    else:
        pixels = pixels if convert is None else convert(pixels)
        pixels = protected(turn_upright(pixels.reshape(*pixels.shape[:2], -1), turn))
    alpha = decoded.alpha
    if alpha is not None and bool((alpha == _full(alpha)).all()):
        alpha = None
    return Photograph(
        pixels,
        path=None if source is None else source.path,
        profile=profile,
        alpha=None if alpha is None else native(turn_upright(alpha, turn)),
        missing=None if decoded.missing is None else native(turn_upright(decoded.missing, turn)),
        exif=decoded.exif,
        xmp=decoded.xmp,
        orientation=orientation,
        sha256=digest,
        file_format=file_format,
        stored_colours=decoded.space,
    )


def _full(plane: np.ndarray) -> float:
    return 1.0 if plane.dtype.kind == "f" else float(np.iinfo(plane.dtype).max)


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Turn any error that decoders raise on a damaged file into a `PhotographError`."""
    try:
        yield
    except (PhotographError, MemoryError, Warning):  # the caller may have asked for warnings as errors
        raise
    except UnidentifiedImageError as error:
        raise PhotographError(f"{name} is not a photograph, or damaged at its start: {_KNOWN}.") from error
    except Exception as error:  # damaged data makes decoders raise anything
        reason = " ".join(str(error).split()).rstrip(".")
        # Messages of these errors are about the decoder, not about the file.
        about = f": {reason}" if reason and not isinstance(error, _OF_THE_PROGRAM) else ""
        raise PhotographError(f"{name} is damaged or cut short{about}.") from error
