"""`defocus segment`: photographs in; masks of what is blurred, mattes and outlines out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import typer

from defocus.cli.options import EXIT_CODES, Options, shares_options
from defocus.cli.photographs import Result, Task, names_a_file, process_photographs
from defocus.errors import DefocusError
from defocus.outputs import MaskNaming, mask_ending, with_ending

if TYPE_CHECKING:  # numpy must not load for --help
    import numpy as np
    from numpy.typing import NDArray

    from defocus.applications.segment import Segmentation
    from defocus.maps.map_strips import MapStrips
    from defocus.photograph import Photograph
    from defocus.progress import Progress
    from defocus.provenance import Provenance

MaskOrientation = Literal["upright", "stored"]

EXAMPLES = f"""[bold]Examples[/bold]

defocus segment photo.jpg

defocus segment photo.jpg --threshold 1.2 --refine --soft

defocus segment shoot/ -o masks --naming colmap --jobs 2

{EXIT_CODES}"""


@shares_options()
def command(
    options: Options,
    threshold: Annotated[
        float | None, typer.Option(metavar="PX", min=0, help="Blurred where sigma is at least this many px.")
    ] = None,
    auto: Annotated[
        bool, typer.Option("--auto", help="Find the threshold that divides each photograph best (the default).")
    ] = False,
    alpha: Annotated[
        float | None,
        typer.Option(
            metavar="A",
            min=0,
            max=1,
            help="The rule of the DHDE paper: blurred where sigma >= A max + (1 - A) min; the paper uses 0.3.",
        ),
    ] = None,
    refine: Annotated[bool, typer.Option("--refine", help="Refine the boundary along the edges of objects.")] = False,
    soft: Annotated[
        bool, typer.Option("--soft", help="Also write NAME.defocus.matte.png, from 0 (in focus) to 255 (blurred).")
    ] = False,
    cutout: Annotated[
        bool,
        typer.Option(
            "--cutout", help="Also write NAME.defocus.cutout.png, the photograph with what is blurred made transparent."
        ),
    ] = False,
    grow: Annotated[
        float, typer.Option(metavar="PX", help="Make what is in focus larger by PX all round; less than 0 smaller.")
    ] = 0.0,
    feather: Annotated[
        float | None,
        typer.Option(
            metavar="PX", min=0, help="Soft border of the matte and the cut-out, PX wide.", show_default=False
        ),
    ] = None,
    invert: Annotated[bool, typer.Option("--invert", help="Make what is in focus white.")] = False,
    suffix: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Name masks NAME and this suffix, such as _mask.png.")
    ] = None,
    naming: Annotated[
        MaskNaming | None,
        typer.Option(
            help="Write only masks, as this tool expects them: its names (photo.jpg.png, photo_mask.png), its "
            "orientation, and white for what is in focus.",
        ),
    ] = None,
    orientation: Annotated[
        MaskOrientation | None,
        typer.Option(
            help="Masks as the photograph is seen, or as its pixels are stored, before the EXIF orientation is applied "
            "(the default with --naming: these tools read pixels as stored).",
        ),
    ] = None,
    size_like: Annotated[
        Path | None,
        typer.Option("--size-like", metavar="FILE", exists=True, help="Give masks the size of this picture."),
    ] = None,
) -> None:
    """Divide photographs into blurred (white) and in focus (black).

    Writes NAME.defocus.mask.png and NAME.defocus.outline.png, the photograph
    with the boundary drawn and hatched where the map does not know. Prints the
    threshold that was used.
    """
    from defocus.photograph import read_photograph

    if naming and suffix:
        raise typer.BadParameter("Give --naming or --suffix, not both.")
    if (threshold is not None) + (alpha is not None) + auto > 1:
        raise typer.BadParameter("Give one of --threshold, --alpha and --auto.")
    if (soft or cutout) and names_a_file(options.output):
        raise typer.BadParameter("With -o FILE only the mask is written: give a folder for --soft and --cutout.")
    size: tuple[int, int] | None = None
    if size_like is not None:
        try:
            like = read_photograph(size_like)
        except DefocusError as error:
            raise typer.BadParameter(str(error)) from error
        size = like.width, like.height
    task = _Segment(
        threshold=threshold,
        alpha=alpha,
        refine=refine,
        soft=soft,
        cutout=cutout,
        grow=grow,
        feather=feather,
        white_in_focus=invert or naming is not None,
        suffix=suffix,
        naming=naming,
        as_stored=orientation == "stored" or (orientation is None and naming is not None),
        size=size,
    )
    process_photographs(
        task,
        options,
    ).conclude()


@dataclass(frozen=True)
class _Segment(Task):
    threshold: float | None
    alpha: float | None
    refine: bool
    soft: bool
    cutout: bool
    grow: float
    feather: float | None
    white_in_focus: bool
    suffix: str | None
    naming: MaskNaming | None
    as_stored: bool
    size: tuple[int, int] | None
    own_colours: ClassVar[bool] = True

    def outputs(self, photo: Path, stem: Path) -> dict[str, Path]:
        ending = self.suffix if self.naming is None else mask_ending(self.naming, photo)
        if ending is None:
            paths = {"mask": with_ending(stem, ".defocus.mask.png")}
        else:  # names that other tools want go by the photograph's own name
            paths = {"mask": with_ending(stem.with_name(photo.stem), ending)}
        if self.soft:
            paths["matte"] = with_ending(stem, ".defocus.matte.png")
        if self.cutout:
            paths["cutout"] = with_ending(stem, ".defocus.cutout.png")
        if ending is None:
            paths["outline"] = with_ending(stem, ".defocus.outline.png")
        return paths

    def options(self, kind: str) -> dict[str, Any]:
        rule = {
            "threshold": self.threshold,
            "alpha": self.alpha,
            "refine": self.refine,
            "grow": self.grow,
            "feather": self.feather,
        }
        if kind in ("outline", "cutout"):
            return rule
        return rule | {"white_in_focus": self.white_in_focus, "as_stored": self.as_stored, "size": self.size}

    def make(self, photograph: Photograph, found: MapStrips, report: Progress) -> Result:
        import numpy as np

        from defocus.applications.segment import cut_out, segment
        from defocus.photograph import encode_photograph
        from defocus.photograph.png_encoder import png
        from defocus.runtime.atomic import write_bytes

        defocus_map = found.whole()
        shown = photograph.in_srgb()
        s = segment(
            shown,
            defocus_map,
            threshold=self.threshold,
            alpha=self.alpha,
            refine=self.refine,
            grow=self.grow,
            feather=self.feather,
            progress=report,
        )

        def mask_png(made_from: Provenance) -> bytes:
            white = ~s.mask if self.white_in_focus else s.mask
            return png(self._laid_out(np.uint8(255) * white, photograph), made_from)

        def matte_png(made_from: Provenance) -> bytes:
            matte = 1 - s.matte if self.white_in_focus else s.matte
            return png(self._laid_out(np.rint(matte * 255).astype(np.uint8), photograph), made_from)

        def cutout_png(made_from: Provenance) -> bytes:
            return encode_photograph(
                ".png", np.asarray(photograph.pixels), cut_out(photograph, s), provenance=made_from
            )

        record = {
            "rule": s.rule,
            "threshold": round(s.threshold, 4),
            "unit": s.unit,
            "fraction_blurred": round(float(s.mask.mean()), 6),
            "fraction_undecided": round(float(s.undecided.mean()), 6),
            "fraction_guessed_in_focus": round(s.guesses.area, 6),
            "fraction_guessed_outline": round(s.guesses.outline, 6),
        }
        return Result(
            record,
            lambda path, made_from: write_bytes(path, mask_png(made_from)),
            {
                "matte": matte_png,
                "cutout": cutout_png,
                "outline": lambda made_from: png(outline(shown, s), made_from),
            },
        )

    def _laid_out(self, levels: NDArray[np.uint8], photograph: Photograph) -> NDArray[np.uint8]:
        """Turn a mask as the photograph's pixels are stored, and give it the size that was asked for."""
        import numpy as np
        from PIL import Image

        from defocus.photograph import turn_as_stored

        if self.as_stored:
            levels = turn_as_stored(levels, photograph.orientation)
        if self.size is not None:
            # Masks must stay black and white.
            levels = np.asarray(Image.fromarray(levels).resize(self.size, Image.Resampling.NEAREST))
        return np.ascontiguousarray(levels)

    def line(self, record: dict[str, Any]) -> str:
        from defocus.applications.segment import LEAST_TOLD

        unit = " px" if record["unit"] == "px" else ""
        undecided = (
            f", {record['fraction_undecided']:.0%} undecided" if record["fraction_undecided"] >= LEAST_TOLD else ""
        )
        shares = [("guessed_in_focus", "of what is in focus"), ("guessed_outline", "of its outline")]
        told = [(record[f"fraction_{name}"], what) for name, what in shares]
        guesses = " and ".join(f"{share:.0%} {what}" for share, what in told if share >= LEAST_TOLD)
        return (
            f"{record['fraction_blurred']:.0%} blurred, from {record['threshold']:.2f}{unit} on{undecided}"
            f"{f'; guesses make up {guesses}' if guesses else ''}"
        )


def outline(photograph: Photograph, s: Segmentation) -> NDArray[np.uint8]:
    """The photograph, what is blurred darkened, the boundary in yellow, what is undecided hatched."""
    import numpy as np
    from scipy import ndimage

    picture = photograph.as_float(np.float32) * 255
    picture[s.mask] *= 0.6
    diagonal = np.arange(s.mask.shape[0])[:, None] + np.arange(s.mask.shape[1])
    width = max(1, round(max(s.mask.shape) / 800))
    hatched = s.undecided & (diagonal % (8 * width) < 2 * width)
    picture[hatched] = 0.5 * picture[hatched] + 64
    grown = ndimage.binary_dilation(s.mask, iterations=width)
    picture[grown & ~s.mask] = (255, 220, 0)
    return np.clip(picture, 0, 255).astype(np.uint8)
