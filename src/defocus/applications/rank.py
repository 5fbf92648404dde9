"""How much of a photograph, and of its subject, is in focus; and photographs in that order.

Every pixel whose sigma the map is confident of counts as in focus by 1 / (1 + (sigma / threshold)^8): all of it where
it is sharp, half at the threshold, 4 % at one and a half times it. A map errs by about a tenth, so a step there would
count what is near it by chance. Pixels that show nothing (sky, bare walls) count neither as in focus nor as out of
it. What is compared is a fraction, not contrast or energy: exposure, content and noise do not enter but through the
map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL.ExifTags import Base
from scipy import ndimage

from defocus.errors import ParameterError
from defocus.evidence.motion import motion_of, reduction_for_motion
from defocus.filters.box import block_sum
from defocus.maps.map_strips import MapStrip, MapStrips
from defocus.photograph import PhotographLike, as_photograph

if TYPE_CHECKING:
    from defocus.maps.defocus_map import DefocusMap
    from defocus.maps.motion import Motion
    from defocus.photograph import Photograph
    from defocus.photograph.exif import Exif

_SUBJECT_AREA = 0x9214  # Pillow has no name for it
_SUBJECT_LOCATION = int(Base.SubjectLocation)
THRESHOLD = 1.0
"""px; blur of this sigma begins to show when a photograph is looked at pixel for pixel."""
READABLE = 0.35
"""Confidence from which on a pixel counts. Sky and noise alone have 0.1 to 0.3; 0.5 and more would leave out
most of what is blurred, which is read less surely, and so call every photograph sharp."""
LEAST_READABLE = 0.005
"""Least fraction of a region that must be readable for its figures to mean anything."""
SHARPEST_PERCENTILE = 2.0
STEEPNESS = 8
_LARGEST_GRID = 2000
"""Maps are read at every n-th pixel, so that no side has more: they are smooth over some px."""
_CELLS = 96
"""Cells along the longer side, of the map in which the sharpest region is looked for."""
_AS_SHARP = 1.25
"""A cell belongs to the sharpest region up to this many times the sharpest sigma: a quarter is what maps err by."""
_CENTRE = 0.3
"""Standard deviation of the central weight, as a fraction of the frame's sides."""
_PLACE = 0.04
"""Standard deviation, as a fraction of the longer side, over which the place is found where most is sharp."""
_POINT = 0.1
"""Side of the square that a focus point stands for, as a fraction of the frame's longer side."""

By = Literal["frame", "subject"]


class Box(NamedTuple):
    """A region of a photograph, in fractions 0..1 of the upright frame's width and height."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Sharpness:
    """How sharp one photograph is. None where too little of it can be read.

    Attributes
    ----------
    in_focus : 0..1, fraction in focus of what can be read in the frame.
    readable : 0..1, fraction of the frame in which blur can be read: confidence 0.35 or more.
    sharpest_sigma : px, the 2nd percentile of sigma of what can be read.
    subject : the subject region's bounds; None where there is no detail to find one by.
    subject_by : "given"; or "sharpest": the largest connected region about as sharp as the sharpest there is, what
        is central weighing more.
    subject_in_focus : 0..1, as `in_focus`, within the subject region.
    subject_readable : 0..1, as `readable`, within it.
    subject_sigma : px, median sigma of what can be read in it.
    threshold : px, sigma at which a pixel counts as half in focus.
    at : length in px of the photograph's longer side that sigmas and threshold are for; None: as it is.
    shaken : whether the whole photograph is blurred by one movement, as when the camera was shaken, which is not
        defocus; None where it was not looked for.
    median_sigma : px, the median sigma of what can be read in the frame.
    sharpest_at : x and y of a place in the sharpest region, fractions 0..1 of the frame; where to look first.
    least_sigma : px, the smallest sigma that the map can tell; what is sharper reads as this.
    shake_length : px, length of the movement of the camera; None where it was not shaken.
    counted_at : px, sigma at which a pixel did count as half in focus: the threshold, or what a quick reading can tell
        at the least, where that is more (`defocus.culling.quick`).
    """

    in_focus: float | None
    readable: float
    sharpest_sigma: float | None
    subject: Box | None
    subject_by: Literal["given", "sharpest"]
    subject_in_focus: float | None
    subject_readable: float
    subject_sigma: float | None
    threshold: float
    at: int | None
    shaken: bool | None = None
    median_sigma: float | None = None
    sharpest_at: tuple[float, float] | None = None
    least_sigma: float = 0.0
    shake_length: float | None = None
    counted_at: float | None = None


def sharpness(
    defocus_map: DefocusMap,
    photo: PhotographLike | None = None,
    *,
    threshold: float = THRESHOLD,
    subject: tuple[float, float, float, float] | None = None,
    at: int | None = None,
) -> Sharpness:
    """Measure how much of a photograph is in focus.

    Parameters
    ----------
    defocus_map : its map, in px.
    photo : the photograph itself, to look for camera shake in where the map does not tell it (`DefocusMap.motion`), and
        more closely where the map tells of none: in a photograph of 24 MP, maps find shakes of 30 px and more, and
        this those of 15. Nothing more than the map tells is looked for if None.
    threshold : px, more than 0: sigma at which a pixel counts as half in focus.
    subject : the region to measure besides the frame: left, top, width and height as fractions 0..1 of it; the sharpest
        region if None.
    at : length in px of the longer side at which photographs are compared: sigma is scaled to it, and the threshold
        is in px there. None compares them pixel for pixel.

    Returns
    -------
    Sharpness

    Raises
    ------
    ParameterError
        If the map is a score without px, a number is out of range, or the subject lies outside the frame.

    Examples
    --------
    >>> import defocus
    >>> photo = np.random.default_rng(1).integers(0, 256, (60, 90, 3), np.uint8)
    >>> s = defocus.sharpness(defocus.estimate(photo), photo)
    >>> s.in_focus > 0.5
    True
    """
    if defocus_map.unit != "px":
        raise ParameterError(
            f"The map of {defocus_map.method} is a {defocus_map.unit} without px: use one of a method that gives sigma."
        )
    if not 0 < threshold < np.inf:
        raise ParameterError(f"threshold must be more than 0 px, not {threshold}.")
    if at is not None and at < 1:
        raise ParameterError(f"at must be 1 px or more, not {at}.")
    motion = defocus_map.motion if photo is None else motion_in(as_photograph(photo), defocus_map.motion)
    sample = MapSample((defocus_map.sigma.shape[0], defocus_map.sigma.shape[1]))
    for strip in MapStrips.of(defocus_map).strips():
        sample.see(strip)
    return sample.sharpness(motion, defocus_map.sigma_range, threshold=threshold, subject=subject, at=at)


class MapSample:
    """All that is read of a map to tell its sharpness, every n-th pixel, gathered strip by strip.

    Parameters
    ----------
    shape : height and width of the map, px.

    Attributes
    ----------
    sigma : float32, px, every n-th pixel of every n-th row, complete once all strips have been seen.
    readable : bool, of the same size: where the confidence is 0.35 or more.

    Examples
    --------
    >>> sample = MapSample((2, 3))
    >>> sample.see(MapStrip(0, np.full((2, 3), 0.5, np.float32), np.ones((2, 3), np.float32), np.zeros((2, 3), bool)))
    >>> sample.sharpness(None, (0.3, 32.0)).in_focus > 0.99
    True
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape = shape
        self._step = -(-max(shape) // _LARGEST_GRID)
        height, width = (-(-side // self._step) for side in shape)
        self.sigma: NDArray[np.float32] = np.empty((height, width), np.float32)
        self.readable: NDArray[np.bool_] = np.empty((height, width), np.bool_)

    def see(self, strip: MapStrip) -> None:
        """Take in a strip."""
        step = self._step
        first = -strip.top % step
        sigma = strip.sigma[first::step, ::step]
        top = (strip.top + first) // step
        self.sigma[top : top + len(sigma)] = sigma
        self.readable[top : top + len(sigma)] = strip.confidence[first::step, ::step] >= READABLE

    def sharpness(
        self,
        motion: Motion | None,
        sigma_range: tuple[float, float],
        *,
        threshold: float = THRESHOLD,
        subject: tuple[float, float, float, float] | None = None,
        at: int | None = None,
    ) -> Sharpness:
        """Return how sharp the photograph of the map is.

        Parameters
        ----------
        motion : how it moved, as `motion_in` finds it; None where that was not looked for.
        sigma_range : as in `DefocusMap`.
        threshold, subject, at : as for `sharpness`.

        Raises
        ------
        ParameterError
            If the subject lies outside the frame.
        """
        scale = np.float32(1 if at is None else at / max(self._shape))
        sigma, readable = self.sigma * scale, self.readable
        focused = in_focus(sigma, threshold)
        frame = _Region.measure(sigma, focused, readable, np.ones_like(readable))
        found = None if frame.sharpest is None else _sharpest_region(sigma, readable, frame.sharpest)
        region: NDArray[np.bool_] | None
        box: Box | None
        if subject is not None:
            box = Box(*subject)
            region = _window(box, sigma.shape)
        else:
            region = None if found is None else found.region
            box = None if region is None else _bounds(region)
        inside = _Region(None, 0.0, None, None) if region is None else _Region.measure(sigma, focused, readable, region)
        return Sharpness(
            in_focus=frame.in_focus,
            readable=frame.readable,
            sharpest_sigma=frame.sharpest,
            subject=box,
            subject_by="sharpest" if subject is None else "given",
            subject_in_focus=inside.in_focus,
            subject_readable=inside.readable,
            subject_sigma=inside.median,
            threshold=threshold,
            at=at,
            shaken=None if motion is None else motion.shaken,
            median_sigma=frame.median,
            sharpest_at=None if found is None else found.at,
            least_sigma=float(sigma_range[0] * scale),
            shake_length=float(motion.camera.length * scale) if motion is not None and motion.shaken else None,
            counted_at=threshold,
        )


def rank(measurements: Sequence[Sharpness], by: By = "frame") -> list[int]:
    """Order photographs, the one most in focus first.

    By the fraction of the frame, or of the subject, that is in focus, in whole percent, which is as fine as maps are;
    where it is equal, by sigma (the frame's sharpest, or the subject's), the smaller first; where that is equal too,
    as they were given. By subject, those whose subject cannot be read follow, by frame. Shaken ones come after all
    these, and those of which nothing can be read last, as they were given.

    Parameters
    ----------
    measurements : what `sharpness` says of each, all for one threshold and size.
    by : "frame" or "subject".

    Returns
    -------
    list of int
        Indices into `measurements`, each once.

    Raises
    ------
    ParameterError
        If `by` is neither, or the photographs were measured by different thresholds or sizes.

    Examples
    --------
    >>> import defocus
    >>> photo = np.random.default_rng(1).integers(0, 256, (60, 90, 3), np.uint8)
    >>> blurred = ndimage.gaussian_filter(photo, (3, 3, 0))
    >>> defocus.rank([defocus.sharpness(defocus.estimate(each)) for each in (blurred, photo)])
    [1, 0]
    """
    if by not in ("frame", "subject"):
        raise ParameterError(f"by must be frame or subject, not {by}.")
    if len({(s.threshold, s.at) for s in measurements}) > 1:
        raise ParameterError("These were measured by different thresholds or sizes: measure all by the same.")

    def place(index: int) -> tuple[int, int, float]:
        s = measurements[index]
        if by == "subject" and s.subject_in_focus is not None and s.subject_sigma is not None:
            return 2 if s.shaken else 0, -round(100 * s.subject_in_focus), s.subject_sigma
        if s.in_focus is not None and s.sharpest_sigma is not None:
            return 2 if s.shaken else 1, -round(100 * s.in_focus), s.sharpest_sigma
        return 3, 0, 0.0

    return sorted(range(len(measurements)), key=place)


def motion_in(photograph: Photograph, known: Motion | None = None) -> Motion:
    """Look for camera shake more closely than a map does: at half the reduction, where shorter movements show.

    Parameters
    ----------
    photograph : photograph of any size.
    known : what its map tells of movement; looked for if None.

    Returns
    -------
    Motion
        `known`, or what the closer look found if only that shows that the camera was shaken.

    Examples
    --------
    >>> from defocus.photograph import photograph_from_array
    >>> motion_in(photograph_from_array(np.zeros((480, 640)))).shaken
    False
    """
    motion = motion_of(photograph) if known is None else known
    factor = reduction_for_motion(photograph.height, photograph.width)
    if motion.shaken or factor == 1:
        return motion
    closer = motion_of(photograph, factor // 2)
    return closer if closer.shaken else motion


def in_focus(sigma: NDArray[np.float32], threshold: float) -> NDArray[np.float32]:
    """How much each pixel counts as in focus: 1 sharp, 0.5 at the threshold, 0 blurred.

    Parameters
    ----------
    sigma : px, any shape.
    threshold : px.
    """
    ratio = sigma / np.float32(threshold)
    for _ in range(STEEPNESS.bit_length() - 1):
        ratio = ratio * ratio
    return np.asarray(1 / (1 + ratio), np.float32)


def subject_from_exif(photograph: Photograph) -> Box | None:
    """The subject region that the camera wrote, see `subject_area`.

    Parameters
    ----------
    photograph : with the path of its file.
    """
    size = photograph.full_size or (photograph.width, photograph.height)
    return subject_area(photograph.tags, size, photograph.orientation)


def subject_area(tags: Exif, size: tuple[int, int], orientation: int | None = None) -> Box | None:
    """The subject region that the camera wrote: EXIF SubjectArea, a point, circle or rectangle; or a point.

    The point is SubjectLocation, or where the camera focused by the maker's notes (`defocus.photograph.maker_note`).

    A point stands for a square of a tenth of the longer side, a circle for the square around it.

    Parameters
    ----------
    tags : EXIF of the photograph.
    size : width and height, px, of the upright photograph.
    orientation : EXIF orientation of the photograph's file, 1..8; that of `tags` if None.

    Returns
    -------
    Box of the upright frame, cut at its borders; None where none is written or it lies outside.
    """
    turn = tags.orientation if orientation is None else orientation
    area = tags.numbers(_SUBJECT_AREA) or tags.numbers(_SUBJECT_LOCATION)
    stored = size if turn < 5 else size[::-1]
    # The tag is in px of the photograph as it was taken; the file may hold a smaller copy.
    width, height = (
        tags.number(tag) or float(n) for tag, n in zip((Base.ExifImageWidth, Base.ExifImageHeight), stored, strict=True)
    )
    if not area and tags.focus is not None:
        area = tags.focus[0] * width, tags.focus[1] * height
    if len(area) not in (2, 3, 4) or not all(np.isfinite([*area, width, height])) or min(width, height) <= 0:
        return None
    across = area[2] if len(area) > 2 else _POINT * max(width, height)
    down = area[3] if len(area) > 3 else across
    x = np.array([area[0] - across / 2, area[0] + across / 2]) / width
    y = np.array([area[1] - down / 2, area[1] + down / 2]) / height
    # As in `photograph._turn_upright`.
    match turn:
        case 2:
            x = 1 - x
        case 3:
            x, y = 1 - x, 1 - y
        case 4:
            y = 1 - y
        case 5:
            x, y = y, x
        case 6:
            x, y = 1 - y, x
        case 7:
            x, y = 1 - y, 1 - x
        case 8:
            x, y = y, 1 - x
    left, right = np.clip(np.sort(x), 0, 1)
    top, bottom = np.clip(np.sort(y), 0, 1)
    if right <= left or bottom <= top:
        return None
    return Box(float(left), float(top), float(right - left), float(bottom - top))


class _Region(NamedTuple):
    in_focus: float | None
    readable: float
    sharpest: float | None
    median: float | None

    @classmethod
    def measure(
        cls,
        sigma: NDArray[np.float32],
        focused: NDArray[np.float32],
        readable: NDArray[np.bool_],
        region: NDArray[np.bool_],
    ) -> _Region:
        counted = readable & region
        fraction = float(counted.sum() / max(region.sum(), 1))
        if fraction < LEAST_READABLE:
            return cls(None, fraction, None, None)
        sharpest, median = np.percentile(sigma[counted], (SHARPEST_PERCENTILE, 50.0))
        return cls(float(focused[counted].mean(dtype=np.float64)), fraction, float(sharpest), float(median))


def _window(box: Box, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    left, top, right, bottom = box.left, box.top, box.left + box.width, box.top + box.height
    if not (0 <= left < right <= 1 + 1e-6 and 0 <= top < bottom <= 1 + 1e-6):
        raise ParameterError(
            f"The subject {left:g},{top:g},{box.width:g},{box.height:g} does not lie in the frame: give left, top, "
            "width and height as shares 0..1 of it."
        )
    region = np.zeros(shape, bool)
    rows, columns = shape
    first = min(round(top * rows), rows - 1), min(round(left * columns), columns - 1)
    # At least one pixel.
    last = max(round(bottom * rows), first[0] + 1), max(round(right * columns), first[1] + 1)
    region[first[0] : last[0], first[1] : last[1]] = True
    return region


def _bounds(region: NDArray[np.bool_]) -> Box:
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    height, width = region.shape
    return Box(
        float(columns[0] / width),
        float(rows[0] / height),
        float((columns[-1] + 1 - columns[0]) / width),
        float((rows[-1] + 1 - rows[0]) / height),
    )


class _Sharpest(NamedTuple):
    region: NDArray[np.bool_]
    at: tuple[float, float]


def _sharpest_region(sigma: NDArray[np.float32], readable: NDArray[np.bool_], sharpest: float) -> _Sharpest | None:
    """The largest connected region about as sharp as the sharpest there is, what is central weighing more.

    And where in it most is sharp: x and y, fractions of the frame.
    """
    height, width = sigma.shape
    edge = max(1, -(-max(height, width) // _CELLS))
    as_sharp = readable & (sigma <= _AS_SHARP * sharpest)
    count: NDArray[np.float32] = block_sum(readable.astype(np.float32), edge).astype(np.float32)
    sharp: NDArray[np.float32] = block_sum(as_sharp.astype(np.float32), edge).astype(np.float32)
    # A cell is sharp if most of what can be read in it is.
    cells = (sharp > 0.5 * count) & (count > 0)
    labels, number = ndimage.label(cells, structure=np.ones((3, 3)))
    if number == 0:
        return None
    rows, columns = ((np.arange(n) + 0.5) / n - 0.5 for n in cells.shape)
    central = np.exp(-0.5 * (rows[:, None] ** 2 + columns**2) / _CENTRE**2)
    weights = ndimage.sum_labels(sharp * central, labels, np.arange(1, number + 1))
    chosen = labels == 1 + int(np.argmax(weights))
    around = ndimage.gaussian_filter(np.where(chosen, sharp * central, 0), _PLACE * max(cells.shape), mode="constant")
    row, column = np.unravel_index(np.argmax(np.where(chosen, around, -1)), cells.shape)
    at = min((float(column) + 0.5) * edge / width, 1.0), min((float(row) + 0.5) * edge / height, 1.0)
    return _Sharpest(np.asarray(np.kron(chosen, np.ones((edge, edge), bool))[:height, :width]), at)
