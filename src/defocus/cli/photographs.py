"""The loop of every command on photographs: read, find or estimate the map, work, write, report.

A photograph that fails costs one line, whatever went wrong with it, and never the other photographs.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import typer

from defocus.cli.files import STANDARD_STREAM, Found, Source, find_photographs, name_outputs
from defocus.cli.options import Options
from defocus.cli.terminal import ProgressBar, say, write_binary
from defocus.cli.up_to_date import ANY_SUFFIX, find_outputs
from defocus.errors import OutputError, ParameterError, WeightsError
from defocus.messages import error_message, user_warnings, without_path
from defocus.outputs import MAP_ENDING, STROKES_ENDING, prepare_folder, with_ending
from defocus.provenance import Provenance, is_output

if TYPE_CHECKING:  # numpy must not load for --help
    from defocus.maps.map_strips import MapStrips
    from defocus.methods.session import Device
    from defocus.photograph import Photograph
    from defocus.progress import Progress


@dataclass(frozen=True)
class Result:
    """What a command made of one photograph, not yet written.

    Attributes
    ----------
    record : figures for --json and for the line about the photograph; `main` may add some.
    main : writes the main output to a path.
    pictures : return the contents of the other files, by kind, once the main output has been written.
    suffix : of the main output, where it depends on the photograph.
    value : anything else that the command wants back; must be picklable.
    """

    record: dict[str, Any]
    main: Callable[[Path, Provenance], None] | None = None
    pictures: Mapping[str, Callable[[Provenance], bytes]] = field(default_factory=dict)
    suffix: str = ""
    value: Any = None


class Task(ABC):
    """What a command does with each photograph; travels to other processes, so it must be picklable."""

    own_colours: ClassVar[bool] = False
    """Whether pixels are wanted in the photograph's own colour profile, to be edited, and not in sRGB."""

    @property
    def uses_saved_map(self) -> bool:
        """Whether a map that `defocus estimate` left is used."""
        return True

    @abstractmethod
    def outputs(self, photo: Path, stem: Path) -> dict[str, Path]:
        """Return the files that will be written, by kind, the main one first.

        `stem` is the path that their names begin with. The main one ends in `ANY_SUFFIX` where its format depends on
        the photograph.
        """

    @abstractmethod
    def options(self, kind: str) -> dict[str, Any]:
        """Return what an output depends on beside photograph and map, as JSON knows it."""

    def read(self, photo: Path | bytes, *, max_pixels: int | None, strict: bool) -> Photograph:
        """Read a photograph, of a file or its contents, but no output of this package."""
        from defocus.photograph import read_photograph

        return read_photograph(
            photo, max_pixels=max_pixels, own_colours=self.own_colours, strict=strict, refuse_outputs=True
        )

    def to_estimate(self, photograph: Photograph) -> Photograph:
        """Return the photograph that the map is estimated from."""
        return photograph

    def own_map(self, photograph: Photograph, device: Device, report: Progress) -> MapStrips | None:
        """Return a map that the command makes in a way of its own; None where it takes those of all commands."""
        return None

    @abstractmethod
    def make(self, photograph: Photograph, found: MapStrips, report: Progress) -> Result:
        """Do the work with the map that was found; `found.whole()` has it in memory."""

    @abstractmethod
    def line(self, record: dict[str, Any]) -> str | None:
        """Return what is said of a photograph that is done, before the names of its outputs; None for nothing."""


@dataclass(frozen=True)
class _Job:
    """One photograph, and all that its outputs depend on; travels to other processes."""

    path: Path
    named: bool
    contents: bytes | None
    outputs: dict[str, Path]
    task: Task
    method: str
    parameters: Any
    weights: Path | None
    device: Device
    map_recipe: dict[str, Any]
    map_file: Path | None
    saved_maps: tuple[Path, ...]
    strokes: Path | None
    max_pixels: int | None
    strict: bool
    skip_existing: bool
    to_stdout: bool

    @property
    def name(self) -> str:
        return str(self.path) if self.contents is None else "standard input"

    def made_from(self, kind: str, photograph_sha256: str | None) -> Provenance:
        recipe = self.map_recipe
        if self.strokes is not None:
            recipe = {**recipe, "strokes_sha256": _sha256(self.strokes)}
        return Provenance(kind, photograph_sha256, recipe, self.task.options(kind))


@dataclass(frozen=True)
class _Answer:
    """What became of a photograph: its object for --json, warnings, what the command wanted back, standard output."""

    record: dict[str, Any]
    warnings: Sequence[str] = ()
    value: Any = None
    stdout: bytes | None = None


@dataclass
class Outcome:
    """What became of all photographs.

    Attributes
    ----------
    results : path and `Result.value` of those that are done, in the order they were found in.
    failures : path and reason of those that are not.
    photographs : how many there were.
    interrupted : whether Ctrl-C ended the run early.
    """

    results: list[tuple[Path, Any]]
    failures: list[tuple[Path, str]]
    photographs: int
    interrupted: bool = False

    def conclude(self, done: str = "done") -> None:
        """Name the failures and leave with the exit code.

        Parameters
        ----------
        done : the word for photographs that did not fail.

        Raises
        ------
        typer.Exit
            With code 130 after an interrupt, 1 after a failure.
        """
        if self.failures:
            say(f"Failed: {len(self.failures)}; {done}: {len(self.results)}.", error=True)
            for path, reason in self.failures:
                say(f"  {path}: {without_path(reason, path)}", error=True)
        if self.interrupted:
            raise typer.Exit(130)
        if self.failures:
            raise typer.Exit(1)


def process_photographs(
    task: Task,
    options: Options,
    *,
    parameters: Any = None,
    weights: Path | None = None,
    without_folders: frozenset[str] = frozenset(),
) -> Outcome:
    """Do `task` on every photograph.

    Parameters
    ----------
    task : what is done with each.
    options : as the user gave them.
    parameters : of the method: None, the name of a preset, or the method's own.
    weights : for the method, instead of the package's own.
    without_folders : names of folders that are not searched, at any depth within those that were named.

    Raises
    ------
    typer.BadParameter
        If the options do not fit together, or the weights, which all photographs share, cannot be used.
    """
    from defocus.runtime.processes import WorkerLost, run, terminable

    found = find_photographs(options.photos, without_folders)
    jobs = _prepare(task, options, found, parameters, weights)
    processes = min(options.jobs, max(1, len(jobs)))
    answers: dict[int, _Answer] = {}
    failures: dict[int, str] = {}
    left_out = 0
    interrupted = False
    with terminable(), ProgressBar(len(jobs), hidden=options.quiet) as bar:
        for path in found.outputs if not options.quiet else ():
            bar.say(f"{path} was written by defocus and is left out.", error=True)
        for path, reason in found.failures if options.as_json else ():
            bar.say(json.dumps({"path": str(path), "error": reason}))

        def begin(place: int) -> None:
            bar.begin(jobs[place].path.name, "" if processes > 1 else "reading")

        # A bar does not travel to other processes: with several it counts photographs.
        work = _work if processes > 1 else partial(_work, report=bar.report)
        try:
            with closing(run(jobs, work, processes, started=begin)) as results:
                for place, outcome in results:
                    job = jobs[place]
                    answer = (
                        _Answer({"path": job.name, "error": str(outcome)})
                        if isinstance(outcome, WorkerLost)
                        else outcome
                    )
                    bar.end()
                    if "is_output" in answer.record:
                        left_out += 1
                        if job.named and not options.quiet:
                            bar.say(f"{job.name} was written by defocus and is left out.", error=True)
                        continue
                    for warning in answer.warnings if not options.quiet else ():
                        bar.say(f"Warning: {job.name}: {warning}", error=True)
                    if "error" in answer.record:
                        failures[place] = answer.record["error"]
                    else:
                        answers[place] = answer
                    _report(bar, task, options, answer)
        except WeightsError as error:  # the same for every photograph
            raise typer.BadParameter(str(error)) from error
        except KeyboardInterrupt:
            interrupted = True
            bar.say(f"Interrupted: {len(answers)} of {len(jobs)} photographs done.", error=True)
    if left_out and left_out == len(jobs) and not found.failures:
        raise typer.BadParameter(f"{jobs[0].name} was written by defocus: name photographs.")
    return Outcome(
        results=[(jobs[place].path, answers[place].value) for place in sorted(answers)],
        failures=[*found.failures, *((jobs[place].path, failures[place]) for place in sorted(failures))],
        photographs=len(jobs) - left_out,
        interrupted=interrupted,
    )


def _report(bar: ProgressBar, task: Task, options: Options, answer: _Answer) -> None:
    """Print what is to be said of one photograph, and send its main output to standard output if that was wanted."""
    if answer.stdout is not None:
        write_binary(answer.stdout)
    failed = "error" in answer.record
    line = None if failed else _line(task, answer.record)
    if options.as_json and (failed or line is not None):
        bar.say(json.dumps(answer.record))
    elif line is not None and not options.quiet:
        bar.say(line, error=answer.stdout is not None)


def _line(task: Task, record: dict[str, Any]) -> str | None:
    outputs = ", ".join(record.get("outputs", {}).values())
    if record.get("skipped"):
        return f"{record['path']}: left as it is, {outputs} are up to date"
    figures = task.line(record)
    if figures is None:
        return None
    saved = f" by the map {record['map']}" if "map" in record else ""
    return f"{record['path']}: {figures}{saved}, {record['seconds']:.1f} s" + (f" -> {outputs}" if outputs else "")


def _prepare(task: Task, options: Options, found: Found, given: Any, weights: Path | None) -> list[_Job]:
    """Check what can be checked before any photograph is read, and say what is to be done with each."""
    from defocus.estimation import check_device, check_weights, find_parameters, map_recipe
    from defocus.methods.registry import find_method

    if not found.photographs and not found.failures:
        raise typer.BadParameter(f"{found.outputs[0]} was written by defocus: name photographs.")
    folder = None if options.output == STANDARD_STREAM or names_a_file(options.output) else options.output
    sources = _without_outputs(task, found, folder)
    several = len(sources) > 1 or any(photo.is_dir() for photo in options.photos)
    streamed = [source for source in sources if source.path == STANDARD_STREAM]
    to_stdout = options.output == STANDARD_STREAM or (bool(streamed) and options.output is None)
    one_file = options.output if names_a_file(options.output) else None
    if (to_stdout or one_file is not None) and several:
        name = "Standard output" if to_stdout else f"-o {one_file}"
        raise typer.BadParameter(f"{name} takes the output of one photograph, but there are more: give a folder.")
    if to_stdout and options.as_json:
        raise typer.BadParameter("--json and the output cannot both go to standard output: give -o a file or a folder.")
    if options.map_file is not None and options.map_file.is_file() and several:
        raise typer.BadParameter("--map is one file, but there are several photographs: give the folder of their maps.")
    try:
        chosen = find_method(options.method)
        parameters = find_parameters(chosen, given)
        check_device(chosen, options.device)
        recipe = map_recipe(chosen, parameters, weights)
        prepare_folder(folder if one_file is None else one_file.parent)
    except (ParameterError, WeightsError) as error:
        raise typer.BadParameter(str(error)) from error
    if weights is not None:
        try:
            check_weights(chosen, parameters, weights)
        except WeightsError as error:
            raise typer.BadParameter(str(error)) from error
    jobs = []
    taken = {os.path.realpath(source.path): source.path for source in sources}
    for source, stem in zip(sources, name_outputs(sources, folder), strict=True):
        try:
            outputs = task.outputs(source.path, stem)
            if to_stdout or one_file is not None:
                kind = next(iter(outputs), None)
                if kind is None:
                    raise ParameterError("This command writes no file for each photograph: leave -o out.")
                outputs = {kind: outputs[kind] if one_file is None else one_file}
            if not to_stdout:
                _check_outputs(outputs, taken, named=one_file is not None)
            map_file = _given_map(source.path, options.map_file)
        except ParameterError as error:
            if one_file is not None:
                raise typer.BadParameter(str(error)) from error
            found.failures.append((source.path, str(error)))
            continue
        beside = source.path.with_name(stem.name)
        jobs.append(
            _Job(
                path=source.path,
                named=source.named,
                contents=_standard_input() if source.path == STANDARD_STREAM else None,
                outputs=outputs,
                task=task,
                method=options.method,
                parameters=parameters,
                weights=weights,
                device=options.device,
                map_recipe=recipe if map_file is None else {"file_sha256": _sha256(map_file)},
                map_file=map_file,
                saved_maps=tuple(dict.fromkeys(with_ending(each, MAP_ENDING) for each in (stem, beside))),
                strokes=_strokes_of(source.path, beside) if task.uses_saved_map else None,
                max_pixels=None if options.max_megapixels is None else int(options.max_megapixels * 1e6),
                strict=options.strict,
                skip_existing=options.skip_existing and not to_stdout,
                to_stdout=to_stdout,
            )
        )
    return jobs


def _without_outputs(task: Task, found: Found, folder: Path | None) -> list[Source]:
    """The photographs without those that are outputs of this very command for another of them, such as photo.jpg.png.

    Other outputs under names of their own are left out when they are read, without being opened twice.
    """
    planned = set()
    for source, stem in zip(found.photographs, name_outputs(found.photographs, folder), strict=True):
        with suppress(ParameterError):  # said when the outputs are checked
            planned |= {os.path.realpath(path) for path in task.outputs(source.path, stem).values()}
    sources = []
    for source in found.photographs:
        if os.path.realpath(source.path) in planned and is_output(source.path):
            found.outputs.extend([source.path] if source.named else [])
        else:
            sources.append(source)
    return sources


def names_a_file(output: Path | None) -> bool:
    """Tell whether -o names a file, not a folder: it has a suffix and is no folder that exists."""
    return output is not None and output != STANDARD_STREAM and bool(output.suffix) and not output.is_dir()


def _check_outputs(outputs: Mapping[str, Path], taken: dict[str, Path], *, named: bool) -> None:
    """See that no output replaces a photograph, another photograph's output, or a file that is not ours."""
    for path in outputs.values():
        real = os.path.realpath(path)
        if real in taken:
            raise ParameterError(f"Its output {path} would replace another file of this run: write elsewhere with -o.")
        if not named and path.exists() and not is_output(path):
            raise ParameterError(f"{path} exists and was not written by defocus: move it, or write elsewhere with -o.")
        taken[real] = path


def _given_map(photo: Path, map_file: Path | None) -> Path | None:
    """The map that the user gave for a photograph."""
    if map_file is None or not map_file.is_dir():
        return map_file
    for name in (photo.stem, photo.name):
        path = map_file / f"{name}{MAP_ENDING}"
        if path.is_file():
            return path
    raise ParameterError(f"{map_file} holds no {photo.stem}{MAP_ENDING}: estimate it first.")


def _strokes_of(photo: Path, stem: Path) -> Path | None:
    """The file of strokes beside a photograph, if there is one."""
    if photo == STANDARD_STREAM:
        return None
    path = with_ending(stem, STROKES_ENDING)
    return path if path.is_file() else None


def _standard_input() -> bytes:
    if sys.stdin is None:
        raise typer.BadParameter("Standard input is closed: name a photograph.")
    return sys.stdin.buffer.read()


def _sha256(path: Path) -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _work(job: _Job, report: Progress = lambda step, fraction: None) -> _Answer:
    """One photograph's way from file to files; only a fault that all photographs share is raised."""

    def shortened(sentence: str) -> str:
        return without_path(sentence, job.path)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            answer = _process(job, report)
        except WeightsError:
            raise
        except OutputError:
            return _Answer({"path": job.name, "is_output": True})
        except Exception as error:  # a fault of ours must not cost the user the other photographs
            return _Answer({"path": job.name, "error": error_message(error)}, user_warnings(caught, shortened))
    return dataclasses.replace(answer, warnings=user_warnings(caught, shortened))


def _process(job: _Job, report: Progress) -> _Answer:
    from defocus.photograph import photograph_sha256
    from defocus.runtime.atomic import write_bytes
    from defocus.runtime.cores import at_once

    start = time.perf_counter()
    if job.skip_existing and job.outputs:
        # Of the file as it is now: one that changes while it is read then counts as not done, not as done.
        made_from = {kind: job.made_from(kind, photograph_sha256(job.path)) for kind in job.outputs}
        done = find_outputs(job.outputs, made_from)
        if done is not None:
            return _Answer({"path": job.name, "skipped": True, "outputs": _names(done)})
    if job.outputs and not job.to_stdout:
        prepare_folder(next(iter(job.outputs.values())).parent)
    photograph = job.task.read(
        job.path if job.contents is None else job.contents, max_pixels=job.max_pixels, strict=job.strict
    )
    found, origin = _find_map(job, photograph, report)
    strokes = None
    if job.strokes is not None:
        from defocus.maps.map_strips import MapStrips
        from defocus.maps.strokes import Strokes, corrected

        if found.unit == "px":
            strokes = Strokes.load(job.strokes)
            found = MapStrips.of(corrected(photograph, found.whole(), strokes))
        else:
            warnings.warn(
                f"The strokes in {job.strokes.name} are left out: they say px, this map a score.", stacklevel=1
            )
    result = job.task.make(photograph, found, report)
    outputs = {
        kind: path.with_name(path.name.removesuffix(ANY_SUFFIX) + result.suffix)
        if path.name.endswith(ANY_SUFFIX)
        else path
        for kind, path in job.outputs.items()
    }
    provenance = {kind: job.made_from(kind, photograph.sha256) for kind in outputs}
    stdout = None
    if outputs:
        main, main_path = next(iter(outputs.items()))
        write_main = result.main
        assert write_main is not None
        if job.to_stdout:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"output{result.suffix or main_path.suffix}"
                write_main(path, provenance[main])
                report("writing", 1.0)
                stdout = path.read_bytes()
            outputs = {}
        else:
            wanted = [kind for kind in result.pictures if kind in outputs]
            write_main(main_path, provenance[main])  # first: where it cannot be written nothing is
            report("writing", 1.0)  # only now: the last step of a map is computed, and reported, while it is written
            if wanted:
                encoded = at_once(*(partial(result.pictures[kind], provenance[kind]) for kind in wanted))
                for kind, contents in zip(wanted, encoded, strict=True):
                    write_bytes(outputs[kind], contents)
    record = {"path": job.name, **result.record}
    if origin is not None:
        record["map"] = str(origin)
    if strokes is not None:
        record["strokes"] = len(strokes.strokes)
    record["seconds"] = round(time.perf_counter() - start, 3)
    if outputs:
        record["outputs"] = _names(outputs)
    return _Answer(record, value=result.value, stdout=stdout)


def _find_map(job: _Job, photograph: Photograph, report: Progress) -> tuple[MapStrips, Path | None]:
    """The map of a photograph and the file it came from: the one given, one saved earlier, or a new one (None)."""
    from defocus.estimation import estimate_strips
    from defocus.maps.map_file import load, load_saved
    from defocus.maps.map_strips import MapStrips
    from defocus.methods.registry import find_method

    if job.map_file is not None:
        return MapStrips.of(load(job.map_file)), job.map_file
    own = job.task.own_map(photograph, job.device, report)
    if own is not None:
        return own, None
    if job.task.uses_saved_map:
        saved = load_saved(job.saved_maps, photograph.sha256, job.map_recipe)
        if saved is not None:
            return MapStrips.of(saved[0]), saved[1]
    return (
        estimate_strips(
            job.task.to_estimate(photograph),
            find_method(job.method),
            job.parameters,
            job.weights,
            job.device,
            report,
        ),
        None,
    )


def _names(outputs: Mapping[str, Path]) -> dict[str, str]:
    return {kind: str(path) for kind, path in outputs.items()}
