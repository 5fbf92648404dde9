"""Drawn rooms with little to read: plain walls, floors, balls and boxes with soft shading and soft shadows.

Most pixels of indoor photographs show such surfaces, of which a method can only tell the blur from their outlines. Each
scene is drawn from its seed as surfaces with depth (`defocus.evaluation.aperture.Surface`), which continue behind what
covers them, and is seen through an aperture. The camera is a pinhole's perspective: on a plane, the inverse of the
distance, and with it the signed blur, is affine in the place in the picture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from defocus.errors import DefocusError
from defocus.evaluation.aperture import OVERSAMPLING, Surface, expose, render_surfaces
from defocus.evaluation.render import Kernel

__all__ = ["BARE_SCENES", "BareScene", "bare_scene"]

_Floats = NDArray[np.float64]

_SIZE = (240, 320)
"""Height and width of the scenes, px."""
_LARGEST = (2.0, 4.0)
"""Least and largest sigma of what is farthest out of focus, px."""
_NOISE = 1.5 / 255
"""Standard deviation of the noise, a fraction of full scale."""
_UNEVENNESS = (0.0, 0.004, 0.012)
"""Standard deviations of the unevenness of paint, fractions of its light."""
_MARGIN = 14
"""What is drawn beyond each border, px, so that things which the border cuts hide nothing that is not there."""


class BareScene(NamedTuple):
    """A drawn room through an aperture.

    Attributes
    ----------
    image : H x W x 3 uint8, display-referred sRGB.
    signed_sigma : H x W float64, px: standard deviation of the blur of the surface that is seen at the middle of each
        pixel from the middle of the aperture; negative behind the plane of focus.
    """

    image: NDArray[np.uint8]
    signed_sigma: _Floats


class _Room:
    """Surfaces of a room, whose nearness is 0 at the far wall and 1 at the lower border of the picture.

    Lengths are fractions of the picture's height, from its upper left corner; the arrays reach beyond its borders.
    """

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        height, width = (side * OVERSAMPLING for side in _SIZE)
        margin = _MARGIN * OVERSAMPLING
        self.y, self.x = (np.mgrid[-margin : height + margin, -margin : width + margin] + 0.5) / height
        self.right = width / height
        self.junction = random.uniform(0.45, 0.6)
        # Light falls off smoothly from a lamp somewhere above the picture.
        lamp = random.uniform(0, self.right), random.uniform(-0.4, 0.1)
        self.light = 1 / (1 + ((self.x - lamp[0]) ** 2 + (self.y - lamp[1]) ** 2) / random.uniform(1.0, 3.0))
        self.light_from = np.sign(lamp[0] - self.right / 2)
        white = random.normal(size=self.y.shape)
        uneven = sum(sigma * ndimage.gaussian_filter(white, sigma * OVERSAMPLING, mode="wrap") for sigma in (1, 4, 16))
        self.uneven: _Floats = uneven / np.std(uneven)
        self.surfaces: list[tuple[_Floats, _Floats, NDArray[np.bool_]]] = []
        """Colour, nearness and where it is."""

    def paint(self, shade: _Floats | float, nearness: _Floats, present: NDArray[np.bool_], albedo: _Floats) -> None:
        """Add a surface; its paint is a little uneven."""
        moved = np.roll(self.uneven, self.random.integers(0, self.y.shape), (0, 1))
        colour = (self.light * shade * (1 + self.random.choice(_UNEVENNESS) * moved))[..., None] * albedo
        self.surfaces.append((np.clip(colour, 0, 1), nearness, present))

    def albedo(self) -> _Floats:
        """Draw a muted colour, as linear light."""
        return np.asarray(self.random.uniform(0.12, 0.9) * self.random.uniform(0.75, 1.0, 3))

    def floor_nearness(self, y: _Floats | float) -> _Floats:
        return np.asarray((y - self.junction) / (1 - self.junction))

    def wall(self, tilt: float = 0.0) -> None:
        """Add the far wall, whose nearness is `tilt` at the right border."""
        self.paint(1.0, tilt * self.x / self.right, np.ones(self.y.shape, bool), self.albedo())

    def floor(self) -> None:
        """Add a floor; the wall ends where it begins."""
        colour, nearness, present = self.surfaces[0]
        self.surfaces[0] = colour, nearness, present & (self.y < self.junction)
        self.paint(self.random.uniform(0.7, 1.2), self.floor_nearness(self.y), self.y >= self.junction, self.albedo())

    def shadow(self, x: float, y: float, reach: float) -> None:
        """Darken wall and floor around a place, softly."""
        side = -self.light_from * 0.5 * reach
        place = ((self.x - x - side) / (1.6 * reach)) ** 2 + ((self.y - y) / (0.5 * reach)) ** 2
        soft = 1 - self.random.uniform(0.4, 0.8) * np.exp(-(place**1.5))
        for number, (colour, nearness, present) in enumerate(self.surfaces[:2]):
            self.surfaces[number] = colour * soft[..., None], nearness, present

    def ball(self) -> None:
        stands = self.random.uniform(self.junction + 0.08, 0.98)
        radius = self.random.uniform(0.12, 0.22) * (0.5 + 0.9 * float(self.floor_nearness(stands)))
        x, y = self.random.uniform(0.1, self.right - 0.1), stands - 0.9 * radius
        self.shadow(x, stands, radius)
        across, down = (self.x - x) / radius, (self.y - y) / radius
        towards = np.sqrt(np.maximum(1 - across**2 - down**2, 0))
        lambert = np.maximum(0.45 * self.light_from * across - 0.55 * down + 0.7 * towards, 0)
        nearness = self.floor_nearness(stands) + 0.35 * radius * towards
        self.paint(0.25 + 0.9 * lambert, nearness, across**2 + down**2 <= 1, self.albedo())

    def box(self) -> None:
        """Add a box with its front, its upper side and its right side."""
        stands = self.random.uniform(self.junction + 0.08, 0.98)
        size = 0.5 + 0.9 * float(self.floor_nearness(stands))
        wide, high, deep = self.random.uniform(0.12, 0.3, 3) * size
        left = self.random.uniform(0.02, self.right - wide)
        top, back = stands - high, 0.3 * deep
        self.shadow(left + wide / 2, stands, 0.7 * wide)
        albedo, front = self.albedo(), float(self.floor_nearness(stands))
        farther = min(0.6 * deep, 0.8 * front)
        x, y = self.x - left, self.y - top
        inside_front = (x >= 0) & (x <= wide) & (y >= 0) & (y <= high)
        self.paint(self.random.uniform(0.7, 0.9), np.full(x.shape, front), inside_front, albedo)
        up = -y / back
        inside_top = (up > 0) & (up <= 1) & (x >= up * back) & (x <= wide + up * back)
        self.paint(self.random.uniform(1.0, 1.2), front - farther * up, inside_top, albedo)
        aside = (x - wide) / back
        inside_side = (aside > 0) & (aside <= 1) & (y >= -aside * back) & (y <= high - aside * back)
        self.paint(self.random.uniform(0.35, 0.6), front - farther * aside, inside_side, albedo)


def _draw_wall(room: _Room) -> None:
    room.wall(tilt=1.0)


def _draw_floor(room: _Room) -> None:
    room.wall()
    room.floor()


def _draw_balls(room: _Room) -> None:
    _draw_floor(room)
    for _ in range(4):
        room.ball()


def _draw_boxes(room: _Room) -> None:
    _draw_floor(room)
    for _ in range(4):
        room.box()


BARE_SCENES: dict[str, Callable[[_Room], None]] = {
    "wall": _draw_wall,
    "floor": _draw_floor,
    "balls": _draw_balls,
    "boxes": _draw_boxes,
}
"""Kinds of scenes, and what draws each."""


def bare_scene(kind: str, seed: int, kernel: Kernel) -> BareScene:
    """Draw a room and render it through an aperture.

    Parameters
    ----------
    kind : of the scene, one of `BARE_SCENES`: a tilted wall; a wall and a floor; these with balls, or with boxes.
    seed : of everything drawn.
    kernel : "gaussian", or "disc" of radius 2 sigma.

    Returns
    -------
    BareScene, 240 x 320, its largest standard deviation 2 to 4 px, with noise of 1.5 of 255.

    Raises
    ------
    DefocusError
        If there is no such kind.

    Examples
    --------
    >>> bare_scene("room", 0, "disc")
    Traceback (most recent call last):
    ...
    defocus.errors.DefocusError: There is no bare scene 'room': choose of wall, floor, balls, boxes.
    """
    if kind not in BARE_SCENES:
        raise DefocusError(f"There is no bare scene {kind!r}: choose of {', '.join(BARE_SCENES)}.")
    random = np.random.default_rng([seed, *kind.encode()])
    room = _Room(random)
    BARE_SCENES[kind](room)
    seen = np.full(room.y.shape, -np.inf)
    for _, nearness, present in room.surfaces:
        seen = np.where(present, np.maximum(seen, nearness), seen)
    focus = random.uniform(seen.min(), seen.max())
    px = random.uniform(*_LARGEST) / np.abs(seen - focus).max()
    surfaces = [Surface(colour, (nearness - focus) * px, present) for colour, nearness, present in room.surfaces]
    middles = slice(OVERSAMPLING // 2, None, OVERSAMPLING)
    within = np.s_[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    light, truth = render_surfaces(surfaces, kernel), (seen[middles, middles] - focus) * px
    return BareScene(expose(light[within], _NOISE, seed), truth[within])
