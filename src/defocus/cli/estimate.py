"""`defocus estimate`: photographs in, defocus maps and their pictures out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from defocus.cli.options import EXIT_CODES, Options, shares_options
from defocus.cli.photographs import Result, Task, names_a_file, process_photographs
from defocus.errors import ParameterError

if TYPE_CHECKING:  # numpy must not load for --help
    from defocus.maps.map_strips import MapStrips
    from defocus.photograph import Photograph
    from defocus.progress import Progress
    from defocus.provenance import Provenance

MapFormat = Literal["tiff", "npy", "npz", "exr", "png"]
Precision = Literal["compact", "lossless"]
Scale = Literal["photograph", "method"]

EXAMPLES = f"""[bold]Examples[/bold]

defocus estimate photo.jpg

defocus estimate photo.jpg --page

defocus estimate photo.jpg --overlay -o maps

defocus estimate holiday/ -o maps --jobs 2 --skip-existing

defocus estimate *.tif --json --quiet > maps.jsonl

defocus estimate photo.jpg -o sigma.npy

curl -s https://example.org/photo.jpg | defocus estimate - > map.tiff

{EXIT_CODES}"""


@shares_options(
    without=("map_file",),
    json_help="Print one JSON object per photograph, as each is finished: path, size (width, height), method, unit, "
    "device, seconds, sigma_percentiles (5, 50, 95), fraction_saturated, fraction_confident (pixels with confidence "
    "0.5 or more), motion (null where nothing seems to have moved; or length in px, direction in degrees from the "
    "horizontal, counter-clockwise, sure from 0 to 1, shaken: whether all of it moved alike, fraction of it that "
    "seems to have moved, in_words), outputs; or path and error; or path, skipped and outputs.",
)
def command(
    options: Options,
    parameters: Annotated[
        str,
        typer.Option(
            metavar="PRESET",
            help="Preset of the method's parameters: default, or fast (pyramid), released (dhde), paper (shi2015jnb).",
        ),
    ] = "default",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Change one parameter; may be repeated. `defocus methods NAME` lists them.",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", exists=True, dir_okay=False, help="Weights for the method's network."),
    ] = None,
    overlay: Annotated[
        bool, typer.Option("--overlay", help="Also write NAME.defocus.overlay.png, the map over the photograph.")
    ] = False,
    page: Annotated[
        bool,
        typer.Option(
            "--page",
            help="Also write NAME.defocus.html, one file that any browser opens, without a network: photograph, map, "
            "refocusing, masks and a surface to turn.",
        ),
    ] = False,
    map_format: Annotated[
        MapFormat,
        typer.Option(
            "--format",
            help="File format of the map: tiff; npy and exr hold sigma alone; npz sigma and confidence; png sigma in "
            "thousandths of a px.",
        ),
    ] = "tiff",
    precision: Annotated[
        Precision,
        typer.Option(
            help="Precision of a TIFF map: compact rounds sigma by less than 1 % and leaves the seeds out; lossless "
            "keeps everything, in a file ten times as large.",
        ),
    ] = "compact",
    reduced: Annotated[
        int,
        typer.Option(metavar="N", min=1, max=64, help="Save a TIFF map at 1/N of width and height."),
    ] = 1,
    scale: Annotated[
        Scale,
        typer.Option(
            help="Colours of the pictures: over the blur in each photograph, or over the method's whole range."
        ),
    ] = "photograph",
) -> None:
    """Estimate how far out of focus every pixel of each photograph is.

    Writes NAME.defocus.tiff (sigma in px; further pages hold the confidence and
    where the range ends) and NAME.defocus.png (colours with a scale in px) beside
    the photograph, or in DIR; shi2015tog also NAME.defocus.depth.png (16 bit, 0
    near to 65535 far, without scale). Where a.jpg and a.png share a folder NAME
    keeps the suffix. One that fails does not stop the rest.
    """
    # Here, not above: --help must not wait for numpy.
    from defocus.estimation import find_parameters
    from defocus.methods.parameters import set_parameters
    from defocus.methods.registry import find_method

    if (overlay or page) and names_a_file(options.output):
        raise typer.BadParameter("With -o FILE only the map is written: give a folder for --overlay and --page.")
    if map_format in ("npy", "exr") and options.skip_existing:
        raise typer.BadParameter(
            f"A map saved as {map_format} does not say what it was made from: --skip-existing needs tiff."
        )
    try:
        chosen = find_method(options.method)
        values = set_parameters(find_parameters(chosen, parameters), settings or [])
    except ParameterError as error:
        raise typer.BadParameter(str(error)) from error
    task = _Estimate(overlay, page, chosen.tells_depth, map_format, precision, reduced, scale)
    process_photographs(
        task,
        options,
        parameters=values,
        weights=weights,
    ).conclude()


@dataclass(frozen=True)
class _Estimate(Task):
    overlay: bool
    page: bool
    tells_depth: bool
    map_format: MapFormat
    precision: Precision
    reduced: int
    scale: Scale

    @property
    def uses_saved_map(self) -> bool:
        return False

    def outputs(self, photo: Path, stem: Path) -> dict[str, Path]:
        from defocus.outputs import DEPTH_ENDING, MAP_ENDING, OVERLAY_ENDING, PAGE_ENDING, PREVIEW_ENDING, with_ending

        # NAME.defocus.png is the picture.
        other = ".defocus.sigma.png" if self.map_format == "png" else f".defocus.{self.map_format}"
        endings = {"map": MAP_ENDING if self.map_format == "tiff" else other, "preview": PREVIEW_ENDING}
        if self.overlay:
            endings["overlay"] = OVERLAY_ENDING
        if self.page:
            endings["page"] = PAGE_ENDING
        if self.tells_depth:
            endings["depth"] = DEPTH_ENDING
        return {kind: with_ending(stem, ending) for kind, ending in endings.items()}

    def options(self, kind: str) -> dict[str, Any]:
        if kind == "map":
            return {"precision": self.precision, "reduced": self.reduced}
        return {"scale": self.scale} if kind in ("preview", "overlay") else {}

    def make(self, photograph: Photograph, found: MapStrips, report: Progress) -> Result:
        import numpy as np

        from defocus.maps.map_file import save_map
        from defocus.maps.map_summary import MapSummary
        from defocus.maps.preview import limits_of_photograph, overlay, preview
        from defocus.photograph.png_encoder import png
        from defocus.provenance import stamp

        summary = MapSummary(found.shape)
        if self.page:
            from defocus.pages.pictures import SUMMARY_PIXELS, PagePhotograph
            from defocus.pages.saved import held, page_of

            of_page = MapSummary(found.shape, SUMMARY_PIXELS)
        record: dict[str, Any] = {
            "size": [photograph.width, photograph.height],
            "method": found.method,
            "unit": found.unit,
            "device": found.metadata["device"],
            "motion": None,
        }
        if found.motion is not None and found.motion.in_words():
            movement = found.motion.strongest()
            record["motion"] = {
                **movement._asdict(),
                "shaken": found.motion.shaken,
                "fraction": round(found.motion.fraction, 4),
                "in_words": found.motion.in_words(),
            }

        # A map's own metadata say what it was made from.
        def save(path: Path, _: Provenance) -> None:
            # Its strips are computed now, and once.
            watched = found.watched(summary.see)
            if self.page:
                watched = watched.watched(of_page.see)
            save_map(path, watched, precision=self.precision, reduced=self.reduced)
            percentiles = zip(("5", "50", "95"), summary.percentiles(5, 50, 95), strict=True)
            record["sigma_percentiles"] = {name: round(value, 4) for name, value in percentiles}
            record["fraction_saturated"] = round(summary.fraction_saturated, 6)
            record["fraction_confident"] = round(summary.fraction_confident, 6)

        def limits() -> tuple[float, float]:
            return (
                found.sigma_range if self.scale == "method" else limits_of_photograph(summary.sigma, found.sigma_range)
            )

        def preview_png(made_from: Provenance) -> bytes:
            picture = preview(
                summary.sigma,
                sigma_limits=limits(),
                confidence=summary.confidence,
                scale_bar=True,
                unit=found.unit,
            )
            return png(picture, made_from)

        def overlay_png(made_from: Provenance) -> bytes:
            picture = overlay(
                summary.of_its_size(photograph),
                summary.sigma,
                sigma_limits=limits(),
                scale_bar=True,
                unit=found.unit,
            )
            return png(picture, made_from)

        def depth_png(made_from: Provenance) -> bytes:
            assert found.relative_depth is not None
            return png(np.rint(found.relative_depth * 65535).astype(np.uint16), made_from)

        def page_html(made_from: Provenance) -> bytes:
            name = "photograph" if photograph.path is None else photograph.path.name
            return stamp(page_of([held(PagePhotograph.of_summary(photograph, of_page, found, name=name))]), made_from)

        pictures = {"preview": preview_png, "overlay": overlay_png, "page": page_html}
        if found.relative_depth is not None:
            pictures["depth"] = depth_png
        return Result(record, save, pictures)

    def line(self, record: dict[str, Any]) -> str:
        low, high = record["sigma_percentiles"]["5"], record["sigma_percentiles"]["95"]
        values = f"sigma {low:.2f} to {high:.2f} px" if record["unit"] == "px" else f"score {low:.2f} to {high:.2f}"
        moved = f"; {record['motion']['in_words']}" if record["motion"] else ""
        return f"{values} (5 to 95 %){moved}"
