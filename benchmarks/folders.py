"""Photographs per second of `defocus estimate` on a folder, by number of jobs; whole processes, cold.

    python benchmarks/folders.py                                       # 60 photographs of 0.3 megapixels
    python benchmarks/folders.py --count 1000 --jobs 2 --runs 1
    python benchmarks/folders.py --jobs 2 --against ../before

The folder is made of cuts of pictures that ship with scikit-image, as JPEG. Numbers of jobs take turns, and so does
the package of another checkout (--against, a folder or a commit), so that a machine with other work slows all of them
alike; the ratios are what to trust then, and of these the ratios of CPU seconds, which are those of all processes of a
run. The last line is a run with --skip-existing that finds everything done.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

import speed


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


def seconds(checkout: Path, folder: Path, output: Path, *options: str) -> tuple[float, float]:
    """Return wall and CPU seconds of a whole run, with the package of a checkout."""
    command = ["-m", "defocus", "estimate", str(folder), "-o", str(output), "--quiet", *options]
    run = speed.whole_process([sys.executable, "-P", *command], checkout)
    return run.seconds, run.cpu


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--size", type=int, nargs=2, default=(640, 480), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--against", metavar="FOLDER|COMMIT", help="measure the package of another checkout in turn")
    chosen = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory() as temporary,
        nullcontext() if chosen.against is None else speed.checked_out(chosen.against) as other,
    ):
        folder, output = Path(temporary) / "in", Path(temporary) / "out"
        folder.mkdir()
        make_folder(folder, chosen.count, *chosen.size)
        checkouts = {"": speed.HERE} if other is None else {", before": other, "": speed.HERE}
        kinds = [(jobs, name) for jobs in chosen.jobs for name in checkouts]
        taken: dict[tuple[int, str], list[tuple[float, float]]] = {kind: [] for kind in kinds}
        for _ in range(chosen.runs):
            for jobs, name in kinds:
                taken[jobs, name].append(seconds(checkouts[name], folder, output, "--jobs", str(jobs)))
        skipping, _ = seconds(speed.HERE, folder, output, "--skip-existing")
    medians = {kind: [statistics.median(values) for values in zip(*runs, strict=True)] for kind, runs in taken.items()}
    first_wall, first_cpu = medians[kinds[0]]
    print("| jobs | photographs per second | ratio | CPU s per photograph | ratio |\n|---|---|---|---|---|")
    for (jobs, name), (wall, cpu) in medians.items():
        print(
            f"| {jobs}{name} | {chosen.count / wall:.2f} | {first_wall / wall:.2f} | {cpu / chosen.count:.3f} | "
            f"{cpu / first_cpu:.2f} |"
        )
    print(f"\nAll done already (--skip-existing): {skipping:.2f} s for {chosen.count}.")


if __name__ == "__main__":
    main()
