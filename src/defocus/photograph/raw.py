"""Camera RAW: data of the sensor, developed by LibRaw into a photograph."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import IFD, Base

from defocus.errors import PhotographError
from defocus.photograph.colour import Space
from defocus.photograph.decoded import Decoded
from defocus.photograph.exif import CAMERA_DIRECTORY, GPS_DIRECTORY, Entry, Exif, parse_exif, read_directory
from defocus.photograph.maker_note import focus_in_maker_note
from defocus.photograph.source import Source
from defocus.runtime.cores import available_cores

__all__ = ["RAW_SUFFIXES", "is_raw", "open_raw", "raw_metadata", "read_preview", "read_raw"]

RAW_SUFFIXES = frozenset(
    ".dng .cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .raf .orf .rw2 .rwl .pef .srw .3fr .fff .iiq .mos .erf .kdc .dcr "
    ".mef .mrw .x3f".split()
)
"""Suffixes of camera RAW formats, in lower case."""

_TIFF_SIGNATURES = (b"II*\0", b"MM\0*")
# Of RAW formats that are not TIFF: Canon's before and after, Fujifilm's, Olympus's, Panasonic's, Minolta's, Sigma's.
_SIGNATURES = (b"II\x1a\0\0\0HEAPCCDR", b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"\0MRM", b"FOVb")
_NOT_RAW = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"BM")
_DNG_VERSION, _XMP = 50706, 700
_OF_THE_FILE = (
    IFD.MakerNote,
    IFD.Interop,
    Base.CFAPattern,
)  # maker's notes and interoperability point into it; the filters of its sensor
_ABOUT = (270, 271, 272, 274, 305, 306, 315, 33432)  # of the camera, the author, the day, and which way up


def is_raw(source: Source) -> bool:
    """Tell whether a file is camera RAW.

    Most RAW formats are TIFFs whose first picture is a preview, so a TIFF counts as RAW by its suffix or if it says
    that it is a DNG; the rest counts by its first bytes.
    """
    head = source.head()
    named = source.path is not None and source.path.suffix.lower() in RAW_SUFFIXES
    if head.startswith(_SIGNATURES) or head[4:12] == b"ftypcrx ":
        return True
    if head.startswith(_TIFF_SIGNATURES):
        if named or head[8:10] == b"CR":
            return True
        order = "<" if head.startswith(b"II") else ">"
        entries, _ = read_directory(source.file, struct.unpack(order + "I", head[4:8])[0], order)
        return _DNG_VERSION in entries
    return named and not head.startswith(_NOT_RAW) and head[4:8] != b"ftyp"


def read_raw(source: Source, *, half: bool = False) -> Decoded:
    """Develop a RAW file at full resolution.

    The camera's white balance, sRGB primaries and the sRGB curve, 16 bits. Black and white are the sensor's; but a
    brightest pixel of three quarters of its white or more is white, by which LibRaw keeps clipped lights from turning
    pink. Nothing is brightened beyond, which would clip lights, or sharpened or smoothed, which would change the blur.

    Parameters
    ----------
    source : the file.
    half : make one pixel of each 2 x 2 of the sensor, which takes a tenth of the time.

    Raises
    ------
    PhotographError
        If rawpy is not installed, LibRaw does not know the camera, or the file is damaged.
    """
    with open_raw(source) as raw:
        import rawpy

        raw.unpack()
        pixels: NDArray[np.uint16] = raw.postprocess(
            output_bps=16,
            output_color=rawpy.ColorSpace.sRGB,
            gamma=(2.4, 12.92),  # the sRGB curve
            use_camera_wb=True,
            no_auto_bright=True,
            fbdd_noise_reduction=rawpy.FBDDNoiseReductionMode.Off,
            noise_thr=None,
            median_filter_passes=0,
            half_size=half,
        )
        exif = raw_metadata(source, raw)[0]
    # LibRaw has turned it already.
    space: Space = "gray" if pixels.shape[2] == 1 else "rgb"
    return Decoded(pixels, space, exif=exif.to_bytes() or None, turned=True)


@contextmanager
def open_raw(source: Source) -> Iterator[Any]:
    """Open a RAW file by LibRaw, not yet unpacked; its errors within the block become sentences.

    Raises
    ------
    PhotographError
        As `read_raw`.
    """
    try:
        import rawpy
    except ImportError as error:
        raise PhotographError(
            f"{source.name} is camera RAW, which needs one more package: pip install rawpy."
        ) from error
    source.file.seek(0)
    from threadpoolctl import threadpool_limits  # takes 2 ms, which other formats need not pay

    with rawpy.RawPy() as raw, threadpool_limits(available_cores(), user_api="openmp"):
        try:
            raw.open_buffer(source.file)
            source.check_size(raw.sizes.height, raw.sizes.width, 8)
            yield raw
        except rawpy.LibRawFileUnsupportedError as error:
            version = ".".join(map(str, rawpy.libraw_version))
            raise PhotographError(
                f"{source.name} is damaged, or RAW of a camera that LibRaw {version} does not know: "
                "update rawpy, or convert it to DNG or TIFF."
            ) from error
        except rawpy.LibRawUnsufficientMemoryError as error:
            raise MemoryError from error
        except rawpy.LibRawError as error:
            reason = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
            raise PhotographError(f"{source.name} is damaged or cut short: {reason}.") from error


def read_preview(raw: Any) -> bytes | None:
    """Return the JPEG that the camera put into a RAW file; None where there is none, or it is no JPEG.

    Parameters
    ----------
    raw : opened by `open_raw`.
    """
    import rawpy

    try:
        preview = raw.extract_thumb()
    except rawpy.LibRawError:
        return None
    return preview.data if preview.format == rawpy.ThumbFormat.JPEG else None


def raw_metadata(source: Source, raw: Any = None) -> tuple[Exif, bytes | None]:
    """Return what a RAW file says of camera, lens, author, day and place, without the maker's notes; and its XMP.

    Formats that are TIFFs hold it themselves; of the others the preview's EXIF is taken. Empty where there is none.

    Parameters
    ----------
    source : the file.
    raw : the same, opened by `open_raw`; without it, formats that are no TIFFs have nothing to say.
    """
    head = source.head()
    xmp: bytes | None = None
    focus: tuple[float, float] | None = None
    if not head.startswith(_TIFF_SIGNATURES):
        stored = parse_exif(b"" if raw is None else _preview_exif(raw))
        focus = stored.focus
    else:
        order = "<" if head.startswith(b"II") else ">"
        main, damaged = read_directory(source.file, struct.unpack(order + "I", head[4:8])[0], order)
        parts = []
        for pointer in (CAMERA_DIRECTORY, GPS_DIRECTORY):
            entries: dict[int, Entry] = {}
            if pointer in main:
                at = struct.unpack(order + "I", main[pointer].value[:4])[0]
                entries, more = read_directory(source.file, at, order)
                damaged += more
                if pointer == CAMERA_DIRECTORY:
                    focus = focus_in_maker_note(source.file, at, order, main, entries)
            parts.append(entries)
        stored = Exif(main, parts[0], parts[1], order, damaged)
        xmp = main[_XMP].value if _XMP in main else None
    kept = {tag: entry for tag, entry in stored.main.items() if tag in _ABOUT}
    camera = {tag: entry for tag, entry in stored.camera.items() if tag not in _OF_THE_FILE}
    return Exif(kept, camera, stored.gps, stored.order, stored.damaged, focus), xmp


def _preview_exif(raw: Any) -> bytes:
    try:
        preview = read_preview(raw)
        if preview is None:
            return b""
        with Image.open(io.BytesIO(preview)) as image:
            found: bytes = image.info.get("exif", b"")
            return found
    except Exception:  # what a preview says is of use, not needed
        return b""
