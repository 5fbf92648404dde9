"""Bursts: photographs of one scene, taken one right after the other by one camera.

Two neighbours in time belong together if little time lies between them and they look alike. How alike is told by the
correlation of their brightness, at a small size and at the shift between the two at which it is highest, so that
neither exposure nor a camera that follows the subject matters much; and by what their colours have in common. Only
neighbours are compared, so that the time grows with the number of photographs alone, beside sorting them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import Base

from defocus.optics.light import luma
from defocus.photograph import Photograph
from defocus.photograph.exif import Exif

__all__ = ["ALIKE", "VERY_ALIKE", "Shot", "bursts", "likeness", "shot_of", "taken_at"]

_SIDE = 32
"""Sides in px of the brightness that is compared."""
_LARGEST_SHIFT = 9
"""Largest shift in px of it, about a quarter of the frame."""
_COLOURS = 4
"""Steps of each channel in the histogram of colours."""
_AT_ONCE, ALIKE = 2.0, 0.5
"""Seconds, and likeness: so soon after each other, photographs that are at least so alike belong together."""
_SOON, VERY_ALIKE = 20.0, 0.75
"""The same for photographs that follow later; and, whatever the time between them, where no time is known."""
_FLAT = 1e-3
"""Standard deviation of brightness, 0..1, below which there is nothing to compare."""


@dataclass(frozen=True, eq=False)
class Shot:
    """What one photograph is grouped by.

    Attributes
    ----------
    path : its file.
    taken : when it was taken, seconds; None where the file does not say.
    camera : make, model and serial number of the camera; "" where the file does not say.
    brightness : float32 32 x 32, luma of the whole frame, its mean taken away.
    colours : float32 64, fractions of the frame with each colour.
    """

    path: Path
    taken: float | None
    camera: str
    brightness: NDArray[np.float32]
    colours: NDArray[np.float32]


def shot_of(path: Path, small: Photograph, tags: Exif) -> Shot:
    """Return what a photograph is grouped by.

    Parameters
    ----------
    path : its file.
    small : the photograph at any size; 64 px are enough.
    tags : its EXIF.

    Examples
    --------
    >>> shot_of(Path("a.jpg"), Photograph(np.zeros((48, 64, 3), np.uint8)), Exif()).brightness.shape
    (32, 32)
    """
    pixels = np.asarray(small.pixels)
    if pixels.dtype != np.uint8:
        pixels = np.rint(small.as_float(np.float32) * 255).astype(np.uint8)
    reduced = Image.fromarray(pixels).resize((_SIDE, _SIDE), Image.Resampling.BOX)
    rgb = np.asarray(reduced, np.float32) / 255
    grey = luma(rgb, np.float32)
    steps = np.minimum((rgb * _COLOURS).astype(int), _COLOURS - 1)
    number = (steps[..., 0] * _COLOURS + steps[..., 1]) * _COLOURS + steps[..., 2]
    colours = np.bincount(number.ravel(), minlength=_COLOURS**3) / number.size
    names = (Base.Make, Base.Model, Base.BodySerialNumber)
    camera = " ".join(text.strip() for tag in names if (text := tags.text(int(tag))))
    return Shot(path, taken_at(tags), camera, np.asarray(grey - grey.mean(), np.float32), colours.astype(np.float32))


def taken_at(tags: Exif) -> float | None:
    """Return when a photograph was taken, in seconds that can be compared; None where its EXIF does not say.

    DateTimeOriginal with its fraction of a second, in the time zone of OffsetTimeOriginal; without that, camera clocks
    are taken to show one time.

    Parameters
    ----------
    tags : EXIF of the photograph.
    """
    for when, fraction, offset in (
        (Base.DateTimeOriginal, Base.SubsecTimeOriginal, Base.OffsetTimeOriginal),
        (Base.DateTimeDigitized, Base.SubsecTimeDigitized, Base.OffsetTimeDigitized),
    ):
        text = (tags.text(int(when)) or "").strip()
        try:
            day = datetime.strptime(text, "%Y:%m:%d %H:%M:%S").replace(tzinfo=_zone(tags.text(int(offset))))
        except ValueError:
            continue
        digits = (tags.text(int(fraction)) or "").strip()
        part = float(f"0.{digits}") if digits.isascii() and digits.isdigit() else 0.0
        return (day - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() + part
    return None


def _zone(text: str | None) -> timezone:
    try:
        shift = datetime.strptime((text or "").strip(), "%z").utcoffset()
    except ValueError:
        shift = None
    return timezone(shift if shift is not None else timedelta(0))


def likeness(first: Shot, second: Shot) -> float:
    """Return how alike two photographs look, 0..1.

    It is the mean of the correlation of their brightness, at the best shift of up to a quarter of the frame, and of the
    fraction of the frame whose colours they have in common.

    Parameters
    ----------
    first, second : two photographs.

    Examples
    --------
    >>> picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    >>> a, b = (shot_of(Path("a.jpg"), Photograph(np.ascontiguousarray(p)), Exif()) for p in (picture, picture[::-1]))
    >>> round(likeness(a, a), 2), likeness(a, b) < 0.7
    (1.0, True)
    """
    common = float(np.minimum(first.colours, second.colours).sum())
    plain = [float(each.brightness.std()) < _FLAT for each in (first, second)]
    if any(plain):
        return common if all(plain) else common / 2
    return (max(0.0, _correlation(first.brightness, second.brightness)) + common) / 2


def _correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """The highest correlation over all shifts, each over what the two frames have in common."""
    size = (2 * _SIDE, 2 * _SIDE)
    inside = np.ones_like(first)
    one, two, mask = (np.fft.rfft2(each, size) for each in (first, second, inside))
    one_squared, two_squared = (np.fft.rfft2(each * each, size) for each in (first, second))

    def product(a: NDArray[np.complex128], b: NDArray[np.complex128]) -> NDArray[np.float64]:
        shifted = np.fft.fftshift(np.fft.irfft2(a * b.conj(), size))
        near = slice(_SIDE - _LARGEST_SHIFT, _SIDE + _LARGEST_SHIFT + 1)
        return np.asarray(shifted[near, near])

    count = np.maximum(product(mask, mask), 1)
    mean_one, mean_two = product(one, mask) / count, product(mask, two) / count
    variance = [
        product(one_squared, mask) / count - mean_one**2,
        product(mask, two_squared) / count - mean_two**2,
    ]
    covariance = product(one, two) / count - mean_one * mean_two
    return float((covariance / np.sqrt(np.maximum(variance[0], _FLAT**2) * np.maximum(variance[1], _FLAT**2))).max())


def bursts(shots: Sequence[Shot]) -> list[list[int]]:
    """Group photographs into bursts.

    Parameters
    ----------
    shots : photographs in any order.

    Returns
    -------
    list of lists of int
        Indices into `shots`, each once. Groups, and photographs within them, stand in the order they were taken in; a
        photograph that belongs to no burst is a group of one. Photographs without a time follow, by name.

    Examples
    --------
    >>> picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    >>> shots = [shot_of(Path(f"{name}.jpg"), Photograph(p), Exif()) for name, p in
    ...          (("b", picture), ("a", picture), ("c", np.zeros_like(picture)))]
    >>> bursts(shots)
    [[1, 0], [2]]
    """
    never = float("inf")

    def place(index: int) -> tuple[str, float, str]:
        shot = shots[index]
        return shot.camera, never if shot.taken is None else shot.taken, str(shot.path)

    groups: list[list[int]] = []
    before: Shot | None = None
    for index in sorted(range(len(shots)), key=place):
        shot = shots[index]
        if before is not None and _together(before, shot):
            groups[-1].append(index)
        else:
            groups.append([index])
        before = shot

    def begin(group: list[int]) -> tuple[float, str]:
        _, taken, path = place(group[0])
        return taken, path

    return sorted(groups, key=begin)


def _together(first: Shot, second: Shot) -> bool:
    if first.camera != second.camera or (first.taken is None) != (second.taken is None):
        return False
    if first.taken is None or second.taken is None:
        return first.path.parent == second.path.parent and likeness(first, second) >= VERY_ALIKE
    gap = abs(second.taken - first.taken)
    if gap > _SOON:
        return False
    return likeness(first, second) >= (ALIKE if gap <= _AT_ONCE else VERY_ALIKE)
