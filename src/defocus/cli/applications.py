"""`defocus segment`, `magnify`, `sharpen` and `depth`: photographs in; masks, edits and surfaces out."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from defocus.cli.sentences import sentence, warnings_about
from defocus.errors import DefocusError, ParameterError

if TYPE_CHECKING:  # numpy must not load for --help
    import numpy as np
    from numpy.typing import NDArray

    from defocus.applications.depth import Depth
    from defocus.applications.segment import Segmentation
    from defocus.defocus_map import DefocusMap
    from defocus.photograph import Photograph
    from defocus.progress import Progress

SEGMENT_EXAMPLES = """[bold]Examples[/bold]

defocus segment photo.jpg

defocus segment photo.jpg --threshold 1.2 --refine --soft

defocus segment shoot/ -o masks --naming colmap --auto
"""

MAGNIFY_EXAMPLES = """[bold]Examples[/bold]

defocus magnify portrait.jpg --amount 3

defocus magnify portrait.jpg --amount 2 --aperture-shape hexagon -o edited

defocus magnify portrait.jpg --focus 820,300
"""

DEPTH_EXAMPLES = """[bold]Examples[/bold]

defocus depth portrait.jpg

defocus depth portrait.jpg --focus-distance 1.8 --side behind

defocus depth scan.tif --focal-length 50 --f-number 2 --focus-distance 1.2 --sensor-width 36
"""

SHARPEN_EXAMPLES = """[bold]Examples[/bold]

defocus sharpen photo.jpg

defocus sharpen photo.jpg --strength 0.7 --map photo.defocus.tiff
"""

Photos = Annotated[list[Path], typer.Argument(metavar="PHOTO", help="Photographs; folders are walked.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="DIR", help="Write here, not beside each photograph.")
]
MapFile = Annotated[
    Path | None,
    typer.Option(
        "--map",
        metavar="FILE",
        exists=True,
        help="Use this map, or, for several photographs, the folder of theirs.",
    ),
]
MethodName = Annotated[str, typer.Option("--method", metavar="NAME", help="Method of the map, if none is given.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object per photograph.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar, no lines but failures (and --json).")]
# What is made of a photograph (own colours), its map and where: what to tell, and the outputs by kind.
Work = Callable[["Photograph", "DefocusMap", Path, "Progress"], "tuple[dict[str, Any], dict[str, Path]]"]


def segment_command(
    photos: Photos,
    output: Output = None,
    threshold: Annotated[
        float | None, typer.Option(metavar="PX", min=0, help="Blurred from this sigma on, in px.")
    ] = None,
    auto: Annotated[
        bool, typer.Option("--auto", help="Find the threshold that divides each photograph best (the default).")
    ] = False,
    alpha: Annotated[
        float | None,
        typer.Option(metavar="A", min=0, max=1, help="The paper's rule: sigma >= A max + (1 - A) min; 0.3 there."),
    ] = None,
    refine: Annotated[bool, typer.Option("--refine", help="Let the boundary follow the objects.")] = False,
    soft: Annotated[bool, typer.Option("--soft", help="Also write NAME.defocus.matte.png, 0 sharp to 255.")] = False,
    invert: Annotated[bool, typer.Option("--invert", help="White = in focus.")] = False,
    suffix: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Masks are called NAME and this, such as _mask.png.")
    ] = None,
    naming: Annotated[
        str | None,
        typer.Option(
            metavar="colmap|metashape",
            help="Names and polarity (white = in focus) of these tools, masks alone: photo.jpg.png, photo_mask.png.",
        ),
    ] = None,
    size_like: Annotated[
        Path | None,
        typer.Option("--size-like", metavar="FILE", exists=True, help="Masks of the size of this picture."),
    ] = None,
    map_file: MapFile = None,
    method: MethodName = "pyramid",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Divide photographs into blurred (white) and in focus (black).

    Writes NAME.defocus.mask.png and NAME.defocus.outline.png, the photograph
    with the boundary drawn and what the map is not sure of hatched.
    """
    from defocus.applications.segment import segment
    from defocus.cli.files import find_photographs, with_ending
    from defocus.photograph import read_photograph

    if naming not in (None, "colmap", "metashape"):
        raise typer.BadParameter(f"--naming is colmap or metashape, not {naming}.")
    if naming and suffix:
        raise typer.BadParameter("Give --naming or --suffix, not both.")
    if (threshold is not None) + (alpha is not None) + auto > 1:
        raise typer.BadParameter("Give one of --threshold, --alpha and --auto.")
    wanted: tuple[int, int] | None = None
    if size_like is not None:
        try:
            like = read_photograph(size_like)
        except DefocusError as error:
            raise typer.BadParameter(str(error)) from error
        wanted = like.width, like.height
    alone = naming is not None or suffix is not None
    # With names of the user's choice a mask could land on a photograph, or on another one's mask.
    taken = {source.path.resolve() for source in find_photographs(photos).photographs}

    def work(
        photograph: Photograph, found: DefocusMap, beginning: Path, progress: Progress
    ) -> tuple[dict[str, Any], dict[str, Path]]:
        import numpy as np

        s = segment(photograph, found, threshold=threshold, auto=auto, alpha=alpha, refine=refine, progress=progress)
        assert photograph.path is not None
        ending = {"colmap": f"{photograph.path.suffix}.png", "metashape": "_mask.png"}.get(naming or "", suffix)
        stem = beginning.with_name(photograph.path.stem) if alone else beginning
        outputs = {"mask": with_ending(stem, ending if ending is not None else ".defocus.mask.png")}
        if outputs["mask"].resolve() in taken:
            raise ParameterError(f"its mask {outputs['mask']} would replace another file of this run: use -o DIR.")
        taken.add(outputs["mask"].resolve())
        white = ~s.mask if invert or naming else s.mask
        _write_grey(outputs["mask"], np.uint8(255) * white, wanted)
        if soft:
            outputs["matte"] = with_ending(beginning, ".defocus.matte.png")
            matte = 1 - s.matte if invert or naming else s.matte
            _write_grey(outputs["matte"], np.rint(matte * 255).astype(np.uint8), wanted)
        if not alone:
            outputs["outline"] = with_ending(beginning, ".defocus.outline.png")
            _write_picture(outputs["outline"], outline(photograph, s))
        told = {
            "rule": s.rule,
            "threshold": round(s.threshold, 4),
            "unit": s.unit,
            "share_blurred": round(float(s.mask.mean()), 6),
            "share_undecided": round(float(s.undecided.mean()), 6),
        }
        return told, outputs

    _run(photos, output, map_file, method, as_json, quiet, work)


def magnify_command(
    photos: Photos,
    output: Output = None,
    amount: Annotated[float, typer.Option(metavar="K", min=1, help="Every blur becomes K times itself.")] = 2.0,
    aperture_shape: Annotated[
        str, typer.Option("--aperture-shape", metavar="disc|hexagon|gaussian", help="What lamps out of focus become.")
    ] = "disc",
    focus: Annotated[
        str | None, typer.Option(metavar="X,Y", help="Bring what is at this pixel into focus instead.")
    ] = None,
    highlights: Annotated[bool, typer.Option(help="Let clipped lamps shine when they are blurred.")] = True,
    map_file: MapFile = None,
    method: MethodName = "pyramid",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Blur what is out of focus further, as a larger aperture would.

    Writes NAME.defocus.magnified in the photograph's own format, depth,
    colours and EXIF. More blur is taken to be farther away.
    """
    from defocus.applications.layered_blur import APERTURES
    from defocus.applications.magnify import magnify

    if aperture_shape not in APERTURES:
        raise typer.BadParameter(f"--aperture-shape is one of {', '.join(APERTURES)}, not {aperture_shape}.")
    place: tuple[int, int] | None = None
    if focus is not None:
        try:
            x, y = (int(number) for number in focus.split(","))
        except ValueError:
            raise typer.BadParameter(f"--focus takes X,Y in px from the left and the top, not {focus}.") from None
        place = x, y

    def work(
        photograph: Photograph, found: DefocusMap, beginning: Path, progress: Progress
    ) -> tuple[dict[str, Any], dict[str, Path]]:
        made = magnify(
            photograph,
            found,
            amount=amount,
            aperture=aperture_shape,
            focus=place,
            highlights=highlights,
            progress=progress,
        )
        return {"amount": amount}, {"photograph": _save(made, photograph, beginning, ".defocus.magnified")}

    _run(photos, output, map_file, method, as_json, quiet, work)


def sharpen_command(
    photos: Photos,
    output: Output = None,
    strength: Annotated[
        float, typer.Option(metavar="S", min=0, max=2, help="0 nothing, 1 as much as the map says.")
    ] = 1.0,
    map_file: MapFile = None,
    method: MethodName = "pyramid",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Take defocus back where the map says how much there is.

    Writes NAME.defocus.sharp in the photograph's own format, depth, colours
    and EXIF. What noise has buried does not come back.
    """
    from defocus.applications.sharpen import sharpen

    def work(
        photograph: Photograph, found: DefocusMap, beginning: Path, progress: Progress
    ) -> tuple[dict[str, Any], dict[str, Path]]:
        made = sharpen(photograph, found, strength=strength, progress=progress)
        return {"strength": strength}, {"photograph": _save(made, photograph, beginning, ".defocus.sharp")}

    _run(photos, output, map_file, method, as_json, quiet, work)


def depth_command(
    photos: Photos,
    output: Output = None,
    focal_length: Annotated[
        float | None, typer.Option("--focal-length", metavar="MM", help="Of the lens itself; from EXIF if left out.")
    ] = None,
    f_number: Annotated[
        float | None, typer.Option("--f-number", metavar="N", help="Aperture; from EXIF if left out.")
    ] = None,
    focus_distance: Annotated[
        float | None, typer.Option("--focus-distance", metavar="M", help="What is in focus, m; few cameras write it.")
    ] = None,
    sensor_width: Annotated[
        float | None, typer.Option("--sensor-width", metavar="MM", help="Along the photograph's width; from EXIF.")
    ] = None,
    side: Annotated[
        str, typer.Option(metavar="behind|front|auto", help="Where what is blurred lies, seen from what is in focus.")
    ] = "auto",
    meshes: Annotated[bool, typer.Option("--mesh/--no-mesh", help="Also .glb, .ply, a turntable and a viewer.")] = True,
    map_file: MapFile = None,
    method: MethodName = "pyramid",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Depth from defocus: in metres where the lens is known, else relative.

    Writes NAME.defocus.depth.png (16 bit; mm, or 0 near to 65535 far where it
    is relative), NAME.defocus.depth.tiff (float; m with nearest and farthest,
    or 0..1), and with --mesh a surface, a turntable GIF and a viewer that
    opens offline. Blur alone does not tell before from behind the plane of
    focus, nor soft texture from defocus.
    """
    from defocus.applications.depth import AMBIGUITIES, SIDES, Lens, depth, lens_from_exif
    from defocus.applications.surface import save_mesh, save_turntable, save_viewer, surface
    from defocus.cli.files import DEPTH_ENDING, with_ending

    if side not in SIDES:
        raise typer.BadParameter(f"--side is one of {', '.join(SIDES)}, not {side}.")
    given = {
        "focal_length": focal_length,
        "f_number": f_number,
        "focus_distance": focus_distance,
        "sensor_width": sensor_width,
    }

    def work(
        photograph: Photograph, found: DefocusMap, beginning: Path, progress: Progress
    ) -> tuple[dict[str, Any], dict[str, Path]]:
        import numpy as np

        lens = lens_from_exif(photograph, given)
        missing = lens if isinstance(lens, list) else []
        if missing and any(value is not None for value in given.values()):
            names = ", ".join("--" + name.replace("_", "-") for name in missing)
            raise ParameterError(f"metric depth also needs {names}: {photograph.path} does not hold it.")
        d = depth(photograph, found, lens=lens if isinstance(lens, Lens) else None, side=side, progress=progress)
        outputs = {
            "depth": with_ending(beginning, DEPTH_ENDING),
            "depth_tiff": with_ending(beginning, ".defocus.depth.tiff"),
        }
        levels = d.depth * (65535 if d.unit == "relative" else 1000)
        _write_picture(outputs["depth"], np.rint(np.minimum(levels, 65535)).astype(np.uint16))
        _write_depth(outputs["depth_tiff"], d)
        if meshes:
            rgb = np.rint(photograph.as_float(np.float32) * 255).astype(np.uint8)
            made = surface(rgb, d)
            for kind in ("glb", "ply"):
                outputs[kind] = with_ending(beginning, f".defocus.{kind}")
                save_mesh(outputs[kind], made)
            outputs["turntable"] = with_ending(beginning, ".defocus.turntable.gif")
            save_turntable(outputs["turntable"], made)
            outputs["viewer"] = with_ending(beginning, ".defocus.viewer.html")
            save_viewer(outputs["viewer"], made, d, beginning.name, AMBIGUITIES)
        percentiles = np.percentile(d.depth, (5, 50, 95))
        return {
            "unit": d.unit,
            "side": d.side,
            "depth_percentiles": {k: round(float(v), 4) for k, v in zip(("5", "50", "95"), percentiles, strict=True)},
            "note": AMBIGUITIES,
        }, outputs

    _run(photos, output, map_file, method, as_json, quiet, work)


def outline(photograph: Photograph, s: Segmentation) -> NDArray[np.uint8]:
    """The photograph, what is blurred darkened, the boundary in yellow, what is undecided hatched."""
    import numpy as np
    from scipy import ndimage

    picture = photograph.as_float(np.float32) * 255
    picture[s.mask] *= 0.6
    diagonal = np.arange(s.mask.shape[0])[:, None] + np.arange(s.mask.shape[1])
    hatched = s.undecided & (diagonal % 8 < 2)
    picture[hatched] = 0.5 * picture[hatched] + 64
    width = max(1, round(max(s.mask.shape) / 800))
    grown = ndimage.binary_dilation(s.mask, iterations=width)
    picture[grown & ~s.mask] = (255, 220, 0)
    return np.clip(picture, 0, 255).astype(np.uint8)


def _run(
    photos: list[Path],
    output: Path | None,
    map_file: Path | None,
    method: str,
    as_json: bool,
    quiet: bool,
    work: Work,
) -> None:
    """Every photograph: read, take or estimate its map, work, tell; one that fails does not stop the rest."""
    from defocus.cli.files import find_photographs, name_outputs, prepare_folder
    from defocus.cli.progress_bar import ProgressBar
    from defocus.cli.workers import terminable
    from defocus.methods import find_method
    from defocus.photograph import read_photograph

    try:
        find_method(method)
        prepare_folder(output)
    except ParameterError as error:
        raise typer.BadParameter(str(error)) from error
    found = find_photographs(photos)
    if not found.photographs and not found.failures:
        raise typer.BadParameter(f"{found.outputs[0]} is an output of defocus: name photographs.")
    if map_file is not None and map_file.is_file() and len(found.photographs) > 1:
        raise typer.BadParameter("--map is one file, but there are several photographs: give the folder of their maps.")
    failures: list[tuple[Path, str]] = list(found.failures)
    with terminable(), ProgressBar(len(found.photographs), hidden=quiet) as bar:
        try:
            for source, beginning in zip(found.photographs, name_outputs(found.photographs, output), strict=True):
                bar.begin(source.path.name)
                start = time.perf_counter()
                try:
                    prepare_folder(beginning.parent)
                    with warnings.catch_warnings(record=True) as caught:
                        warnings.simplefilter("always", UserWarning)
                        photograph = read_photograph(source.path, own_colours=True)
                        of = _map_of(photograph, map_file, method, bar.report)
                        told, outputs = work(photograph, of, beginning, bar.report)
                    for warning in warnings_about(source.path, caught) if not quiet else ():
                        bar.say(f"Warning: {source.path}: {warning}", error=True)
                    record = {
                        "path": str(source.path),
                        **told,
                        "seconds": round(time.perf_counter() - start, 3),
                        "outputs": {kind: str(path) for kind, path in outputs.items()},
                    }
                    if as_json:
                        bar.say(json.dumps(record))
                    elif not quiet:
                        bar.say(f"{source.path}: {record['seconds']:.1f} s -> {', '.join(record['outputs'].values())}")
                except (DefocusError, OSError, MemoryError) as error:
                    failures.append((source.path, sentence(error)))
                    if as_json:
                        bar.say(json.dumps({"path": str(source.path), "error": sentence(error)}))
                bar.end()
        except KeyboardInterrupt:
            bar.say("Interrupted.", error=True)
            raise typer.Exit(130) from None
        if failures:
            for path, reason in failures:
                bar.say(f"Failed: {path}: {reason.removeprefix(str(path)).lstrip(': ')}", error=True)
            raise typer.Exit(1)


def _map_of(photograph: Photograph, map_file: Path | None, method: str, progress: Progress) -> DefocusMap:
    from defocus.cli.files import MAP_ENDING
    from defocus.defocus_map import load
    from defocus.estimate import estimate
    from defocus.photograph import read_photograph

    assert photograph.path is not None
    if map_file is None:
        # Maps are of sRGB; edits are made in the photograph's own colours.
        shown = read_photograph(photograph.path) if photograph.profile else photograph
        return estimate(shown, method=method, progress=lambda step, share: progress(step, 0.5 * share))
    if map_file.is_dir():
        names = (photograph.path.stem, photograph.path.name)
        paths = [path for name in names if (path := map_file / f"{name}{MAP_ENDING}").is_file()]
        if not paths:
            raise ParameterError(f"{map_file} holds no {photograph.path.stem}{MAP_ENDING}: estimate it first.")
        return load(paths[0])
    return load(map_file)


def _save(pixels: NDArray[Any], photograph: Photograph, beginning: Path, ending: str) -> Path:
    from defocus.cli.files import with_ending
    from defocus.photograph_file import save_photograph, suffix_for

    path = with_ending(beginning, ending + suffix_for(photograph))
    save_photograph(path, pixels, photograph)
    return path


def _write_depth(path: Path, d: Depth) -> None:
    """Float TIFF: depth first, and for metres the nearest and farthest it may be."""
    import tifffile

    from defocus.atomic import atomic_write

    planes = (
        {"depth": d.depth}
        if d.nearest is None or d.farthest is None
        else {"depth": d.depth, "nearest": d.nearest, "farthest": d.farthest}
    )
    with atomic_write(path) as file, tifffile.TiffWriter(file) as tiff:
        for name, plane in planes.items():
            words = f"{name}, {d.unit}"
            tiff.write(plane, compression="zlib", predictor=True, description=words, metadata=None)


def _write_grey(path: Path, levels: NDArray[np.uint8], size: tuple[int, int] | None) -> None:
    import numpy as np
    from PIL import Image

    if size is not None:
        # Masks must stay black and white.
        levels = np.asarray(Image.fromarray(levels).resize(size, Image.Resampling.NEAREST))
    _write_picture(path, levels)


def _write_picture(path: Path, picture: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    from defocus.atomic import write_bytes
    from defocus.cli.files import png

    write_bytes(path, png(picture))
