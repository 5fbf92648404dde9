"""`defocus magnify`: photographs in, photographs with a shallower depth of field out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import typer

from defocus.cli.options import EXIT_CODES, EditFormat, EditFormatOption, Options, Quality, shares_options
from defocus.cli.photographs import Result, Task, names_a_file, process_photographs

if TYPE_CHECKING:  # numpy must not load for --help
    from defocus.maps.map_strips import MapStrips
    from defocus.photograph import Photograph
    from defocus.progress import Progress
    from defocus.provenance import Provenance

ApertureShape = Literal["disc", "hexagon", "gaussian"]
Side = Literal["both", "behind", "front"]

EXAMPLES = f"""[bold]Examples[/bold]

defocus magnify portrait.jpg --amount 3

defocus magnify portrait.jpg --amount 2 --aperture-shape hexagon -o edited

defocus magnify portrait.jpg --focus 820,300

{EXIT_CODES}"""


@shares_options()
def command(
    options: Options,
    amount: Annotated[float, typer.Option(metavar="K", min=1, help="Multiply every blur by K.")] = 2.0,
    aperture_shape: Annotated[ApertureShape, typer.Option("--aperture-shape", help="Shape of the bokeh.")] = "disc",
    focus: Annotated[
        str | None,
        typer.Option(
            metavar="X,Y",
            help="Pixel to bring into focus, counted from the left and the top, instead of what is in focus.",
        ),
    ] = None,
    side: Annotated[
        Side,
        typer.Option(
            help="Blur what lies behind the plane of focus only, or in front of it. What lies lower in the frame than "
            "what is in focus is taken to be in front."
        ),
    ] = "both",
    highlights: Annotated[
        bool,
        typer.Option(
            help="Brighten clipped lamps that are surely out of focus before blurring, so that their bokeh shines."
        ),
    ] = False,
    layers: Annotated[
        bool,
        typer.Option(
            "--layers",
            help="Also write NAME.defocus.layers.tif for Photoshop and programs that read its layers: the photograph, "
            "and above it the blurred one with a mask.",
        ),
    ] = False,
    file_format: EditFormatOption = None,
    quality: Quality = 95,
) -> None:
    """Blur what is out of focus further, as a larger aperture would.

    Writes NAME.defocus.magnified in the photograph's own format, depth, colours
    and EXIF. More blur is taken to be farther away. Where the map does not know
    how blurred the photograph is, the edit fades out.
    """
    place: tuple[int, int] | None = None
    if focus is not None:
        try:
            x, y = (int(number) for number in focus.split(","))
        except ValueError:
            raise typer.BadParameter(f"--focus takes X,Y in px from the left and the top, not {focus}.") from None
        place = x, y
    if layers and names_a_file(options.output):
        raise typer.BadParameter("With -o FILE only the edited photograph is written: give a folder for --layers.")
    task = _Magnify(amount, aperture_shape, place, side, highlights, layers, file_format, quality)
    process_photographs(
        task,
        options,
    ).conclude()


@dataclass(frozen=True)
class _Magnify(Task):
    amount: float
    aperture: ApertureShape
    focus: tuple[int, int] | None
    side: Side
    highlights: bool
    layers: bool
    file_format: EditFormat | None
    quality: int
    own_colours: ClassVar[bool] = True

    def outputs(self, photo: Path, stem: Path) -> dict[str, Path]:
        from defocus.cli.edits import edit_output
        from defocus.outputs import with_ending

        paths = {"photograph": edit_output(stem, ".defocus.magnified", self.file_format)}
        if self.layers:
            paths["layers"] = with_ending(stem, ".defocus.layers.tif")
        return paths

    def options(self, kind: str) -> dict[str, Any]:
        return {
            "edit": "magnify",
            "amount": self.amount,
            "aperture": self.aperture,
            "focus": self.focus,
            "side": self.side,
            "highlights": self.highlights,
            "quality": self.quality,
        }

    def make(self, photograph: Photograph, found: MapStrips, report: Progress) -> Result:
        from defocus.applications.layers import blur_mask, layered_tiff
        from defocus.applications.magnify import magnify
        from defocus.cli.edits import edit

        defocus_map = found.whole()
        pixels = magnify(
            photograph,
            defocus_map,
            amount=self.amount,
            aperture=self.aperture,
            focus=self.focus,
            side=self.side,
            highlights=self.highlights,
            progress=report,
        )
        edited = edit({"amount": self.amount}, pixels, photograph, self.file_format, self.quality)

        def layers(made_from: Provenance) -> bytes:
            mask = blur_mask(photograph, defocus_map, moved=self.focus is not None)
            return layered_tiff(photograph, pixels, mask, made_from=made_from)

        return replace(edited, pictures={"layers": layers})

    def line(self, record: dict[str, Any]) -> str:
        return f"blur {record['amount']:g} times as large"
