"""Strokes of a brush where a map is wrong: "sharp here", "blurred here", "like there"; and the map with them.

A stroke says what sigma is where it was painted, and the photograph's colours say how far that holds. What changes is
the logarithm of sigma: its change is known under the strokes, is 0 where the map is sure, and follows the colours
elsewhere (matting Laplacian, Levin, Lischinski, Weiss, TPAMI 2008; the same propagation that fills maps).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from defocus.errors import MapFileError, ParameterError
from defocus.filters.box import block_average
from defocus.filters.guided import GuidedUpsampling
from defocus.maps.accuracy import CONFIDENT
from defocus.maps.defocus_map import DefocusMap
from defocus.photograph import PhotographLike, as_photograph
from defocus.propagation.propagate import solve_on_grid
from defocus.runtime.atomic import write_text

if TYPE_CHECKING:
    from defocus.photograph import Photograph

__all__ = ["Stroke", "Strokes", "corrected"]

Kind = Literal["sharp", "blurred", "like"]

_MOST_BYTES = 4 << 20
_MOST_POINTS = 100_000
_LARGEST_GRID = 60_000
"""Largest number of blocks that are solved for: half a second."""
_SHARP = 0.6
"""Largest sigma in px of what is painted as sharp; the sharpest parts of the photograph if they are sharper."""
_BLURRED = 2.0
"""Least sigma in px of what is painted as blurred; that of the most blurred parts if they are more so."""
_HELD = 0.3
"""Weight with which a pixel of full confidence keeps its sigma, beside 1 for one that was painted. It falls with the
third power of the confidence: what is a guess gives way."""
_LEAST_HELD = 1e-4
"""The same for one of which nothing is known: far from all strokes nothing changes."""
_EPS = 1e-5
"""Regularisation of the colours, squared units of 0..1."""
_ROWS = 256
_LEAST = 1e-3
"""px, so that there is a logarithm."""
_PAINTED = 0.95
"""Confidence of what was painted."""


@dataclass(frozen=True)
class Stroke:
    """One stroke of a round brush.

    Attributes
    ----------
    kind : "sharp", "blurred", or "like" another place.
    points : (x, y) of the brush's centre, px of the photograph from the left and the top; one or more.
    radius : of the brush, px, above 0.
    place : (x, y) of the place that a stroke of kind "like" takes its sigma from; None for the others.

    Raises
    ------
    ParameterError
        If a value is none of these.

    Examples
    --------
    >>> Stroke("sharp", ((10.0, 12.0), (20.0, 12.0)), radius=4.0).kind
    'sharp'
    """

    kind: Kind
    points: tuple[tuple[float, float], ...]
    radius: float
    place: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """See that the values are what they should be."""
        if self.kind not in get_args(Kind):
            raise ParameterError(f"A stroke is {', '.join(get_args(Kind))}, not {self.kind!r}.")
        if not 0 < len(self.points) <= _MOST_POINTS:
            raise ParameterError(f"A stroke has 1 to {_MOST_POINTS} points, not {len(self.points)}.")
        if not 0 < self.radius < 1e5:
            raise ParameterError(f"The radius of a brush is above 0 px, not {self.radius}.")
        if (self.kind == "like") != (self.place is not None):
            raise ParameterError("A stroke of kind like, and no other, has a place that it is like.")
        if not all(math.isfinite(value) for point in (*self.points, self.place or (0, 0)) for value in point):
            raise ParameterError("The points of a stroke must be finite.")


@dataclass(frozen=True)
class Strokes:
    """All strokes on one photograph, in the order they were painted in: where two overlap the later one holds.

    Attributes
    ----------
    strokes : none or more.
    size : width and height in px of the photograph they were painted on.

    Examples
    --------
    >>> strokes = Strokes((Stroke("sharp", ((10.0, 12.0),), 4.0),), (640, 480))
    >>> Strokes.from_json(strokes.to_json()) == strokes
    True
    """

    strokes: tuple[Stroke, ...]
    size: tuple[int, int]

    def __post_init__(self) -> None:
        """See that there is a photograph."""
        if min(self.size) < 1:
            raise ParameterError(f"A photograph has a width and a height of at least 1 px, not {self.size}.")

    def to_json(self) -> str:
        """Return the strokes as JSON."""
        strokes = [
            {"kind": stroke.kind, "radius": stroke.radius, "points": stroke.points}
            | ({} if stroke.place is None else {"place": stroke.place})
            for stroke in self.strokes
        ]
        return json.dumps({"defocus": "strokes", "size": self.size, "strokes": strokes})

    @classmethod
    def from_json(cls, text: str | bytes) -> Strokes:
        """Return the strokes that `to_json` wrote.

        Raises
        ------
        ParameterError
            If it is anything else.

        Examples
        --------
        >>> Strokes.from_json("[]")
        Traceback (most recent call last):
        ...
        defocus.errors.ParameterError: These are no strokes as defocus writes them.
        """
        try:
            stored = json.loads(text)
            if stored["defocus"] != "strokes":
                raise ValueError("of something else")
            return cls.of(stored["strokes"], stored["size"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            if isinstance(error, ParameterError):
                raise
            raise ParameterError("These are no strokes as defocus writes them.") from error

    @classmethod
    def of(cls, strokes: Sequence[Mapping[str, Any]], size: Sequence[int]) -> Strokes:
        """Return strokes from what JSON knows: a list of objects with kind, points, radius and place."""
        width, height = size
        return cls(
            tuple(
                Stroke(
                    kind=stroke["kind"],
                    points=tuple((float(x), float(y)) for x, y in stroke["points"]),
                    radius=float(stroke["radius"]),
                    place=None if stroke.get("place") is None else _pair(stroke["place"]),
                )
                for stroke in strokes
            ),
            (int(width), int(height)),
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Strokes:
        """Read a file of strokes.

        Raises
        ------
        MapFileError
            If it cannot be read or holds anything else.
        """
        try:
            with Path(path).open("rb") as file:
                contents = file.read(_MOST_BYTES + 1)
            if len(contents) > _MOST_BYTES:
                raise ParameterError("They are too many.")
            return cls.from_json(contents)
        except OSError as error:
            raise MapFileError(f"Cannot read {os.fspath(path)}: {error.strerror or error}.") from error
        except ParameterError as error:
            raise MapFileError(f"{os.fspath(path)} holds no strokes: {error} Move it away, or paint again.") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the strokes to a file, whole or not at all.

        Raises
        ------
        MapFileError
            If the file cannot be written.
        """
        try:
            write_text(Path(path), self.to_json())
        except OSError as error:
            raise MapFileError(f"Cannot write {os.fspath(path)}: {error.strerror or error}.") from error

    def scaled(self, size: tuple[int, int]) -> Strokes:
        """Return the same strokes for the photograph at another size.

        Parameters
        ----------
        size : width and height, px.
        """
        across, down = size[0] / self.size[0], size[1] / self.size[1]
        return Strokes(
            tuple(
                replace(
                    stroke,
                    points=tuple((x * across, y * down) for x, y in stroke.points),
                    radius=stroke.radius * math.sqrt(across * down),
                    place=None if stroke.place is None else (stroke.place[0] * across, stroke.place[1] * down),
                )
                for stroke in self.strokes
            ),
            size,
        )


def corrected(photo: PhotographLike, defocus_map: DefocusMap, strokes: Strokes) -> DefocusMap:
    """Return the map with what was painted.

    Parameters
    ----------
    photo : the photograph of the map: path, array, PIL image or `Photograph`.
    defocus_map : H x W, in px.
    strokes : what was painted on the photograph, at any size of the same shape.

    Returns
    -------
    The map with sigma and confidence changed; where nothing was painted near, on nothing of like colour, and where the
    map is sure, it stays as it was. Confidence is 0.95 under the strokes.

    Raises
    ------
    ParameterError
        If the map is a score, or map, photograph and strokes are not of one shape.

    Examples
    --------
    >>> import defocus
    >>> photo = np.random.default_rng(0).normal(0.2, 0.01, (60, 90, 3)).clip(0, 1)
    >>> photo[:, 45:] += 0.5  # two bare things
    >>> ones, zeros = np.ones((60, 90), np.float32), np.zeros((60, 90), np.float32)
    >>> defocus_map = DefocusMap(ones, zeros, zeros > 0, defocus.Seeds.none((60, 90)), "made", (0.3, 32.0))
    >>> found = corrected(photo, defocus_map, Strokes((Stroke("blurred", ((20.0, 30.0),), 5.0),), (90, 60)))
    >>> bool(found.sigma[5, 5] > 1.8), bool(found.sigma[30, 85] < 1.2)
    (True, True)
    """
    photograph = as_photograph(photo)
    if defocus_map.unit != "px":
        raise ParameterError(f"The map of {defocus_map.method} is a {defocus_map.unit}: strokes need sigma in px.")
    height, width = defocus_map.sigma.shape
    if (photograph.height, photograph.width) != (height, width):
        raise ParameterError("The map is not of the photograph's size: estimate it anew.")
    if abs(strokes.size[0] / strokes.size[1] * height / width - 1) > 0.02:
        raise ParameterError(
            f"The strokes were painted on a photograph of {strokes.size[0]} x {strokes.size[1]} px, not of {width} x "
            f"{height}: delete them, and paint again."
        )
    if not strokes.strokes:
        return defocus_map
    scale = width / strokes.size[0]  # where map and photograph are smaller than what was painted on
    strokes = strokes.scaled((width, height))
    step = max(1, math.ceil(math.sqrt(height * width / _LARGEST_GRID)))
    change, painted = _painted(strokes, defocus_map, step, scale)
    if not painted.any():
        return defocus_map
    held = np.maximum(_HELD * _blocks(defocus_map.confidence, step) ** 3, _LEAST_HELD)
    weights = np.where(painted, np.float32(1), held).astype(np.float32)
    known = np.stack([change, painted.astype(np.float32)], axis=2) * weights[..., None]
    guide = _guide(photograph, step)
    solved = solve_on_grid(known, weights, guide, regularisation=1.0, eps=_EPS, rtol=1e-4)
    spread = np.moveaxis(solved.values, 2, 0).astype(np.float32)
    colours = np.moveaxis(guide, 2, 0)
    finer = GuidedUpsampling(
        lambda rows: spread[:, rows], lambda rows: colours[:, rows], (height, width), reduction=step, eps=_EPS
    )
    low, high = defocus_map.sigma_range
    sigma, confidence = np.empty_like(defocus_map.sigma), np.empty_like(defocus_map.confidence)
    for top in range(0, height, _ROWS):
        rows = slice(top, top + _ROWS)
        own = np.moveaxis(photograph.as_float(np.float32, rows=rows), 2, 0)
        octaves, share = finer.rows(top, own) if step > 1 else spread[:, rows]
        sigma[rows] = np.clip(defocus_map.sigma[rows] * np.exp2(octaves), max(low, _LEAST), high)
        before = defocus_map.confidence[rows]
        confidence[rows] = before + np.maximum(_PAINTED - before, 0) * np.clip(share, 0, 1)
    return replace(defocus_map, sigma=sigma, confidence=confidence)


def _painted(
    strokes: Strokes, defocus_map: DefocusMap, step: int, scale: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Change of log2 sigma that was painted, and where, on blocks of `step` px."""
    sigma = _blocks(defocus_map.sigma, step)
    confident = sigma[_blocks(defocus_map.confidence, step) >= CONFIDENT]
    values = confident if confident.size else sigma
    sigmas = {
        "sharp": min(float(np.percentile(values, 5)), _SHARP * scale),
        "blurred": max(float(np.percentile(values, 90)), _BLURRED * scale),
    }
    change = np.zeros(sigma.shape, np.float32)
    painted = np.zeros(sigma.shape, np.bool_)
    for stroke in strokes.strokes:
        under = _under(stroke, sigma.shape, step)
        wanted = sigmas.get(stroke.kind) or _sigma_at(defocus_map, stroke.place)
        change[under] = np.log2(max(wanted, _LEAST) / np.maximum(sigma[under], _LEAST))
        painted |= under
    return change, painted


def _under(stroke: Stroke, shape: tuple[int, ...], step: int) -> NDArray[np.bool_]:
    """The blocks that a stroke covers."""
    height, width = shape[:2]
    canvas = Image.new("1", (width, height))
    draw = ImageDraw.Draw(canvas)
    points = [(x / step, y / step) for x, y in stroke.points]
    radius = max(stroke.radius / step, 0.5)
    if len(points) > 1:
        draw.line(points, fill=1, width=max(1, round(2 * radius)))
    for x, y in points:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)
    return np.asarray(canvas)


def _sigma_at(defocus_map: DefocusMap, place: tuple[float, float] | None) -> float:
    assert place is not None
    height, width = defocus_map.sigma.shape
    x, y = (min(max(int(at), 0), end - 1) for at, end in zip(place, (width, height), strict=True))
    return float(np.median(defocus_map.sigma[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]))


def _blocks(plane: NDArray[np.float32], step: int) -> NDArray[np.float32]:
    return plane if step == 1 else np.asarray(block_average(plane, step), np.float32)


def _guide(photograph: Photograph, step: int) -> NDArray[np.float32]:
    tops = range(0, photograph.height, _ROWS * step)
    strips = (photograph.as_float(np.float32, rows=slice(top, top + _ROWS * step)) for top in tops)
    return np.concatenate([strip if step == 1 else np.asarray(block_average(strip, step)) for strip in strips])


def _pair(values: Sequence[Any]) -> tuple[float, float]:
    x, y = values
    return float(x), float(y)
