"""TIFF: the picture that is not a thumbnail, of any depth, in every compression that tifffile knows."""

from __future__ import annotations

import logging
import struct
from dataclasses import replace
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from defocus.errors import PhotographError
from defocus.photograph.colour import CHANNELS, Space
from defocus.photograph.decoded import Decoded, incomplete, several, stretch
from defocus.photograph.exif import CAMERA_DIRECTORY, GPS_DIRECTORY, Entry, Exif
from defocus.photograph.jpegxl import SIGNATURES as JPEGXL_SIGNATURES
from defocus.photograph.jpegxl import jpegxl_size
from defocus.photograph.photograph import checked_floats
from defocus.photograph.pillow import encoded_size, in_plain_mode, read_pillow
from defocus.photograph.png import SIGNATURE as PNG_SIGNATURE
from defocus.photograph.png import is_whole as png_is_whole
from defocus.photograph.source import Source
from defocus.photograph.stored_pixels import Pieces, StoredPixels

__all__ = ["OF_THE_PIXELS", "XMP", "read_tiff", "tiff_metadata"]

# The library's remarks on damaged files are not for the user's terminal; programs with logging of their own get them.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_MOST_PAGES = 256
_PHOTOMETRIC = tifffile.PHOTOMETRIC
_SPACES: dict[int, Space] = {
    _PHOTOMETRIC.MINISWHITE: "gray",
    _PHOTOMETRIC.MINISBLACK: "gray",
    _PHOTOMETRIC.RGB: "rgb",
    _PHOTOMETRIC.SEPARATED: "cmyk",
    _PHOTOMETRIC.YCBCR: "rgb",  # decoded to RGB by the JPEG codecs
    _PHOTOMETRIC.PALETTE: "rgb",
    _PHOTOMETRIC.CIELAB: "rgb",  # by its own profile
}
_DECODES_COLOUR = {7, 33003, 33004, 33005, 34712, 50001, 50002, 34892}
"""Compressions whose codecs convert YCbCr to RGB: JPEG, JPEG 2000, WebP, JPEG XL."""
_PICTURE_CODECS = _DECODES_COLOUR | {33007, 34887, 34927, 34933, 52546}
"""Compressions in which each strip or tile is a picture that states its own size: these, PNG and LERC."""
_LARGEST_TILE, _SMALL_PICTURE = 4, 2**20
"""Largest ratio of the pixels of a tile to those of the picture, where pictures of fewer pixels than the second number
count as having that many."""
_PNG, _OLD_JPEG = 34933, 6
_JPEGS = {6, 7, 34892, 33007}
"""Compressions of which a page may hold a part that all strips or tiles share."""
_IN_PARTS_FROM = 64_000_000
"""Number of pixels from which the pixels stay in the file until they are needed, where they can be read in parts."""
_LARGEST_PIECE = 2**26
"""Largest size in bytes, decoded, of a strip or tile of such a picture."""
_CUT_TO_BYTES = 2**20
"""Size of the parts that uncompressed pixels are read in."""
_SUBSAMPLING = 530
_BLOCK = 64
"""Multiple in px to which a codec may round up the sides of a strip or tile."""
XMP, _PROFILE = 700, 34675
# A TIFF's own directory is its EXIF too: how its pixels are stored is not the copy's.
OF_THE_PIXELS = frozenset(
    {254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 280, 281, 284, 288, 289, 290, 291}
    | {292, 293, 297, 301, 317, 318, 319, 320, 321, 322, 323, 324, 325, 330, 332, 333, 334, 336, 337, 338, 339, 340}
    | {341, 342, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532, XMP, _PROFILE, 33723, 34377}
    | {CAMERA_DIRECTORY, GPS_DIRECTORY, 37724, 50838, 50839}
)


def read_tiff(source: Source) -> Decoded:
    """Read a TIFF."""
    source.file.seek(0)
    try:
        tiff = tifffile.TiffFile(source.file)
    except tifffile.TiffFileError as error:
        raise PhotographError(f"{source.name} is a damaged TIFF: {error}.") from error
    with tiff:
        page = _picture(tiff, source)
        floating = page.dtype is not None and page.dtype.kind == "f"
        channels = max(int(page.samplesperpixel), 1)
        in_parts = _can_be_read_in_parts(page, source)
        source.check_size(
            page.imagelength, page.imagewidth, channels * max(page.bitspersample, 8) / 8, in_parts=in_parts
        )
        if page.imagedepth > 1:
            raise PhotographError(f"{source.name} is a volume of several slices: save one slice as a photograph.")
        if not floating and page.bitspersample > 8 and (page.dtype != np.uint16 or page.bitspersample > 16):
            raise PhotographError(
                f"{source.name} has pixels of {page.bitspersample} bits that are neither 16-bit unsigned nor float: "
                "save it with 8 or 16 bits."
            )
        space = _SPACES.get(page.photometric)
        palette = page.photometric == _PHOTOMETRIC.PALETTE
        wanted = 1 if palette or space is None else CHANNELS[space]
        if channels < wanted:
            raise PhotographError(
                f"{source.name} is damaged: its colours are {page.photometric.name}, with {channels} of {wanted} "
                "channels."
            )
        if in_parts:
            _check_tiles(page, source)
            return _in_parts(page, source)
        _check_pieces(page, source)
        if _needs_pillow(page) and page is tiff.pages.first:
            # Pillow turns a TIFF upright while it loads it.
            exif = _exif(page, source)
            return replace(read_pillow(source), exif=exif.to_bytes() or None, orientation=exif.orientation, turned=True)
        deep_lab = page.photometric == _PHOTOMETRIC.CIELAB and page.bitspersample != 8
        if space is None or deep_lab or _needs_pillow(page) or _is_packed(page):
            name = getattr(page.photometric, "name", page.photometric)
            raise PhotographError(f"{source.name} stores colours as {name}: save it as RGB or grey.")
        stored, missing = _pixels(page, source)
        if palette:
            pixels = _from_palette(page, stored[..., 0])
        else:
            pixels = _in_rgb(page, _with_whole_range(page, stored, source.name))
        alpha = pixels[..., wanted] if _has_alpha(page) else None
        exif = _exif(page, source)
        # A profile of L*a*b* is not one of the RGB that it has become.
        profile = None if page.photometric == _PHOTOMETRIC.CIELAB else _value(page, _PROFILE)
        xmp = _value(page, XMP)
    if space == "cmyk" and pixels.dtype.kind == "f":
        raise PhotographError(f"{source.name} has floating-point CMYK: save it as RGB.")
    return Decoded(
        pixels[..., : CHANNELS[space]],
        space,
        profile if isinstance(profile, bytes) else None,
        exif.to_bytes() or None,
        xmp if isinstance(xmp, bytes) else None,
        alpha,
        missing,
        orientation=exif.orientation,
    )


def tiff_metadata(source: Source) -> tuple[tuple[int, int], Exif, bytes | None]:
    """Return width and height in px as stored, EXIF and XMP of a TIFF, without decoding its pixels."""
    source.file.seek(0)
    try:
        tiff = tifffile.TiffFile(source.file)
    except tifffile.TiffFileError as error:
        raise PhotographError(f"{source.name} is a damaged TIFF: {error}.") from error
    with tiff:
        page = _picture(tiff, source)
        xmp = _value(page, XMP)
        size = int(page.imagewidth), int(page.imagelength)
        return size, _exif(page, source), xmp if isinstance(xmp, bytes) else None


def _can_be_read_in_parts(page: tifffile.TiffPage, source: Source) -> bool:
    """Return whether a picture is large enough, and stored so that each part of it can be decoded by itself."""
    floating = page.dtype is not None and page.dtype.kind == "f"
    own_codec = page.photometric == _PHOTOMETRIC.YCBCR and int(page.compression) not in _DECODES_COLOUR
    pieces = _piece_size(page)
    if (
        page.imagelength * page.imagewidth < _IN_PARTS_FROM
        or page.imagedepth > 1
        or page.photometric
        not in (_PHOTOMETRIC.MINISWHITE, _PHOTOMETRIC.MINISBLACK, _PHOTOMETRIC.RGB, _PHOTOMETRIC.YCBCR)
        or own_codec
        or _needs_pillow(page)
        or not (floating or (page.dtype, page.bitspersample) in ((np.uint8, 8), (np.uint16, 16)))
        or page.samplesperpixel < CHANNELS[_SPACES[page.photometric]]
        or _has_alpha(page)
        or pieces is None
    ):
        return False
    if page.is_final:
        return bool(sum(page.databytecounts) >= page.nbytes)
    rows, columns = pieces
    assert page.dtype is not None
    samples = 1 if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE else page.samplesperpixel
    if rows * columns * samples * page.dtype.itemsize > _LARGEST_PIECE:
        return False
    # A row of what stands upright is then a column of all strips.
    return page.is_tiled or (_exif(page, source).orientation or 1) < 5


def _piece_size(page: tifffile.TiffPage) -> tuple[int, int] | None:
    """Return the rows and columns of a strip or tile; None where a part of the picture is missing from the file."""
    if page.is_tiled:
        rows, columns = page.tilelength, page.tilewidth
    else:
        rows, columns = min(page.rowsperstrip, page.imagelength), page.imagewidth
    if rows < 1 or columns < 1:
        return None
    count = -(-page.imagelength // rows) * -(-page.imagewidth // columns)
    if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
        count *= page.samplesperpixel
    size = page.parent.filehandle.size
    places = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    whole = len(places) >= count and all(at > 0 and length > 0 and at + length <= size for at, length in places)
    return (rows, columns) if whole else None


def _has_alpha(page: tifffile.TiffPage) -> bool:
    space = _SPACES.get(page.photometric)
    if space is None or page.photometric == _PHOTOMETRIC.PALETTE or page.samplesperpixel <= CHANNELS[space]:
        return False
    return bool(page.extrasamples) and int(page.extrasamples[0]) in (1, 2)


def _in_parts(page: tifffile.TiffPage, source: Source) -> Decoded:
    """Return the picture with its pixels in the file."""
    exif = _exif(page, source)
    profile, xmp = _value(page, _PROFILE), _value(page, XMP)
    space = _SPACES[page.photometric]
    return Decoded(
        StoredPixels(_PiecesOfPage(page, source, CHANNELS[space]).grid(), source.name),
        space,
        profile if isinstance(profile, bytes) else None,
        exif.to_bytes() or None,
        xmp if isinstance(xmp, bytes) else None,
        orientation=exif.orientation,
    )


class _PiecesOfPage:
    """Decodes the strips or tiles of a page, also after its file has been closed.

    Uncompressed ones that follow each other without a gap are cut into smaller ones.
    """

    def __init__(self, page: tifffile.TiffPage, source: Source, channels: int) -> None:
        size = _piece_size(page)
        assert size is not None
        self._page, self._name, self._channels = page, source.name, channels
        self._read = source.keep()
        self._height, self._width = int(page.imagelength), int(page.imagewidth)
        self._separate = page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and page.samplesperpixel > 1
        self._samples = 1 if self._separate else int(page.samplesperpixel)
        self._stored = np.dtype(page.dtype).newbyteorder(page.parent.byteorder)
        self._offsets, self._counts = list(page.dataoffsets), list(page.databytecounts)
        self._decode, self._arguments = page.decode, _decoding_arguments(page)
        self._is_raw = bool(page.is_final)
        self._row_bytes = self._width * self._samples * self._stored.itemsize
        self._rows, self._columns = size
        if self._is_raw:
            self._rows, self._columns = max(1, min(self._height, _CUT_TO_BYTES // self._row_bytes)), self._width

    def grid(self) -> Pieces:
        """Return the strips or tiles."""
        dtype = self._stored.newbyteorder("=")
        if dtype.kind == "f" and dtype.itemsize < 4:
            dtype = np.dtype(np.float32)
        return Pieces(
            self._height,
            self._width,
            self._channels,
            self._rows,
            self._columns,
            dtype,
            lambda number: np.ascontiguousarray(self._piece(number), dtype),
            separate=self._separate,
        )

    def _piece(self, number: int) -> NDArray[Any]:
        across, down = -(-self._width // self._columns), -(-self._height // self._rows)
        plane, place = divmod(number, down * across)
        top, left = place // across * self._rows, place % across * self._columns
        height, width = min(self._rows, self._height - top), min(self._columns, self._width - left)
        try:
            values = self._raw(plane, top, height) if self._is_raw else self._decoded(number)
            if values.shape[0] < height or values.shape[1] < width:
                raise ValueError("it is too short")
        except (PhotographError, MemoryError):
            raise
        except Exception as error:  # codecs raise many kinds on damaged data
            raise PhotographError(
                f"{self._name} is damaged: of its {self._width} x {self._height} pixels those from column {left} and "
                f"row {top} on cannot be decoded, so copy it again from where it came."
            ) from error
        return _with_whole_range(self._page, values[:height, :width, : self._channels], self._name)

    def _raw(self, plane: int, top: int, height: int) -> NDArray[Any]:
        start = self._offsets[0] + (plane * self._height + top) * self._row_bytes
        values = np.frombuffer(self._read(start, height * self._row_bytes), self._stored)
        return values.reshape(height, self._width, self._samples).astype(self._stored.newbyteorder("="), copy=False)

    def _decoded(self, number: int) -> NDArray[Any]:
        data, compression = self._read(self._offsets[number], self._counts[number]), int(self._page.compression)
        if compression in _PICTURE_CODECS:
            _check_claim(data, self._rows, self._columns, self._name)
        if compression == _PNG and not png_is_whole(data):  # libpng prints its remarks on damaged ones on the terminal
            raise ValueError("it is damaged")
        piece, _, _ = self._decode(data, number, **self._arguments)
        return np.asarray(piece).reshape(piece.shape[-3], piece.shape[-2], -1)


def _decoding_arguments(page: tifffile.TiffPage) -> dict[str, Any]:
    """Return what a page's JPEGs have in common."""
    if int(page.compression) not in _JPEGS:
        return {}
    return {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}


def _picture(tiff: tifffile.TiffFile, source: Source) -> tifffile.TiffPage:
    """Return the first page that is not a reduced copy; it may be in a subdirectory of another page."""
    pages = []
    for number in range(_MOST_PAGES):
        try:
            page = tiff.pages[number]
        except (IndexError, ValueError, KeyError, tifffile.TiffFileError):
            break
        if not isinstance(page, tifffile.TiffPage):
            page = page.aspage()
        pages.append(page)
        try:
            below = page.pages
        except (ValueError, KeyError, IndexError, tifffile.TiffFileError):
            continue
        for inner in range(min(len(below), 16) if below is not None else 0):
            found = below[inner]
            pages.append(found if isinstance(found, tifffile.TiffPage) else found.aspage())
    if not pages:
        raise PhotographError(f"{source.name} is a damaged TIFF: it holds no picture.")
    whole = [page for page in pages if not page.is_reduced and not page.is_mask and page.imagewidth]
    if not whole:
        return pages[0]
    if len(whole) > 1:
        several(source)
    return whole[0]


def _needs_pillow(page: tifffile.TiffPage) -> bool:
    """Whether only Pillow decodes a page: the JPEG of TIFF before 1995, or chroma of fewer samples, not compressed.

    All else is decoded without it, as its libtiff prints its remarks on damaged files on the terminal.
    """
    if page.bitspersample > 8:
        return False
    return int(page.compression) == _OLD_JPEG or (_is_packed(page) and int(page.compression) == 1)


def _is_packed(page: tifffile.TiffPage) -> bool:
    """Return whether chroma has fewer samples than luma, in a compression whose codec does not handle that."""
    return (
        page.photometric == _PHOTOMETRIC.YCBCR
        and int(page.compression) not in _DECODES_COLOUR
        and tuple(page.tags.valueof(_SUBSAMPLING, (2, 2))) != (1, 1)
    )


def _check_pieces(page: tifffile.TiffPage, source: Source) -> None:
    """See that no strip or tile is larger than it should be, before any is decoded: a small file may hold gigabytes.

    Raises
    ------
    PhotographError
        If one is.
    """
    _check_tiles(page, source)
    if int(page.compression) not in _PICTURE_CODECS:
        return
    height, width = page.chunks[:2] if page.planarconfig != tifffile.PLANARCONFIG.SEPARATE else page.chunks[-3:-1]
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
        if count > 0 and offset > 0:
            source.file.seek(offset)
            _check_claim(source.file.read(count), height, width, source.name)


def _check_tiles(page: tifffile.TiffPage, source: Source) -> None:
    if page.is_tiled and page.tilewidth * page.tilelength > _LARGEST_TILE * max(
        page.imagewidth * page.imagelength, _SMALL_PICTURE
    ):
        raise PhotographError(
            f"{source.name} is damaged: its tiles have {page.tilewidth} x {page.tilelength} pixels, many more than the "
            f"picture of {page.imagewidth} x {page.imagelength}."
        )


def _check_claim(data: bytes, height: int, width: int, name: str) -> None:
    """See that a strip or tile does not state a larger size than it should have."""
    claimed = _encoded_size(data)
    if claimed is not None and (claimed[0] > width + _BLOCK or claimed[1] > height + _BLOCK):
        raise PhotographError(
            f"{name} is damaged: a part of {width} x {height} pixels is stored as one of {claimed[0]} x {claimed[1]}."
        )


def _encoded_size(data: bytes) -> tuple[int, int] | None:
    """Return the width and height in px that a strip or tile states in its own data."""
    if data.startswith(PNG_SIGNATURE) and len(data) >= 24:
        width, height = struct.unpack_from(">II", data, 16)
    elif data.startswith(b"Lerc2 ") and len(data) >= 22:
        (version,) = struct.unpack_from("<i", data, 6)
        height, width = struct.unpack_from("<ii", data, 14 if version >= 3 else 10)  # after a checksum
    elif data.startswith(JPEGXL_SIGNATURES):
        width, height = jpegxl_size(data)
    else:
        return encoded_size(data)
    return width, height


def _pixels(page: tifffile.TiffPage, source: Source) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Return the samples as stored, H x W x C, and where strips or tiles of them are missing from the file."""
    places = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    whole = len(places) >= np.prod(page.chunked)
    if whole and all(_is_sound(page, source, offset, count) for offset, count in places):
        try:
            stored = page.asarray(maxworkers=1)
        except Exception:  # a damaged strip: codecs raise many kinds
            pass
        else:
            return _channels_last(page, stored), None
    stored, missing = _pieces(page, source)
    if missing.all():
        raise PhotographError(f"{source.name} is damaged or cut short: none of its pixels can be decoded.")
    incomplete(source, f"is damaged or cut short: {missing.mean():.0%} of its pixels are missing")
    return stored, missing


def _is_sound(page: tifffile.TiffPage, source: Source, offset: int, count: int) -> bool:
    """Return whether a strip or tile lies within the file and has no known damage."""
    if count <= 0 or offset <= 0 or offset + count > source.size:
        return False
    if int(page.compression) != _PNG:
        return True
    source.file.seek(offset)  # libpng prints its remarks on damaged ones on the terminal
    return png_is_whole(source.file.read(count))


def _channels_last(page: tifffile.TiffPage, stored: NDArray[Any]) -> NDArray[Any]:
    if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and page.samplesperpixel > 1:
        stored = np.moveaxis(stored, 0, -1)
    return stored.reshape(page.imagelength, page.imagewidth, -1)


def _pieces(page: tifffile.TiffPage, source: Source) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Decode strip by strip, or tile by tile, leaving out what is damaged."""
    assert page.dtype is not None
    channels = max(int(page.samplesperpixel), 1)
    stored = np.zeros((page.imagelength, page.imagewidth, channels), page.dtype)
    missing = np.ones((page.imagelength, page.imagewidth, channels), bool)
    separate = page.planarconfig == tifffile.PLANARCONFIG.SEPARATE
    arguments = _decoding_arguments(page)
    for number, (offset, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=False)):
        if not _is_sound(page, source, offset, count):
            continue
        source.file.seek(offset)
        try:
            piece, (frame, _, top, left, _), shape = page.decode(source.file.read(count), number, **arguments)
        except Exception:  # as above
            continue
        if piece is None or top >= page.imagelength or left >= page.imagewidth:
            continue
        height, width = min(shape[1], page.imagelength - top), min(shape[2], page.imagewidth - left)
        which = slice(frame, frame + 1) if separate else slice(None)
        piece = piece.reshape(piece.shape[-3], piece.shape[-2], -1)[:height, :width]
        stored[top : top + height, left : left + width, which] = piece
        missing[top : top + height, left : left + width, which] = False
    return stored, np.asarray(missing.any(axis=2))


def _with_whole_range(page: tifffile.TiffPage, stored: NDArray[Any], name: str) -> NDArray[Any]:
    """Return samples scaled to the whole range of their type, with white above black."""
    if stored.dtype.kind == "f":
        pixels = checked_floats(stored, name)
        white: float = 1
    elif stored.dtype == np.uint16:
        pixels = stretch(stored, page.bitspersample) if page.bitspersample < 16 else stored
        white = 65535
    else:
        pixels = stored.astype(np.uint8, copy=False)
        if page.bitspersample < 8:
            pixels = (pixels.astype(np.uint16) * 255 // (2**page.bitspersample - 1)).astype(np.uint8)
        white = 255
    if page.photometric == _PHOTOMETRIC.MINISWHITE:
        pixels = (white - pixels).astype(pixels.dtype, copy=False)
    return pixels


def _in_rgb(page: tifffile.TiffPage, pixels: NDArray[Any]) -> NDArray[Any]:
    """Colours that no codec has made RGB: YCbCr and L*a*b* of 8 bits, by Pillow; what comes after them stays."""
    if page.photometric == _PHOTOMETRIC.CIELAB:
        mode = "LAB"
    elif page.photometric == _PHOTOMETRIC.YCBCR and int(page.compression) not in _DECODES_COLOUR:
        mode = "YCbCr"
    else:
        return pixels
    if pixels.dtype != np.uint8:
        raise ValueError(f"its {mode} colours have no 8 bits")
    height, width = pixels.shape[:2]
    colours = np.ascontiguousarray(pixels[..., :3]).tobytes()
    converted = np.asarray(in_plain_mode(Image.frombytes(mode, (width, height), colours)))
    return np.concatenate([converted, pixels[..., 3:]], axis=2)


def _from_palette(page: tifffile.TiffPage, numbers: NDArray[Any]) -> NDArray[np.uint8]:
    palette = page.colormap
    if palette is None or palette.shape[0] != 3:
        raise ValueError("its palette is missing")
    return np.asarray((palette[:, np.minimum(numbers, palette.shape[1] - 1)] >> 8).astype(np.uint8).transpose(1, 2, 0))


def _value(page: tifffile.TiffPage, tag: int) -> object:
    try:
        return page.tags.valueof(tag)
    except Exception:  # damaged tags raise many kinds
        return None


def _exif(page: tifffile.TiffPage, source: Source) -> Exif:
    """What the page's directory, and the camera's and the place's below it, say beside how its pixels are stored."""
    from defocus.photograph.exif import read_directory

    order = page.parent.byteorder
    big = page.parent.is_bigtiff
    main, damaged = read_directory(source.file, page.offset, order, big)
    below = []
    for pointer in (CAMERA_DIRECTORY, GPS_DIRECTORY):
        entry = main.get(pointer)
        entries: dict[int, Entry] = {}
        at = int.from_bytes(entry.value[: 8 if big else 4], "little" if order == "<" else "big") if entry else 0
        if at:
            entries, more = read_directory(source.file, at, order, big)
            damaged += more
        below.append(entries)
    kept = {tag: entry for tag, entry in main.items() if tag not in OF_THE_PIXELS and tag < 65000}
    return Exif(kept, below[0], below[1], order, damaged)
