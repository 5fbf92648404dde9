"""Time and peak memory of `defocus estimate`, as a user meets them: whole processes, cold.

    python benchmarks/speed.py --photo photo.jpg --runs 3
    python benchmarks/speed.py --method dhde --sizes "0.3 MP,1.2 MP,5 MP"

Without --photo, a picture that ships with scikit-image is used. Larger sizes are made by mirrored tiling,
which adds pixels with the same edges and no interpolation blur; smaller ones by cutting. They are stored as JPEG
of quality 95, as cameras store them. A whole process reads it, estimates and writes both outputs. Peak memory is the
process's largest resident set. "Further photo" is the time of `defocus.estimate` inside a process that has
already done one. Last come the ratios of the whole processes of neighbouring sizes, beside those of their pixels.
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
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from defocus.runtime.cores import available_cores

SIZES = {
    "0.3 MP": (480, 640),
    "1.2 MP": (960, 1280),
    "5 MP": (1944, 2592),
    "6 MP": (2000, 3000),
    "24 MP": (4000, 6000),
    "60 MP": (6336, 9504),
}
USUAL = "0.3 MP,6 MP,24 MP,60 MP"

# Runs in a fresh process: estimates twice, prints the seconds of the second time.
FURTHER = """
import sys, time, defocus
path, method = sys.argv[1:]
for _ in range(2):
    begin = time.perf_counter()
    defocus.estimate(path, method=method)
print(time.perf_counter() - begin)
"""


def tiled(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Mirror the picture outward until it covers height x width."""
    rows, columns = max(height - image.shape[0], 0), max(width - image.shape[1], 0)
    return np.pad(image, ((0, rows), (0, columns), (0, 0)), mode="symmetric")[:height, :width]


def write_photograph(photo: Path, path: Path, height: int, width: int) -> None:
    """Write a photograph of height x width px, made of another one."""
    with Image.open(photo) as opened:
        image = np.asarray(opened.convert("RGB"))
    Image.fromarray(tiled(image, height, width)).save(path, "JPEG", quality=95)


def whole_process(command: Sequence[str]) -> tuple[float, float]:
    """Run a command to its end; return wall seconds and peak resident memory in MB (10^6 bytes)."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
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
    return seconds, usage.ru_maxrss * unit / 1e6


def median_of(command: Sequence[str], runs: int) -> tuple[float, float]:
    """Return the median seconds and the median peak memory of several runs."""
    results = [whole_process(command) for _ in range(runs)]
    return statistics.median(r[0] for r in results), statistics.median(r[1] for r in results)


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
    """Of one size, in px: median seconds of a whole process and of a further photograph, and peak MB."""

    height: int
    width: int
    seconds: float
    further: float
    megabytes: float

    @property
    def megapixels(self) -> float:
        """Millions of pixels."""
        return self.height * self.width / 1e6


def cost(path: Path, method: str, runs: int, height: int, width: int) -> Cost:
    """Measure one photograph."""
    command = [sys.executable, "-m", "defocus", "estimate", str(path), "-o", str(path.parent), "--method", method]
    seconds, peak = median_of(command, runs)
    again = [sys.executable, "-c", FURTHER, str(path), method]
    further = [float(subprocess.run(again, stdout=subprocess.PIPE, text=True, check=True).stdout) for _ in range(runs)]
    return Cost(height, width, seconds, statistics.median(further), peak)


def measure(photo: Path, method: str, runs: int, sizes: Sequence[str]) -> str:
    """Measure everything and return it as markdown."""
    lines = ["| step | seconds |", "|---|---|"]
    for name, arguments in (
        ("`defocus --help`", ["-m", "defocus", "--help"]),
        ("`import defocus`", ["-c", "import defocus"]),
        ("`import numpy` alone, for comparison", ["-c", "import numpy"]),
    ):
        lines.append(f"| {name} | {median_of([sys.executable, *arguments], runs)[0]:.2f} |")
    lines += ["", "| photograph | whole process, s | s per MP | peak MB | further photo, s | s per MP |"]
    lines.append("|---|---|---|---|---|---|")
    costs: dict[str, Cost] = {}
    with tempfile.TemporaryDirectory() as folder:
        for label in sizes:
            height, width = SIZES[label]
            path = Path(folder) / f"{height}x{width}.jpg"
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                pool.apply(write_photograph, (photo, path, height, width))
            c = costs[label] = cost(path, method, runs, height, width)
            path.unlink()
            lines.append(
                f"| {width} x {height} ({label}) | {c.seconds:.2f} | {c.seconds / c.megapixels:.2f} | "
                f"{c.megabytes:.0f} | {c.further:.2f} | {c.further / c.megapixels:.2f} |"
            )
            print(lines[-1], file=sys.stderr, flush=True)
    lines += ["", *ratios(costs)]
    return "\n".join([f"Median of {runs} runs, method {method}, {machine()}.", "", *lines]) + "\n"


def ratios(costs: dict[str, Cost]) -> list[str]:
    """Whole processes of neighbouring sizes against each other, a line each."""
    ordered = sorted(costs, key=lambda label: costs[label].megapixels)
    return [
        f"{large} / {small}: {costs[large].seconds / costs[small].seconds:.2f} times the seconds for "
        f"{costs[large].megapixels / costs[small].megapixels:.2f} times the pixels."
        for small, large in pairwise(ordered)
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photo", type=Path, help="photograph to tile; default: scikit-image's astronaut")
    parser.add_argument("--method", default="pyramid")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--sizes", default=USUAL, help=f"comma-separated, of {', '.join(SIZES)}")
    parser.add_argument("-o", "--output", type=Path, help="write the markdown here too")
    options = parser.parse_args(arguments)
    sizes = options.sizes.split(",")
    if unknown := set(sizes) - set(SIZES):
        parser.error(f"unknown size {', '.join(sorted(unknown))}: choose from {', '.join(SIZES)}")
    photo = options.photo
    if photo is None:
        try:
            import skimage
        except ImportError:
            parser.error("scikit-image is not installed: name a photograph with --photo")
        photo = Path(skimage.__file__).parent / "data" / "astronaut.png"
    text = measure(photo, options.method, options.runs, sizes)
    if options.output:
        options.output.write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
