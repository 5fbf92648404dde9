"""The class of a photograph, and its construction from arrays and images."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import DTypeLike, NDArray
from PIL import Image

from defocus.errors import PhotographError
from defocus.photograph.colour import Space, srgb_conversion
from defocus.photograph.exif import Exif, parse_exif
from defocus.photograph.stored_pixels import StoredPixels

__all__ = [
    "MIN_SIDE",
    "ArrayProtocol",
    "DLPackProtocol",
    "Photograph",
    "PhotographLike",
    "as_photograph",
    "check_sides",
    "checked_floats",
    "native",
    "photograph_from_array",
    "protected",
    "reduce_photograph",
]

MIN_SIDE = 3
"""Smallest width and height of a photograph, px."""
_FLOAT_SLACK = 1e-6  # resampling and colour conversion overshoot 0..1 by rounding


@dataclass(frozen=True, eq=False)
class Photograph:
    """An upright photograph, in sRGB unless `profile` is set.

    Attributes
    ----------
    pixels : H x W x 3 array, uint8 (0..255), uint16 (0..65535) or float32/float64 (0..1), display-referred sRGB.
        Integer files keep their integers, so nothing is lost before a method asks for floats. Read-only. Of a large
        TIFF they stay in the file: `pixels[rows, columns]` reads a part, and `np.asarray(pixels)` the whole.
    path : path of the file, or None for an array or bytes.
    profile : ICC profile of the pixels, if `read_photograph` was asked not to convert them to sRGB.
    alpha : H x W, of the type of `pixels`: how opaque each pixel is; None where all are. Never composited.
    missing : bool H x W, True where the file does not hold the pixel; None where all are there.
    exif, xmp : metadata as the file holds them, or None.
    orientation : EXIF orientation stored in the file, 1..8; pixels, alpha and missing are upright already.
    sha256 : SHA-256 of the file, 64 hexadecimal digits; None for an array.
    file_format : name of the file's format, such as "JPEG"; None for an array.
    stored_colours : "gray", "rgb" or "cmyk", the colour model of the file.
    full_size : width and height, px, upright, of the photograph that this is a reduced copy of; None for a whole one.

    Examples
    --------
    >>> import defocus
    >>> photograph = defocus.Photograph(np.zeros((480, 640, 3), np.uint8))
    >>> photograph.width, photograph.height
    (640, 480)
    """

    pixels: NDArray[Any] | StoredPixels
    path: Path | None = field(default=None)
    profile: bytes | None = field(default=None, repr=False)
    alpha: NDArray[Any] | None = field(default=None, repr=False)
    missing: NDArray[np.bool_] | None = field(default=None, repr=False)
    exif: bytes | None = field(default=None, repr=False)
    xmp: bytes | None = field(default=None, repr=False)
    orientation: int = 1
    sha256: str | None = field(default=None, repr=False)
    file_format: str | None = None
    stored_colours: Space = "rgb"
    full_size: tuple[int, int] | None = None

    @property
    def height(self) -> int:
        """Height, px."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Width, px."""
        return int(self.pixels.shape[1])

    @property
    def tags(self) -> Exif:
        """The entries of the EXIF; without EXIF there are none.

        Examples
        --------
        >>> Photograph(np.zeros((480, 640, 3), np.uint8)).tags.orientation
        1
        """
        return parse_exif(self.exif)

    def as_float(
        self, dtype: DTypeLike = np.float64, rows: slice = slice(None), columns: slice = slice(None)
    ) -> NDArray[Any]:
        """Return the pixels, or a rectangular part of them, as a new H x W x 3 float array in 0..1.

        Integers are divided by 255 or 65535, as MATLAB's `im2double` does.

        Parameters
        ----------
        dtype : np.float64 or np.float32.
        rows, columns : rows and columns of the part; all by default.

        Examples
        --------
        >>> Photograph(np.full((1, 1, 3), 51, np.uint8)).as_float()
        array([[[0.2, 0.2, 0.2]]])
        """

        def scaled(pixels: NDArray[Any]) -> NDArray[Any]:
            if pixels.dtype.kind == "f":
                return pixels.astype(dtype)
            return np.asarray(np.divide(pixels, np.iinfo(pixels.dtype).max, dtype=dtype))

        if isinstance(self.pixels, StoredPixels) and rows == columns == slice(None):
            return self.pixels.whole(dtype, scaled)
        return scaled(self.pixels[rows, columns])

    def in_srgb(self) -> Photograph:
        """Return the photograph in sRGB: itself, unless its pixels are in a colour profile of their own.

        Warns
        -----
        PhotographWarning
            If the profile cannot be used.

        Examples
        --------
        >>> photograph = Photograph(np.zeros((3, 3, 3), np.uint8))
        >>> photograph.in_srgb() is photograph
        True
        """
        if self.profile is None:
            return self
        name = str(self.path) if self.path is not None else "the photograph"
        convert = srgb_conversion(self.pixels.dtype, "rgb", self.profile, name)
        pixels = self.pixels
        if convert is not None:
            pixels = pixels.changed(convert) if isinstance(pixels, StoredPixels) else protected(convert(pixels))
        return replace(self, pixels=pixels, profile=None)


@runtime_checkable
class ArrayProtocol(Protocol):
    """An object that NumPy can convert to an array, such as an array of PyTorch or xarray."""

    def __array__(self) -> NDArray[Any]: ...


@runtime_checkable
class DLPackProtocol(Protocol):
    """An object that exports its memory by the DLPack protocol."""

    def __dlpack__(self, *, stream: None = ...) -> Any: ...

    def __dlpack_device__(self) -> tuple[int, int]: ...


PhotographLike: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | ArrayProtocol | DLPackProtocol | "
    "Image.Image | Photograph"
)


def as_photograph(photo: PhotographLike) -> Photograph:
    """Convert any supported kind of object to a photograph.

    Parameters
    ----------
    photo : path; bytes of a file, or a binary file that is open; H x W [x 1, 3 or 4] array, or anything that NumPy
        can convert to one (`__array__`, `__dlpack__`); PIL image, which is turned upright and converted to sRGB as a
        file is (Pillow holds colour at 8 bits per channel: for 16 bits give the path or an array); `Photograph`, which
        is returned unchanged.

    Raises
    ------
    PhotographError
        As `read_photograph` and `photograph_from_array`; also for any other kind of object.

    Examples
    --------
    >>> as_photograph(Image.new("RGB", (640, 480))).pixels.shape
    (480, 640, 3)
    >>> as_photograph(42)
    Traceback (most recent call last):
    ...
    defocus.errors.PhotographError: A photograph is a path, the bytes of a file, an open file, an array or a PIL \
image, not int: convert it to one.
    """
    from defocus.photograph.read import photograph_from_image, read_photograph

    if isinstance(photo, Photograph):
        return photo
    if isinstance(photo, str | os.PathLike | bytes | bytearray | memoryview | io.IOBase) or hasattr(photo, "read"):
        return read_photograph(photo)  # type: ignore[arg-type]
    if isinstance(photo, Image.Image):
        return photograph_from_image(photo)
    if isinstance(photo, ArrayProtocol | DLPackProtocol):
        return photograph_from_array(_as_array(photo))
    if isinstance(photo, list | tuple):
        raise PhotographError("This takes one photograph, not several: give them one by one.")
    raise PhotographError(
        f"A photograph is a path, the bytes of a file, an open file, an array or a PIL image, not "
        f"{type(photo).__name__}: convert it to one."
    )


def _as_array(photo: ArrayProtocol | DLPackProtocol) -> NDArray[Any]:
    try:
        return np.asarray(photo) if isinstance(photo, ArrayProtocol) else np.from_dlpack(photo)
    except Exception as error:  # whatever the other library raises, of gradients, devices or types NumPy lacks
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise PhotographError(f"This {type(photo).__name__} cannot be made a NumPy array: {reason}.") from error


def photograph_from_array(array: NDArray[Any]) -> Photograph:
    """Check an array and wrap it as a photograph, without changing or (for colour) copying it.

    Parameters
    ----------
    array : H x W, H x W x 1, H x W x 3 (RGB) or H x W x 4 (RGB and alpha), at least 3 x 3 pixels;
        uint8 (0..255), uint16 (0..65535) or float (0..1), display-referred sRGB, upright.
        Alpha is kept, not composited: a composite would invent edges where alpha changes.
        Floats may leave 0..1 by 1e-6, as rounding does, and are then clipped in a copy.

    Raises
    ------
    PhotographError
        If shape, dtype or values differ from this; NaN and infinity are refused too.

    Examples
    --------
    >>> photograph_from_array(np.zeros((480, 640))).pixels.shape
    (480, 640, 3)
    >>> photograph_from_array(np.full((480, 640), 255.0))
    Traceback (most recent call last):
    ...
    defocus.errors.PhotographError: Floating-point pixels must be in 0..1, but those of the photograph span 255..255: \
divide by their white level, or pass uint8 or uint16.
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
    check_sides(height, width, "the array")
    pixels = array.reshape(height, width, -1)
    if kind == "f":
        pixels = checked_floats(pixels)
    alpha = pixels[..., 3] if pixels.shape[2] == 4 else None
    return Photograph(protected(pixels[..., :3]), alpha=None if alpha is None else native(alpha))


def check_sides(height: int, width: int, name: str) -> None:
    """Check that a photograph is not smaller than 3 x 3 pixels.

    Raises
    ------
    PhotographError
        If it is.
    """
    if min(height, width) < MIN_SIDE:
        raise PhotographError(
            f"{name} has {width} x {height} pixels: a photograph has at least {MIN_SIDE} x {MIN_SIDE}."
        )


def checked_floats(pixels: NDArray[Any], name: str = "the photograph") -> NDArray[Any]:
    """Return floats as float32 or float64 in 0..1; a copy only if something had to change.

    Raises
    ------
    PhotographError
        If a value is not finite or outside 0..1.
    """
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


def native(plane: NDArray[Any]) -> NDArray[Any]:
    """Return an array that is contiguous and in native byte order; itself where it is already."""
    return np.ascontiguousarray(plane, dtype=plane.dtype.newbyteorder("="))


def protected(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return H x W x 1 or 3 pixels as H x W x 3, contiguous and read-only."""
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    view = native(pixels).view()
    view.flags.writeable = False
    return view


def reduce_photograph(photograph: Photograph, longest: int) -> Photograph:
    """Return the photograph with its longer side `longest` px, by area averaging; unchanged where it is not larger.

    Parameters
    ----------
    photograph : photograph of any size.
    longest : px, at least 3.

    Returns
    -------
    Photograph
        uint8 pixels stay uint8, all others become float32 0..1. The shorter side is at least 3 px.

    Raises
    ------
    ValueError
        If `longest` is less than 3.

    Examples
    --------
    >>> large = photograph_from_array(np.zeros((600, 400, 3)))
    >>> reduce_photograph(large, longest=300).pixels.shape
    (300, 200, 3)
    """
    if longest < MIN_SIDE:
        raise ValueError(f"longest must be {MIN_SIDE} px or more, not {longest}.")
    scale = longest / max(photograph.width, photograph.height)
    if scale >= 1:
        return photograph
    size = max(MIN_SIDE, round(photograph.width * scale)), max(MIN_SIDE, round(photograph.height * scale))

    def reduced(plane: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(Image.fromarray(np.ascontiguousarray(plane)).resize(size, Image.Resampling.BOX))

    if photograph.pixels.dtype == np.uint8:
        small = reduced(np.asarray(photograph.pixels))
    else:
        # Pillow resizes floats one channel at a time.
        channels = np.moveaxis(photograph.as_float(np.float32), 2, 0)
        small = np.clip(np.stack([reduced(channel) for channel in channels], axis=2), 0, 1)
    alpha, missing = photograph.alpha, photograph.missing
    if alpha is not None:
        full = 1.0 if alpha.dtype.kind == "f" else float(np.iinfo(alpha.dtype).max)
        alpha = np.clip(reduced((alpha / full).astype(np.float32)), 0, 1)
        alpha = np.rint(alpha * 255).astype(np.uint8) if small.dtype == np.uint8 else alpha
    if missing is not None:
        missing = reduced(missing.astype(np.float32)) > 0
    full_size = photograph.full_size or (photograph.width, photograph.height)
    return replace(photograph, pixels=protected(small), alpha=alpha, missing=missing, full_size=full_size)
