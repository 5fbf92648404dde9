"""Photographs per second of `defocus estimate` on a folder, by number of jobs; whole processes, cold.

    python benchmarks/folders.py --count 60 --jobs 1 2 --runs 3

The folder is made of cuts of pictures that ship with scikit-image, as JPEG. Numbers of jobs take turns, so that a
machine with other work slows all of them alike; the ratio is what to trust then. The last line is a run with
--skip-existing that finds everything done.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image


def make_folder(folder: Path, count: int, width: int, height: int) -> None:
    """Write `count` photographs of width x height px, mirrored where a picture is smaller."""
    rng = np.random.default_rng(0)
    pictures = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea(), skimage.data.rocket()]
    for number in range(count):
        picture = pictures[number % len(pictures)]
        row, column = rng.integers(0, 100, 2)
        missing = [(0, max(0, side - have)) for side, have in zip((height, width), picture.shape, strict=False)]
        cut = np.roll(np.pad(picture, [*missing, (0, 0)], mode="symmetric"), (-row, -column), (0, 1))[:height, :width]
        Image.fromarray(cut).save(folder / f"{number:04}.jpg", quality=92)


def seconds(folder: Path, output: Path, *options: str) -> float:
    """Wall time of a whole run."""
    begin = time.perf_counter()
    command = [sys.executable, "-m", "defocus", "estimate", str(folder), "-o", str(output), "--quiet", *options]
    subprocess.run(command, check=True)
    return time.perf_counter() - begin


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--size", type=int, nargs=2, default=(640, 480), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder, output = Path(temporary) / "in", Path(temporary) / "out"
        folder.mkdir()
        make_folder(folder, arguments.count, *arguments.size)
        taken: dict[int, list[float]] = {jobs: [] for jobs in arguments.jobs}
        for _ in range(arguments.runs):
            for jobs in arguments.jobs:
                taken[jobs].append(seconds(folder, output, "--jobs", str(jobs)))
        skipping = seconds(folder, output, "--skip-existing")
    first = statistics.median(taken[arguments.jobs[0]])
    print("| jobs | photographs per second | ratio |\n|---|---|---|")
    for jobs, values in taken.items():
        median = statistics.median(values)
        print(f"| {jobs} | {arguments.count / median:.2f} | {first / median:.2f} |")
    print(f"\nAll done already (--skip-existing): {skipping:.2f} s for {arguments.count}.")


if __name__ == "__main__":
    main()
