"""How well the likeness that bursts are grouped by tells frames of one scene from other scenes.

    python benchmarks/bursts.py --photos ../shared/data/train --every 4 --pairs ../shared/data/dev/multifocus/image

Frames of one scene are made from each photograph: three quarters of it, moved by a fraction of the frame, up to 3 %
larger or smaller, and as they are or brighter by one stop. With --pairs, also photographs NAME_A and NAME_B of one
scene with the focus at another place. Other scenes are pairs of different photographs. Printed: percentiles of the
likeness,
and how many pairs reach the two thresholds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from defocus.culling import bursts
from defocus.culling.bursts import Shot, likeness, shot_of
from defocus.photograph import photograph_from_array
from defocus.photograph.exif import Exif
from defocus.photograph.folders import photographs_below
from defocus.photograph.reduced import read_reduced

MOVED = (0.02, 0.05, 0.1, 0.15, 0.2)
LIGHT = {"as it is": 1.0, "one stop brighter": 2 ** (1 / 2.2)}
OTHERS = 4000


def shot(pixels: np.ndarray) -> Shot:
    """Return what pixels are grouped by."""
    return shot_of(Path("x"), photograph_from_array(np.ascontiguousarray(pixels)), Exif())


def frames(pixels: np.ndarray, moved: float, light: float, random: np.random.Generator) -> tuple[Shot, Shot]:
    """Return two frames of one scene."""
    height, width = (3 * side // 4 for side in pixels.shape[:2])
    down, across = (moved * height, 0.0) if random.random() < 0.5 else (0.0, moved * width)
    top = random.integers(0, pixels.shape[0] - height - int(down) + 1)
    left = random.integers(0, pixels.shape[1] - width - int(across) + 1)
    scale = random.uniform(0.97, 1.03)
    second = pixels[top + int(down) :, left + int(across) :][: round(height * scale), : round(width * scale)]
    brighter = np.clip(second * light, 0, 255).astype(np.uint8)
    return shot(pixels[top : top + height, left : left + width]), shot(brighter)


def row(name: str, values: list[float]) -> None:
    """Print one row."""
    low, middle, high = np.percentile(values, (1, 50, 99))
    reach = [np.mean(np.array(values) >= limit) for limit in (bursts.ALIKE, bursts.VERY_ALIKE)]
    print(f"| {name} | {len(values)} | {low:.2f} | {middle:.2f} | {high:.2f} | {reach[0]:.1%} | {reach[1]:.1%} |")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--every", type=int, default=4)
    parser.add_argument("--pairs", type=Path)
    arguments = parser.parse_args()
    random = np.random.default_rng(0)
    scenes = [np.asarray(read_reduced(path, 256).pixels) for path in photographs_below(arguments.photos)]
    scenes = scenes[:: arguments.every]
    print(f"{len(scenes)} scenes; alike from {bursts.ALIKE}, very alike from {bursts.VERY_ALIKE}\n")
    print("| pairs | number | 1 % | median | 99 % | alike | very alike |\n|" + "---|" * 7)
    for name, light in LIGHT.items():
        for moved in MOVED:
            values = [likeness(*frames(pixels, moved, light, random)) for pixels in scenes]
            row(f"one scene, moved by {moved:.0%}, {name}", values)
    if arguments.pairs is not None:
        first = sorted(arguments.pairs.glob("*_A.*"))
        both = [(path, path.with_name(path.name.replace("_A.", "_B."))) for path in first]
        row(
            "focus at another place",
            [likeness(*(shot(np.asarray(Image.open(path).convert("RGB"))) for path in pair)) for pair in both],
        )
    shots = [shot(pixels) for pixels in scenes]
    places = (random.choice(len(shots), 2, replace=False) for _ in range(OTHERS))
    row("other scenes", [likeness(shots[a], shots[b]) for a, b in places])


if __name__ == "__main__":
    main()
