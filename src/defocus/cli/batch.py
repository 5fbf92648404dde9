"""`defocus batch`: photographs in object storage, by many machines: plan, work, status and collect."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from defocus.cli.terminal import printable, say
from defocus.errors import DefocusError, ParameterError, WeightsError
from defocus.methods.session import Device

if TYPE_CHECKING:  # numpy must not load for --help
    from defocus.batch.run import PartResult, Run
    from defocus.batch.work import PartFailed

__all__ = ["application", "rank_run", "run_to_rank"]

PLAN_EXAMPLES = """[bold]Examples[/bold]

defocus batch plan s3://photos s3://results/run1

defocus batch plan s3://photos/2024 s3://results/run2 --outputs small,preview --method pyramid --parameters fast

defocus batch plan shoot/ run/ --keys chosen.parquet

Credentials, region and endpoint come from the environment, and are never written down.
"""
WORK_EXAMPLES = """[bold]Examples[/bold]

defocus batch work s3://results/run1 --jobs 8

defocus batch work s3://results/run1 --jobs 4 --shard 3/64 --take-over

defocus batch work s3://results/run1 --on dask=tcp://host:8786

[bold]Exit codes[/bold]

0 all parts are done, 1 at least one could not be done now (give the command again), 2 wrong usage, 130 interrupted. A
photograph that cannot be read has a row with the reason, and does not count as a failure.
"""
STATUS_EXAMPLES = """[bold]Examples[/bold]

defocus batch status s3://results/run1

defocus batch status s3://results/run1 --json
"""
PERCENTILES_EXAMPLES = """[bold]Examples[/bold]

defocus batch percentiles s3://results/run1

defocus batch percentiles s3://results/run1 --by lens --at 10,50,90
"""
COLLECT_EXAMPLES = """[bold]Examples[/bold]

defocus batch collect s3://results/run1
"""

RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="Where the run lies: s3://, gs://, az://, file:// or a folder.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors (and what --json prints).")]


def application() -> typer.Typer:
    """Return the group of commands."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False)
    group.command("plan", epilog=PLAN_EXAMPLES)(_plan)
    group.command("work", epilog=WORK_EXAMPLES)(_work)
    group.command("status", epilog=STATUS_EXAMPLES)(_status)
    group.command("percentiles", epilog=PERCENTILES_EXAMPLES)(_percentiles)
    group.command("collect", epilog=COLLECT_EXAMPLES)(_collect)
    return group


def _plan(
    source: Annotated[
        str,
        typer.Argument(
            metavar="PHOTOS", help="Where the photographs are: s3://, gs://, az://, https://, file:// or a folder."
        ),
    ],
    run: Annotated[str, typer.Argument(metavar="RUN", help="Where the run goes; not https://.")],
    keys: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Parquet file of the photographs instead of listing them: a column key, and bytes and etag if known.",
        ),
    ] = None,
    part_size: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="Photographs in a part: what a worker does at once. There should be several for each worker.",
        ),
    ] = 256,
    outputs: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="What is written, separated by commas: rows (always), map, small (every 4th pixel each way), preview.",
        ),
    ] = "rows",
    method: Annotated[str, typer.Option(metavar="NAME", help="How maps are estimated: one of `defocus methods`.")] = (
        "pyramid"
    ),
    parameters: Annotated[str, typer.Option(metavar="PRESET", help="Preset of the method's parameters.")] = "default",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Change one parameter; may be repeated."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Weights for the method's network; the run keeps a copy, which all workers use.",
        ),
    ] = None,
    device: Annotated[Device, typer.Option(help="What the network of pyramid or dhde is run on.")] = "auto",
    max_megapixels: Annotated[
        float | None, typer.Option(metavar="MP", min=0.001, help="Refuse larger photographs.", show_default=False)
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse incomplete files.")] = False,
    sample: Annotated[
        int,
        typer.Option(metavar="N", min=0, help="Photographs that are estimated now for the forecast; 0 makes none."),
    ] = 3,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print the plan as one JSON object, as plan/current.json keeps it."),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """List photographs, write them down in parts, and say what the run will take.

    Nothing is estimated yet but a sample. A place takes one plan, once.
    """
    from defocus.runtime.processes import terminable

    with _sentences(), terminable():
        from defocus.batch.planning import plan

        planned = plan(
            source,
            run,
            keys=keys,
            part_size=part_size,
            outputs=[name.strip() for name in outputs.split(",")],
            method=method,
            parameters=parameters,
            settings=settings or [],
            weights=weights,
            device=device,
            max_megapixels=max_megapixels,
            strict=strict,
            sample=sample,
            said=lambda line: None if quiet or as_json else say(line),
        )
        if as_json:
            say(json.dumps(json.loads(planned.plan.to_json())))
        elif not quiet:
            _say_forecast(planned)


def _say_forecast(run: Run) -> None:
    from defocus.batch.planning import size_in_words

    forecast = run.plan.forecast
    if forecast:
        say(
            f"By a sample of {forecast['sample']:.0f}: {forecast['seconds_each']:.2f} s of one core each, "
            f"{forecast['core_hours']:.3g} core-hours in all, {size_in_words(forecast['bytes_of_output'])} of output."
        )
    say(f"Work on it: defocus batch work {run.url}")


def _work(
    run: RunArgument,
    jobs: Annotated[
        int,
        typer.Option("--jobs", "-j", metavar="N", min=1, help="Parts at once on this machine, each in a process."),
    ] = 1,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="K/N",
            help="Do only every N-th part, beginning with part K, counted from 0: for N workers that do not talk to "
            "each other.",
        ),
    ] = None,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="After its own parts, do those that others have not finished.")
    ] = False,
    on: Annotated[
        str | None,
        typer.Option(
            metavar="ENGINE=ADDRESS",
            help="Hand the parts to dask=tcp://HOST:8786 or ray=auto instead of working here.",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print one JSON object per part as it is finished: part, photographs, computed, errors, committed, "
            "seconds; or part and error.",
        ),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Work on a run, from as many machines as there are, until nothing is left.

    May be ended at any time and given again. What is done stays done.
    """
    from defocus.runtime.processes import terminable

    with _sentences(), terminable():
        from defocus.batch.run import Run
        from defocus.batch.work import PartFailed

        found = Run.open(run)
        failed: list[PartFailed] = []
        found.check()
        todo = found.todo()
        if not as_json and not quiet:
            say(f"{len(todo)} of {found.plan.parts} parts to do.")
        try:
            with closing(_results(found, todo, jobs, shard, take_over, on)) as results:
                for result in results:
                    if isinstance(result, PartFailed):
                        failed.append(result)
                        if as_json:
                            say(json.dumps({"part": result.part, "error": result.reason}))
                    elif as_json:
                        say(json.dumps({**asdict(result), "seconds": round(result.seconds, 3)}))
                    elif not quiet:
                        say(_line(result))
        except KeyboardInterrupt:
            say("Interrupted: what is done is kept. Give the command again to go on.", error=True)
            raise typer.Exit(130) from None
        if failed:
            say(f"Not done now: {_parts(len(failed))}. Give the command again.", error=True)
            for each in failed:
                say(f"  part {each.part}: {each.reason}", error=True)
            raise typer.Exit(1)


def _results(
    run: Run, todo: list[int], jobs: int, shard: str | None, take_over: bool, on: str | None
) -> Generator[PartResult | PartFailed, None, None]:
    from defocus.batch.work import ENGINES, Shard, not_begun_first, on_this_machine

    if on is not None and (shard is not None or jobs != 1):
        raise ParameterError("An engine shares the work out itself: leave --shard and --jobs out with --on.")
    if take_over and shard is None:
        raise ParameterError("--take-over is for workers that have a share of their own: give --shard too.")
    mine, others = (todo, []) if shard is None else Shard.parse(shard).of_all(todo)
    parts = not_begun_first(run, mine, others if take_over else [])
    if on is None:
        # Processes without a part would only take cores from the others.
        return on_this_machine(run, parts, max(1, min(jobs, len(mine) + len(others))))
    engine, _, address = on.partition("=")
    if engine not in ENGINES or not address:
        raise ParameterError(f"--on takes {' or '.join(f'{name}=ADDRESS' for name in ENGINES)}, not {on}.")
    return ENGINES[engine](run, parts, address)


def _line(result: PartResult) -> str:
    if not result.photographs:
        return f"part {result.part}: done by another worker"
    errors = f", {result.errors} with an error" if result.errors else ""
    first = "" if result.committed else "; another worker was first, whose rows count"
    count = "1 photograph" if result.photographs == 1 else f"{result.photographs} photographs"
    return f"part {result.part}: {count}{errors}, {result.seconds:.1f} s{first}"


def _status(
    run: RunArgument,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print one JSON object: photographs, parts, done, parts_done, parts_begun, failed, "
            "photographs_per_second, seconds_left.",
        ),
    ] = False,
) -> None:
    """Say how far a run is: done, failed, begun, photographs a second, time left."""
    with _sentences():
        from defocus.batch.run import Run

        s = Run.open(run).status()
        if as_json:
            say(json.dumps(asdict(s)))
            return
        say(f"{s.done} of {s.photographs} photographs done ({s.parts_done} of {s.parts} parts), {s.failed} failed.")
        if s.parts_begun:
            say(f"{_parts(s.parts_begun)} begun and not finished.")
        if s.photographs_per_second is not None:
            left = "" if s.seconds_left in (None, 0) else f", {_time(float(s.seconds_left or 0))} left"
            say(f"{s.photographs_per_second:.3g} photographs a second{left}.")


def _percentiles(
    run: RunArgument,
    at: Annotated[str, typer.Option(metavar="PERCENTS", help="Which, separated by commas.")] = "5,25,50,75,95",
    by: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="A line for each value of a column of the table, such as lens."),
    ] = None,
    with_guesses: Annotated[
        bool, typer.Option("--with-guesses", help="Count pixels whose blur is a guess, too.")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print one JSON object per line: value, photographs, fraction_measured, sigma (by percentile, px).",
        ),
    ] = False,
) -> None:
    """Say how blurred the pixels are of all photographs that are done, in px.

    Of pixels that were measured; what is a guess is left out. Adds the
    counts of the rows: no map is read, and nothing needs to be collected.
    Right to 9 %.
    """
    with _sentences():
        from defocus.batch.run import Run

        try:
            percents = [float(each) for each in at.split(",")]
        except ValueError as error:
            raise ParameterError(f"--at takes numbers separated by commas, such as 5,50,95, not {at}.") from error
        found = Run.open(run).percentiles(*percents, by=by, guesses=with_guesses)
        names = [f"{percent:g}" for percent in percents]
        if not as_json:
            say(
                "".join(f"{name + ' %':>9}" for name in names)
                + "  measured  photographs"
                + ("" if by is None else f"  {by}")
            )
        for value, each in sorted(found.items(), key=lambda one: -one[1].photographs):
            if as_json:
                sigma = {name: _rounded(px) for name, px in zip(names, each.sigma, strict=True)}
                measured = round(each.fraction_measured, 4)
                record = {
                    "value": value,
                    "photographs": each.photographs,
                    "fraction_measured": measured,
                    "sigma": sigma,
                }
                say(json.dumps(record))
            else:
                sigmas = "".join("        -" if math.isnan(px) else f"{px:>6.2f} px" for px in each.sigma)
                called = "" if by is None else f"  {'-' if value is None else printable(str(value))}"
                say(f"{sigmas}{each.fraction_measured:>10.0%}{each.photographs:>13}{called}")


def _collect(run: RunArgument, quiet: Quiet = False) -> None:
    """Make few large Parquet files of the rows of a finished run.

    DuckDB, pandas, Polars and Spark read them. They are listed in
    table/manifest.json, which is written last.
    """
    from defocus.runtime.processes import terminable

    with _sentences(), terminable():
        from defocus.batch.run import Run

        found = Run.open(run)
        for key in found.collect():
            if not quiet:
                say(f"-> {found.url}/{key}")


def run_to_rank(photos: Sequence[Path], others: Mapping[str, object]) -> str | None:
    """Return the address of the run that arguments meant for photographs name; None where they name none.

    Parameters
    ----------
    photos : as the command line gave them; a path has lost one of the strokes of ``s3://``.
    others : options that ranking a run does not have, by name, and whether they were given.

    Raises
    ------
    typer.BadParameter
        If there is more than a run, or one of these options.

    Examples
    --------
    >>> run_to_rank([Path("photo.jpg")], {}) is None
    True
    """
    runs = [run for run in map(_address_of_run, photos) if run is not None]
    if not runs:
        return None
    if len(photos) > 1:
        raise typer.BadParameter("A run is ranked alone: name one, and no photographs.")
    given = [name for name, value in others.items() if value]
    if given:
        raise typer.BadParameter(
            f"A run is ranked by the rows that it has, without {given[0]}: only --top, --csv, --json and --quiet go "
            "with it."
        )
    return runs[0]


def _address_of_run(place: Path) -> str | None:
    scheme, colon, rest = place.as_posix().partition(":/")
    if colon and len(scheme) > 1 and "/" not in scheme:
        return f"{scheme}://{'/' if scheme == 'file' else ''}{rest.lstrip('/')}"
    return str(place) if (place / "plan" / "current.json").is_file() else None


RANKED = (
    "key",
    "in_focus",
    "readable",
    "sharpest_sigma",
    "median_sigma",
    "shaken",
    "sharpest_left",
    "sharpest_top",
    "sharpest_width",
    "sharpest_height",
    "width",
    "height",
)


def rank_run(run: str, *, top: int | None, csv_file: Path | None, as_json: bool, quiet: bool) -> None:
    """Print the photographs of a run that are most in focus, and write them as CSV.

    Parameters
    ----------
    run : its address.
    top : how many; None for all.
    csv_file : file to write, or None.
    as_json, quiet : as the options of the same names.
    """
    from defocus.runtime.atomic import write_bytes

    with _sentences():
        from defocus.batch.collect import best
        from defocus.batch.run import Run

        found = Run.open(run)
        records: list[dict[str, Any]] = [
            {"rank": place, **{name: _rounded(each[name]) for name in RANKED}}
            for place, each in enumerate(best(found, found.plan.photographs if top is None else top, RANKED), start=1)
        ]
        if csv_file is not None:
            text = io.StringIO()
            writer = csv.DictWriter(text, ["rank", *RANKED], lineterminator="\n")
            writer.writeheader()
            writer.writerows(records)
            try:
                write_bytes(csv_file, text.getvalue().encode("utf-8", "surrogateescape"))
            except OSError as error:
                raise ParameterError(f"Cannot write {csv_file}: {error.strerror}.") from error
        if not as_json and not quiet:
            say("  rank  in focus  readable   sharpest  photograph")
        for record in records if as_json or not quiet else ():
            if as_json:
                say(json.dumps(record))
            else:
                focus = "-" if record["in_focus"] is None else f"{record['in_focus']:.0%}"
                readable = "-" if record["readable"] is None else f"{record['readable']:.0%}"
                sigma = "-" if record["sharpest_sigma"] is None else f"{record['sharpest_sigma']:.2f} px"
                shaken = "  shaken" if record["shaken"] else ""
                say(f"{record['rank']:>6}  {focus:>8}  {readable:>8}  {sigma:>9}  {printable(record['key'])}{shaken}")
        if not as_json and not quiet:
            status = found.status()
            missing = {"have an error instead": status.failed, "are not done yet": status.photographs - status.done}
            if any(missing.values()):
                words = " and ".join(f"{count} {what}" for what, count in missing.items() if count)
                say(f"Not in the table: of {status.photographs} photographs {words}.", error=True)


def _rounded(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return None if math.isnan(value) else round(value, 4)


@contextmanager
def _sentences() -> Iterator[None]:
    """Make of an error one line: wrong usage leaves with code 2, what failed with code 1."""
    try:
        yield
    except (ParameterError, WeightsError) as error:
        raise typer.BadParameter(str(error)) from error
    except DefocusError as error:
        say(str(error), error=True)
        raise typer.Exit(1) from error


def _parts(count: int) -> str:
    return f"{count} {'part' if count == 1 else 'parts'}"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
