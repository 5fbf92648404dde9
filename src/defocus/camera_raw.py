"""Camera RAW: what a sensor saw, developed by LibRaw into a photograph."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from defocus.errors import PhotographError

RAW_SUFFIXES = frozenset(
    ".dng .cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .raf .orf .rw2 .rwl .pef .srw .3fr .fff .iiq .mos .erf .kdc .dcr "
    ".mef .mrw .x3f".split()
)
"""Suffixes, in lower case, of the cameras' own formats."""

_TIFF_SIGNATURES = (b"II*\0", b"MM\0*")
# Of RAW formats that are not TIFF: Canon's before and after, Fujifilm's, Olympus's, Panasonic's, Minolta's, Sigma's.
_SIGNATURES = (b"II\x1a\0\0\0HEAPCCDR", b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"\0MRM", b"FOVb")
_NOT_RAW = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"BM")
_DNG_VERSION = 50706
_CAMERA_DIRECTORY, _GPS_DIRECTORY = 0x8769, 0x8825
_OF_THE_FILE = (0x927C, 0xA005, 0xA302)  # maker's notes and interoperability point into it; the filters of its sensor
_WORDS = (270, 271, 272, 274, 305, 306, 315, 33432)  # of the camera, the author, the day, and which way up


def is_raw(path: Path, head: bytes) -> bool:
    """Tell whether a file is camera RAW.

    Most RAW formats are TIFFs whose first picture is a preview, so a TIFF counts as RAW by its suffix or if it says
    that it is a DNG; the rest counts by its first bytes.

    Parameters
    ----------
    path : the file.
    head : its first 16 bytes or more.
    """
    named = path.suffix.lower() in RAW_SUFFIXES
    if head.startswith(_SIGNATURES) or head[4:12] == b"ftypcrx ":
        return True
    if head.startswith(_TIFF_SIGNATURES):
        if named or head[8:10] == b"CR":
            return True
        with tifffile.TiffFile(path) as tiff:
            return _DNG_VERSION in tiff.pages.first.tags
    return named and not head.startswith(_NOT_RAW) and head[4:8] != b"ftyp"


def develop(path: Path, check_size: Callable[[int, int], None]) -> NDArray[np.uint16]:
    """Develop a RAW file at full resolution.

    The camera's white balance, sRGB primaries and the sRGB curve. Black and white are the sensor's; but a brightest
    pixel of three quarters of its white or more is white, by which LibRaw keeps clipped lights from turning pink.
    Nothing is brightened beyond, which would clip lights, or sharpened or smoothed, which would change the blur.

    Parameters
    ----------
    path : the file.
    check_size : called with height and width, in px, before anything is decoded; raises to refuse.

    Returns
    -------
    H x W x 3 or, of a sensor without colours, H x W x 1; 0..65535, upright.

    Raises
    ------
    PhotographError
        If rawpy is not installed, LibRaw does not know the camera, or the file is damaged.
    """
    try:
        import rawpy
    except ImportError as error:
        raise PhotographError(
            f'{path} is camera RAW, which needs one more package: run pip install "defocus[raw]".'
        ) from error
    with rawpy.RawPy() as raw:
        try:
            raw.open_file(str(path))
            check_size(raw.sizes.height, raw.sizes.width)
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
            )
        except rawpy.LibRawFileUnsupportedError as error:
            version = ".".join(map(str, rawpy.libraw_version))
            raise PhotographError(
                f"{path} is damaged, or RAW of a camera that LibRaw {version} does not know: "
                "update rawpy, or convert it to DNG or TIFF."
            ) from error
        except rawpy.LibRawUnsufficientMemoryError as error:
            raise MemoryError from error
        except rawpy.LibRawError as error:
            reason = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
            raise PhotographError(f"{path} is damaged or cut short: {reason}.") from error
    return pixels


def read_raw_exif(path: Path) -> Image.Exif:
    """What a RAW file says of camera, lens, author, day and place; without the maker's notes.

    Formats that are TIFFs hold it themselves; of the others the preview's EXIF is taken. Empty where there is none.
    """
    exif = Image.Exif()
    with path.open("rb") as file:
        stored = Image.Exif()
        if file.read(4) in _TIFF_SIGNATURES:
            file.seek(0)
            stored.load_from_fp(file)
        else:
            stored.load(_preview_exif(path))
        exif.update({tag: stored[tag] for tag in _WORDS if tag in stored})
        for directory in (_CAMERA_DIRECTORY, _GPS_DIRECTORY):
            entries = {tag: value for tag, value in stored.get_ifd(directory).items() if tag not in _OF_THE_FILE}
            if entries:
                exif[directory] = entries
    readable = Image.Exif()
    readable.load(exif.tobytes())
    return readable


def _preview_exif(path: Path) -> bytes:
    import rawpy

    with rawpy.RawPy() as raw:
        raw.open_file(str(path))
        preview = raw.extract_thumb()
    if preview.format != rawpy.ThumbFormat.JPEG:
        return b""
    with Image.open(io.BytesIO(preview.data)) as image:
        found: bytes = image.info.get("exif", b"")
    return found
