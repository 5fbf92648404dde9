"""`defocus rank`: a shoot in order of how much is in focus, as table, CSV and contact sheet."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
import time
import warnings
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from defocus.cli.sentences import sentence, warnings_about
from defocus.errors import ParameterError

if TYPE_CHECKING:  # numpy must not load for --help
    from defocus.applications.rank import By, Sharpness
    from defocus.defocus_map import DefocusMap

EXAMPLES = """[bold]Examples[/bold]

defocus rank shoot/

defocus rank shoot/ --at 2048 --csv shoot.csv --sheet shoot.defocus.jpg

defocus rank burst/ --subject 0.4,0.2,0.2,0.3 --top 5

[bold]Exit codes[/bold]

0 all photographs ranked, 1 at least one failed (named at the end), 2 wrong usage, 130 interrupted.
"""
TILES_PER_PAGE = 40


def command(
    photos: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER", help="Folders of photographs, which are walked, and photographs."),
    ],
    by: Annotated[
        str | None,
        typer.Option(metavar="frame|subject", help="Order by the frame, or (default with --subject) by the subject."),
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option(
            metavar="X,Y,W,H",
            help="Subject region of every photograph: left, top, width, height in px, or, where all are 1 or less, as "
            "shares of the frame. Else the EXIF's, else the sharpest.",
        ),
    ] = None,
    threshold: Annotated[
        float, typer.Option(metavar="PX", min=0.01, help="Sigma at which a pixel counts as half in focus.")
    ] = 1.0,
    at: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=64,
            help="Read and compare photographs with their longer side N px: faster, and fair to different sizes. "
            "Else pixel for pixel.",
        ),
    ] = None,
    top: Annotated[int | None, typer.Option(metavar="N", min=1, help="Show the N best only (the CSV has all).")] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", dir_okay=False, help="Write all figures as CSV.")
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            dir_okay=False,
            help=f"Write a contact sheet (.jpg or .png); {TILES_PER_PAGE} photographs a page, more pages beside it.",
        ),
    ] = None,
    method: Annotated[str, typer.Option(metavar="NAME", help="One of `defocus methods` that gives px.")] = "pyramid",
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", metavar="N", min=1, help="Photographs at once, each in a process of its own.")
    ] = 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per photograph, in order, with the CSV's fields.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress bar, no table, no lines but failures (and --json).")
    ] = False,
) -> None:
    """Order a shoot by how much of the frame, or of the subject, is in focus.

    Prints a table: the share in focus of what can be read (sigma below the
    threshold in px), how sharp the sharpest is, the same for the subject region,
    and how much of the frame can be read at all. Photographs without any detail
    come last. Maps that defocus estimate left beside the photographs are used
    where they still belong to them. The photographs themselves are never touched.
    """
    # Here, not above: --help must not wait for numpy.
    from defocus.applications.rank import rank
    from defocus.cli.files import MAP_ENDING, find_photographs, name_outputs, with_ending
    from defocus.cli.progress_bar import ProgressBar
    from defocus.cli.workers import run, terminable

    if by not in (None, "frame", "subject"):
        raise typer.BadParameter(f"--by is frame or subject, not {by}.")
    order: By = "subject" if by == "subject" or (by is None and subject is not None) else "frame"
    found = find_photographs(photos)
    if not found.photographs and not found.failures:
        raise typer.BadParameter(f"{found.outputs[0]} is an output of defocus: name photographs.")
    paths = [source.path for source in found.photographs]
    try:
        _check_method(method)
        if csv_file is not None:
            _check_target(csv_file, paths)
        if sheet is not None:
            _check_target(sheet, paths)
            _check_sheet(sheet, photos)
        box = None if subject is None else _numbers(subject)
    except ParameterError as error:
        raise typer.BadParameter(str(error)) from error

    failures = list(found.failures)
    measured: dict[int, Measured] = {}
    work = [
        Job(path, with_ending(beginning, MAP_ENDING), method, threshold, box, at, sheet is not None)
        for path, beginning in zip(paths, name_outputs(found.photographs, None), strict=True)
    ]
    interrupted = False
    with terminable(), ProgressBar(len(paths), hidden=quiet) as bar:
        try:
            with closing(run(work, measure, jobs, lambda place: bar.begin(paths[place].name, ""))) as results:
                for place, result in results:
                    bar.end()
                    if isinstance(result, Measured):
                        measured[place] = result
                        for words in result.warnings if not quiet else ():
                            bar.say(f"Warning: {result.path}: {words}", error=True)
                    else:
                        failures.append((paths[place], result if isinstance(result, str) else str(result)))
        except KeyboardInterrupt:  # what took hours so far is not thrown away
            interrupted = True
            bar.say(f"Interrupted: {len(measured)} of {len(paths)} photographs read and ranked.", error=True)
    # Equals stay in the order they were found in, whichever was done first.
    as_found = [measured[place] for place in sorted(measured)]
    ranking = [as_found[index] for index in rank([m.sharpness for m in as_found], order)]
    shown = ranking[:top]
    try:
        outputs = [csv_file] if csv_file is not None and ranking else []
        for path in outputs:
            _write_csv(path, ranking)
        if sheet is not None and ranking:
            outputs += _write_sheet(sheet, shown, order)
    except OSError as error:
        typer.echo(f"Cannot write: {sentence(error)}", err=True)
        raise typer.Exit(1) from None
    if as_json:
        records = [{"path": str(path), "error": reason} for path, reason in failures]
        for record in records + [m.record(place) for place, m in enumerate(shown, start=1)]:
            typer.echo(json.dumps(record))
    elif not quiet:
        if ranking:
            _print_table(shown)
        for path in outputs:
            typer.echo(f"-> {path}")
    if at is None and not quiet:
        _note_sizes(ranking)
    if failures:
        typer.echo(f"Failed: {len(failures)}; ranked: {len(ranking)}.", err=True)
        for path, reason in failures:
            typer.echo(f"  {path}: {reason.removeprefix(str(path)).lstrip(': ')}", err=True)
    if interrupted:
        raise typer.Exit(130)
    if failures:
        raise typer.Exit(1)


@dataclass(frozen=True)
class Job:
    """One photograph to measure; travels to another process.

    Attributes
    ----------
    path : the file.
    map_path : where `defocus estimate` would have left its map.
    method, threshold, at : as the command's options.
    subject : left, top, width, height in px, or as shares where all are 1 or less; None for the EXIF's or the
        sharpest.
    wants_thumbnail : whether a thumbnail is made.
    """

    path: Path
    map_path: Path
    method: str
    threshold: float
    subject: tuple[float, float, float, float] | None
    at: int | None
    wants_thumbnail: bool


@dataclass(frozen=True)
class Measured:
    """What is known of one photograph afterwards; travels back.

    Attributes
    ----------
    path : the file.
    size : width and height, px, of the upright photograph as it is.
    sharpness : its figures.
    subject_by : "given", "exif" or "sharpest".
    method : of the map.
    seconds : from file to figures.
    thumbnail : a JPEG, or None.
    warnings : sentences.
    """

    path: Path
    size: tuple[int, int]
    sharpness: Sharpness
    subject_by: str
    method: str
    seconds: float
    thumbnail: bytes | None
    warnings: tuple[str, ...]

    def record(self, place: int) -> dict[str, Any]:
        """Return the row of the CSV; None for what cannot be read."""
        s = self.sharpness
        left, top, width, height = s.subject or (None,) * 4
        values = {
            "rank": place,
            "path": str(self.path),
            "in_focus": s.in_focus,
            "readable": s.readable,
            "sharpest_sigma": s.sharpest_sigma,
            "subject_in_focus": s.subject_in_focus,
            "subject_readable": s.subject_readable,
            "subject_sigma": s.subject_sigma,
            "subject_by": self.subject_by,
            "subject_left": left,
            "subject_top": top,
            "subject_width": width,
            "subject_height": height,
            "threshold": s.threshold,
            "at": s.at,
            "width": self.size[0],
            "height": self.size[1],
            "method": self.method,
            "seconds": self.seconds,
        }
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in values.items()}


def measure(job: Job) -> Measured | str:
    """Read a photograph, estimate its map and measure it; a sentence where that fails."""
    try:
        return _measure(job)
    except Exception as error:  # a fault of ours must not cost the user the other photographs
        return sentence(error)


def _measure(job: Job) -> Measured:
    from PIL import Image

    from defocus.applications.rank import sharpness, subject_from_exif
    from defocus.cli.estimate import CONFIDENT
    from defocus.contact_sheet import thumbnail
    from defocus.estimate import estimate
    from defocus.photograph import read_photograph, reduce_photograph

    begin = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        whole = read_photograph(job.path)
        photograph = whole if job.at is None else reduce_photograph(whole, job.at)
        found = _map_at_hand(job) or estimate(photograph, method=job.method)
    subject: tuple[float, float, float, float] | None
    if job.subject is not None:
        subject, subject_by = _shares(job.subject, whole.width, whole.height), "given"
    else:
        subject, subject_by = subject_from_exif(whole), "exif"
    figures = sharpness(found, threshold=job.threshold, subject=subject, at=job.at)
    picture = None
    if job.wants_thumbnail:
        scale = 1 if job.at is None else job.at / max(found.sigma.shape)
        # Outlined is what is surely in focus: the figures count more, but its outline would follow no object.
        marked = (found.confidence >= CONFIDENT) & (found.sigma * scale <= job.threshold)
        buffer = io.BytesIO()
        Image.fromarray(thumbnail(photograph, marked, subject)).save(buffer, "JPEG", quality=92)
        picture = buffer.getvalue()
    return Measured(
        path=job.path,
        size=(whole.width, whole.height),
        sharpness=figures,
        subject_by=subject_by if subject is not None else "sharpest",
        method=found.method,
        seconds=time.perf_counter() - begin,
        thumbnail=picture,
        warnings=warnings_about(job.path, caught),
    )


def _map_at_hand(job: Job) -> DefocusMap | None:
    """The map that `defocus estimate` left beside the photograph, if it is what would be made of it again."""
    from defocus.cli.finished import is_finished
    from defocus.defocus_map import load
    from defocus.estimate import find_parameters
    from defocus.methods import find_method
    from defocus.photograph import photograph_sha256

    # A map of the whole photograph, scaled, is not quite what reading the small one gives: one way for all.
    if job.at is not None or not job.map_path.is_file():
        return None
    method = find_method(job.method)
    made_of = method.weights_sha256(), photograph_sha256(job.path)
    if not is_finished({"map": job.map_path}, job.method, find_parameters(method), *made_of):
        return None
    return load(job.map_path)


def _shares(subject: tuple[float, float, float, float], width: int, height: int) -> tuple[float, float, float, float]:
    """The subject as shares of the frame, and whether it lies in it."""
    if max(subject) <= 1:
        return subject
    left, top, across, down = subject
    if left + across > width or top + down > height:
        raise ParameterError(
            f"the subject {left:g},{top:g},{across:g},{down:g} does not lie in its {width} x {height} px: give it as "
            "shares of the frame (0.4,0.3,0.2,0.2), or rank photographs of one size."
        )
    return left / width, top / height, across / width, down / height


def _numbers(subject: str) -> tuple[float, float, float, float]:
    try:
        left, top, width, height = (float(number) for number in subject.split(","))
    except ValueError:
        raise ParameterError(f"--subject takes X,Y,W,H, not {subject}.") from None
    values = left, top, width, height
    inside = max(values) > 1 or (left + width <= 1 and top + height <= 1)
    if not (all(math.isfinite(v) for v in values) and left >= 0 and top >= 0 and width > 0 and height > 0 and inside):
        raise ParameterError(
            f"--subject {subject} is no region of a photograph: give left, top, width and height in px, or as shares."
        )
    return values


def _check_method(name: str) -> None:
    from defocus.methods import find_method

    method = find_method(name)
    if method.unit != "px":
        raise ParameterError(f"{name} gives a {method.unit} without px: choose a method that gives px.")


def _check_target(target: Path, paths: Sequence[Path]) -> None:
    """See that a file can be written and is none of the photographs, before minutes are spent on maps."""
    from defocus.cli.files import prepare_folder

    if target.resolve() in {path.resolve() for path in paths}:
        raise ParameterError(f"{target} is one of the photographs: choose another name, originals are never replaced.")
    prepare_folder(target.parent)


def _check_sheet(sheet: Path, photos: Sequence[Path]) -> None:
    from defocus.cli.files import is_output

    if sheet.suffix.lower() not in (".jpg", ".jpeg", ".png"):
        raise ParameterError(f"The contact sheet {sheet} must end in .jpg or .png.")
    walked = [photo.resolve() for photo in photos if photo.is_dir()]
    if not is_output(sheet) and any(sheet.resolve().is_relative_to(folder) for folder in walked):
        raise ParameterError(
            f"In that folder {sheet.name} would be taken for a photograph the next time: write it elsewhere, or call "
            f"it {sheet.stem}.defocus{sheet.suffix}."
        )


def _note_sizes(ranking: Sequence[Measured]) -> None:
    """Say so where sigma in px of each photograph does not compare them fairly."""
    longest = [max(m.size) for m in ranking]
    if longest and max(longest) > 1.1 * min(longest):
        typer.echo(
            f"Note: longer sides of {min(longest)} to {max(longest)} px are compared pixel for pixel, which favours "
            f"small photographs: --at {min(longest)} compares them at one size.",
            err=True,
        )


def _write_csv(path: Path, ranking: Sequence[Measured]) -> None:
    from defocus.atomic import write_text

    text = io.StringIO()
    rows = [{**m.record(place), "path": str(m.path.resolve())} for place, m in enumerate(ranking, start=1)]
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _write_sheet(path: Path, shown: Sequence[Measured], by: By) -> list[Path]:
    """Write the pages and return their paths: NAME.jpg, NAME.2.jpg, ..."""
    import numpy as np
    from PIL import Image

    from defocus.atomic import atomic_write
    from defocus.contact_sheet import Tile, contact_sheet

    pages = []
    for page, first in enumerate(range(0, len(shown), TILES_PER_PAGE), start=1):
        tiles = []
        for place, m in enumerate(shown[first : first + TILES_PER_PAGE], start=first + 1):
            assert m.thumbnail is not None
            with Image.open(io.BytesIO(m.thumbnail)) as opened:
                picture = np.asarray(opened)
            tiles.append(Tile(picture, f"{place}  {m.path.name}", _lines(m, by)))
        # Before .defocus, by which outputs are known.
        own, dot, rest = path.name.partition(".defocus.")
        name = path.name if page == 1 else f"{own}.{page}{dot}{rest}" if dot else f"{path.stem}.{page}{path.suffix}"
        kind = "PNG" if path.suffix.lower() == ".png" else "JPEG"
        with atomic_write(path.with_name(name)) as file:
            options: dict[str, Any] = {"quality": 90} if kind == "JPEG" else {}
            Image.fromarray(contact_sheet(tiles)).save(file, kind, **options)
        pages.append(path.with_name(name))
    return pages


def _lines(m: Measured, by: By) -> tuple[str, str]:
    """What stands under a thumbnail; what the order goes by first."""
    s = m.sharpness
    if s.in_focus is None:
        return f"no detail: {s.readable:.0%} of it can be read", ""
    frame = f"frame {s.in_focus:.0%} in focus, sharpest {_px(s.sharpest_sigma)}"
    where = "sharpest area" if m.subject_by == "sharpest" else "subject"
    subject = f"{where} {_share(s.subject_in_focus)} in focus, {_px(s.subject_sigma)}"
    return (subject, frame) if by == "subject" else (frame, subject)


HEADINGS = ("", "photograph", "in focus", "sharpest", "subject in focus", "subject", "readable")


def _print_table(shown: Sequence[Measured]) -> None:
    """Print the table to standard output: framed on a terminal, else in columns of plain text."""
    rows = []
    for place, m in enumerate(shown, start=1):
        s = m.sharpness
        figures = _share(s.in_focus), _px(s.sharpest_sigma), _share(s.subject_in_focus), _px(s.subject_sigma)
        rows.append((str(place), str(m.path), *figures, f"{s.readable:.0%}"))
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(header_style="bold")
        for k, heading in enumerate(HEADINGS):
            table.add_column(heading, justify="left" if k == 1 else "right", overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        Console().print(table)
        return
    widths = [max(len(row[k]) for row in (HEADINGS, *rows)) for k in range(len(HEADINGS))]
    for row in (HEADINGS, *rows):
        cells = (
            cell.ljust(w) if k == 1 else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join(cells).rstrip())  # noqa: T201


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _px(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} px"
