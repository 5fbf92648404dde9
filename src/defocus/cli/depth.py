"""`defocus depth`: photographs in; depth maps, surfaces and pages out."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import typer

from defocus.cli.options import EXIT_CODES, Options, shares_options
from defocus.cli.photographs import Result, Task, process_photographs
from defocus.errors import ParameterError

if TYPE_CHECKING:  # numpy must not load for --help
    from defocus.applications.depth import Depth
    from defocus.maps.map_strips import MapStrips
    from defocus.optics.lens import Lens
    from defocus.photograph import Photograph
    from defocus.progress import Progress
    from defocus.provenance import Provenance

Side = Literal["behind", "front", "auto"]

EXAMPLES = f"""[bold]Examples[/bold]

defocus depth portrait.jpg

defocus depth portrait.jpg --focus-distance 1.8 --side behind

defocus depth scan.tif --focal-length 50 --f-number 2 --focus-distance 1.2 --sensor-width 36

{EXIT_CODES}"""


@shares_options()
def command(
    options: Options,
    focal_length: Annotated[
        float | None,
        typer.Option(
            "--focal-length",
            metavar="MM",
            help="Focal length of the lens itself, not its 35-mm equivalent; from EXIF if left out.",
        ),
    ] = None,
    f_number: Annotated[
        float | None, typer.Option("--f-number", metavar="N", help="F-number; from EXIF if left out.")
    ] = None,
    focus_distance: Annotated[
        float | None,
        typer.Option(
            "--focus-distance", metavar="M", help="Distance in focus in metres; few cameras write it into the EXIF."
        ),
    ] = None,
    sensor_width: Annotated[
        float | None,
        typer.Option(
            "--sensor-width",
            metavar="MM",
            help="Width of the sensor along the photograph's width; from EXIF if left out.",
        ),
    ] = None,
    side: Annotated[Side, typer.Option(help="Side of the plane of focus on which blurred things lie.")] = "auto",
    meshes: Annotated[
        bool, typer.Option("--mesh/--no-mesh", help="Also write a surface (.glb, .ply), a turntable GIF and a page.")
    ] = True,
    portrait: Annotated[
        bool,
        typer.Option(
            "--portrait",
            help="Also write NAME.defocus.portrait.jpg, the photograph with its depth inside (GDepth), as telephones "
            "make them.",
        ),
    ] = False,
) -> None:
    """Depth from defocus: in metres where the lens is known, else relative.

    Writes NAME.defocus.depth.png (16 bit; mm, or 0 near to 65535 far where it
    is relative), NAME.defocus.depth.tiff (float; m with nearest and farthest,
    or 0..1), and with --mesh a surface, a turntable GIF and a page, one HTML
    file in which the surface can be turned. Blur alone does not say whether a thing lies before or behind
    the distance in focus, nor whether soft texture is defocus.
    """
    process_photographs(
        _Depth(focal_length, f_number, focus_distance, sensor_width, side, meshes, portrait),
        options,
    ).conclude()


@dataclass(frozen=True)
class _Depth(Task):
    focal_length: float | None
    f_number: float | None
    focus_distance: float | None
    sensor_width: float | None
    side: Side
    meshes: bool
    portrait: bool
    own_colours: ClassVar[bool] = True

    def outputs(self, photo: Path, stem: Path) -> dict[str, Path]:
        from defocus.outputs import DEPTH_ENDING, with_ending

        endings = {"depth": DEPTH_ENDING, "depth_tiff": ".defocus.depth.tiff"}
        if self.meshes:
            endings |= {
                "glb": ".defocus.glb",
                "ply": ".defocus.ply",
                "turntable": ".defocus.turntable.gif",
                "page": ".defocus.depth.html",
            }
        if self.portrait:
            endings["portrait"] = ".defocus.portrait.jpg"
        return {kind: with_ending(stem, ending) for kind, ending in endings.items()}

    def options(self, kind: str) -> dict[str, Any]:
        return {**self._lens(), "side": self.side}

    def _lens(self) -> dict[str, float | None]:
        return {
            "focal_length": self.focal_length,
            "f_number": self.f_number,
            "focus_distance": self.focus_distance,
            "sensor_width": self.sensor_width,
        }

    def to_estimate(self, photograph: Photograph) -> Photograph:
        self.find_lens(photograph)  # what is missing is said before the map takes its time
        return photograph

    def find_lens(self, photograph: Photograph) -> Lens | None:
        """The lens of a photograph; None where nothing was given and the EXIF does not hold it all."""
        from defocus.optics.lens import Lens, lens_from_exif

        lens = lens_from_exif(photograph, self._lens())
        if isinstance(lens, Lens):
            return lens
        if any(value is not None for value in self._lens().values()):
            names = ", ".join("--" + name.replace("_", "-") for name in lens)
            raise ParameterError(f"Depth in metres also needs {names}, which the photograph's EXIF does not hold.")
        return None

    def make(self, photograph: Photograph, found: MapStrips, report: Progress) -> Result:
        from functools import cache

        import numpy as np

        from defocus.applications import surface
        from defocus.applications.depth import AMBIGUITIES, depth
        from defocus.applications.portrait import portrait_jpeg
        from defocus.pages.pictures import PagePhotograph
        from defocus.pages.saved import held, page_of
        from defocus.photograph.png_encoder import png
        from defocus.provenance import stamp
        from defocus.runtime.atomic import write_bytes

        defocus_map = found.whole()
        shown = photograph.in_srgb()
        d = depth(shown, defocus_map, lens=self.find_lens(photograph), side=self.side, progress=report)
        levels = d.depth * (65535 if d.unit == "relative" else 1000)

        @cache  # made once for all the files that show it, and only if there are any
        def made_surface() -> surface.Surface:
            return surface.surface(np.rint(shown.as_float(np.float32) * 255).astype(np.uint8), d)

        def save(path: Path, made_from: Provenance) -> None:
            write_bytes(path, png(np.rint(np.minimum(levels, 65535)).astype(np.uint16), made_from))

        def page(made_from: Provenance) -> bytes:
            name = photograph.path.name if photograph.path is not None else "photograph"
            shown = replace(PagePhotograph.of(photograph, defocus_map, name=name), lens=d.lens, side=d.side)
            return stamp(page_of([held(shown)], opens_with="3-D"), made_from)

        percentiles = np.percentile(d.depth, (5, 50, 95))
        record = {
            "unit": d.unit,
            "side": d.side,
            "depth_percentiles": {k: round(float(v), 4) for k, v in zip(("5", "50", "95"), percentiles, strict=True)},
            "note": AMBIGUITIES,
        }
        return Result(
            record,
            save,
            {
                "depth_tiff": lambda made_from: depth_tiff(d, made_from),
                "glb": lambda made_from: stamp(surface.glb(made_surface()), made_from),
                "ply": lambda made_from: stamp(surface.ply(made_surface()), made_from),
                "turntable": lambda made_from: stamp(surface.turntable_gif(made_surface()), made_from),
                "page": page,
                "portrait": lambda made_from: portrait_jpeg(photograph, d, made_from=made_from),
            },
        )

    def line(self, record: dict[str, Any]) -> str:
        near, far = record["depth_percentiles"]["5"], record["depth_percentiles"]["95"]
        if record["unit"] == "m":
            return f"{near:.2f} to {far:.2f} m (5 to 95 %)"
        return "relative depth, without scale (metres need the lens: see --help)"


def depth_tiff(d: Depth, made_from: Provenance) -> bytes:
    """Float TIFF: depth first, and for metres the nearest and farthest it may be."""
    import tifffile

    from defocus.provenance import TIFF_TAG

    planes = {"depth": d.depth, "nearest": d.nearest, "farthest": d.farthest}
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as tiff:
        for name, plane in planes.items():
            if plane is not None:
                tags = [(TIFF_TAG, "s", 0, made_from.to_json(), True)] if name == "depth" else []
                description = f"{name}, {d.unit}"
                tiff.write(
                    plane, compression="zlib", predictor=True, description=description, extratags=tags, metadata=None
                )
    return file.getvalue()
