"""`defocus sharpen`: photographs in, photographs with less defocus out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from defocus.cli.options import EXIT_CODES, EditFormat, EditFormatOption, Options, Quality, shares_options
from defocus.cli.photographs import Result, Task, process_photographs

if TYPE_CHECKING:  # numpy must not load for --help
    from defocus.maps.map_strips import MapStrips
    from defocus.photograph import Photograph
    from defocus.progress import Progress

EXAMPLES = f"""[bold]Examples[/bold]

defocus sharpen photo.jpg

defocus sharpen photo.jpg --strength 0.7 --map photo.defocus.tiff

defocus sharpen photo.jpg -o sharp.png

{EXIT_CODES}"""


@shares_options()
def command(
    options: Options,
    strength: Annotated[
        float,
        typer.Option(metavar="S", min=0, max=2, help="0 = off, 1 = the full estimated blur as far as noise allows."),
    ] = 1.0,
    file_format: EditFormatOption = None,
    quality: Quality = 95,
) -> None:
    """Reduce defocus blur, guided by the map.

    Writes NAME.defocus.sharp in the photograph's own format, depth, colours and
    EXIF. What noise has buried does not come back, and where the map does not
    know how blurred the photograph is, it stays as it is.
    """
    process_photographs(
        _Sharpen(strength, file_format, quality),
        options,
    ).conclude()


@dataclass(frozen=True)
class _Sharpen(Task):
    strength: float
    file_format: EditFormat | None
    quality: int
    own_colours: ClassVar[bool] = True

    def outputs(self, photo: Path, stem: Path) -> dict[str, Path]:
        from defocus.cli.edits import edit_output

        return {"photograph": edit_output(stem, ".defocus.sharp", self.file_format)}

    def options(self, kind: str) -> dict[str, Any]:
        return {"edit": "sharpen", "strength": self.strength, "quality": self.quality}

    def make(self, photograph: Photograph, found: MapStrips, report: Progress) -> Result:
        from defocus.applications.sharpen import sharpen
        from defocus.cli.edits import edit

        defocus_map = found.whole()
        pixels = sharpen(photograph, defocus_map, strength=self.strength, progress=report)
        return edit({"strength": self.strength}, pixels, photograph, self.file_format, self.quality)

    def line(self, record: dict[str, Any]) -> str:
        return f"sharpened with strength {record['strength']:g}"
