"""Photograph: step one, from a file or an array to upright sRGB pixels."""

from __future__ import annotations

import hashlib
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import BufferedReader
from pathlib import Path
from typing import Any, Literal, TypeAlias

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import DTypeLike, NDArray
from PIL import Image, UnidentifiedImageError

from defocus.camera_raw import RAW_SUFFIXES, develop, is_raw
from defocus.errors import PhotographError

MAX_PIXELS = 200_000_000
MIN_SIDE = 3
PHOTOGRAPH_SUFFIXES = RAW_SUFFIXES.union(
    ".jpg .jpeg .jpe .jfif .png .tif .tiff .webp .heic .heif .hif .avif .bmp .jp2 .ppm .pgm .gif".split()
)
"""Suffixes, in lower case, by which a photograph is found in a folder. Reading goes by content, not by suffix, but for
RAW files that look like a TIFF."""

_FLOAT_SLACK = 1e-6  # resampling and colour conversion overshoot 0..1 by rounding
_ORIENTATION_TAG = 0x0112
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_HDR_TRANSFERS = (16, 18)  # PQ and HLG in ITU-T H.273

_Space: TypeAlias = Literal["gray", "rgb", "cmyk"]
_CHANNELS: dict[_Space, int] = {"gray": 1, "rgb": 3, "cmyk": 4}


class PhotographWarning(UserWarning):
    """The photograph was read, but not everything in its file could be honoured."""


@dataclass(frozen=True, eq=False)
class Photograph:
    """An upright sRGB photograph.

    Attributes
    ----------
    pixels : H x W x 3 array, uint8 (0..255), uint16 (0..65535) or float32/float64 (0..1), display-referred sRGB.
        Integer files keep their integers, so nothing is lost before a method asks for floats. Read-only.
    path : where it came from, or None for an array.
    profile : ICC profile that the pixels are in instead of sRGB, where `read_photograph` was asked to leave them so.
    """

    pixels: NDArray[Any]
    path: Path | None = field(default=None)
    profile: bytes | None = field(default=None, repr=False)

    @property
    def height(self) -> int:
        """Number of rows."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Number of columns."""
        return int(self.pixels.shape[1])

    def as_float(self, dtype: DTypeLike = np.float64) -> NDArray[Any]:
        """Return the pixels as a new H x W x 3 float array in 0..1.

        Integers are divided by 255 or 65535, as MATLAB's `im2double` does.

        Parameters
        ----------
        dtype : np.float64 or np.float32.
        """
        if self.pixels.dtype.kind == "f":
            return self.pixels.astype(dtype)
        values: NDArray[Any] = np.divide(self.pixels, np.iinfo(self.pixels.dtype).max, dtype=dtype)
        return values


PhotographLike: TypeAlias = "str | os.PathLike[str] | NDArray[Any] | Image.Image | Photograph"


def as_photograph(photo: PhotographLike) -> Photograph:
    """Return the photograph that a path, an array, a PIL image or a `Photograph` stands for.

    A PIL image is turned upright and converted to sRGB as a file is. Pillow holds colour at 8 bits per channel:
    for 16 bits give the path or an array.

    Raises
    ------
    PhotographError
        As `read_photograph` and `photograph_from_array`; also for any other kind of object.
    """
    if isinstance(photo, Photograph):
        return photo
    if isinstance(photo, str | os.PathLike):
        return read_photograph(photo)
    if isinstance(photo, Image.Image):
        with _decoding("the image"):
            return _from_pillow(photo, "the image", None)
    if isinstance(photo, np.ndarray):
        return photograph_from_array(photo)
    raise PhotographError(
        f"A photograph is a path, a NumPy array or a PIL image, not {type(photo).__name__}: convert it to one."
    )


def photograph_from_array(array: NDArray[Any]) -> Photograph:
    """Check an array and wrap it as a photograph, without changing or (for colour) copying it.

    Parameters
    ----------
    array : H x W, H x W x 1, H x W x 3 (RGB) or H x W x 4 (RGB and alpha), at least 3 x 3 pixels;
        uint8 (0..255), uint16 (0..65535) or float (0..1), display-referred sRGB, upright.
        Alpha is dropped, not composited: a composite would invent edges where alpha changes.
        Floats may leave 0..1 by 1e-6, as rounding does, and are then clipped in a copy.

    Raises
    ------
    PhotographError
        If shape, dtype or values are otherwise, with NaN and infinity among these.
    """
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        first = array.ndim == 3 and array.shape[0] in (1, 3, 4)
        hint = "its channels come first: use array.transpose(1, 2, 0)" if first else "pass H x W or H x W x 3 or 4"
        raise PhotographError(f"An array of shape {array.shape} is not a photograph: {hint}.")
    kind = array.dtype.kind
    if array.dtype.newbyteorder("=") not in (np.uint8, np.uint16) and not (kind == "f" and array.itemsize <= 8):
        raise PhotographError(
            f"Pixels of type {array.dtype} are not a photograph's: pass uint8, uint16 or floats in 0..1."
        )
    height, width = array.shape[:2]
    _check_size(height, width, "the array", None)
    pixels = array.reshape(height, width, -1)[..., :3]
    if kind == "f":
        pixels = _checked_floats(pixels)
    return _finish(pixels, None)


def read_photograph(
    path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS, own_colours: bool = False
) -> Photograph:
    """Read a photograph from a file: upright, sRGB, at the bit depth of the file.

    JPEG, PNG and TIFF (8 and 16 bits; TIFF also float), WebP, AVIF, GIF, BMP, JPEG 2000, PNM, HEIC where pillow-heif
    is installed, and camera RAW where rawpy is; told apart by content. EXIF orientation is applied. An embedded ICC
    profile (grey, RGB or CMYK) is converted to sRGB by LittleCMS, relative colorimetric with black point compensation,
    at the file's bit depth; without a profile pixels are taken for sRGB, and CMYK is converted by
    (1 - ink)(1 - black). RAW is developed by LibRaw with the camera's white balance into 16 bits, without automatic
    brightening, sharpening or noise reduction. Alpha is dropped, not composited: a composite would invent edges where
    alpha changes.

    Parameters
    ----------
    path : the file.
    max_pixels : refuse larger ones before decoding; they may be a decompression bomb.
    own_colours : leave RGB pixels in the file's own profile, to be edited and saved with it. Estimates want sRGB.

    Returns
    -------
    Photograph
        uint8, uint16 or float32 pixels.

    Warns
    -----
    PhotographWarning
        If only the first of several pictures is read, or a colour profile could not be used.

    Raises
    ------
    PhotographError
        If the file is missing, a folder, empty, damaged, truncated or no photograph, smaller than 3 x 3
        pixels or larger than `max_pixels`, HEIC without pillow-heif, or RAW without rawpy or of an unknown camera.
    """
    source = Path(path)
    name = str(source)
    with _opened(source) as file:
        head = file.read(32)
    if not head:
        raise PhotographError(f"{name} is empty: copy it again from where it came.")
    with _decoding(name):
        if is_raw(source, head):
            pixels = develop(source, lambda height, width: _check_size(height, width, name, max_pixels))
            return _finish(pixels, source)  # LibRaw has turned it already
        if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS and b"avif" not in head[8:]:
            return _read_heif(source, max_pixels, own_colours)
        if head.startswith(_TIFF_SIGNATURES):
            deep = _read_deep_tiff(source, max_pixels, own_colours)
            if deep is not None:
                return deep
        if head.startswith(_PNG_SIGNATURE) and head[24:25] == b"\x10":  # bit depth of the IHDR chunk
            return _read_deep_png(source, max_pixels, own_colours)
        with _open_pillow(source, max_pixels) as image:
            return _from_pillow(image, name, source, own_colours)


def photograph_sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a photograph's file, 64 hexadecimal digits.

    Raises
    ------
    PhotographError
        If the file is missing, a folder, or cannot be read.
    """
    with _opened(Path(path)) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    """Open a file for reading, or say in one sentence why that cannot be done."""
    if path.is_dir():
        raise PhotographError(f"{path} is a folder: give a photograph.")
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError as error:
        raise PhotographError(f"There is no file {path}.") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise PhotographError(f"Cannot read {path}: {reason}.") from error


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Turn whatever decoders raise on a damaged file into one sentence."""
    try:
        yield
    except (PhotographError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise PhotographError(
            f"{name} is not a photograph, or damaged at its start: give a JPEG, PNG, TIFF, WebP, HEIC or RAW file."
        ) from error
    except Warning:  # warnings as errors are the caller's wish
        raise
    except Exception as error:  # damaged data makes decoders raise anything, from SyntaxError to struct.error
        reason = " ".join(str(error).split()).rstrip(".")
        raise PhotographError(f"{name} is damaged or cut short: {reason or type(error).__name__}.") from error


# Pillow's limit is global; this keeps two threads from restoring each other's.
_PILLOW_LIMIT = threading.Lock()


def _open_pillow(path: Path, max_pixels: int) -> Image.Image:
    """Open with `max_pixels` in the place of Pillow's own limit, and check the size."""
    with _PILLOW_LIMIT, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        own_limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
        try:
            image = Image.open(path)
        except Image.DecompressionBombError as error:  # more than twice the limit, size unknown to us
            raise PhotographError(_too_many(str(path), "", max_pixels)) from error
        finally:
            Image.MAX_IMAGE_PIXELS = own_limit
    try:
        _check_size(image.height, image.width, str(path), max_pixels)
    except PhotographError:
        image.close()
        raise
    return image


def _from_pillow(image: Image.Image, name: str, path: Path | None, own_colours: bool = False) -> Photograph:
    _check_size(image.height, image.width, name, None)
    # A phone's MPO is the photograph followed by previews or gain maps, not by more photographs.
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        _warn_first_of_several(name)
    image.load()
    orientation = image.getexif().get(_ORIENTATION_TAG, 1)  # after load: Pillow turns TIFFs itself while loading
    space: _Space = "gray"
    if image.mode == "F":
        pixels = _checked_floats(np.asarray(image), name)
    elif image.mode.startswith("I;16"):
        pixels = np.asarray(image).astype(np.uint16, copy=False)
    elif image.mode == "I" and image.format == "PPM":  # Pillow's mode for a 16-bit PGM
        pixels = np.asarray(image).astype(np.uint16)
    elif image.mode == "I":
        raise PhotographError(f"{name} has 32-bit integer pixels: save it with 8 or 16 bits.")
    else:
        plain = _in_plain_mode(image)
        pixels = np.asarray(plain)
        space = "cmyk" if plain.mode == "CMYK" else "gray" if plain.mode in ("L", "LA") else "rgb"
    return _coloured(pixels, space, image.info.get("icc_profile"), name, own_colours, path, orientation)


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


def _read_deep_png(path: Path, max_pixels: int, own_colours: bool) -> Photograph:
    """16-bit PNG; Pillow would make 8 bits of its colours."""
    with _open_pillow(path, max_pixels) as image:
        profile = image.info.get("icc_profile")
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    pixels = imagecodecs.png_decode(path.read_bytes())
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    space: _Space = "gray" if channels <= 2 else "rgb"
    return _coloured(pixels, space, profile, str(path), own_colours, path, orientation)


def _read_deep_tiff(path: Path, max_pixels: int, own_colours: bool) -> Photograph | None:
    """TIFF of more than 8 bits, which Pillow would cut; None where Pillow does well."""
    name = str(path)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        if not isinstance(page, tifffile.TiffPage) or page.bitspersample <= 8:
            return None
        _check_size(page.imagelength, page.imagewidth, name, max_pixels)
        floating = page.dtype is not None and page.dtype.kind == "f"
        if not floating and (page.dtype != np.uint16 or page.bitspersample > 16):
            raise PhotographError(
                f"{name} has pixels of {page.bitspersample} bits that are neither 16-bit unsigned nor float: "
                "save it with 8 or 16 bits."
            )
        photometric = tifffile.PHOTOMETRIC
        spaces: dict[int, _Space] = {
            photometric.MINISWHITE: "gray",
            photometric.MINISBLACK: "gray",
            photometric.RGB: "rgb",
            photometric.SEPARATED: "cmyk",
        }
        if page.photometric not in spaces:
            raise PhotographError(f"{name} stores 16-bit colours as {page.photometric.name}: save it as RGB or grey.")
        if any(not other.is_reduced for other in tiff.pages[1:]):
            _warn_first_of_several(name)
        space = spaces[page.photometric]
        pixels = page.asarray()
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and page.samplesperpixel > 1:
            pixels = np.moveaxis(pixels, 0, -1)
        if pixels.shape[:2] != (page.imagelength, page.imagewidth):
            raise PhotographError(f"{name} is a volume of several slices: save one slice as a photograph.")
        orientation = page.tags.valueof(_ORIENTATION_TAG, default=1)
        profile = page.tags.valueof(34675)  # ICC profile
    if pixels.dtype.kind == "f":
        if space == "cmyk":
            raise PhotographError(f"{name} has floating-point CMYK: save it as RGB.")
        pixels = _checked_floats(pixels, name)
    elif page.bitspersample < 16:
        pixels = _stretch(pixels, page.bitspersample)
    if page.photometric == photometric.MINISWHITE:
        white = 1 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max
        pixels = (white - pixels).astype(pixels.dtype, copy=False)
    return _coloured(pixels, space, profile, name, own_colours, path, orientation)


def _read_heif(path: Path, max_pixels: int, own_colours: bool) -> Photograph:
    name = str(path)
    try:
        import pillow_heif
    except ImportError as error:
        raise PhotographError(
            f"{name} is HEIC, which needs one more package: run pip install 'defocus[heif]'."
        ) from error
    picture = pillow_heif.open_heif(path, convert_hdr_to_8bit=False)
    width, height = picture.size
    _check_size(height, width, name, max_pixels)
    nclx = picture.info.get("nclx_profile") or {}
    if nclx.get("transfer_characteristics") in _HDR_TRANSFERS:
        _warn(f"{name} is HDR (PQ or HLG) and was read as if it were sRGB.")
    pixels = np.asarray(picture)
    bits = picture.info.get("bit_depth", 8)
    if pixels.dtype == np.uint16 and bits < 16:
        # libheif's 10 or 12 bits come shifted to the top of 16.
        pixels = _stretch(pixels >> (16 - bits), bits)
    space: _Space = "gray" if pixels.ndim == 2 or pixels.shape[2] < 3 else "rgb"
    # libheif has turned the picture already.
    return _coloured(pixels, space, picture.info.get("icc_profile"), name, own_colours, path)


def _stretch(pixels: NDArray[np.uint16], bits: int) -> NDArray[np.uint16]:
    """Spread 0..2^bits - 1 over 0..65535, rounding to nearest."""
    highest = 2**bits - 1
    stretched: NDArray[np.uint16] = ((pixels.astype(np.uint32) * 65535 + highest // 2) // highest).astype(np.uint16)
    return stretched


def _coloured(
    pixels: NDArray[Any],
    space: _Space,
    profile: bytes | None,
    name: str,
    own_colours: bool,
    path: Path | None,
    orientation: object = 1,
) -> Photograph:
    """Wrap decoded pixels in sRGB, or, if asked and they are RGB, in their own profile."""
    if own_colours and profile and space == "rgb":
        return replace(_finish(pixels.reshape(*pixels.shape[:2], -1)[..., :3], path, orientation), profile=profile)
    return _finish(_to_srgb(pixels, space, profile, name), path, orientation)


def _to_srgb(pixels: NDArray[Any], space: _Space, profile: bytes | None, name: str) -> NDArray[Any]:
    """Drop alpha and convert to sRGB; H x W x 3, or H x W x 1 for grey that needs no conversion."""
    pixels = pixels.reshape(*pixels.shape[:2], -1)[..., : _CHANNELS[space]]
    if profile:
        try:
            return _apply_profile(pixels, space, profile)
        except imagecodecs.CmsError:
            _warn(f"{name} has a damaged or unfitting colour profile, which was ignored.")
    if space == "cmyk":
        white = np.iinfo(pixels.dtype).max
        paper = (white - pixels).astype(np.uint32)
        return ((paper[..., :3] * paper[..., 3:] + white // 2) // white).astype(pixels.dtype)
    return pixels


def _apply_profile(pixels: NDArray[Any], space: _Space, profile: bytes) -> NDArray[Any]:
    """Convert from an ICC profile to sRGB; the very pixels where the profile is sRGB itself."""
    if space == "rgb":
        steps = np.linspace(0, 255, 9).round().astype(np.uint8)
        probe = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 27, 3)
        change = np.abs(_lcms(probe, space, profile).astype(int) - probe)
        if change.max() <= 1:
            return pixels
    return _lcms(pixels, space, profile)


def _lcms(pixels: NDArray[Any], space: _Space, profile: bytes) -> NDArray[Any]:
    dtype = pixels.dtype
    flags: int = imagecodecs.CMS.FLAGS.BLACKPOINTCOMPENSATION
    if dtype != np.uint8 or space == "gray":
        # LittleCMS's tables are off by up to 15/255 for 16 bits (at the gamut's boundary), 10/255 for linear grey.
        flags |= imagecodecs.CMS.FLAGS.NOOPTIMIZE
    if space == "gray":
        pixels = pixels[..., 0]
    converted: NDArray[Any] = imagecodecs.cms_transform(
        np.ascontiguousarray(pixels),
        profile,
        imagecodecs.cms_profile("srgb"),
        colorspace=space,
        outcolorspace="rgb",
        intent=imagecodecs.CMS.INTENT.RELATIVE_COLORIMETRIC,
        flags=flags,
    )
    if dtype.kind == "f":  # floats are not bounded by LittleCMS
        np.clip(converted, 0, 1, out=converted)
    return converted


def _checked_floats(pixels: NDArray[Any], name: str = "the photograph") -> NDArray[Any]:
    """Return floats as float32 or float64 in 0..1; a copy only if something had to change."""
    low, high = pixels.min(), pixels.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise PhotographError(f"Pixels of {name} are NaN or infinite: replace them, or crop them away.")
    if low < -_FLOAT_SLACK or high > 1 + _FLOAT_SLACK:
        raise PhotographError(
            f"Floating-point pixels must be in 0..1, but those of {name} span {low:g}..{high:g}: "
            "divide by their white level, or pass uint8 or uint16."
        )
    pixels = pixels.astype(np.float64 if pixels.itemsize == 8 else np.float32, copy=False)
    return np.clip(pixels, 0, 1) if low < 0 or high > 1 else pixels


def _finish(pixels: NDArray[Any], path: Path | None, orientation: object = 1) -> Photograph:
    """Turn upright, make three channels of one, and protect."""
    pixels = _turn_upright(pixels, orientation)
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    upright = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("="))
    protected = upright.view()
    protected.flags.writeable = False
    return Photograph(protected, path)


def reduce_photograph(photograph: Photograph, longest: int) -> Photograph:
    """Return the photograph with its longer side `longest` px, by means over areas; as it is where it is not larger.

    Parameters
    ----------
    photograph : any size.
    longest : px, at least 3.

    Returns
    -------
    Photograph
        uint8 pixels stay uint8, all others become float32 0..1. The shorter side is at least 3 px.

    Raises
    ------
    ValueError
        If `longest` is less.
    """
    if longest < MIN_SIDE:
        raise ValueError(f"longest must be {MIN_SIDE} px or more, not {longest}.")
    scale = longest / max(photograph.width, photograph.height)
    if scale >= 1:
        return photograph
    size = max(MIN_SIDE, round(photograph.width * scale)), max(MIN_SIDE, round(photograph.height * scale))
    if photograph.pixels.dtype == np.uint8:
        small = np.asarray(Image.fromarray(photograph.pixels).resize(size, Image.Resampling.BOX))
    else:
        # Pillow resizes floats one channel at a time.
        channels = np.moveaxis(photograph.as_float(np.float32), 2, 0)
        planes = [Image.fromarray(np.ascontiguousarray(c)).resize(size, Image.Resampling.BOX) for c in channels]
        small = np.clip(np.stack([np.asarray(plane) for plane in planes], axis=2), 0, 1)
    return replace(_finish(small, photograph.path), profile=photograph.profile)


def _turn_upright(pixels: NDArray[Any], orientation: object) -> NDArray[Any]:
    """Undo EXIF 2.32's orientation, tag 0x0112: where the stored first row and first column belong."""
    match orientation:
        case 2:  # top, right
            return pixels[:, ::-1]
        case 3:  # bottom, right
            return pixels[::-1, ::-1]
        case 4:  # bottom, left
            return pixels[::-1]
        case 5:  # left, top
            return pixels.swapaxes(0, 1)
        case 6:  # right, top
            return pixels[::-1].swapaxes(0, 1)
        case 7:  # right, bottom
            return pixels[::-1, ::-1].swapaxes(0, 1)
        case 8:  # left, bottom
            return pixels[:, ::-1].swapaxes(0, 1)
        case _:
            return pixels


def _check_size(height: int, width: int, name: str, max_pixels: int | None) -> None:
    if min(height, width) < MIN_SIDE:
        raise PhotographError(
            f"{name} has {width} x {height} pixels: a photograph has at least {MIN_SIDE} x {MIN_SIDE}."
        )
    if max_pixels is not None and height * width > max_pixels:
        raise PhotographError(_too_many(name, f"{width} x {height} pixels, ", max_pixels))


def _too_many(name: str, size: str, max_pixels: int) -> str:
    limit = f"{max_pixels / 1e6:g} million pixels"
    return f"{name} has {size}more than the limit of {limit}: make it smaller or raise the limit."


def _warn_first_of_several(name: str) -> None:
    _warn(f"{name} holds several pictures; only the first is read.")


def _warn(message: str) -> None:
    warnings.warn(message, PhotographWarning, stacklevel=2)
