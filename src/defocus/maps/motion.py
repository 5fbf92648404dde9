"""Blur by movement, of the camera or of a subject: how far, which way and how sure, for blocks of a photograph."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["SURE", "Motion", "Movement"]

SURE = 0.5
"""Certainty from which on a movement counts."""
_LONGEST, _MOST_BLOCKS = 1e6, 100_000
"""Largest length in px, and largest number of blocks, that a description may hold."""


class Movement(NamedTuple):
    """A straight movement, or the straight line that comes nearest to it.

    Attributes
    ----------
    length : of the path, px of the photograph.
    direction : degrees, 0..180, from the horizontal, counter-clockwise as seen: 0 is along the rows, 90 along the
        columns, 45 from the lower left to the upper right. Which of the two ways it went cannot be seen.
    sure : 0..1, the probability that there is such a movement. Length and direction mean something from 0.5 on.
    """

    length: float
    direction: float
    sure: float


@dataclass(frozen=True, eq=False, repr=False)
class Motion:
    """Blur by movement of the camera or of a subject, for square blocks of a photograph.

    Blocks are of 64 px, and larger in photographs of more than 3 megapixels; one value for each of them is enough, as
    it is measured in a window of twice that side. `of_pixels` has the values of every pixel.

    Attributes
    ----------
    length, direction, sure : float32 h x w, one value for each block, as in `Movement`; h = ceil(H / block).
    block : side of the blocks, px.
    shape : height and width of the photograph, H and W, px.
    camera : the movement that all of the photograph shows, as when the camera was shaken.

    Raises
    ------
    ValueError
        If shapes or types differ from this or a value is out of range.

    Examples
    --------
    >>> nothing = np.zeros((1, 2), np.float32)
    >>> motion = Motion(nothing, nothing, nothing, 64, (50, 100), Movement(0.0, 0.0, 0.0))
    >>> motion.fraction, motion.of_pixels().sure.shape
    (0.0, (50, 100))
    """

    length: NDArray[np.float32]
    direction: NDArray[np.float32]
    sure: NDArray[np.float32]
    block: int
    shape: tuple[int, int]
    camera: Movement

    def __post_init__(self) -> None:
        if self.block < 1:
            raise ValueError(f"block must be 1 px or more, not {self.block}.")
        blocks = (-(-self.shape[0] // self.block), -(-self.shape[1] // self.block))
        limits = {"length": _LONGEST, "direction": 180.0, "sure": 1.0}
        for name, most in limits.items():
            plane = getattr(self, name)
            if plane.dtype != np.float32 or plane.shape != blocks:
                raise ValueError(f"{name} must be float32 {blocks}, not {plane.dtype} {plane.shape}.")
            if plane.size and not (plane.min() >= 0 and plane.max() <= most):
                raise ValueError(f"{name} must be in 0..{most:g}.")
            if not 0 <= getattr(self.camera, name) <= most:
                raise ValueError(f"{name} of the camera's movement must be in 0..{most:g}.")

    def __repr__(self) -> str:
        """Return one line: the sentence of `in_words`."""
        return f"<Motion {self.shape[1]} x {self.shape[0]}: {self.in_words() or 'nothing has moved'}>"

    @property
    def shaken(self) -> bool:
        """Whether all of the photograph shows one movement, as when the camera was shaken."""
        return self.camera.sure >= SURE

    @property
    def fraction(self) -> float:
        """Fraction of the photograph in which movement is sure, 0..1."""
        return float((self.sure >= SURE).mean()) if self.sure.size else 0.0

    def strongest(self) -> Movement:
        """Return the movement of the camera, or else the typical one of the blocks that surely moved.

        Examples
        --------
        >>> sure = np.float32([[0.1, 0.9]])
        >>> motion = Motion(20 * sure, 50 * sure, sure, 64, (50, 100), Movement(0.0, 0.0, 0.0))
        >>> motion.strongest()
        Movement(length=18.0, direction=45.0, sure=0.9)
        """
        moved = self.sure >= SURE
        if self.shaken or not moved.any():
            return self.camera
        # Angles are those of a line, so that 179 and 1 degree are near each other.
        doubled = np.exp(2j * np.deg2rad(self.direction[moved].astype(np.float64))).mean()
        direction = math.degrees(np.angle(doubled)) / 2 % 180
        length, sure = float(np.median(self.length[moved])), float(np.median(self.sure[moved]))
        return Movement(round(length, 1), round(direction, 1), round(sure, 3))

    def in_words(self) -> str:
        """Return what seems to have moved, as part of a sentence; an empty one where nothing does.

        Examples
        --------
        >>> plane = np.ones((1, 1), np.float32)
        >>> Motion(22 * plane, 35 * plane, plane, 64, (50, 60), Movement(22.0, 35.0, 0.9)).in_words()
        'shaken by about 22 px, 35 degrees'
        """
        if self.fraction == 0 and not self.shaken:
            return ""
        movement = self.strongest()
        how = f"by about {movement.length:.0f} px, {movement.direction % 180:.0f} degrees"
        return f"shaken {how}" if self.shaken else f"{self.fraction:.0%} of it may have moved {how}"

    def of_pixels(self, rows: slice = slice(None), every: int = 1) -> Motion.Pixels:
        """Return the values of every pixel, each that of its block.

        Parameters
        ----------
        rows : rows of pixels that are wanted, so that not all of a large photograph need be in memory.
        every : return those of every n-th pixel of every n-th row, the one in the middle of n x n px.

        Returns
        -------
        `length`, `direction` and `sure`, each float32 H x W.
        """
        height, width = self.shape
        first, last, _ = rows.indices(-(-height // every))
        down, across = (
            np.minimum(np.arange(start, stop) * every + every // 2, side - 1) // self.block
            for start, stop, side in ((first, last, height), (0, -(-width // every), width))
        )
        place = np.ix_(down, across)
        return Motion.Pixels(self.length[place], self.direction[place], self.sure[place])

    class Pixels(NamedTuple):
        """Movement of every pixel: `length`, `direction` and `sure` as in `Movement`, each float32 H x W."""

        length: NDArray[np.float32]
        direction: NDArray[np.float32]
        sure: NDArray[np.float32]

    def placed(self, top: int, left: int, shape: tuple[int, int]) -> Motion:
        """Return the motion of a whole picture of which this photograph is a part; nothing has moved around it.

        Parameters
        ----------
        top, left : first row and column of the part.
        shape : height and width of the whole, px.

        Examples
        --------
        >>> plane = np.ones((1, 1), np.float32)
        >>> part = Motion(9 * plane, plane, plane, 64, (64, 64), Movement(9.0, 1.0, 1.0))
        >>> part.placed(64, 0, (128, 64)).sure.tolist()
        [[0.0], [1.0]]
        """
        rows, columns = (
            (np.minimum(np.arange(0, side, self.block) + self.block // 2, side - 1) - first)
            for side, first in zip(shape, (top, left), strict=True)
        )
        inside = np.logical_and.outer(
            (rows >= 0) & (rows < self.shape[0]), (columns >= 0) & (columns < self.shape[1])
        ).astype(np.float32)
        place = np.ix_(
            np.clip(rows, 0, self.shape[0] - 1) // self.block, np.clip(columns, 0, self.shape[1] - 1) // self.block
        )
        return Motion(
            self.length[place] * inside,
            self.direction[place] * inside,
            self.sure[place] * inside,
            self.block,
            shape,
            self.camera,
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON, exact for values with the decimals that `defocus.evidence.motion` rounds to.

        Examples
        --------
        >>> plane = np.ones((1, 1), np.float32)
        >>> motion = Motion(plane, plane, plane, 64, (50, 60), Movement(1.0, 1.0, 1.0))
        >>> Motion.from_json(motion.to_json(), (50, 60)).length.tolist()
        [[1.0]]
        """
        return {
            "block": self.block,
            "camera": list(self.camera),
            # The shortest decimals that are read as the same float32.
            **{
                name: [[float(str(value)) for value in row] for row in getattr(self, name)]
                for name in Motion.Pixels._fields
            },
        }

    @classmethod
    def from_json(cls, about: Mapping[str, Any], shape: tuple[int, int]) -> Motion:
        """Return the motion that `to_json` has described, of a photograph of `shape` (H, W).

        Raises
        ------
        ValueError
            If the description does not make sense.
        """
        try:
            block = int(about["block"])
            blocks = (-(-shape[0] // block), -(-shape[1] // block))
            if block < 1 or blocks[0] * blocks[1] > _MOST_BLOCKS:
                raise ValueError(f"blocks of {block} px")
            planes = {name: np.array(about[name], np.float32).reshape(blocks) for name in Motion.Pixels._fields}
            length, direction, sure = (float(value) for value in about["camera"])
        except (KeyError, TypeError, ZeroDivisionError, OverflowError) as error:
            raise ValueError(f"the description of the motion is not complete: {error}") from error
        return cls(**planes, block=block, shape=shape, camera=Movement(length, direction, sure))
