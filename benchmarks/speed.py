"""Time and peak memory of `defocus estimate`, as a user meets them: whole processes, cold.

    python benchmarks/speed.py --runs 3
    python benchmarks/speed.py --photo photo.jpg
    python benchmarks/speed.py --method dhde --sizes "0.3 MP,1.2 MP,5 MP"
    python benchmarks/speed.py --against ../before --sizes "0.3 MP,24 MP"

Without --photo, the photographs are mosaics of pictures that ship with scikit-image, a third sharp and the rest
blurred: the left third stays as it is, and the rest is blurred by Gaussians of 2 to 8 px, growing to the right in seven
steps. Photographs of up to 1 MP show one picture. With --photo, larger sizes are made by mirrored tiling, which adds
pixels with the same edges and no interpolation blur; smaller ones by cutting. All are stored as JPEG of quality 95, as
cameras store them.

A whole process reads a photograph, estimates and writes both outputs. CPU seconds are those of all its threads, user
and system. Peak memory is the process's largest resident set. "Further photo" is `defocus.estimate` inside a process
that has done two. Last come the ratios of the whole processes of neighbouring sizes, beside those of their pixels.

With --against, the package of another checkout (a folder with src/defocus, or a commit of this repository) is measured
in the same run, in turn with this one's: on a machine with other work the ratios are what to trust, and of these the
ratios of CPU seconds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from defocus.runtime.cores import available_cores

SIZES = {
    "0.3 MP": (480, 640),
    "1.2 MP": (960, 1280),
    "5 MP": (1944, 2592),
    "6 MP": (2000, 3000),
    "12 MP": (3000, 4000),
    "24 MP": (4000, 6000),
    "60 MP": (6336, 9504),
    "200 MP": (12240, 16320),
}
USUAL = "0.3 MP,6 MP,24 MP,60 MP"

HERE = Path(__file__).resolve().parents[1]
BLURRED = (2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)
"""Sigma of the blurred parts of a mosaic, px, from left to right."""
PICTURES = ("astronaut", "coffee", "chelsea", "rocket")

# Runs in a fresh process: estimates several times, prints wall and CPU seconds of the last time.
FURTHER = """
import sys, time, defocus
path, method = sys.argv[1:]
for _ in range(3):
    wall, cpu = time.perf_counter(), time.process_time()
    defocus.estimate(path, method=method)
print(time.perf_counter() - wall, time.process_time() - cpu)
"""


def tiled(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Mirror the picture outward until it covers height x width."""
    rows, columns = max(height - image.shape[0], 0), max(width - image.shape[1], 0)
    return np.pad(image, ((0, rows), (0, columns), (0, 0)), mode="symmetric")[:height, :width]


def mosaic(height: int, width: int) -> NDArray[np.uint8]:
    """Return pictures of scikit-image, mirrored outward; the left third of the whole is sharp, the rest blurred."""
    from scipy import ndimage
    from skimage import data

    pictures = [getattr(data, name)()[..., :3] for name in PICTURES]
    if height * width > 1_000_000:
        low, narrow = (min(picture.shape[axis] for picture in pictures) for axis in (0, 1))
        cut = [picture[:low, :narrow] for picture in pictures]
        sharp = tiled(np.vstack([np.hstack(cut[:2]), np.hstack(cut[2:])]), height, width)
    else:
        sharp = tiled(pictures[0], height, width)
    image = sharp.copy()
    edges = np.linspace(width / 3, width, len(BLURRED) + 1).astype(int)
    for sigma, (left, right) in zip(BLURRED, pairwise(edges), strict=True):
        reach = int(4 * sigma)
        first, last = max(left - reach, 0), min(right + reach, width)
        band = ndimage.gaussian_filter(sharp[:, first:last].astype(np.float32), (sigma, sigma, 0))
        image[:, left:right] = np.rint(band[:, left - first : right - first])
    return image


def write_photograph(photo: Path | None, path: Path, height: int, width: int) -> tuple[int, int]:
    """Write a photograph of height x width px, made of another one or, with None, a mosaic; return width and height."""
    if photo is None:
        image = mosaic(height, width)
    else:
        with Image.open(photo) as opened:
            image = tiled(np.asarray(opened.convert("RGB")), height, width)
    Image.fromarray(image).save(path, "JPEG", quality=95)
    return width, height


def environment(checkout: Path) -> dict[str, str]:
    """Return the environment in which Python finds the package of a checkout first."""
    return {**os.environ, "PYTHONPATH": str(checkout / "src")}


@contextmanager
def checked_out(other: str) -> Iterator[Path]:
    """Give the folder of another checkout: `other` itself, or the commit of that name, checked out for the block.

    Raises
    ------
    SystemExit
        If it is neither a checkout of this package nor a commit.
    """
    if Path(other).is_dir():
        if not (Path(other) / "src" / "defocus").is_dir():
            raise SystemExit(f"{other} has no src/defocus: give a checkout of this repository, or a commit.")
        yield Path(other).resolve()
        return
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "checkout"
        git = ["git", "-C", str(HERE), "worktree"]
        made = subprocess.run([*git, "add", "--detach", str(place), other], capture_output=True, text=True)
        if made.returncode:
            raise SystemExit(f"{other} is neither a folder nor a commit: {made.stderr.strip()}")
        try:
            yield place
        finally:
            subprocess.run([*git, "remove", "--force", str(place)], check=True)


class Run(NamedTuple):
    """Of one process: wall and CPU seconds, and peak resident memory in MB (10^6 bytes)."""

    seconds: float
    cpu: float
    megabytes: float


def whole_process(command: Sequence[str], checkout: Path = HERE) -> Run:
    """Run a command to its end, with the package of a checkout."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment(checkout), cwd=tempfile.gettempdir()
    )
    assert process.stderr is not None
    message = process.stderr.read().decode(errors="replace")
    # wait4 gives this child's own peak; RUSAGE_CHILDREN would give the largest of all children so far. Linux counts
    # what this process held when it started the child, too: it holds no photograph, so stays below any estimate.
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed with {process.returncode}:\n{message}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 1e6)


def median_of(runs: Sequence[Run]) -> Run:
    """Return the medians of several runs."""
    return Run(*(statistics.median(values) for values in zip(*runs, strict=True)))


def machine() -> str:
    """Describe the machine and the versions that matter in one line."""
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    versions = [f"Python {platform.python_version()}"]
    for package in ("numpy", "scipy", "onnxruntime"):
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            versions.append(f"{package} not installed")
    return f"{available_cores()} cores of {model}; {', '.join(versions)}"


@dataclass(frozen=True)
class Cost:
    """Of one size, in px: medians of a whole process, and wall and CPU seconds of a further photograph."""

    height: int
    width: int
    whole: Run
    further: float
    further_cpu: float

    @property
    def megapixels(self) -> float:
        """Millions of pixels."""
        return self.height * self.width / 1e6

    def row(self, label: str) -> str:
        """Return a row of the table of markdown."""
        seconds, cpu, megabytes = self.whole
        return (
            f"| {label} | {seconds:.2f} | {seconds / self.megapixels:.3f} | {cpu:.2f} | {megabytes:.0f} | "
            f"{self.further:.2f} | {self.further_cpu:.2f} |"
        )

    def compared(self, label: str, before: Cost) -> str:
        """Return a row of what this takes of what `before` does."""
        seconds, cpu, megabytes = (now / then for now, then in zip(self.whole, before.whole, strict=True))
        return (
            f"| {label} | {seconds:.2f} | | {cpu:.2f} | {megabytes:.2f} | {self.further / before.further:.2f} | "
            f"{self.further_cpu / before.further_cpu:.2f} |"
        )


def costs_of(path: Path, method: str, runs: int, size: tuple[int, int], checkouts: Sequence[Path]) -> list[Cost]:
    """Measure one photograph with the package of each checkout, which take turns."""
    whole: list[list[Run]] = [[] for _ in checkouts]
    further: list[list[tuple[float, float]]] = [[] for _ in checkouts]
    command = [sys.executable, "-P", "-m", "defocus", "estimate", str(path), "-o", str(path.parent), "--method", method]
    for _ in range(runs):
        for number, checkout in enumerate(checkouts):
            whole[number].append(whole_process(command, checkout))
            again = [sys.executable, "-P", "-c", FURTHER, str(path), method]
            said = subprocess.run(
                again, env=environment(checkout), cwd=path.parent, stdout=subprocess.PIPE, text=True, check=True
            ).stdout
            wall, cpu = map(float, said.split())
            further[number].append((wall, cpu))
    return [
        Cost(*size, median_of(runs_of), *(statistics.median(values) for values in zip(*again_of, strict=True)))
        for runs_of, again_of in zip(whole, further, strict=True)
    ]


def measure(photo: Path | None, method: str, runs: int, sizes: Sequence[str], other: Path | None = None) -> str:
    """Measure everything and return it as markdown."""
    checkouts = [HERE] if other is None else [other, HERE]
    lines = ["| step | s | CPU s |", "|---|---|---|"]
    for name, arguments in (
        ("`defocus --help`", ["-m", "defocus", "--help"]),
        ("`import defocus`", ["-c", "import defocus"]),
        ("`import numpy` alone, for comparison", ["-c", "import numpy"]),
    ):
        by_turns = [
            [whole_process([sys.executable, "-P", *arguments], each) for each in checkouts] for _ in range(runs)
        ]
        for checkout, results in zip(checkouts, zip(*by_turns, strict=True), strict=True):
            run = median_of(results)
            lines.append(f"| {name}{', before' if checkout == other else ''} | {run.seconds:.2f} | {run.cpu:.2f} |")
    lines += ["", "| photograph | whole process, s | s per MP | CPU s | peak MB | further photo, s | CPU s |"]
    lines.append("|---|---|---|---|---|---|---|")
    costs: dict[str, Cost] = {}
    with tempfile.TemporaryDirectory() as folder:
        for label in sizes:
            height, width = SIZES[label]
            path = Path(folder) / f"{height}x{width}.jpg"
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                pool.apply(write_photograph, (photo, path, height, width))
            *before, costs[label] = costs_of(path, method, runs, (height, width), checkouts)
            path.unlink()
            name = f"{width} x {height} ({label})"
            rows = [costs[label].row(name)]
            if before:
                rows = [before[0].row(f"{name}, before"), *rows, costs[label].compared("ratio", before[0])]
            lines += rows
            print("\n".join(rows), file=sys.stderr, flush=True)
    lines += ["", *ratios(costs)]
    return "\n".join([f"Median of {runs} runs, method {method}, {machine()}.", "", *lines]) + "\n"


def ratios(costs: dict[str, Cost]) -> list[str]:
    """Whole processes of neighbouring sizes against each other, a line each."""
    ordered = sorted(costs, key=lambda label: costs[label].megapixels)
    return [
        f"{large} / {small}: {costs[large].whole.seconds / costs[small].whole.seconds:.2f} times the seconds for "
        f"{costs[large].megapixels / costs[small].megapixels:.2f} times the pixels."
        for small, large in pairwise(ordered)
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--photo", type=Path, help="photograph to tile; default: a mosaic, a third sharp, the rest blurred"
    )
    parser.add_argument("--method", default="pyramid")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--sizes", default=USUAL, help=f"comma-separated, of {', '.join(SIZES)}")
    parser.add_argument("--against", metavar="FOLDER|COMMIT", help="measure the package of another checkout in turn")
    parser.add_argument("-o", "--output", type=Path, help="write the markdown here too")
    options = parser.parse_args(arguments)
    sizes = options.sizes.split(",")
    if unknown := set(sizes) - set(SIZES):
        parser.error(f"unknown size {', '.join(sorted(unknown))}: choose from {', '.join(SIZES)}")
    if options.photo is None and find_spec("skimage") is None:
        parser.error("scikit-image is not installed: name a photograph with --photo")
    with nullcontext() if options.against is None else checked_out(options.against) as other:
        text = measure(options.photo, options.method, options.runs, sizes, other)
    if options.output:
        options.output.write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
