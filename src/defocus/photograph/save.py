"""Saving an edited photograph with the original's format, depth, colour profile, alpha, EXIF and XMP."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from defocus.errors import ParameterError, PhotographError
from defocus.photograph.exif import (
    CAMERA_DIRECTORY,
    GPS_DIRECTORY,
    INTEROPERABILITY,
    MAKER_NOTE,
    ORIENTATION,
    Entry,
    Exif,
    directory,
    parse_exif,
    read_directory,
    upright_exif,
    upright_xmp,
)
from defocus.photograph.formats import FORMATS, Format
from defocus.photograph.photograph import Photograph, photograph_from_array
from defocus.photograph.png_encoder import chunk
from defocus.photograph.tiff import OF_THE_PIXELS, XMP
from defocus.provenance import TIFF_TAG, Provenance, stamp
from defocus.runtime.atomic import write_bytes

__all__ = ["encode_photograph", "save_photograph", "saving_note", "suffix_for"]

_JPEG_QUALITY = 95
"""Default quality of JPEG and WebP."""
_WRITTEN = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp")
"""Suffixes of the formats that an edit can be saved in."""
_MOST_EXIF, _MOST_XMP = 65_533 - 6, 65_533 - 29
"""Largest sizes in bytes of EXIF and XMP that fit into a segment of a JPEG, after its name."""


def suffix_for(photograph: Photograph) -> str:
    """Return the suffix of the format that an edit of a photograph is saved in.

    JPEG, PNG, TIFF and WebP keep their format; HEIC, AVIF and JPEG XL become JPEG, the others PNG. With more than 8
    bits, TIFF stays and all others, including RAW, become PNG.

    Parameters
    ----------
    photograph : the original, as it was read.

    Examples
    --------
    >>> suffix_for(Photograph(np.zeros((3, 3, 3), np.uint8), file_format="HEIC"))
    '.jpg'
    """
    own = _format(photograph)
    if own is None:
        return ".png"
    return own.edit_suffix if photograph.pixels.dtype == np.uint8 else own.deep_edit_suffix


def saving_note(photograph: Photograph) -> str | None:
    """Return one sentence on what an edit in the format of `suffix_for` cannot keep, or None where it keeps all.

    Parameters
    ----------
    photograph : the original, as it was read.

    Examples
    --------
    >>> saving_note(Photograph(np.zeros((3, 3, 3), np.uint8), file_format="HEIC"))
    'An edit of HEIC is saved as JPEG.'
    """
    own = _format(photograph)
    if own is None:
        return None
    suffix = suffix_for(photograph)
    kind = {".jpg": "JPEG", ".png": "PNG", ".tif": "TIFF", ".webp": "WebP"}[suffix]
    changes = []
    if photograph.stored_colours == "cmyk":
        changes.append("with RGB colours in place of CMYK")
    if photograph.pixels.dtype.kind == "f":
        changes.append("with 16 bits in place of floating point")
    if photograph.alpha is not None and kind == "JPEG":
        changes.append("without its transparency")
    if kind == "JPEG":
        for name, contents, most in (("EXIF", photograph.exif, _MOST_EXIF), ("XMP", photograph.xmp, _MOST_XMP)):
            if contents is not None and len(contents) > most:
                changes.append(f"without its {name}, which is too long for JPEG")
    if own.name != kind:
        return f"An edit of {own.name} is saved as {', '.join([kind, *changes])}."
    return f"An edit of this {own.name} is saved {', '.join(changes)}." if changes else None


def _format(photograph: Photograph) -> Format | None:
    return next((each for each in FORMATS if each.name == photograph.file_format), None)


def save_photograph(
    path: Path,
    pixels: NDArray[Any],
    original: Photograph,
    *,
    provenance: Provenance | None = None,
    quality: int = _JPEG_QUALITY,
) -> None:
    """Write an edited photograph.

    EXIF and XMP are kept, except that the orientation becomes upright, the size becomes that of the pixels, and the
    thumbnail of the original is left out. The colour profile is that of `original`. Transparency is kept in PNG, TIFF
    and WebP. Maker's notes are kept except in TIFF, where the addresses within them would become wrong.

    Parameters
    ----------
    path : file to write, .jpg, .jpeg, .png, .tif, .tiff or .webp; it is written whole or not at all.
    pixels : H x W x 3, uint8, uint16 or float 0..1, of any size (floats are written with 16 bits, and JPEG and WebP
        with 8).
    original : photograph that the pixels were made from.
    provenance : provenance to store; None stores the SHA-256 of the original alone.
    quality : quality of JPEG and WebP, 1..100.

    Raises
    ------
    PhotographError
        If the file is the original itself, the format is none of these, the pixels are not a photograph's, or it cannot
        be written.
    ParameterError
        If quality is out of range.

    Examples
    --------
    >>> import tempfile
    >>> from defocus.photograph import read_photograph
    >>> original = photograph_from_array(np.full((48, 64, 3), 200, np.uint8))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_photograph(Path(folder) / "darker.png", original.pixels // 2, original)
    ...     int(read_photograph(Path(folder) / "darker.png").pixels.max())
    100
    """
    if _is_same_file(path, original.path):
        raise PhotographError(f"{path} is the photograph itself: choose another name, originals are never overwritten.")
    if path.suffix.lower() not in _WRITTEN:
        raise PhotographError(f"{path.name}: photographs are saved as {', '.join(_WRITTEN)}.")
    contents = encode_photograph(path.suffix, pixels, original, provenance=provenance, quality=quality)
    try:
        write_bytes(path, contents)
    except OSError as error:
        raise PhotographError(f"Cannot write {path}: {error.strerror or error}.") from error


def encode_photograph(
    suffix: str,
    pixels: NDArray[Any],
    original: Photograph,
    *,
    provenance: Provenance | None = None,
    quality: int = _JPEG_QUALITY,
    tiff_entries: Mapping[int, Entry] = MappingProxyType({}),
) -> bytes:
    """Return the contents of the file that `save_photograph` writes.

    Parameters
    ----------
    suffix : of the format: .jpg, .jpeg, .png, .tif, .tiff or .webp.
    pixels, original, provenance, quality : as there.
    tiff_entries : further entries of a TIFF's directory, by tag; their numbers are in the byte order of the original's
        EXIF.

    Raises
    ------
    PhotographError
        If the format is none of these, or the pixels are not a photograph's.
    ParameterError
        If quality is out of range.

    Examples
    --------
    >>> original = photograph_from_array(np.full((48, 64, 3), 200, np.uint8))
    >>> encode_photograph(".png", original.pixels, original)[1:4]
    b'PNG'
    """
    if not 1 <= quality <= 100:
        raise ParameterError(f"quality must be 1 to 100, not {quality}.")
    # Sharpening overshoots 0..1 a little. NaN is not clipped, so it is refused.
    pixels = np.asarray(photograph_from_array(np.clip(pixels, 0, 1) if pixels.dtype.kind == "f" else pixels).pixels)
    suffix = suffix.lower()
    if suffix not in _WRITTEN:
        raise PhotographError(f"Photographs are saved as {', '.join(_WRITTEN)}, not as {suffix}.")
    if pixels.dtype.kind == "f":
        pixels = np.rint(pixels * 65535).astype(np.uint16)
    if pixels.dtype == np.uint16 and suffix in (".jpg", ".jpeg", ".webp"):
        pixels = np.rint(pixels / 257).astype(np.uint8)
    if original.alpha is not None and original.alpha.shape == pixels.shape[:2] and suffix not in (".jpg", ".jpeg"):
        pixels = np.dstack([pixels, _as_type(original.alpha, pixels.dtype)])
    height, width = pixels.shape[:2]
    exif = upright_exif(original.exif, width, height) if original.exif else b""
    xmp = upright_xmp(original.xmp, width, height) if original.xmp else b""
    made_from = provenance if provenance is not None else Provenance("photograph", original.sha256)
    if suffix in (".jpg", ".jpeg"):
        return stamp(_jpeg(pixels, original.profile, exif, xmp, quality), made_from)
    if suffix == ".png":
        return stamp(_png(pixels, original.profile, exif, xmp), made_from)
    if suffix == ".webp":
        return stamp(_webp(pixels, original.profile, exif, xmp, quality), made_from)
    return _tiff(pixels, original.profile, parse_exif(exif), xmp, made_from, tiff_entries)


def _is_same_file(path: Path, original: Path | None) -> bool:
    try:
        return original is not None and (path.resolve() == original.resolve() or path.samefile(original))
    except OSError:
        return False


def _as_type(alpha: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    if alpha.dtype == dtype:
        return alpha
    full = 1.0 if alpha.dtype.kind == "f" else float(np.iinfo(alpha.dtype).max)
    return np.rint(alpha / full * np.iinfo(dtype).max).astype(dtype)


def _jpeg(pixels: NDArray[np.uint8], profile: bytes | None, exif: bytes, xmp: bytes, quality: int) -> bytes:
    options: dict[str, Any] = {"quality": quality, "subsampling": 0}
    if exif and len(exif) <= _MOST_EXIF:
        options["exif"] = b"Exif\0\0" + exif
    if xmp and len(xmp) <= _MOST_XMP:
        options["xmp"] = xmp
    return _by_pillow(pixels, "JPEG", profile, options)


def _webp(pixels: NDArray[np.uint8], profile: bytes | None, exif: bytes, xmp: bytes, quality: int) -> bytes:
    return _by_pillow(pixels, "WEBP", profile, {"quality": quality, "exif": exif, "xmp": xmp})


def _by_pillow(pixels: NDArray[np.uint8], kind: str, profile: bytes | None, options: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options, **({"icc_profile": profile} if profile else {}))
    return file.getvalue()


def _png(pixels: NDArray[Any], profile: bytes | None, exif: bytes, xmp: bytes) -> bytes:
    """Encode 8 or 16 bits (Pillow cannot write 16 in colour), with the chunks iCCP, eXIf and iTXt after the header."""
    encoded = bytes(imagecodecs.png_encode(pixels))
    header_end = 8 + 12 + 13
    chunks = b""
    if profile:
        chunks += chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile))
    if exif:
        chunks += chunk(b"eXIf", exif)
    if xmp:
        chunks += chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
    return encoded[:header_end] + chunks + encoded[header_end:]


def _tiff(
    pixels: NDArray[Any],
    profile: bytes | None,
    exif: Exif,
    xmp: bytes,
    made_from: Provenance,
    further: Mapping[int, Entry],
) -> bytes:
    """Encode 8 or 16 bits, with the EXIF and GPS directories after the pixels."""
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        pixels,
        photometric="rgb",
        extrasamples=["unassalpha"] if pixels.shape[2] == 4 else None,
        compression="zlib",
        predictor=True,
        iccprofile=profile,
        byteorder=exif.order,
        metadata=None,
    )
    contents = bytearray(file.getvalue())
    (first,) = struct.unpack_from(exif.order + "I", contents, 4)
    # tifffile leaves out nested directories and re-encodes texts, so its directory is written again.
    main, _ = read_directory(file, first, exif.order)
    main |= {tag: entry for tag, entry in exif.main.items() if tag not in OF_THE_PIXELS and tag != ORIENTATION}
    main[TIFF_TAG] = Entry(2, made_from.to_json().encode("ascii") + b"\0")
    if xmp:
        main[XMP] = Entry(1, xmp)
    main |= further
    camera = {tag: entry for tag, entry in exif.camera.items() if tag not in (MAKER_NOTE, INTEROPERABILITY)}
    for pointer, entries in ((CAMERA_DIRECTORY, camera), (GPS_DIRECTORY, exif.gps)):
        if entries:
            contents += bytes(len(contents) % 2)
            main[pointer] = Entry(4, struct.pack(exif.order + "I", len(contents)))
            contents += directory(entries, len(contents), exif.order)
    contents += bytes(len(contents) % 2)
    struct.pack_into(exif.order + "I", contents, 4, len(contents))
    contents += directory(main, len(contents), exif.order)
    return bytes(contents)
