"""`defocus benchmark`: methods side by side on data with truth."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from defocus.errors import DefocusError

EXAMPLES = """[bold]Examples[/bold]

defocus benchmark --data CUHK --methods dhde,zhuo2011,karaali2018 -o report

defocus benchmark --data sharp_photos --methods dhde -o report --limit 20

defocus benchmark --data public --methods pyramid,zhuo2011 -o report --jobs 2

defocus benchmark --data CUHK --methods dhde --methods mine=dhde::mine.onnx --methods hifst -o report --jobs 2

Run it again with the same folder to continue a run that was stopped, or to add methods.
"""


def command(
    data: Annotated[
        list[Path],
        typer.Option(
            "--data",
            metavar="DIR",
            help="Data with truth (CUHK, DUT, SYNDOF, a folder with dataset.toml) or sharp photographs, which are "
            "blurred by known amounts; 'public' stands for pictures that come with scikit-image, blurred likewise; may "
            "be repeated.",
        ),
    ],
    methods: Annotated[
        list[str],
        typer.Option(
            "--methods",
            metavar="A,B,...",
            help="Methods, laplacian and hifst among them, or NAME=METHOD[:PRESET[+PARAMETER=VALUE...][:WEIGHTS]]; "
            "may be repeated.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="REPORT", help="Folder of the report; a run that was stopped is continued."
        ),
    ],
    sets: Annotated[str, typer.Option(metavar="A,B,...", help="Only these sets of the data.")] = "",
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="At most N sources of each set.")] = None,
    jobs: Annotated[
        int, typer.Option(metavar="N", min=1, help="Number of processes; more than one keep to one core each.")
    ] = 1,
    fresh: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Measure this configuration anew; may be repeated.")
    ] = None,
    costs: Annotated[bool, typer.Option(help="Measure time and peak memory of a new process for each.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress.")] = False,
) -> None:
    """Measure methods side by side on photographs whose truth is known.

    Writes REPORT/report.html (tables, curves, gallery; one file), summary.md,
    figures.csv, values.csv and figures.json. A run that was stopped
    continues where it was. A truth whose polarity looks inverted is reported.
    """
    from defocus.evaluation.benchmark import Configuration, run
    from defocus.evaluation.layouts import open_data
    from defocus.evaluation.report import write_report

    def say(line: str, fraction: float) -> None:
        if not quiet or line.startswith("Warning"):
            print(f"{fraction:4.0%}  {line}", file=sys.stderr, flush=True)  # noqa: T201

    try:
        configurations = [
            Configuration.parse(text) for given in methods for text in ([given] if "=" in given else given.split(","))
        ]
        opened = [data_set for folder in data for data_set in open_data(folder)]
        if sets:
            wanted = sets.split(",")
            unknown = [name for name in wanted if name not in [d.name for d in opened]]
            if unknown:
                names = ", ".join(d.name for d in opened)
                raise DefocusError(f"There is no set {unknown[0]!r} in the data: choose of {names}.")
            opened = [d for d in opened if d.name in wanted]
        run(opened, configurations, output, limit=limit, jobs=jobs, fresh=fresh or (), costs=costs, report=say)
        figures = write_report(output)
    except DefocusError as error:
        raise typer.BadParameter(str(error)) from error
    except KeyboardInterrupt:
        typer.echo(f"Interrupted: run it again to continue {output}.", err=True)
        raise typer.Exit(130) from None
    if as_json:
        typer.echo(json.dumps([vars(f) for f in figures]))
    elif not quiet:
        typer.echo((output / "summary.md").read_text(encoding="utf-8"))
        typer.echo(f"The report is {output / 'report.html'}.")
    if not figures:
        typer.echo("Nothing could be measured: the report lists why.", err=True)
        raise typer.Exit(1)
