"""Time and peak memory of `defocus estimate`, as a user meets them: whole processes, cold.

    python benchmarks/speed.py --photo photo.jpg --runs 3

Without --photo, a picture that ships with scikit-image is used. Larger sizes are made by mirrored tiling,
which adds pixels with the same edges and no interpolation blur; smaller ones by cutting. Peak memory is the
process's largest resident set. "Further photo" is the time of `defocus.estimate` inside a process that has
already done one.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZES = {"0.3 MP": (480, 640), "1.2 MP": (960, 1280), "5 MP": (1944, 2592)}

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


def whole_process(command: Sequence[str]) -> tuple[float, float]:
    """Run a command to its end; return wall seconds and peak resident memory in MB (10^6 bytes)."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    message = process.stderr.read().decode(errors="replace")
    # wait4 gives this child's own peak; RUSAGE_CHILDREN would give the largest of all children so far.
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
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = [f"Python {platform.python_version()}"]
    for package in ("numpy", "scipy", "onnxruntime"):
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            versions.append(f"{package} not installed")
    return f"{cores} cores of {model}; {', '.join(versions)}"


def measure(photo: Path, method: str, runs: int, sizes: Sequence[str]) -> str:
    """Measure everything and return it as markdown."""
    python = sys.executable
    with Image.open(photo) as opened:
        image = np.asarray(opened.convert("RGB"))
    lines = ["| step | seconds | peak MB |", "|---|---|---|"]
    for name, command in (
        ("`defocus --help`", [python, "-m", "defocus", "--help"]),
        ("`import defocus`", [python, "-c", "import defocus"]),
        ("`import numpy` alone, for comparison", [python, "-c", "import numpy"]),
    ):
        seconds, peak = median_of(command, runs)
        lines.append(f"| {name} | {seconds:.2f} | {peak:.0f} |")
    lines += ["", "| photograph | whole process, s | s per MP | peak MB | further photo, s |"]
    lines.append("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for label in sizes:
            height, width = SIZES[label]
            path = Path(folder) / f"{height}x{width}.png"
            Image.fromarray(tiled(image, height, width)).save(path)
            command = [python, "-m", "defocus", "estimate", str(path), "-o", folder, "--method", method]
            seconds, peak = median_of(command, runs)
            further = []
            for _ in range(runs):
                again = [python, "-c", FURTHER, str(path), method]
                finished = subprocess.run(again, stdout=subprocess.PIPE, text=True, check=True)
                further.append(float(finished.stdout))
            megapixels = height * width / 1e6
            lines.append(
                f"| {width} x {height} ({label}) | {seconds:.2f} | {seconds / megapixels:.2f} | {peak:.0f} | "
                f"{statistics.median(further):.2f} |"
            )
            print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join([f"Median of {runs} runs, method {method}, {machine()}.", "", *lines]) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photo", type=Path, help="photograph to tile; default: scikit-image's astronaut")
    parser.add_argument("--method", default="dhde")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--sizes", default=",".join(SIZES), help=f"comma-separated, of {', '.join(SIZES)}")
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
