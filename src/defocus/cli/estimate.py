"""`defocus estimate`: photographs in, defocus maps and their pictures out."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from defocus.cli.sentences import sentence, warnings_about
from defocus.errors import ParameterError, WeightsError

if TYPE_CHECKING:  # numpy must not load for --help
    from defocus.defocus_map import DefocusMap
    from defocus.progress import Progress

CONFIDENT = 0.5

EXAMPLES = """[bold]Examples[/bold]

defocus estimate photo.jpg

defocus estimate photo.jpg --overlay --parameters released --set sigma_range=0.1

defocus estimate holiday/ -o maps --jobs 2 --skip-existing

defocus estimate *.tif --json --quiet > maps.jsonl

[bold]Exit codes[/bold]

0 all photographs done, 1 at least one failed (named at the end), 2 wrong usage, 130 interrupted.
"""


def command(
    photos: Annotated[
        list[Path],
        typer.Argument(metavar="PHOTO", help="Photographs; folders are walked. Outputs of earlier runs are left out."),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Write here, not beside each photograph."),
    ] = None,
    method: Annotated[str, typer.Option(metavar="NAME", help="One of `defocus methods`.")] = "pyramid",
    parameters: Annotated[
        str, typer.Option(metavar="PRESET", help="The method's parameters: default, or released (dhde).")
    ] = "default",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Change one parameter of the preset; may be repeated."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", exists=True, dir_okay=False, help="Weights for the method's network."),
    ] = None,
    overlay: Annotated[
        bool, typer.Option("--overlay", help="Also write NAME.defocus.overlay.png, the map over the photograph.")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print one JSON object per photograph: path, size (width, height), method, unit, seconds, "
            "sigma_percentiles (5, 50, 95), share_saturated, share_confident (confidence 0.5 or more), outputs; "
            "or path and error; or path, skipped and outputs. Lines come as photographs are finished.",
        ),
    ] = False,
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs",
            "-j",
            metavar="N",
            min=1,
            help="Photographs at once, each in a process of its own. For folders the number of cores is fastest; "
            "each process needs memory for its photograph.",
        ),
    ] = 1,
    skip_existing: Annotated[
        bool,
        typer.Option(
            "--skip-existing",
            help="Leave photographs whose outputs are whole and made from the very same file, method, parameters, "
            "weights and version; else they are replaced.",
        ),
    ] = False,
    max_megapixels: Annotated[float, typer.Option(metavar="MP", min=0.001, help="Refuse larger photographs.")] = 200.0,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress bar, no lines but failures (and --json).")
    ] = False,
) -> None:
    """Estimate how far out of focus every pixel of each photograph is.

    Writes NAME.defocus.tiff (sigma in px as 32-bit float; further pages hold
    confidence, saturation and seeds) and NAME.defocus.png (colours with a scale
    in px) beside the photograph, or in DIR; shi2015tog also NAME.defocus.depth.png
    (16 bit, 0 near to 65535 far, without scale). Where a.jpg and a.png share a
    folder NAME keeps the suffix. One that fails does not stop the rest.
    """
    # Here, not above: --help must not wait for numpy.
    from defocus.cli.files import find_photographs, name_outputs, prepare_folder
    from defocus.cli.progress_bar import ProgressBar
    from defocus.cli.workers import WorkerLost, run, terminable
    from defocus.estimate import find_parameters
    from defocus.methods import find_method
    from defocus.settings import apply_settings

    try:
        chosen = find_method(method)
        values = apply_settings(find_parameters(chosen, parameters), settings or [])
        prepare_folder(output)
    except ParameterError as error:
        raise typer.BadParameter(str(error)) from error
    found = find_photographs(photos)
    if not found.photographs and not found.failures:
        raise typer.BadParameter(f"{found.outputs[0]} is an output of defocus: name photographs.")
    digest = chosen.weights_sha256(weights)
    work = [
        _Job(
            path=source.path,
            outputs=_outputs(beginning, overlay=overlay, depth=chosen.tells_depth),
            method=method,
            parameters=values,
            weights=weights,
            weights_sha256=digest,
            max_pixels=int(max_megapixels * 1e6),
            skip_existing=skip_existing,
        )
        for source, beginning in zip(found.photographs, name_outputs(found.photographs, output), strict=True)
    ]
    processes = min(jobs, max(1, len(work)))
    done, failures = 0, dict[int, str]()
    with terminable(), ProgressBar(len(work), hidden=quiet) as bar:
        for path in found.outputs if not quiet else ():
            bar.say(f"{path} is an output of defocus and was left out.", error=True)
        for path, reason in found.failures if as_json else ():
            bar.say(json.dumps({"path": str(path), "error": reason}))

        def begin(place: int) -> None:
            bar.begin(work[place].path.name, "" if processes > 1 else "reading")

        # A bar does not travel to other processes: with several it counts photographs.
        task = _work if processes > 1 else partial(_work, report=bar.report)
        try:
            with closing(run(work, task, processes, begin)) as results:
                for place, result in results:
                    job = work[place]
                    answer = _Answer(job.failed(str(result))) if isinstance(result, WorkerLost) else result
                    bar.end()
                    for warning in answer.warnings if not quiet else ():
                        bar.say(f"Warning: {job.path}: {warning}", error=True)
                    if "error" in answer.record:
                        failures[place] = answer.record["error"]
                    else:
                        done += 1
                    if as_json:
                        bar.say(json.dumps(answer.record))
                    elif "error" not in answer.record and not quiet:
                        bar.say(_line(answer.record))
        except WeightsError as error:  # the same for every photograph
            raise typer.BadParameter(str(error)) from error
        except KeyboardInterrupt:
            bar.say(f"Interrupted: {done} of {len(work)} photographs done.", error=True)
            raise typer.Exit(130) from None
        failed = [*found.failures, *((work[place].path, failures[place]) for place in sorted(failures))]
        if failed:
            bar.say(f"Failed: {len(failed)}; done: {done}.", error=True)
            for path, reason in failed:
                bar.say(f"  {path}: {reason.removeprefix(str(path)).lstrip(': ')}", error=True)
            raise typer.Exit(1)


@dataclass(frozen=True)
class _Job:
    """One photograph, and all that its outputs depend on; travels to other processes."""

    path: Path
    outputs: dict[str, Path]
    method: str
    parameters: Any
    weights: Path | None
    weights_sha256: str | None
    max_pixels: int
    skip_existing: bool

    def failed(self, reason: str) -> dict[str, Any]:
        return {"path": str(self.path), "error": reason}

    def output_names(self) -> dict[str, str]:
        return {kind: str(path) for kind, path in self.outputs.items()}


@dataclass(frozen=True)
class _Answer:
    """What became of a photograph: its object for --json, and warnings."""

    record: dict[str, Any]
    warnings: Sequence[str] = ()


def _outputs(beginning: Path, *, overlay: bool, depth: bool) -> dict[str, Path]:
    from defocus.cli.files import DEPTH_ENDING, MAP_ENDING, OVERLAY_ENDING, PREVIEW_ENDING, with_ending

    endings = {"map": MAP_ENDING, "preview": PREVIEW_ENDING}
    if overlay:
        endings["overlay"] = OVERLAY_ENDING
    if depth:
        endings["depth"] = DEPTH_ENDING
    return {kind: with_ending(beginning, ending) for kind, ending in endings.items()}


def _work(job: _Job, report: Progress = lambda step, share: None) -> _Answer:
    """One photograph's way from file to files; only a fault that all photographs share is raised."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            record = _estimate(job, report)
        except WeightsError:
            raise
        except Exception as error:  # a fault of ours must not cost the user the other photographs
            return _Answer(job.failed(sentence(error)))
    return _Answer(record, warnings_about(job.path, caught))


def _estimate(job: _Job, report: Progress) -> dict[str, Any]:
    import numpy as np

    from defocus.atomic import write_bytes
    from defocus.cli.files import png, prepare_folder
    from defocus.cli.finished import is_finished, signed
    from defocus.cores import at_once
    from defocus.estimate import estimate
    from defocus.photograph import photograph_sha256, read_photograph
    from defocus.preview import overlay

    start = time.perf_counter()
    # Before its pixels are read: one that changes meanwhile then counts as not done, not as done.
    digest = photograph_sha256(job.path)
    if job.skip_existing and is_finished(job.outputs, job.method, job.parameters, job.weights_sha256, digest):
        return {"path": str(job.path), "skipped": True, "outputs": job.output_names()}
    prepare_folder(job.outputs["map"].parent)
    photograph = read_photograph(job.path, max_pixels=job.max_pixels)
    result = signed(
        estimate(photograph, method=job.method, parameters=job.parameters, weights=job.weights, progress=report),
        digest,
    )
    report("writing", 1.0)

    def pictures() -> dict[str, bytes]:
        made = {"preview": png(result.preview(scale_bar=True))}
        if "overlay" in job.outputs:
            made["overlay"] = png(overlay(photograph, result.sigma, sigma_limits=result.sigma_range, scale_bar=True))
        if "depth" in job.outputs and result.relative_depth is not None:
            made["depth"] = png(np.rint(result.relative_depth * 65535).astype(np.uint16))
        return made

    def save() -> dict[str, Any]:
        result.save(job.outputs["map"])
        return _summary(result)

    summary, encoded = at_once(save, pictures)
    for kind, contents in encoded.items():  # only now: where the map cannot be written, nothing is
        write_bytes(job.outputs[kind], contents)
    return {
        "path": str(job.path),
        "size": [photograph.width, photograph.height],
        "method": result.method,
        "unit": result.unit,
        "seconds": round(time.perf_counter() - start, 3),
        **summary,
        "outputs": job.output_names(),
    }


def _summary(result: DefocusMap) -> dict[str, Any]:
    import numpy as np

    percentiles = np.percentile(result.sigma, (5, 50, 95))
    return {
        "sigma_percentiles": {
            name: round(float(value), 4) for name, value in zip(("5", "50", "95"), percentiles, strict=True)
        },
        "share_saturated": round(float(result.saturated.mean()), 6),
        "share_confident": round(float((result.confidence >= CONFIDENT).mean()), 6),
    }


def _line(record: dict[str, Any]) -> str:
    outputs = ", ".join(record["outputs"].values())
    if record.get("skipped"):
        return f"{record['path']}: left as it is, {outputs} are up to date"
    low, high = record["sigma_percentiles"]["5"], record["sigma_percentiles"]["95"]
    values = f"sigma {low:.2f} to {high:.2f} px" if record["unit"] == "px" else f"score {low:.2f} to {high:.2f}"
    return f"{record['path']}: {values} (5 to 95 %), {record['seconds']:.1f} s -> {outputs}"
