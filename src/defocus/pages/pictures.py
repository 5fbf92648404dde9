"""What a page shows of one photograph: figures, and pictures of a size that a browser handles well.

The page gets the map as a picture too, of which its scripts read the numbers back: one byte each for sigma, the
confidence, and how far an edit may go (`PagePhotograph.map_webp`). So it answers the pointer and refocuses by itself.
"""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import Base

from defocus.applications.depth import AMBIGUITIES, Depth, Side, depth
from defocus.applications.guide import edit_strength, sigma_in_focus
from defocus.applications.magnify import SURE, UNSURE
from defocus.applications.rank import READABLE, STEEPNESS, THRESHOLD
from defocus.applications.segment import otsu_threshold
from defocus.applications.sharpen import sharpen
from defocus.applications.surface import distances
from defocus.errors import ParameterError
from defocus.maps.accuracy import CONFIDENT
from defocus.maps.colours import viridis
from defocus.maps.defocus_map import DefocusMap, Seeds
from defocus.maps.map_strips import MapStrips
from defocus.maps.map_summary import MapSummary
from defocus.maps.preview import is_logarithmic, limits_of_photograph
from defocus.maps.strokes import Strokes, corrected
from defocus.optics.kernels import DISC_RATIO
from defocus.optics.lens import Lens, lens_from_exif
from defocus.photograph import Photograph
from defocus.photograph.photograph import reduce_photograph

__all__ = ["LONGEST_SIDE", "SUMMARY_PIXELS", "PagePhotograph", "crop_jpeg", "photograph_jpeg"]

LONGEST_SIDE = 2560
"""Longer side in px of the pictures on a page, which a screen shows whole."""
SUMMARY_PIXELS = 4_400_000
"""Largest number of pixels of the summary that a page is made of."""
_MAP_SIDE = 1500
"""Longer side in px of the map on a page: it is smooth over some px of the photograph."""
_DEPTH_SIDE = 400
"""Longer side in px of the depth on a page, of which a surface of 100,000 points is made."""
_STEPS = (255, 50, 15)
"""Number of steps of sigma, confidence and strength. What a page shows as 71 % need not be told from 72 %, and fewer
steps take a third off the file."""
_QUALITY = 85
_QUALITIES = (85, 75, 65, 55)
_LEAST_CODED = 1 / 640
"""Lowest sigma that is told apart, as a fraction of the highest, where a method's range begins at 0."""


@dataclass(frozen=True, eq=False)
class PagePhotograph:
    """A photograph and its map, at the size of a page.

    Attributes
    ----------
    name : what the page calls it.
    photograph : at most 2560 px wide and high.
    defocus_map : its map, of the same size; sigma in px of this size, unless it is a score.
    size : width and height of the photograph itself, px.
    lens : what its EXIF says, if that is enough for depth in metres.
    f_number : of its EXIF; None where that holds none.
    side : where what is blurred lies: "behind" the plane of focus, in "front" of it, or "auto".
    motion : what seems to have moved, in words; empty for nothing.
    seconds : time that the estimate took; None where that is not known.
    made_from : SHA-256 of the photograph's file; empty for an array.

    Examples
    --------
    >>> import defocus
    >>> photo = defocus.Photograph(np.random.default_rng(1).integers(0, 256, (60, 90, 3), np.uint8))
    >>> shown = PagePhotograph.of(photo, defocus.estimate(photo), name="noise")
    >>> shown.info()["width"], shown.map_webp()[8:12]
    (90, b'WEBP')
    """

    name: str
    photograph: Photograph
    defocus_map: DefocusMap
    size: tuple[int, int]
    lens: Lens | None = None
    f_number: float | None = None
    side: Side = "auto"
    motion: str = ""
    seconds: float | None = None
    made_from: str = ""

    @classmethod
    def of(
        cls,
        photograph: Photograph,
        defocus_map: DefocusMap,
        *,
        name: str,
        seconds: float | None = None,
        longest: int = LONGEST_SIDE,
    ) -> PagePhotograph:
        """Reduce a photograph and its map to the size of a page.

        Parameters
        ----------
        photograph : H x W px.
        defocus_map : H x W.
        name : what the page calls the photograph.
        seconds : time that the estimate took.
        longest : largest width and height of its pictures, px.
        """
        found = MapStrips.of(defocus_map)
        summary = MapSummary(found.shape, SUMMARY_PIXELS)
        for strip in found.strips():
            summary.see(strip)
        return cls.of_summary(photograph, summary, found, name=name, seconds=seconds, longest=longest)

    @classmethod
    def of_summary(
        cls,
        photograph: Photograph,
        summary: MapSummary,
        found: MapStrips,
        *,
        name: str,
        seconds: float | None = None,
        longest: int = LONGEST_SIDE,
    ) -> PagePhotograph:
        """The same for a map that is not in memory as a whole.

        Parameters
        ----------
        photograph : H x W px.
        summary : of all strips of the map, `SUMMARY_PIXELS` large.
        found : the map, for its method, range and unit.
        name, seconds, longest : as in `of`.
        """
        small = reduce_photograph(photograph.in_srgb(), longest)
        full = photograph.full_size or (photograph.width, photograph.height)
        scale = small.width / full[0] if found.unit == "px" else 1.0
        lens: Lens | list[str] = []
        with suppress(ParameterError):  # EXIF of an impossible lens
            lens = lens_from_exif(photograph)
        f_number = photograph.tags.number(Base.FNumber)
        return cls(
            name=name,
            photograph=replace(small, exif=None, xmp=None),
            defocus_map=_reduced_map(found, summary.sigma, summary.confidence / np.float32(255), small, scale),
            size=full,
            lens=lens if isinstance(lens, Lens) else None,
            f_number=f_number if f_number is not None and 0 < f_number < 1000 else None,
            motion="" if found.motion is None else found.motion.in_words(),
            seconds=seconds,
            made_from=photograph.sha256 or "",
        )

    def with_strokes(self, strokes: Strokes) -> PagePhotograph:
        """Return the same with what was painted on the photograph at its own size."""
        return replace(self, defocus_map=corrected(self.photograph, self.defocus_map, strokes))

    @property
    def scale(self) -> float:
        """Size of the page's pictures as a fraction of the photograph's; 1 for a score, which has no px."""
        return self.photograph.width / self.size[0] if self.defocus_map.unit == "px" else 1.0

    def info(self) -> dict[str, Any]:
        """Return the figures that the page begins with, as JSON knows them; sigma in px of the photograph itself."""
        sigma = self.defocus_map.sigma[::2, ::2] / np.float32(self.scale)
        low, high = (end / self.scale for end in self.defocus_map.sigma_range)
        limits = limits_of_photograph(sigma, (low, high))
        in_px = self.defocus_map.unit == "px"
        return {
            "name": self.name,
            "width": self.size[0],
            "height": self.size[1],
            "method": self.defocus_map.method,
            "unit": self.defocus_map.unit,
            "coded": [_least((low, high)), high],
            "limits": list(limits),
            "logarithmic": is_logarithmic(*limits),
            "colours": viridis().tobytes().hex(),
            "guess_below": CONFIDENT,
            "readable_from": READABLE,
            "steepness": STEEPNESS,
            "threshold": THRESHOLD if in_px else float(np.median(sigma)),
            "automatic_threshold": otsu_threshold(self.defocus_map) / self.scale,
            "in_focus_sigma": sigma_in_focus(self.defocus_map) / self.scale if in_px else 0.0,
            "disc_radius": 1 / DISC_RATIO,
            "f_number": self.f_number,
            "motion": self.motion,
            "seconds": self.seconds,
            "depth": self._depth_info() if in_px else None,
        }

    def jpegs_within(self, most: int) -> tuple[bytes, bytes | None]:
        """Return the photograph and, where the map is in px, its sharpened version, as good as a size allows.

        Parameters
        ----------
        most : largest number of bytes of both; if the least quality takes more, it is that.
        """
        sharp = self._sharpened if self.defocus_map.unit == "px" else None
        for quality in _QUALITIES:
            made = _jpeg(self.photograph, quality), None if sharp is None else _jpeg(sharp, quality)
            if sum(len(each) for each in made if each) <= most:
                break
        return made

    def photograph_jpeg(self, quality: int = _QUALITY) -> bytes:
        """Return the photograph as a JPEG."""
        return _jpeg(self.photograph, quality)

    def sharpened_jpeg(self, quality: int = _QUALITY) -> bytes:
        """Return the photograph with its blur reduced, which refocusing begins with where something gets sharper."""
        return _jpeg(self._sharpened, quality)

    @cached_property  # a server is asked for it whenever refocusing begins
    def _sharpened(self) -> Photograph:
        return replace(self.photograph, pixels=sharpen(self.photograph, self.defocus_map))

    def map_webp(self, side: int = _MAP_SIDE) -> bytes:
        """Return the map as a lossless picture of numbers, 0 to 255 each.

        Red is the logarithm of sigma between the ends that `info` calls "coded", green the confidence, and blue how far
        an edit may go (`edit_strength`).

        Parameters
        ----------
        side : largest width and height, px.
        """
        return self._map_webp if side == _MAP_SIDE else self._coded_map(side)

    @cached_property  # a server is asked for it whenever the photograph is opened
    def _map_webp(self) -> bytes:
        return self._coded_map(_MAP_SIDE)

    def _coded_map(self, side: int) -> bytes:
        low, high = (end / self.scale for end in self.defocus_map.sigma_range)
        low = _least((low, high))
        octaves = np.log2(np.maximum(self.defocus_map.sigma / np.float32(self.scale), np.float32(low)) / low)
        planes = [octaves / np.log2(high / low), self.defocus_map.confidence]
        if self.defocus_map.unit == "px":
            planes.append(edit_strength(self.photograph, self.defocus_map, UNSURE, SURE))
        else:
            planes.append(np.zeros_like(octaves))
        width, height = _fitting(self.photograph.width, self.photograph.height, side)
        coded = np.stack([_resized(plane.astype(np.float32), width, height) for plane in planes], axis=2)
        steps = np.array(_STEPS)
        return _webp(np.rint(np.rint(np.clip(coded, 0, 1) * steps) / steps * 255).astype(np.uint8))

    def depth_webp(self) -> bytes:
        """Return how near everything is as a lossless picture: 0 farthest to 255 nearest, linear in 1 / distance."""
        nearness = 1 / distances(self._depth)[0]
        low, high = float(nearness.min()), float(nearness.max())
        coded = (nearness - low) / max(high - low, 1e-9)
        return _webp(np.rint(np.repeat(coded[..., None], 3, axis=2) * 255).astype(np.uint8))

    def _depth_info(self) -> dict[str, Any]:
        z, focal = distances(self._depth)
        return {
            "nearest": float(z.min()),
            "farthest": float(z.max()),
            "focal": focal / z.shape[1],
            "unit": self._depth.unit,
            "note": AMBIGUITIES,
        }

    @cached_property  # the figures and the picture of one page both need it
    def _depth(self) -> Depth:
        # Small numbers are enough for a surface: a photograph of 400 px takes a twentieth of a second.
        small = reduce_photograph(self.photograph, _DEPTH_SIDE)
        share = small.width / self.photograph.width
        reduced = _reduced_map(self.defocus_map, self.defocus_map.sigma, self.defocus_map.confidence, small, share)
        return depth(small, reduced, lens=self.lens, side=self.side, floor=sigma_in_focus(reduced))


def photograph_jpeg(photograph: Photograph, side: int, quality: int = _QUALITY) -> bytes:
    """Return a photograph as a JPEG of at most `side` px; smaller ones keep their size.

    Parameters
    ----------
    photograph : H x W px.
    side : largest width and height, px, at least 3.
    quality : of the JPEG, 1..95.

    Examples
    --------
    >>> photograph_jpeg(Photograph(np.zeros((60, 90, 3), np.uint8)), 30)[:2].hex()
    'ffd8'
    """
    return _jpeg(reduce_photograph(photograph.in_srgb(), side), quality)


def crop_jpeg(photograph: Photograph, box: tuple[int, int, int, int], side: int, quality: int = 90) -> bytes:
    """Return a part of a photograph as a JPEG of at most `side` px.

    Parameters
    ----------
    photograph : H x W px.
    box : left, top, right and bottom, px; what lies outside the photograph is cut off.
    side : largest width and height, px, at least 3.
    quality : of the JPEG, 1..95.

    Raises
    ------
    ValueError
        If nothing of the photograph lies in the box.

    Examples
    --------
    >>> crop = crop_jpeg(Photograph(np.zeros((60, 90, 3), np.uint8)), (10, 10, 40, 30), 64)
    >>> Image.open(io.BytesIO(crop)).size
    (30, 20)
    """
    left, top = max(box[0], 0), max(box[1], 0)
    right, bottom = min(box[2], photograph.width), min(box[3], photograph.height)
    if left >= right or top >= bottom:
        raise ValueError("The box lies outside the photograph.")
    pixels = np.ascontiguousarray(photograph.pixels[top:bottom, left:right])
    return _jpeg(reduce_photograph(Photograph(pixels, profile=photograph.profile).in_srgb(), side), quality)


def _reduced_map(
    like: DefocusMap | MapStrips,
    sigma: NDArray[np.floating],
    confidence: NDArray[np.floating],
    small: Photograph,
    scale: float,
) -> DefocusMap:
    """The map of a reduced photograph, with sigmas `scale` times as large; means are those of their logarithms."""
    low, high = like.sigma_range
    size = (small.width, small.height)
    logarithm = np.log2(np.maximum(sigma, np.float32(_least(like.sigma_range))))
    reduced = (np.exp2(_resized(logarithm, *size)) * np.float32(scale)).astype(np.float32)
    return DefocusMap(
        sigma=reduced,
        confidence=np.clip(_resized(confidence, *size), 0, 1),
        saturated=np.zeros(reduced.shape, np.bool_),
        seeds=Seeds.none(reduced.shape),
        method=like.method,
        sigma_range=(low * scale, high * scale),
        unit=like.unit,
    )


def _least(sigma_range: tuple[float, float]) -> float:
    return max(sigma_range[0], sigma_range[1] * _LEAST_CODED)


def _fitting(width: int, height: int, side: int) -> tuple[int, int]:
    scale = min(1.0, side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _resized(plane: NDArray[np.floating], width: int, height: int) -> NDArray[np.float32]:
    if plane.shape == (height, width):
        return plane.astype(np.float32)
    # Means over areas where it gets smaller, straight lines between pixels where it gets larger.
    smaller = plane.shape[0] >= height and plane.shape[1] >= width
    how = Image.Resampling.BOX if smaller else Image.Resampling.BILINEAR
    image = Image.fromarray(np.ascontiguousarray(plane, np.float32))
    return np.asarray(image.resize((width, height), how), np.float32)


def _jpeg(photograph: Photograph, quality: int) -> bytes:
    pixels = np.asarray(photograph.pixels)
    if pixels.dtype != np.uint8:
        pixels = np.rint(photograph.as_float(np.float32) * 255).astype(np.uint8)
    file = io.BytesIO()
    # Colours at half the size would cost 5 dB where they change abruptly.
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=0, optimize=True)
    return file.getvalue()


def _webp(picture: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    # `exact` keeps the colours as they are, whatever the transparency.
    Image.fromarray(picture).save(file, "WEBP", lossless=True, quality=60, method=3, exact=True)
    return file.getvalue()
