"""What another device changes: the map, and the time, against the CPU.

    python benchmarks/devices.py --device openvino photo.jpg another.jpg

Needs the ONNX Runtime of that device (docs/how-to/accelerators.md). Each photograph is estimated on the CPU and on the
device in turn, in this process, once to warm up and then --runs times; the least CPU seconds and wall seconds of each
are told, of whole estimates, of which the network is only a part. Differences are those of log2 of sigma over all
pixels.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import defocus

DEVICES = ("cuda", "openvino", "coreml", "directml")


def seconds(photograph: defocus.Photograph, device: str) -> tuple[float, float]:
    """Return CPU seconds and wall seconds of one estimate."""
    wall, cpu = time.perf_counter(), time.process_time()
    used = defocus.estimate(photograph, device=device).metadata["device"]
    cost = time.process_time() - cpu, time.perf_counter() - wall
    if used != device:
        raise SystemExit(f"The map was made on {used}, not on {device}.")
    return cost


def row(path: Path, device: str, runs: int) -> str:
    """Return the row of one photograph."""
    photograph = defocus.read_photograph(path)
    on_cpu, on_device = (defocus.estimate(photograph, device=each).sigma for each in ("cpu", device))
    difference = np.abs(np.log2(on_device) - np.log2(on_cpu))
    costs = [(seconds(photograph, "cpu"), seconds(photograph, device)) for _ in range(runs)]
    (cpu, wall), (device_cpu, device_wall) = np.array(costs).min(axis=0)
    return (
        f"| {path.stem} | {photograph.width} x {photograph.height} | {difference.mean():.1e} | {difference.max():.1e} "
        f"| {cpu:.2f} | {device_cpu:.2f} | {wall:.2f} | {device_wall:.2f} |"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description="What another device changes: the map, and the time.")
    parser.add_argument("photos", nargs="+", type=Path, metavar="PHOTO")
    parser.add_argument("--device", choices=DEVICES, default="openvino")
    parser.add_argument("--runs", type=int, default=3, help="estimates of each photograph on each")
    options = parser.parse_args(arguments)
    device = options.device
    print(f"| photograph | px | mean | largest | CPU s, cpu | CPU s, {device} | s, cpu | s, {device} |")
    print("|---|---|---|---|---|---|---|---|")
    for path in options.photos:
        print(row(path, device, options.runs), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
