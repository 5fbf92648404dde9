"""How many shaken photographs are found, and how many still ones are taken for shaken.

    python benchmarks/shake.py --photos FOLDER [--every 27]

Every n-th photograph of a folder of sharp ones, by name, is moved along a straight line of 6, 10, 16 and 24 px at 0, 34
and 90 degrees, with noise of 1/255; and is looked at as it is, and blurred evenly by a Gaussian of 1.5 px.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy import ndimage

from defocus.evidence.camera_shake import camera_shake
from defocus.photograph import as_photograph, read_photograph

LENGTHS, DEGREES = (6, 10, 16, 24), (0, 34, 90)


def moved(picture: np.ndarray, length: int, degrees: float) -> np.ndarray:
    """A photograph moved along a line while it was taken."""
    along = np.deg2rad(degrees)
    steps = np.linspace(-length / 2, length / 2, 3 * length)
    total = np.zeros(picture.shape)
    for step in steps:
        total += ndimage.shift(picture, (step * np.sin(along), step * np.cos(along), 0), order=1, mode="reflect")
    return total / len(steps)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True, help="folder of sharp photographs")
    parser.add_argument("--every", type=int, default=27, help="look at every n-th")
    arguments = parser.parse_args()
    paths = sorted(path for path in arguments.photos.iterdir() if path.suffix.lower() in (".jpg", ".png"))
    found: dict[str, list[bool]] = {}
    rng = np.random.default_rng(0)
    for path in paths[3 :: arguments.every]:
        picture = read_photograph(path).as_float(np.float32)[:480, :640] * 255
        cases = {"as it is": picture, "blurred by 1.5 px": ndimage.gaussian_filter(picture, (1.5, 1.5, 0))}
        for length in LENGTHS:
            for degrees in DEGREES:
                cases[f"{length} px, {degrees}"] = moved(picture, length, degrees) + rng.normal(0, 1, picture.shape)
        for name, made in cases.items():
            shaken = camera_shake(as_photograph(np.clip(np.rint(made), 0, 255).astype(np.uint8))).shaken
            found.setdefault(name.partition(",")[0], []).append(shaken)
    print("| photographs | looked at | called shaken |\n|---|---|---|")
    for name, answers in found.items():
        print(f"| {name} | {len(answers)} | {np.mean(answers):.0%} |")


if __name__ == "__main__":
    main()
