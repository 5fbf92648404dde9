"""How many moved photographs are found, how exactly, and how many others are taken for moved.

    python benchmarks/shake.py --photos FOLDER [--every 27] [--maps] [--others FOLDER ...]

Every n-th photograph of a folder of sharp ones, by name, from the fourth on, is moved along lines and arcs of 6 to 40
px in linear light, with noise of 1/255 and JPEG of quality 92; and is looked at as it is, and evenly out of focus. A
subject that has moved before it is the photograph that follows, within an ellipse. Of those in which something surely
moved, the length is right within a fifth, and the direction within 10 degrees. Photographs of further folders are
looked at as they are. With --maps, maps are estimated too: which share of the pixels is called sharp (sigma below 1 px)
with confidence 0.5 or more.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

import defocus
from defocus.evaluation.render import jpeg_round_trip
from defocus.evidence.motion import motion_of
from defocus.maps.accuracy import CONFIDENT
from defocus.maps.motion import SURE
from defocus.optics.kernels import disc_kernel, movement_kernel
from defocus.optics.light import linear_to_srgb, srgb_to_linear
from defocus.photograph import as_photograph, read_photograph
from defocus.photograph.folders import photographs_below

LENGTHS, DIRECTIONS, BENT = (6, 10, 16, 24, 32, 40), (0, 34, 90, 128), 20.0
"""px; degrees, of which every other one is that of an arc that turns by so many degrees."""
COLUMNS = (
    "photographs",
    "number",
    "called shaken",
    "pixels that surely moved",
    "length right",
    "direction right",
    "subject found",
    "far from it",
    "sharp and confident",
)
SHARP = 1.0
"""px, sigma below which a pixel counts as sharp."""
Floats = NDArray[np.float64]


class Case(NamedTuple):
    """A photograph made from a sharp one; the movement in it, and where it is, or None."""

    name: str
    picture: NDArray[np.uint8]
    length: float | None = None
    direction: float = 0.0
    inside: NDArray[np.bool_] | None = None


def blurred(light: Floats, kernel: Floats) -> Floats:
    """Blur linear light, H x W or H x W x 3."""
    if light.ndim == 3:
        return np.stack([blurred(light[..., c], kernel) for c in range(3)], axis=2)
    sides = [(side // 2, side // 2) for side in kernel.shape]
    return np.asarray(signal.fftconvolve(np.pad(light, sides, mode="symmetric"), kernel, mode="valid"))


def taken(light: Floats, random: np.random.Generator) -> NDArray[np.uint8]:
    """What a camera makes of linear light."""
    shown = linear_to_srgb(np.clip(light, 0, 1)) + random.normal(0, 1 / 255, light.shape)
    return jpeg_round_trip(np.rint(np.clip(shown, 0, 1) * 255).astype(np.uint8), 92)


def cases(picture: NDArray[np.uint8], other: NDArray[np.uint8], random: np.random.Generator) -> Iterator[Case]:
    """A sharp photograph as it is, out of focus and moved; `other` is the subject that moves before it."""
    light = srgb_to_linear(picture / 255)
    yield Case("as they are", picture)
    yield Case("Gaussian of 1.5 px", taken(ndimage.gaussian_filter(light, (1.5, 1.5, 0)), random))
    yield Case("disc of radius 5 px", taken(blurred(light, disc_kernel(5.0)), random))
    for length in LENGTHS:
        for number, direction in enumerate(DIRECTIONS):
            kernel = movement_kernel(length, direction, BENT if number % 2 else 0.0)
            yield Case(f"moved by {length} px", taken(blurred(light, kernel), random), length, direction)
    height, width = picture.shape[:2]
    y, x = np.mgrid[:height, :width]
    inside = np.hypot((y / height - 0.5) / 0.4, (x / width - 0.5) / 0.33) < 1
    fits = np.pad(
        other, [(0, max(have - there, 0)) for have, there in zip(picture.shape, other.shape, strict=True)], "symmetric"
    )[:height, :width]
    for length, direction in ((10, 34), (20, 128)):
        kernel = movement_kernel(length, direction)
        covered = np.clip(blurred(inside.astype(float), kernel), 0, 1)[..., None]
        moved = blurred(srgb_to_linear(fits / 255) * inside[..., None], kernel) + (1 - covered) * light
        yield Case(f"a subject moved by {length} px", taken(moved, random), length, direction, inside)


def sharp_and_sure(picture: NDArray[np.uint8]) -> float:
    """Fraction of the pixels that the map calls sharp and is confident of."""
    m = defocus.estimate(picture)
    return float(((m.confidence >= CONFIDENT) & (m.sigma < SHARP)).mean())


def row(case: Case, with_map: bool) -> list[float]:
    """Shaken; fraction sure; length and direction right of what is found; inside and outside a subject; sharp."""
    motion = motion_of(as_photograph(case.picture))
    sure = motion.of_pixels().sure >= SURE
    right = [np.nan, np.nan]
    if case.length is not None and sure.any():
        movement = motion.strongest()
        off = abs((movement.direction - case.direction + 90) % 180 - 90)
        right = [float(abs(movement.length / case.length - 1) <= 0.2), float(off <= 10)]
    where = [np.nan, np.nan]
    if case.inside is not None:
        core = ndimage.binary_erosion(case.inside, iterations=32)
        beyond = ~ndimage.binary_dilation(case.inside, iterations=64)
        where = [float(sure[core].mean()), float(sure[beyond].mean()) if beyond.any() else np.nan]
    sharp = sharp_and_sure(case.picture) if with_map else np.nan
    return [float(motion.shaken), float(sure.mean()), *right, *where, sharp]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True, help="folder of sharp photographs")
    parser.add_argument("--every", type=int, default=27, help="look at every n-th")
    parser.add_argument("--others", type=Path, nargs="*", default=[], help="folders of photographs that are still")
    parser.add_argument("--maps", action="store_true", help="estimate maps too, which takes longer")
    arguments = parser.parse_args()
    paths = photographs_below(arguments.photos, recursive=False)[3 :: arguments.every]
    pictures = [np.asarray(read_photograph(path).pixels)[:480, :640] for path in paths]
    found: dict[str, list[list[float]]] = {}
    random = np.random.default_rng(0)
    for number, picture in enumerate(pictures):
        for case in cases(picture, pictures[(number + 1) % len(pictures)], random):
            found.setdefault(case.name, []).append(row(case, arguments.maps))
    for folder in arguments.others:
        for path in photographs_below(folder, recursive=False):
            picture = np.asarray(read_photograph(path).pixels)
            found.setdefault(str(folder), []).append(row(Case(str(folder), picture), arguments.maps))
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")
    for name, rows in found.items():
        columns = zip(*rows, strict=True)
        means = [np.nanmean(column) if not np.isnan(column).all() else None for column in columns]
        print(f"| {name} | {len(rows)} | " + " | ".join("" if m is None else f"{m:.1%}" for m in means) + " |")


if __name__ == "__main__":
    main()
