"""Accuracy of several configurations side by side on the development sets.

    python benchmarks/accuracy.py --data ../shared/data/dev -o report.json --markdown accuracy.md \
        --config authors=dhde:released:../shared/golden/DHDE_model.caffemodel \
        --config ours-released=dhde:released --config ours=dhde --config laplacian=laplacian

A configuration is NAME=METHOD[:PRESET[:WEIGHTS]]; an empty preset or weights part means the method's own, and
PRESET+NAME=VALUE+NAME=VALUE changes parameters of the preset. The
built-in METHOD `laplacian` is minus the log of the local variance of the Laplacian: a score without unit,
measured where the metric needs none.

Sets
    masks, multifocus   AP; max F (beta^2 = 0.3) after per-image min-max; accuracy at alpha = 0.3; F at one
                        threshold in px, chosen for each image on all the others.
    uniform             sharp pictures blurred by a Gaussian of known sigma (display-referred values, as the
    labels
                        of DHDE are defined), no noise: MAE in px at the seeds and over the whole map. The
                        truth is what was added. The sources are not perfectly sharp: a re-blur ratio at the
                        strongest edges reads 0 to 0.6 px (lower quartile of each source; 0.2 to 0.8 at the
                        median), so the smallest sigmas read high for any honest method: adding in squares,
                        0.4 px turns 0.5 into 0.64 and 2.0 into 2.04. 3.0 px lies beyond the range of DHDE and
                        is kept out of the mean.
    depth               scenes rendered from disparities, 0..2 and 0..4 px, in linear light and
    display-referred:
                        MAE, MAE against the truth clipped to the method's range, Spearman. Unknown
                        disparities do not count.
    pixel4              (only when asked for) Spearman and affine-invariant error.

Values are per image, then averaged over images with a 95 % bootstrap interval. For `uniform` and `depth` all
renderings of a source are averaged first, since they are not independent. The JSON keeps every image's
values; a run continues where the file stops, and refuses to go on with a configuration whose settings or
weights file have changed. The weights inside the package are not told apart: after training, measure anew
with --fresh NAME.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import sys
import time
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from defocus.atomic import write_text
from defocus.errors import DefocusError
from defocus.estimate import find_parameters
from defocus.evaluation import datasets, metrics, render
from defocus.methods import find_method
from defocus.settings import apply_settings

SETS = ("masks", "multifocus", "uniform", "depth", "pixel4")
UNIFORM_SIGMAS = (0.5, 0.8, 1.1, 1.4, 1.7, 2.0, 3.0)
IN_RANGE = 2.0
DEPTH_RANGES = (2.0, 4.0)
# Of the depth pictures, those whose strong edges read 0.45 px or less by the re-blur ratio.
SHARP_SCENES = ("Aloe", "Baby1", "Baby2", "Baby3", "Cloth1", "Cloth2", "Cloth4")
# The pictures that ship with scikit-image, with the factor that makes them sharp (or, for motorcycle, small).
SKIMAGE_PICTURES = {
    "astronaut": 1, "brick": 2, "camera": 1, "coffee": 1, "grass": 1, "gravel": 2, "motorcycle_left": 2,
}  # fmt: skip
# Thresholds of the F at one global threshold: px, or the unit-less range of the Laplacian score.
THRESHOLDS = {"px": np.linspace(0, 5, 251), "score": np.linspace(-12, 8, 251)}


@dataclass(frozen=True)
class Configuration:
    """What is run: a method with a preset and weights (None = the method's own)."""

    name: str
    method: str
    preset: str | None = None
    weights: str | None = None

    @classmethod
    def parse(cls, text: str) -> Configuration:
        """Read NAME=METHOD[:PRESET[:WEIGHTS]]."""
        name, equals, rest = text.partition("=")
        method, preset, weights = [*rest.split(":", 2), "", ""][:3]
        if not (name and equals and method):
            raise DefocusError(f"{text!r} is no configuration: write NAME=METHOD[:PRESET[:WEIGHTS]].")
        if weights and not Path(weights).is_file():
            raise DefocusError(f"There is no weights file {weights}: check the path in {text!r}.")
        return cls(name, method, preset or None, weights or None)

    def parameters(self) -> Any:
        """Return the parameters to give to the method: the preset with its changes."""
        preset, *changes = (self.preset or "default").split("+")
        return apply_settings(find_parameters(find_method(self.method), preset), changes)

    def identity(self) -> dict[str, Any]:
        """Return what must be equal for earlier results to count as this configuration's."""
        digest = hashlib.sha256(Path(self.weights).read_bytes()).hexdigest()[:16] if self.weights else None
        return {"method": self.method, "preset": self.preset, "weights_sha256": digest}


@dataclass(frozen=True)
class Task:
    """One picture to estimate and the truth to hold against it."""

    set: str
    name: str
    source: str
    image: NDArray[np.uint8]
    truth: NDArray[Any]
    valid: NDArray[np.bool_]

    @property
    def key(self) -> str:
        """Name of the task in the report."""
        return f"{self.set}/{self.name}"


def laplacian_score(image: NDArray[np.uint8], window: int = 21) -> NDArray[np.float32]:
    """Return minus the log of the local variance of the Laplacian: H x W, higher = more blurred, no unit."""
    grey = image.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    laplacian = ndimage.laplace(grey)
    mean = ndimage.uniform_filter(laplacian, window)
    variance = ndimage.uniform_filter(laplacian**2, window) - mean**2
    # A grey level's rounding leaves about 0.1; the floor keeps flat patches finite without ordering noise.
    score: NDArray[np.float32] = (-np.log(np.maximum(variance, 1e-3))).astype(np.float32)
    return score


def sharp_pictures(data: Path, limit: int | None) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield the sources of the uniform set, two kinds in turn so that a limit keeps both."""
    scenes = [(e.name, e.image) for e in datasets.read_depth(data) if e.name in SHARP_SCENES]
    pictures = []
    try:
        import skimage
    except ImportError:
        print("scikit-image is not installed: its pictures are left out of `uniform`.", file=sys.stderr)
    else:
        folder = Path(skimage.__file__).parent / "data"
        for name, factor in SKIMAGE_PICTURES.items():
            image = datasets.read_picture(folder / f"{name}.png")
            pictures.append((name, render.downscale(image, factor)))
    mixed = [source for pair in zip(scenes, pictures, strict=False) for source in pair]
    mixed += scenes[len(pictures) :] + pictures[len(scenes) :]
    yield from mixed[:limit]


def tasks(data: Path, sets: Sequence[str], limit: int | None) -> Iterator[Task]:
    """Yield every task of the sets, rendered on demand and the same in every run."""
    readers = {
        "masks": datasets.read_masks,
        "multifocus": datasets.read_multifocus,
        "pixel4": datasets.read_pixel4,
    }
    for name in sets:
        if name in readers:
            for _, e in zip(range(limit or sys.maxsize), readers[name](data), strict=False):
                yield Task(name, e.name, e.name, e.image, e.truth, e.valid)
        elif name == "uniform":
            for source, image in sharp_pictures(data, limit):
                everywhere = np.ones(image.shape[:2], dtype=bool)
                for sigma in UNIFORM_SIGMAS:
                    blurred = render.gaussian_blur(image, sigma, linear_light=False)
                    truth = np.full(image.shape[:2], sigma, dtype=np.float32)
                    yield Task(name, f"{source}@{sigma}", source, blurred, truth, everywhere)
        elif name == "depth":
            for _, e in zip(range(limit or sys.maxsize), datasets.read_depth(data), strict=False):
                # Some scenes get their focus in front, some at the back, by a draw that depends on the name
                # only.
                share = np.random.default_rng(zlib.crc32(e.name.encode())).uniform(0.05, 0.95)
                focus = float(np.quantile(e.truth[e.valid], share))
                for largest in DEPTH_RANGES:
                    for linear in (True, False):
                        scene = render.render_depth(e.image, e.truth, e.valid, focus, largest, linear_light=linear)
                        light = "linear" if linear else "display"
                        label = f"{e.name}@0..{largest:g}-{light}"
                        yield Task(name, label, e.name, scene.image, scene.sigma, scene.valid)


def measure(configuration: Configuration, task: Task) -> dict[str, Any]:
    """Run one configuration on one task; return its values by metric name."""
    seeds, span = np.full(task.truth.shape, np.nan, dtype=np.float32), None
    begin = time.perf_counter()
    if configuration.method == "laplacian":
        unit = "score"
        score = laplacian_score(task.image)
    else:
        import defocus

        result = defocus.estimate(
            task.image,
            method=configuration.method,
            parameters=configuration.parameters(),
            weights=configuration.weights,
        )
        unit = "px" if result.unit == "px" else "score"
        score, seeds, span = result.sigma, result.seeds.sigma, result.sigma_range
    values: dict[str, Any] = {"source": task.source, "seconds": time.perf_counter() - begin}
    values["range"] = [float(score.min()), float(score.max())]
    truth, valid = task.truth, task.valid
    if task.set in ("masks", "multifocus"):
        f = metrics.f_at_threshold(score, truth, THRESHOLDS[unit], valid)
        values |= {
            "average precision": metrics.average_precision(score, truth, valid),
            "max F0.3, per-image min-max": metrics.max_f(score, truth, valid),
            "accuracy at alpha 0.3": metrics.accuracy_at_alpha(score, truth, valid),
            "f_by_threshold": [round(float(v), 5) for v in f],
            "threshold_unit": unit,
        }
    elif task.set == "uniform" and unit == "px":
        values["sigma"] = sigma = float(truth.flat[0])
        at = np.isfinite(seeds)
        values |= {
            "MAE map": metrics.mean_absolute_error(score, truth),
            "bias map": float(score.mean() - sigma),
            "MAE seeds": metrics.mean_absolute_error(seeds, truth, at) if at.any() else None,
            "share of seeds": float(at.mean()),
        }
    elif task.set == "depth":
        values["Spearman"] = metrics.spearman(score, truth, valid)
        if unit == "px" and span is not None:
            clipped = np.clip(truth, *span)
            values["MAE"] = metrics.mean_absolute_error(score, truth, valid)
            values["MAE, truth clipped to the range"] = metrics.mean_absolute_error(score, clipped, valid)
    elif task.set == "pixel4":
        values["Spearman"] = metrics.spearman(score, truth, valid)
        values["affine-invariant"] = asdict(metrics.affine_invariant_error(score, truth, valid))
    return values


def attempt(configuration: Configuration, task: Task) -> dict[str, Any]:
    """Measure, and turn a failure into a record, so that one bad picture does not end the run."""
    try:
        return measure(configuration, task)
    except Exception as error:
        return {"source": task.source, "error": f"{type(error).__name__}: {error}"}


def open_report(path: Path, configurations: Sequence[Configuration], fresh: Sequence[str]) -> dict[str, Any]:
    """Read the report to continue, or begin one."""
    report: dict[str, Any] = {"configurations": {}, "values": {}}
    if path.exists():
        report = json.loads(path.read_text(encoding="utf-8"))
    for configuration in configurations:
        name, identity = configuration.name, configuration.identity()
        if name in fresh:
            report["values"].pop(name, None)
        elif report["configurations"].get(name, identity) != identity:
            raise DefocusError(f"{path} holds {name} with other settings or weights: add --fresh {name}.")
        report["configurations"][name] = identity
        report["values"].setdefault(name, {})
    report["machine"] = f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    return report


def run(
    data: Path,
    configurations: Sequence[Configuration],
    output: Path,
    sets: Sequence[str] = SETS[:4],
    limit: int | None = None,
    jobs: int = 1,
    fresh: Sequence[str] = (),
) -> dict[str, Any]:
    """Measure what the report does not hold yet, writing it after every picture; return the report.

    Parameters
    ----------
    data : root folder of the development sets.
    configurations : what to compare.
    output : JSON file, continued if it exists.
    sets : some of `SETS`.
    limit : number of sources per set, None = all.
    jobs : number of processes; each keeps to one thread when there are several.
    fresh : names of configurations whose earlier values are dropped.
    """
    report = open_report(output, configurations, fresh)
    done = {(name, key) for name, of in report["values"].items() for key, v in of.items() if "error" not in v}
    if jobs > 1:
        for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ[variable] = "1"
    finished = 0

    def store(configuration: Configuration, task: Task, values: dict[str, Any]) -> None:
        nonlocal finished
        finished += 1
        report["values"][configuration.name][task.key] = values
        write_text(output, json.dumps(report, indent=1, allow_nan=False))
        outcome = values.get("error") or f"{values['seconds']:.1f} s"
        print(f"[{finished}] {configuration.name} {task.key}: {outcome}", file=sys.stderr, flush=True)

    def pending() -> Iterator[tuple[Configuration, Task]]:
        for task in tasks(data, sets, limit):
            for configuration in configurations:
                if (configuration.name, task.key) not in done:
                    yield configuration, task

    if jobs == 1:
        for configuration, task in pending():
            store(configuration, task, attempt(configuration, task))
        return report
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        running: dict[Any, tuple[Configuration, Task]] = {}
        for configuration, task in pending():
            running[pool.submit(attempt, configuration, task)] = (configuration, task)
            # A few ahead of the workers is enough; all of them would hold every rendering in memory.
            while len(running) > 2 * jobs:
                ready = next(as_completed(running))
                store(*running.pop(ready), ready.result())
        for ready in as_completed(list(running)):
            store(*running.pop(ready), ready.result())
    return report


def rows_of(values: dict[str, dict[str, Any]]) -> dict[tuple[str, str], dict[str, float]]:
    """Arrange one configuration's values as {(set, metric): {source: value}}."""
    collected: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    curves: dict[str, dict[str, list[float]]] = defaultdict(dict)
    for key, v in values.items():
        if "error" in v:
            continue
        name, label = key.split("/", 1)
        source = v["source"]

        def put(row: str, value: float | None, name: str = name, source: str = source) -> None:
            if value is not None:
                collected[name, row][source].append(value)

        if name in ("masks", "multifocus"):
            for row in ("average precision", "max F0.3, per-image min-max", "accuracy at alpha 0.3"):
                put(row, v[row])
            curves[name][source] = v["f_by_threshold"]
        elif name == "uniform" and "sigma" in v:
            for row in ("MAE seeds", "MAE map"):
                put(f"{row}, sigma {v['sigma']:g} px", v[row])
                if v["sigma"] <= IN_RANGE:
                    put(f"{row}, mean over 0.5..2 px", v[row])
        elif name == "depth":
            kind = label.split("@")[1].replace("-", " px, ")
            for row in ("MAE", "MAE, truth clipped to the range", "Spearman"):
                put(f"{row} ({kind})", v.get(row))
        elif name == "pixel4":
            put("Spearman", v["Spearman"])
            put("affine-invariant RMSE", v["affine-invariant"]["root_mean_square_error"])
    for name, of_source in curves.items():
        if len(of_source) > 1:
            _, f = metrics.leave_one_out(list(of_source.values()))
            for source, value in zip(of_source, f, strict=True):
                collected[name, "F0.3 at one threshold chosen on the others"][source].append(float(value))
    return {row: {s: float(np.mean(v)) for s, v in of.items()} for row, of in collected.items()}


def _sort_key(row: tuple[str, str]) -> tuple[int, str]:
    return SETS.index(row[0]), row[1]


def _cell(values: Sequence[float], sign: bool = False) -> str:
    mean = f"{np.mean(values):+.3f}" if sign else f"{np.mean(values):.3f}"
    if len(values) < 2:
        return mean
    low, high = metrics.bootstrap_interval(values)
    return f"{mean} [{low:+.3f}, {high:+.3f}]" if sign else f"{mean} [{low:.3f}, {high:.3f}]"


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(row) + " |" for row in body]


def markdown(report: dict[str, Any], names: Sequence[str]) -> str:
    """Write the report as two tables: the means, and the paired differences to the first configuration."""
    arranged = {name: rows_of(report["values"][name]) for name in names}
    rows = sorted({row for of in arranged.values() for row in of}, key=_sort_key)
    body = []
    for row in rows:
        cells = [list(arranged[name].get(row, {}).values()) for name in names]
        body.append([row[0], row[1], str(max(map(len, cells))), *(_cell(c) if c else "" for c in cells)])
    lines = [
        "Mean over images (sources, for rendered sets) with 95 % bootstrap interval. MAE in px.",
        "",
        *_table(["set", "metric", "n", *names], body),
    ]
    if len(names) > 1:
        first, *others = names
        body = []
        for row in rows:
            base = arranged[first].get(row, {})
            cells = []
            for name in others:
                of = arranged[name].get(row, {})
                cells.append([of[s] - base[s] for s in of if s in base])
            if any(cells):
                body.append([row[0], row[1], *(_cell(c, sign=True) if c else "" for c in cells)])
        lines += ["", f"Difference to {first}, image by image.", ""]
        lines += _table(["set", "metric", *others], body)
    seconds = {name: [v["seconds"] for v in report["values"][name].values() if "seconds" in v] for name in names}
    spent = [f"{name} {np.median(s):.2f} s" for name, s in seconds.items() if s]
    errors = [
        f"* {name} {key}: {v['error']}" for name in names for key, v in report["values"][name].items() if "error" in v
    ]
    lines += ["", f"Median time per picture ({report['machine']}): {', '.join(spent) or 'none'}."]
    if errors:
        lines += ["", "Failed:", "", *errors]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; 0 = all measured, 1 = something failed, 2 = wrong usage."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="root folder of the development sets")
    parser.add_argument("--config", action="append", required=True, metavar="NAME=METHOD[:PRESET[:WEIGHTS]]")
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON report; continued")
    parser.add_argument("--markdown", type=Path, help="write the tables here instead of to standard output")
    parser.add_argument("--sets", default=",".join(SETS[:4]), help=f"comma-separated, of {', '.join(SETS)}")
    parser.add_argument("--limit", type=int, help="number of photographs (sources) per set")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--fresh", action="append", default=[], metavar="NAME", help="measure NAME anew")
    options = parser.parse_args(arguments)
    sets = options.sets.split(",")
    if unknown := set(sets) - set(SETS):
        parser.error(f"unknown set {', '.join(sorted(unknown))}: choose from {', '.join(SETS)}")
    try:
        configurations = [Configuration.parse(text) for text in options.config]
        report = run(options.data, configurations, options.output, sets, options.limit, options.jobs, options.fresh)
    except DefocusError as error:
        parser.error(str(error))
    names = [c.name for c in configurations]
    text = markdown(report, names)
    if options.markdown:
        write_text(options.markdown, text)
    else:
        print(text)
    failed = any("error" in v for name in names for v in report["values"][name].values())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
