"""`defocus rank`: a shoot in order of how much is in focus, as table, CSV and contact sheet."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from defocus.cli.batch import rank_run, run_to_rank
from defocus.cli.options import EXIT_CODES, Options, shares_options
from defocus.cli.photographs import Result, Task, process_photographs
from defocus.cli.terminal import printable, say
from defocus.errors import ParameterError

if TYPE_CHECKING:  # numpy must not load for --help
    from defocus.applications.rank import Sharpness
    from defocus.cli.filing import Filed
    from defocus.culling.words import FocusPoint
    from defocus.maps.defocus_map import DefocusMap
    from defocus.maps.map_strips import MapStrips
    from defocus.methods.session import Device
    from defocus.photograph import Photograph
    from defocus.progress import Progress

By = Literal["frame", "subject"]
StarsBy = Literal["share", "place"]
Habit = Literal["auto", "full-name", "stem"]

EXAMPLES = f"""[bold]Examples[/bold]

defocus rank shoot/

defocus rank shoot/ --at 2048 --csv shoot.csv --sheet shoot.defocus.jpg

defocus rank burst/ --subject 0.4,0.2,0.2,0.3 --top 5

defocus rank shoot/ --page shoot.defocus.html

defocus rank shoot/ --fast --write-xmp

defocus rank shoot/ --fast --move-below 0.1 --copy-best 20 --dry-run

defocus rank s3://results/run1 --top 1000

{EXIT_CODES}"""
TILES_PER_PAGE = 40
_PAGE_SIDE = 1024
"""Longer side in px of the pictures on a page of several photographs."""


@shares_options(
    without=("output", "skip_existing"),
    json_help="Print one JSON object per photograph, in order, with the CSV's fields.",
)
def command(
    options: Options,
    by: Annotated[
        By | None, typer.Option(help="Order by the frame, or (default with --subject) by the subject.")
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option(
            metavar="X,Y,W,H",
            help="Subject region of every photograph: left, top, width, height in px, or, where all are 1 or less, as "
            "fractions of the frame. If left out, the subject area in the EXIF, or else the sharpest region.",
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
            "If left out, they are compared pixel for pixel.",
        ),
    ] = None,
    fast: Annotated[
        bool,
        typer.Option(
            "--fast",
            help="Read a reduced copy quickly, without a map: several times faster. Blur of less than 1 to 2 px of a "
            "photograph of 24 MP is then not told from none.",
        ),
    ] = False,
    top: Annotated[int | None, typer.Option(metavar="N", min=1, help="Show only the N best (the CSV has all).")] = None,
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
    page: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            dir_okay=False,
            help="Write a page (.html) of the photographs that are shown: in a grid, side by side, and each with its "
            "map, in one file that any browser opens.",
        ),
    ] = None,
    write_xmp: Annotated[
        bool,
        typer.Option(
            "--write-xmp",
            help="Write 1 to 5 stars into XMP sidecars, for darktable, digiKam, Lightroom and others. A rating that a "
            "person gave stays.",
        ),
    ] = False,
    stars_by: Annotated[
        StarsBy,
        typer.Option(
            help="Stars by the share in focus, or 5 for the best fifth of this run, 4 for the next, and so on."
        ),
    ] = "share",
    star_steps: Annotated[
        str,
        typer.Option(metavar="A,B,C,D", help="Shares in focus from which on there are 2, 3, 4 and 5 stars."),
    ] = "0.1,0.25,0.45,0.7",
    sidecars: Annotated[
        Habit,
        typer.Option(
            help="How a new sidecar is called: stem x.xmp (Lightroom, Capture One), full-name x.jpg.xmp (darktable, "
            "digiKam), auto as the others in the folder.",
        ),
    ] = "auto",
    overwrite_ratings: Annotated[
        bool, typer.Option("--overwrite-ratings", help="Replace ratings that a person gave, too.")
    ] = False,
    move_below: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            min=0,
            max=1,
            help="Move photographs with less than this share in focus (0.1 is 10 %), and shaken ones, with their "
            "sidecars, into --move-to.",
        ),
    ] = None,
    move_to: Annotated[
        str, typer.Option(metavar="DIR", help="Folder within the photograph's own, or an absolute one.")
    ] = "out-of-focus",
    copy_best: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Copy the N best, with their sidecars, into --copy-to."),
    ] = None,
    copy_to: Annotated[
        str, typer.Option(metavar="DIR", help="Folder within the photograph's own, or an absolute one.")
    ] = "best",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be rated, moved and copied.")] = False,
) -> None:
    """Order a shoot by how much of the frame, or of the subject, is in focus.

    Prints a table: how much is in focus of what can be read (sigma below the
    threshold in px), how sharp the sharpest is, the same for the subject region,
    and how much of the frame can be read at all. Photographs without any detail
    come last. Maps that defocus estimate left beside the photographs are used
    where they still belong to them. The photographs' own files are never changed;
    only --move-below moves them, and nothing is ever overwritten. A run of
    `defocus batch` is ranked by its rows, with --top, --csv and --json.
    """
    # Here, not above: --help must not wait for numpy.
    from defocus.applications.rank import rank
    from defocus.cli.filing import Plan, carry_out
    from defocus.culling.stars import parse_steps
    from defocus.messages import error_message

    run = run_to_rank(
        options.photos,
        {
            "--by": by,
            "--subject": subject,
            "--threshold": threshold != 1.0,
            "--at": at,
            "--fast": fast,
            "--sheet": sheet,
            "--page": page,
            "--write-xmp": write_xmp,
            "--move-below": move_below is not None,
            "--copy-best": copy_best,
            "--dry-run": dry_run,
            "--map": options.map_file,
            "--method": options.method != "pyramid",
            "--max-megapixels": options.max_megapixels,
            "--strict": options.strict,
        },
    )
    if run is not None:
        rank_run(run, top=top, csv_file=csv_file, as_json=options.as_json, quiet=options.quiet)
        return
    order: By = "subject" if by == "subject" or (by is None and subject is not None) else "frame"
    try:
        _check_method(options.method)
        for target in (csv_file, sheet, page):
            if target is not None:
                _check_target(target, options.photos)
        if sheet is not None and sheet.suffix.lower() not in (".jpg", ".jpeg", ".png"):
            raise ParameterError(f"The contact sheet {sheet} must end in .jpg or .png.")
        if page is not None and page.suffix.lower() not in (".html", ".htm"):
            raise ParameterError(f"The page {page} must end in .html.")
        if page is not None and at is not None:
            raise ParameterError("A page shows photographs at their own size: leave --at or --page out.")
        region = None if subject is None else _numbers(subject)
        plan = Plan(
            by=order,
            stars_by=stars_by if write_xmp else None,
            steps=parse_steps(star_steps),
            habit=sidecars,
            overwrite=overwrite_ratings,
            below=move_below,
            move_to=_folder(move_to, "--move-to"),
            best=copy_best,
            copy_to=_folder(copy_to, "--copy-to"),
            dry=dry_run,
        )
        if fast:
            _check_fast(options, at)
    except ParameterError as error:
        raise typer.BadParameter(str(error)) from error
    outcome = process_photographs(
        _Rank(
            threshold=threshold,
            subject=region,
            at=at,
            fast=fast,
            wants_thumbnail=sheet is not None,
            wants_page=page is not None,
        ),
        options,
        without_folders=plan.own_folders(),
    )
    # What took hours is not thrown away by an interrupt: what has been read is ranked.
    # Equals stay in the order they were found in, whichever was done first.
    as_found: list[Measured] = [replace(measured, path=path) for path, measured in outcome.results]
    ranking = [as_found[index] for index in rank([m.sharpness for m in as_found], order)]
    filed = carry_out(plan, ranking, outcome)
    shown = ranking[:top]
    try:
        outputs = [csv_file] if csv_file is not None and ranking else []
        for path in outputs:
            _write_csv(path, ranking, filed)
        if sheet is not None and ranking:
            outputs += _write_sheet(sheet, shown, order)
        if page is not None and ranking:
            _write_page(page, shown)
            outputs.append(page)
    except OSError as error:
        say(f"Cannot write: {error_message(error)}", error=True)
        raise typer.Exit(1) from None
    if options.as_json:
        for place, m in enumerate(shown, start=1):
            say(json.dumps({**m.record(place), **filed.record(m.path)}))
    elif not options.quiet:
        if ranking:
            _print_table(shown)
        for line in filed.lines:
            say(line)
        for path in outputs:
            say(f"-> {path}")
    if at is None and not fast and not options.quiet:
        _note_sizes(ranking)
    outcome.conclude("ranked")


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
    seconds : of measuring and, where there was no map yet, of estimating it.
    thumbnail : a JPEG, or None.
    held : what a page holds of it, or None.
    look : x and y, fractions of the frame, of where to look first, and why there; None where that is not known.
    """

    path: Path
    size: tuple[int, int]
    sharpness: Sharpness
    subject_by: str
    method: str
    seconds: float
    thumbnail: bytes | None
    held: dict[str, Any] | None
    look: tuple[float | None, float | None, str | None]

    def record(self, place: int) -> dict[str, Any]:
        """Return the row of the CSV; None for what cannot be read."""
        from defocus.culling.words import why

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
            "shaken": s.shaken,
            "shake_length": s.shake_length,
            "median_sigma": s.median_sigma,
            "look_x": self.look[0],
            "look_y": self.look[1],
            "look_by": self.look[2],
            "why": why(s),
            "threshold": s.threshold,
            "counted_at": s.counted_at,
            "at": s.at,
            "width": self.size[0],
            "height": self.size[1],
            "method": self.method,
            "seconds": self.seconds,
        }
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in values.items()}


@dataclass(frozen=True)
class _Rank(Task):
    """What is measured of each photograph.

    Attributes
    ----------
    threshold, at, fast : as the command's options.
    subject : left, top, width, height in px, or as fractions where all are 1 or less; None for the EXIF's or the
        sharpest.
    wants_thumbnail, wants_page : whether a thumbnail, and what a page holds, is made.
    """

    threshold: float
    subject: tuple[float, float, float, float] | None
    at: int | None
    fast: bool
    wants_thumbnail: bool
    wants_page: bool

    @property
    def uses_saved_map(self) -> bool:
        # A map of the whole photograph, scaled, is not quite what reading the small one gives: one way for all.
        return self.at is None and not self.fast

    def read(self, photo: Path | bytes, *, max_pixels: int | None, strict: bool) -> Photograph:
        if not self.fast:
            return super().read(photo, max_pixels=max_pixels, strict=strict)
        from defocus.culling.quick import QUICK_SIDE
        from defocus.photograph.reduced import read_reduced

        return read_reduced(photo, QUICK_SIDE, max_pixels=max_pixels, strict=strict, refuse_outputs=True)

    def own_map(self, photograph: Photograph, device: Device, report: Progress) -> MapStrips | None:
        if not self.fast:
            return None
        from defocus.culling.quick import quick_map
        from defocus.maps.map_strips import MapStrips

        return MapStrips.of(quick_map(photograph, device, report))

    def outputs(self, photo: Path, stem: Path) -> dict[str, Path]:
        return {}

    def options(self, kind: str) -> dict[str, Any]:
        return {}

    def to_estimate(self, photograph: Photograph) -> Photograph:
        from defocus.photograph import reduce_photograph

        return photograph if self.at is None else reduce_photograph(photograph, self.at)

    def make(self, photograph: Photograph, found: MapStrips, report: Progress) -> Result:
        from PIL import Image

        from defocus.applications.rank import sharpness, subject_from_exif
        from defocus.culling.quick import quick_sharpness
        from defocus.culling.words import focus_point
        from defocus.maps.accuracy import CONFIDENT
        from defocus.maps.contact_sheet import thumbnail

        defocus_map = found.whole()
        start = time.perf_counter()
        size = photograph.full_size or (photograph.width, photograph.height)
        subject: tuple[float, float, float, float] | None
        if self.subject is not None:
            subject, subject_by = _shares(self.subject, *size), "given"
        else:
            subject, subject_by = subject_from_exif(photograph), "exif"
        if self.fast:
            figures = quick_sharpness(photograph, defocus_map, threshold=self.threshold, subject=subject)
        else:
            figures = sharpness(defocus_map, photograph, threshold=self.threshold, subject=subject, at=self.at)
        look = focus_point(photograph.tags, size, figures)
        picture = None
        if self.wants_thumbnail:
            scale = 1 if self.at is None else self.at / max(defocus_map.sigma.shape)
            # Outlined is what is surely in focus: the figures count more, but its outline would follow no object.
            marked = (defocus_map.confidence >= CONFIDENT) & (
                defocus_map.sigma * scale <= (figures.counted_at or self.threshold)
            )
            buffer = io.BytesIO()
            Image.fromarray(thumbnail(photograph, marked, subject)).save(buffer, "JPEG", quality=92)
            picture = buffer.getvalue()
        measured = Measured(
            path=photograph.path or Path("-"),
            size=size,
            sharpness=figures,
            subject_by=subject_by if subject is not None else "sharpest",
            method=defocus_map.method,
            seconds=time.perf_counter() - start,
            thumbnail=picture,
            held=self.held(photograph, defocus_map, figures, look) if self.wants_page else None,
            look=(None, None, None) if look is None else look,
        )
        return Result({}, value=measured)

    def held(
        self, photograph: Photograph, defocus_map: DefocusMap, figures: Sharpness, look: FocusPoint | None
    ) -> dict[str, Any]:
        from defocus.culling.words import why
        from defocus.pages.pictures import PagePhotograph
        from defocus.pages.saved import held

        name = "photograph" if photograph.path is None else photograph.path.name
        shown = PagePhotograph.of(photograph, defocus_map, name=name, longest=_PAGE_SIDE)
        more = {"in_focus": figures.in_focus, "words": why(figures), "shaken": bool(figures.shaken)}
        return held(shown, more | ({} if look is None else {"look": {"x": look.x, "y": look.y}}))

    def line(self, record: dict[str, Any]) -> None:
        """Say nothing of single photographs: the table comes when all have been measured."""


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
            f"--subject {subject} is no region of a photograph: give left, top, width and height, in px or as "
            "fractions."
        )
    return values


def _folder(name: str, option: str) -> Path:
    """The folder that an option names: a plain name within each photograph's folder, or an absolute path."""
    folder = Path(name)
    if folder.is_absolute() or (name == folder.name and name not in ("", "..")):
        return folder
    raise ParameterError(f"{option} {name} is neither the name of one folder nor an absolute path: give either.")


def _check_fast(options: Options, at: int | None) -> None:
    if options.method != "pyramid":
        raise ParameterError(f"--fast reads by pyramid, not by {options.method}: leave one of them out.")
    if at is not None or options.map_file is not None:
        raise ParameterError("--fast reads photographs at a size of its own, without maps: leave --at and --map out.")


def _check_method(name: str) -> None:
    from defocus.methods.registry import find_method

    method = find_method(name)
    if method.unit != "px":
        raise ParameterError(f"{name} gives a {method.unit} without px: choose a method that gives px.")


def _check_target(target: Path, photos: Sequence[Path]) -> None:
    """See that a file can be written and is none of the photographs, before minutes are spent on maps."""
    from defocus.outputs import prepare_folder
    from defocus.provenance import is_output

    photographs = {os.path.realpath(photo) for photo in photos}
    inside = target.exists() and target.suffix.lower() != ".csv" and not is_output(target)
    if os.path.realpath(target) in photographs or inside:
        raise ParameterError(
            f"{target} exists and was not written by defocus: choose another name, originals are never replaced."
        )
    prepare_folder(target.parent)


def _note_sizes(ranking: Sequence[Measured]) -> None:
    """Say so where sigma in px of each photograph does not compare them fairly."""
    longest = [max(m.size) for m in ranking]
    if longest and max(longest) > 1.1 * min(longest):
        say(
            f"Note: longer sides of {min(longest)} to {max(longest)} px are compared pixel for pixel, which favours "
            f"small photographs: --at {min(longest)} compares them at one size.",
            error=True,
        )


def _write_csv(path: Path, ranking: Sequence[Measured], filed: Filed) -> None:
    from defocus.runtime.atomic import write_bytes

    text = io.StringIO()
    rows = [
        {
            **m.record(place),
            "path": _cell(os.path.realpath(m.path)),
            **{name: _cell(value) if isinstance(value, str) else value for name, value in filed.record(m.path).items()},
        }
        for place, m in enumerate(ranking, start=1)
    ]
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    # Names that are not UTF-8 keep their bytes.
    write_bytes(path, text.getvalue().encode("utf-8", "surrogateescape"))


def _cell(text: str) -> str:
    """The text of a cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _write_sheet(path: Path, shown: Sequence[Measured], by: By) -> list[Path]:
    """Write the pages and return their paths: NAME.jpg, NAME.2.jpg, ..."""
    import numpy as np
    from PIL import Image

    from defocus.maps.contact_sheet import Tile, contact_sheet
    from defocus.provenance import Provenance, stamp
    from defocus.runtime.atomic import write_bytes

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
        options: dict[str, Any] = {"quality": 90} if kind == "JPEG" else {}
        file = io.BytesIO()
        Image.fromarray(contact_sheet(tiles)).save(file, kind, **options)
        write_bytes(path.with_name(name), stamp(file.getvalue(), Provenance("contact sheet")))
        pages.append(path.with_name(name))
    return pages


def _write_page(path: Path, shown: Sequence[Measured]) -> None:
    from defocus.pages.saved import page_of
    from defocus.provenance import Provenance, stamp
    from defocus.runtime.atomic import write_bytes

    page = page_of([m.held for m in shown if m.held is not None], path.name.partition(".")[0])
    write_bytes(path, stamp(page, Provenance("page")))


def _lines(m: Measured, by: By) -> tuple[str, str]:
    """What stands under a thumbnail; what the order goes by first."""
    s = m.sharpness
    if s.in_focus is None:
        shaken = "shaken" if s.shaken else "no detail"
        return f"{shaken}: {s.readable:.0%} of it can be read", ""
    shake = "" if not s.shaken else f"shaken by {s.shake_length:.0f} px; " if s.shake_length else "shaken; "
    # The median differs from frame to frame where all have something sharp.
    frame = f"{shake}{s.in_focus:.0%} in focus, half below {_px(s.median_sigma)}"
    sharpest = f"sharpest {_px(s.sharpest_sigma)}"
    if m.subject_by == "sharpest":
        return frame, sharpest
    subject = f"subject {_share(s.subject_in_focus)} in focus, {_px(s.subject_sigma)}"
    return (subject, frame) if by == "subject" else (frame, f"{subject}; {sharpest}")


HEADINGS = ("", "photograph", "in focus", "subject in focus", "subject", "readable", "why")
_LEFT = (1, 6)
"""Columns of text."""


def _print_table(shown: Sequence[Measured]) -> None:
    """Print the table to standard output: framed on a terminal, else in columns of plain text."""
    from defocus.culling.words import why

    rows = []
    for place, m in enumerate(shown, start=1):
        s = m.sharpness
        figures = _share(s.in_focus), _share(s.subject_in_focus), _px(s.subject_sigma), f"{s.readable:.0%}"
        rows.append((str(place), printable(str(m.path)), *figures, why(s)))
    if sys.stdout is not None and sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(header_style="bold")
        for k, heading in enumerate(HEADINGS):
            table.add_column(heading, justify="left" if k in _LEFT else "right", overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        Console().print(table)
        return
    from rich.cells import cell_len  # East Asian characters are two columns wide

    widths = [max(cell_len(row[k]) for row in (HEADINGS, *rows)) for k in range(len(HEADINGS))]
    for row in (HEADINGS, *rows):
        cells = (
            cell + blank if k in _LEFT else blank + cell
            for k, cell in enumerate(row)
            for blank in [" " * (widths[k] - cell_len(cell))]
        )
        say("  ".join(cells).rstrip())


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _px(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} px"
