"""The benchmark: every configuration on every example, measured once and stored, so that a killed run can continue.

`run` fills a folder: `benchmark.json` (configurations, machine, problems of the data), `values.jsonl` (one line for
each configuration and example) and `gallery/` (small maps of some examples). `defocus.evaluation.report` makes tables
and pictures of it.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from defocus.errors import DefocusError, UndefinedMetricError
from defocus.estimation import find_parameters
from defocus.evaluation import metrics
from defocus.evaluation.datasets import DataSet, Example
from defocus.evaluation.peers import PEERS, laplacian_score
from defocus.maps.accuracy import is_right
from defocus.methods.parameters import set_parameters
from defocus.methods.registry import METHODS, find_method
from defocus.progress import Progress
from defocus.runtime import processes
from defocus.runtime.atomic import write_text
from defocus.runtime.processes import WorkerLost
from defocus.version import __version__

__all__ = [
    "CONFIDENCE_BINS",
    "COVERAGES",
    "CURVE_POINTS",
    "PX_THRESHOLDS",
    "SCORE_THRESHOLDS",
    "SIZE_BINS",
    "Configuration",
    "Outcome",
    "estimate",
    "measure",
    "peak_megabytes",
    "polarity",
    "read_values",
    "run",
    "slug",
]

PX_THRESHOLDS = np.concatenate([np.linspace(0, 5, 201), np.geomspace(5.1, 40, 60)])
SCORE_THRESHOLDS = np.unique(np.concatenate([np.linspace(-12, 8, 201), np.linspace(-1, 1, 201)]).round(6))
SIZE_BINS = (0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.25, 3.75, 4.25, 5.75, 8.25, 11.75, 20.0, 40.0)
"""Limits in px of the bins of the true sigma for which errors are reported."""
CURVE_POINTS = 101
"""Number of thresholds of a precision-recall curve."""
CONFIDENCE_BINS = 10
"""Number of bins of the confidence."""
COVERAGES = (0.25, 0.5, 0.75)
"""Fractions of the pixels, the surest ones, whose error is told."""
_GALLERY_SOURCES = 4
"""Number of sources of each set that are shown in the report."""
_GALLERY_WIDTH = 240
"""Width of their pictures, px."""
_POLARITY_EXAMPLES = 12
"""Number of examples of each set on which the polarity of the truth is checked."""
_COST_SIZE = (480, 640)
"""Height and width in px of the photograph on which time and memory of a new process are measured."""


@dataclass(frozen=True)
class Configuration:
    """A method (or a peer) with its settings.

    Attributes
    ----------
    name : name in the report.
    method : name of the method or peer.
    preset : name of the preset, followed by any number of `+PARAMETER=VALUE`; None for the default.
    weights : path of a weights file; None for the method's own.
    """

    name: str
    method: str
    preset: str | None = None
    weights: str | None = None

    @classmethod
    def parse(cls, text: str) -> Configuration:
        """Read METHOD or NAME=METHOD[:PRESET[+PARAMETER=VALUE...][:WEIGHTS]].

        Raises
        ------
        DefocusError
            If it is not written so, there is no such method, preset or parameter, or no such weights file.
        """
        named = re.match(r"([^=:+]+)=(.+)", text)
        name, rest = (named[1], named[2]) if named else (text, text)
        if "," in name:
            raise DefocusError(f"{name!r} is several names: give each NAME=METHOD by itself, with its own --methods.")
        method, preset, weights = [*rest.split(":", 2), "", ""][:3]
        configuration = cls(name, method, preset or None, weights or None)
        if method in PEERS:
            if preset or weights:
                raise DefocusError(f"{method} takes neither preset nor weights: write {method} alone.")
            return configuration
        if method not in METHODS:
            raise DefocusError(f"There is no method {method!r}: choose of {', '.join([*METHODS, *PEERS])}.")
        if weights and not Path(weights).is_file():
            raise DefocusError(f"There is no weights file {weights}: check the path in {text!r}.")
        configuration.parameters()
        return configuration

    @property
    def in_px(self) -> bool:
        """Whether the method gives sigma in px, and not a score without unit."""
        return self.method in METHODS and METHODS[self.method].unit == "px"

    def parameters(self) -> Any:
        """Return the parameters of the method: the preset with its changes."""
        preset, *changes = (self.preset or "default").split("+")
        return set_parameters(find_parameters(find_method(self.method), preset), changes)

    def identity(self) -> dict[str, Any]:
        """Return what has to be unchanged if earlier values are to be reused."""
        digest = None
        if self.method in METHODS:
            digest = METHODS[self.method].weights_sha256(Path(self.weights) if self.weights else None)
        return {"method": self.method, "preset": self.preset, "weights_sha256": digest, "defocus": __version__}


@dataclass(frozen=True)
class Outcome:
    """The result of a configuration for one photograph.

    Attributes
    ----------
    values : H x W, larger = more blurred.
    in_px : whether values are sigma in px.
    probability : whether they are a probability 0..1 instead.
    confidence, seeds : H x W, or None.
    span : smallest and largest value that the method can return.
    """

    values: NDArray[np.float32]
    in_px: bool = False
    probability: bool = False
    confidence: NDArray[np.float32] | None = None
    seeds: NDArray[np.float32] | None = None
    span: tuple[float, float] | None = None


def estimate(configuration: Configuration, image: NDArray[np.uint8]) -> Outcome:
    """Run a configuration on one photograph."""
    if configuration.method in PEERS:
        return Outcome(PEERS[configuration.method](image))
    import defocus

    defocus_map = defocus.estimate(
        image, method=configuration.method, parameters=configuration.parameters(), weights=configuration.weights
    )
    return Outcome(
        defocus_map.sigma,
        in_px=defocus_map.unit == "px",
        probability=defocus_map.unit != "px",
        confidence=defocus_map.confidence,
        seeds=defocus_map.seeds.sigma,
        span=defocus_map.sigma_range,
    )


def measure(configuration: Configuration, kind: str, example: Example, gallery: Path | None = None) -> dict[str, Any]:
    """Return all metrics of one configuration on one example, by name; None where a metric is undefined.

    Parameters
    ----------
    configuration : method and settings.
    kind : kind of the set.
    example : photograph and truth.
    gallery : path and start of the name of the files of small pictures; None keeps none.
    """
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a photograph without edges is a result here
        begin = time.perf_counter()
        outcome = estimate(configuration, example.image)
        seconds = time.perf_counter() - begin
    score, truth, valid = outcome.values, example.truth, example.valid
    values: dict[str, Any] = {
        "seconds": seconds,
        "seconds per MP": seconds / score.size * 1e6,
        "range": [float(score.min()), float(score.max())],
    }
    if kind == "mask":
        values |= _detection_values(outcome, truth, valid)
    elif kind == "sigma":
        values |= _estimation_values(outcome, example)
    else:
        values["rank correlation"] = _or_none(metrics.spearman, score, truth, valid)
        affine = _or_none(metrics.affine_invariant_error, score, truth, valid)
        if affine is not None:
            spread = float(np.std(truth[valid]))
            values["affine-invariant RMSE"] = affine.root_mean_square_error / spread if spread > 0 else None
            values["affine scale"] = affine.scale
    if gallery is not None:
        _keep_pictures(gallery, configuration, example, outcome)
    return values


def _detection_values(outcome: Outcome, truth: NDArray[Any], valid: NDArray[np.bool_]) -> dict[str, Any]:
    score = outcome.values
    try:
        curve = metrics.precision_recall(score, truth, valid, CURVE_POINTS)
    except UndefinedMetricError:
        return {"accuracy at alpha 0.3": _or_none(metrics.accuracy_at_alpha, score, truth, valid)}
    thresholds = PX_THRESHOLDS if outcome.in_px else SCORE_THRESHOLDS
    own = np.quantile(score[valid], np.linspace(0, 1, 200))
    best = own[np.argmax(metrics.f_at_threshold(score, truth, own, valid))]
    edges = _or_none(
        metrics.boundary_error, (score >= best).astype(np.float64), truth.astype(np.float64), valid, jump=0.5
    )
    return {
        "AP": metrics.average_precision(score, truth, valid),
        "max F": metrics.max_f(score, truth, valid),
        "accuracy at alpha 0.3": metrics.accuracy_at_alpha(score, truth, valid),
        "MAE of the probability": (
            metrics.mean_absolute_error(score, truth.astype(np.float64), valid) if outcome.probability else None
        ),
        "wrong within 8 px of an edge": edges.near if edges is not None else None,
        "wrong elsewhere": edges.elsewhere if edges is not None and np.isfinite(edges.elsewhere) else None,
        "precision": _rounded(curve.precision),
        "recall": _rounded(curve.recall),
        "F by threshold": _rounded(metrics.f_at_threshold(score, truth, thresholds, valid)),
        "IoU by threshold": _rounded(metrics.iou_at_threshold(score, truth, thresholds, valid)),
        "threshold unit": "px" if outcome.in_px else "score",
    }


def _estimation_values(outcome: Outcome, example: Example) -> dict[str, Any]:
    score, truth, valid = outcome.values, example.truth, example.valid
    values: dict[str, Any] = {"rank correlation": _or_none(metrics.spearman, score, truth, valid)}
    if not outcome.in_px or outcome.span is None:
        return values
    values["median reading"] = float(np.median(score))
    if outcome.confidence is not None:
        within = np.clip(truth, *outcome.span)
        shares = _or_none(metrics.sure_and_wrong, score, within, outcome.confidence, valid, example.unreadable)
        if shares is not None:
            values["sure and wrong"], values["sure"] = shares
    if not valid.any():
        return values
    values |= {
        "MAE": metrics.mean_absolute_error(score, truth, valid),
        "RMSE": metrics.root_mean_square_error(score, truth, valid),
        "relative error": _or_none(metrics.relative_error, score, truth, valid),
        "MAE, truth clipped to the range": metrics.mean_absolute_error(score, np.clip(truth, *outcome.span), valid),
        "bias": float((score[valid] - truth[valid]).mean()),
        "median ratio": _or_none(metrics.median_ratio, score, truth, valid),
        "grossly wrong": metrics.grossly_wrong(score, truth, valid),
    }
    edges = _or_none(metrics.boundary_error, score, truth, valid)
    if edges is not None:
        values["MAE within 8 px of an edge"] = edges.near
        values["MAE elsewhere"] = edges.elsewhere if np.isfinite(edges.elsewhere) else None
    values["by size"] = [
        [b.pixels, b.mean_absolute_error if b.pixels else 0.0, b.bias if b.pixels else 0.0]
        for b in metrics.error_by_size(score, truth, SIZE_BINS, valid)
    ]
    if outcome.seeds is not None and (at := np.isfinite(outcome.seeds) & valid).any():
        values["MAE at seeds"] = metrics.mean_absolute_error(outcome.seeds, truth, at)
        values["relative error at seeds"] = _or_none(metrics.relative_error, outcome.seeds, truth, at)
    if outcome.confidence is not None:
        errors = metrics.error_by_coverage(score, truth, outcome.confidence, COVERAGES, valid)
        values |= {f"MAE of the surest {share:.0%}": float(e) for share, e in zip(COVERAGES, errors, strict=True)}
        correct = is_right(score, truth)
        values["share right"] = float(correct[valid].mean())
        within = is_right(score, np.clip(truth, *outcome.span))
        for name, hits in (("confidence", correct), ("confidence, truth clipped to the range", within)):
            bins = metrics.calibration(outcome.confidence[valid], hits[valid], CONFIDENCE_BINS)
            values[name] = [
                [int(n), float(c) if n else 0.0, float(r) if n else 0.0]
                for n, c, r in zip(bins.pixels, bins.confidence, bins.correct, strict=True)
            ]
    return values


def _or_none(metric: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    try:
        return metric(*arguments, **options)
    except UndefinedMetricError:
        return None


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [round(float(v), 5) for v in values]


def _keep_pictures(stem: Path, configuration: Configuration, example: Example, outcome: Outcome) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    height, width = example.truth.shape
    size = (min(_GALLERY_WIDTH, width), max(1, round(height * min(1.0, _GALLERY_WIDTH / width))))

    def small(plane: NDArray[Any]) -> NDArray[np.float16]:
        resized = Image.fromarray(plane.astype(np.float32)).resize(size, Image.Resampling.BOX)
        return np.asarray(resized, np.float16)

    np.savez_compressed(
        f"{stem}.{slug(configuration.name)}.npz",
        photo=np.asarray(Image.fromarray(example.image).resize(size, Image.Resampling.BOX)),
        truth=small(example.truth),
        valid=small(example.valid),
        map=small(outcome.values),
    )


def slug(name: str) -> str:
    """Return a file name that is valid on every file system.

    Examples
    --------
    >>> slug("dhde: released")
    'dhde_released'
    """
    return re.sub(r"[^\w.@-]+", "_", name)


def polarity(data: DataSet) -> float | None:
    """Return the mean rank correlation of the truth with a simple blur score, over the first examples of a set.

    The variance of the Laplacian is a poor detector, but on no set of photographs is it correlated negatively with the
    truth: below 0 the truth most likely is inverted. None if no example has an order to correlate with.
    """
    correlations = []
    for _, e in zip(range(_POLARITY_EXAMPLES), data.examples(), strict=False):
        correlation = _or_none(metrics.spearman, laplacian_score(e.image), e.truth.astype(np.float64), e.valid)
        if correlation is not None:
            correlations.append(correlation)
    return float(np.mean(correlations)) if correlations else None


@dataclass(frozen=True)
class _Task:
    data: DataSet
    example: Example
    gallery: bool


def _tasks(sets: Sequence[DataSet], limit: int | None) -> Iterator[_Task]:
    """Yield every example of every set; `limit` sources of each."""
    for data in sets:
        sources: dict[str, int] = {}
        of_source: Counter[str] = Counter()
        for e in data.examples():
            source = e.source or e.name
            index = sources.setdefault(source, len(sources))
            if limit is not None and index >= limit:
                break
            # Of each of the first sources another rendering is shown, so that all sizes of blur appear.
            shown = index < _GALLERY_SOURCES and of_source[source] == (index if data.kind == "sigma" else 0)
            of_source[source] += 1
            yield _Task(data, e, shown)


def run(
    sets: Sequence[DataSet],
    configurations: Sequence[Configuration],
    folder: Path,
    *,
    limit: int | None = None,
    jobs: int = 1,
    fresh: Sequence[str] = (),
    costs: bool = True,
    report: Progress = lambda line, fraction: None,
) -> dict[str, Any]:
    """Measure everything that the folder does not contain yet.

    Parameters
    ----------
    sets : data sets with different names.
    configurations : configurations with different names.
    folder : folder of the results, created if it does not exist; an earlier run in it is continued.
    limit : number of sources of each set, None for all.
    jobs : number of processes; if there are several, each uses one thread, which the measured seconds reflect.
    fresh : names of configurations whose earlier values are dropped.
    costs : also measure time and peak memory of a new process of each configuration.
    report : called with a line and the fraction done, which is counted in whole sets.

    Returns
    -------
    The contents of `benchmark.json`.

    Raises
    ------
    DefocusError
        If names repeat, or the folder holds a configuration of that name with other settings or weights.
    """
    for names in ([d.name for d in sets], [c.name for c in configurations]):
        if len(set(names)) < len(names):
            raise DefocusError(f"Names must differ, but {', '.join(names)} repeat one.")
    folder.mkdir(parents=True, exist_ok=True)
    head = _open_head(folder, sets, configurations, fresh)
    values = read_values(folder)
    done = {(v["configuration"], v["set"], v["name"]) for v in values if "error" not in v}
    for data in sets:
        if data.name not in head["polarity"]:
            head["polarity"][data.name] = polarity(data)
        against = head["polarity"][data.name]
        if against is not None and against < 0:
            report(f"Warning: the truth of {data.name} runs against a plain blur score ({against:+.2f}): inverted?", 0)
    _write_head(folder, head)

    fraction = 0.0
    path = folder / "values.jsonl"
    if path.is_file() and not path.read_bytes().endswith(b"\n"):
        path.write_text("".join(json.dumps(v) + "\n" for v in values), encoding="utf-8")  # a killed run's last line

    def pending() -> Iterator[tuple[Configuration, _Task]]:
        nonlocal fraction
        for task in _tasks(sets, limit):
            fraction = [d.name for d in sets].index(task.data.name) / len(sets)
            no_order = task.example.truth.min() == task.example.truth.max()
            for configuration in configurations:
                # A score without unit cannot be evaluated on a photograph that is blurred uniformly.
                if no_order and task.data.kind == "sigma" and not configuration.in_px:
                    continue
                if (configuration.name, task.data.name, task.example.name) not in done:
                    yield configuration, task

    def store(configuration: Configuration, task: _Task, record: dict[str, Any]) -> None:
        e = task.example
        record = {
            "configuration": configuration.name,
            "set": task.data.name,
            "name": e.name,
            "source": e.source or e.name,
            "condition": e.condition,
            "shown": task.gallery,
            **record,
        }
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, allow_nan=False) + "\n")
        outcome = record.get("error") or f"{record['seconds']:.1f} s"
        report(f"{configuration.name} {task.data.name}/{e.name}: {outcome}", fraction)

    def gallery_stem(task: _Task) -> Path | None:
        return folder / "gallery" / slug(task.data.name) / slug(task.example.name) if task.gallery else None

    at_work: dict[int, tuple[Configuration, _Task]] = {}

    def arguments() -> Iterator[tuple[Configuration, str, Example, Path | None]]:
        for place, (configuration, task) in enumerate(pending()):
            at_work[place] = configuration, task
            yield configuration, task.data.kind, task.example, gallery_stem(task)

    # Peers too start as many threads as they have cores.
    with closing(processes.run(arguments(), _attempt_job, jobs, one_core_each=True)) as results:
        for place, outcome in results:
            store(*at_work.pop(place), {"error": str(outcome)} if isinstance(outcome, WorkerLost) else outcome)
    if costs:
        for configuration in configurations:
            if configuration.name not in head["costs"]:
                example = next(iter(sets[0].examples()))
                head["costs"][configuration.name] = _cost(configuration, example.image)
                report(f"{configuration.name}: {head['costs'][configuration.name]}", 1.0)
                _write_head(folder, head)
    return head


def _attempt_job(job: tuple[Configuration, str, Example, Path | None]) -> dict[str, Any]:
    return _attempt(*job)


def _attempt(configuration: Configuration, kind: str, example: Example, gallery: Path | None) -> dict[str, Any]:
    """Measure, and turn an error into a record, so that one bad picture does not end the run."""
    try:
        return measure(configuration, kind, example, gallery)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def _cost(configuration: Configuration, image: NDArray[np.uint8]) -> dict[str, float]:
    """Return time and peak memory of a new process that estimates one 640 x 480 photograph (cropped or mirrored to it).

    Returns
    -------
    {"seconds": ..., "megabytes": ...}, megabytes of the largest resident set; {} where it cannot be measured.
    """
    rows, columns = (max(wanted - have, 0) for wanted, have in zip(_COST_SIZE, image.shape, strict=False))
    picture = np.pad(image, ((0, rows), (0, columns), (0, 0)), "symmetric")[: _COST_SIZE[0], : _COST_SIZE[1]]
    code = (
        "import sys, json, numpy as np\n"
        "from defocus.evaluation.benchmark import Configuration, estimate, peak_megabytes\n"
        "estimate(Configuration(**json.loads(sys.argv[2])), np.load(sys.argv[1]))\n"
        "print(peak_megabytes())\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.npy"
        np.save(path, picture)
        begin = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code, str(path), json.dumps(asdict(configuration))],
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - begin
    if done.returncode != 0:
        return {}
    return {"seconds": round(seconds, 2), "megabytes": round(float(done.stdout.split()[-1]))}


def peak_megabytes() -> float:
    """Return the largest resident set of this process so far, megabytes; NaN where the system does not report it."""
    status = Path("/proc/self/status")
    if status.is_file():  # Linux: getrusage would count the parent's memory before exec
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    try:
        import resource
    except ImportError:
        return float("nan")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def _open_head(
    folder: Path, sets: Sequence[DataSet], configurations: Sequence[Configuration], fresh: Sequence[str]
) -> dict[str, Any]:
    path = folder / "benchmark.json"
    head: dict[str, Any] = {"configurations": {}, "sets": {}, "polarity": {}, "costs": {}}
    if path.is_file():
        try:
            head |= json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DefocusError(f"{path} is damaged: remove it, or choose another folder.") from error
    kept = [v for v in read_values(folder) if v["configuration"] not in fresh]
    for configuration in configurations:
        name, identity = configuration.name, configuration.identity()
        if name in fresh:
            head["costs"].pop(name, None)
        elif head["configurations"].get(name, identity) != identity:
            raise DefocusError(f"{folder} holds {name} with other settings, weights or version: add --fresh {name}.")
        head["configurations"][name] = identity
    if fresh and (folder / "values.jsonl").is_file():
        write_text(folder / "values.jsonl", "".join(json.dumps(v) + "\n" for v in kept))
    head["sets"] |= {d.name: {"kind": d.kind, "description": d.description} for d in sets}
    head["machine"] = (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    )
    return head


def _write_head(folder: Path, head: dict[str, Any]) -> None:
    write_text(folder / "benchmark.json", json.dumps(head, indent=1, allow_nan=False))


def read_values(folder: Path) -> list[dict[str, Any]]:
    """Return the values that a run has stored so far; of two for the same configuration and example the later one.

    A line that a killed run left unfinished is dropped.
    """
    path = folder / "values.jsonl"
    values: dict[tuple[str, str, str], dict[str, Any]] = {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                v = json.loads(line)
            except ValueError:
                continue
            values[v["configuration"], v["set"], v["name"]] = v
    return list(values.values())
