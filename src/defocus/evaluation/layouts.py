"""Recognition of the layouts of folders of photographs with truth.

`open_data(folder)` recognises

======================  ==========================================  ============================================
layout                  found by                                    truth in the files
======================  ==========================================  ============================================
declared                `dataset.toml` (see `Declaration`)          as declared
CUHK (Shi 2014)         `image/out_of_focus*.jpg` and `gt/`         mask, white = blurred; motion left out
DUT                     `dut*_source/` or `-source/` and `-gt/`     mask, white = **sharp**
SYNDOF                  `image/` and `blur_map/`                    16 bit, sigma in px times 10
RTF (D'Andres 2016)     a declaration with `like = "rtf"`           disc radius in px -> sigma by its table
development sets        `masks/`, `multifocus/`, `pixel4/`,         see `read_masks` and its neighbours
                        `camera/`, `depth/`, some or all
photographs alone       a folder of photographs                     none: they are blurred by known amounts
public sets             the word `public`, where no folder has      sigma and masks; see `defocus.evaluation.public`
                        that name
======================  ==========================================  ============================================

Every reader converts its truth so that **larger is more blurred**, and to sigma in px where it has a unit. The
benchmark reports a polarity that looks wrong (`polarity`); it is never inverted here.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from defocus.errors import DefocusError
from defocus.evaluation import generators, public
from defocus.evaluation.content import content
from defocus.evaluation.datasets import (
    DataSet,
    Example,
    Kind,
    existing_folder,
    photographs_in,
    read_camera,
    read_depth,
    read_masks,
    read_multifocus,
    read_picture,
    read_pixel4,
    read_sharp,
    read_values,
)
from defocus.photograph import PHOTOGRAPH_SUFFIXES
from defocus.units import sigma_from_circle_of_confusion, sigma_from_disc_radius

__all__ = ["Declaration", "open_data", "read_declaration"]

_KINDS = ("mask", "sigma", "relative")
_UNITS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "sigma": lambda values: values,
    "disc radius": sigma_from_disc_radius,
    "disc radius (D'Andres)": lambda values: sigma_from_disc_radius(values, "dandres"),
    "circle of confusion": sigma_from_circle_of_confusion,
    "circle of confusion (SYNDOF)": lambda values: sigma_from_circle_of_confusion(values, "syndof"),
}
_CONTENT_PICTURES = ("Aloe", "Baby1", "Cloth1", "astronaut", "coffee", "camera")
"""Sharp pictures of the set `content`: of the development set `depth`, and of scikit-image where it is installed."""
_TRUTH_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".jpg", ".npy", ".mat")


@dataclass(frozen=True)
class Declaration:
    """The contents of `dataset.toml`, which describes pairs of photographs and truths of the same name.

    Attributes
    ----------
    name : name of the set; that of the folder if empty.
    kind : "mask", "sigma" or "relative".
    images, truths : folders, relative to the file.
    pattern : pattern of the names of the photographs in `images`.
    truth_suffix : text that is appended to a photograph's name (without suffix) to get the name of its truth.
    blurred : for masks and relative truths, "white" if large values mean blurred, "black" if small ones do.
    unit : for kind "sigma", the unit after multiplication with `scale`: "sigma", "disc radius", "disc radius
        (D'Andres)", "circle of confusion" or "circle of confusion (SYNDOF)".
    scale : truth = value in the file x scale.
    ignore : values in the file that are not valid.
    description : description for the report.
    """

    name: str = ""
    kind: Kind = "mask"
    images: str = "image"
    truths: str = "truth"
    pattern: str = "*"
    truth_suffix: str = ""
    blurred: Literal["white", "black"] = "white"
    unit: str = "sigma"
    scale: float = 1.0
    ignore: tuple[float, ...] = ()
    description: str = ""

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("kind", self.kind, _KINDS),
            ("blurred", self.blurred, ("white", "black")),
            ("unit", self.unit, tuple(_UNITS)),
        ):
            if value not in allowed:
                raise DefocusError(f"In a declaration {name} is one of {', '.join(allowed)}, not {value!r}.")
        if not self.scale > 0:
            raise DefocusError(f"In a declaration scale is above 0, not {self.scale}.")


_KNOWN: dict[str, Declaration] = {
    "cuhk": Declaration(
        name="cuhk",
        truths="gt",
        pattern="out_of_focus*",
        description="CUHK blur detection set (Shi, Xu, Jia, CVPR 2014), out-of-focus part; human masks.",
    ),
    "dut": Declaration(
        name="dut", blurred="black", description="DUT-DBD (Zhao et al., CVPR 2018); human masks, white is sharp."
    ),
    "rtf": Declaration(
        name="rtf",
        kind="sigma",
        unit="disc radius (D'Andres)",
        description="RTF set (D'Andres et al., TIP 2016); disc radius turned into sigma by the authors' table.",
    ),
    "syndof": Declaration(
        name="syndof",
        kind="sigma",
        truths="blur_map",
        scale=0.1,
        description="SYNDOF-style maps: 16 bit, ten times sigma (Lee et al., CVPR 2019).",
    ),
}


def open_data(folder: str | Path) -> list[DataSet]:
    """Recognise the layout of a folder and open its data sets.

    Parameters
    ----------
    folder : folder with one of the layouts in the table of this module, or "public".

    Returns
    -------
    The data sets in it, at least one. Files are only read when examples are requested.

    Raises
    ------
    DefocusError
        If there is no such folder, its declaration is wrong, or nothing in it is recognised.
    """
    if str(folder) == public.NAME and not Path(folder).exists():
        return public.public_sets()
    root = existing_folder(Path(folder))
    if (root / "dataset.toml").is_file():
        return [_declared(root, read_declaration(root / "dataset.toml"))]
    if (root / "gt").is_dir() and any((root / "image").glob("out_of_focus*")):
        return [_declared(root, _KNOWN["cuhk"])]
    if (root / "blur_map").is_dir() and (root / "image").is_dir():
        return [_declared(root, _KNOWN["syndof"])]
    for images in sorted(p for p in root.iterdir() if p.is_dir() and p.name.lower().startswith("dut")):
        for ending in ("source", "Source"):
            truths = images.with_name(images.name.removesuffix(ending) + ("gt" if ending == "source" else "GT"))
            if images.name.endswith(ending) and truths.is_dir():
                return [_declared(root, replace(_KNOWN["dut"], images=images.name, truths=truths.name))]
    sets = _development_sets(root)
    if sets:
        return sets
    if any(p.suffix.lower() in PHOTOGRAPH_SUFFIXES for p in root.iterdir()):
        return _blurred_sets(lambda: read_sharp(root))
    raise DefocusError(
        f"{root} is none of the known layouts: add a dataset.toml that says where photographs and truths are "
        "(docs/how-to/benchmark.md has an example)."
    )


def read_declaration(path: str | Path) -> Declaration:
    """Read a `dataset.toml`: the fields of `Declaration`, and `like`, a known set that gives the other fields.

    Raises
    ------
    DefocusError
        If it is not TOML, has a field of another name or a value that is not allowed.
    """
    try:
        fields = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DefocusError(f"{path} cannot be read as TOML: {error}.") from error
    like = fields.pop("like", None)
    if like is not None and like not in _KNOWN:
        raise DefocusError(f"{path}: like is one of {', '.join(_KNOWN)}, not {like!r}.")
    unknown = set(fields) - set(Declaration.__dataclass_fields__)
    if unknown:
        known = ", ".join(["like", *Declaration.__dataclass_fields__])
        raise DefocusError(f"{path}: there is no field {sorted(unknown)[0]!r}; there are {known}.")
    if "ignore" in fields:
        values = fields["ignore"]
        fields["ignore"] = tuple(values) if isinstance(values, list) else (values,)
    try:
        declaration = replace(_KNOWN[like] if like else Declaration(), **fields)
    except (TypeError, DefocusError) as error:
        raise DefocusError(f"{path}: {error}") from error
    root = Path(path).parent.resolve()
    for name, place in (("images", declaration.images), ("truths", declaration.truths)):
        if not (root / str(place)).resolve().is_relative_to(root):
            raise DefocusError(f"{path}: {name} leads out of the folder, to {place!r}: name a folder below it.")
    for name, text in (("pattern", declaration.pattern), ("truth_suffix", declaration.truth_suffix)):
        if any(mark in str(text) for mark in ("..", "/", "\\", "\0")):
            raise DefocusError(f"{path}: {name} is part of a file's name, without folders, not {text!r}.")
    return declaration


def _declared(root: Path, declaration: Declaration) -> DataSet:
    def examples() -> Iterator[Example]:
        for path in photographs_in(root / declaration.images, declaration.pattern):
            image = read_picture(path)
            values = read_values(_truth_of(path, root / declaration.truths, declaration.truth_suffix), image.shape[:2])
            valid = np.isfinite(values) & ~np.isin(values, declaration.ignore)
            if declaration.kind == "mask":
                middle = (values[valid].min() + values[valid].max()) / 2 if valid.any() else 0.0
                blurred = values > middle
                truth: NDArray[Any] = blurred if declaration.blurred == "white" else ~blurred
            elif declaration.kind == "sigma":
                lengths = np.where(valid, values, 0) * declaration.scale
                truth = _UNITS[declaration.unit](lengths).astype(np.float32)
            else:
                sign = 1 if declaration.blurred == "white" else -1
                truth = (sign * np.where(valid, values, 0) * declaration.scale).astype(np.float32)
            yield Example(path.stem, image, truth, valid, path.stem)

    return DataSet(declaration.name or root.name, declaration.kind, declaration.description, examples)


def _truth_of(photograph: Path, truths: Path, suffix: str) -> Path:
    for ending in _TRUTH_SUFFIXES:
        path = existing_folder(truths) / f"{photograph.stem}{suffix}{ending}"
        if path.is_file():
            return path
    raise DefocusError(f"{truths} has no truth {photograph.stem}{suffix}.png (or .tif, .npy, .mat) for {photograph}.")


def _development_sets(root: Path) -> list[DataSet]:
    """Return the development sets in a folder; sharp scenes of `depth` are also blurred by known amounts."""
    makers: dict[str, Callable[[], list[DataSet]]] = {
        "masks": lambda: [
            DataSet("masks", "mask", "Photographs with human masks, white = blurred.", lambda: read_masks(root))
        ],
        "multifocus": lambda: [
            DataSet(
                "multifocus",
                "mask",
                "Photographs of multi-focus pairs; truth voted from published fusion results, not drawn by people.",
                lambda: read_multifocus(root),
            )
        ],
        "pixel4": lambda: [
            DataSet(
                "pixel4",
                "relative",
                "A phone camera's photographs; relative, signed defocus of unknown unit, not everywhere monotone in "
                "blur.",
                lambda: read_pixel4(root),
            )
        ],
        "camera": lambda: [
            DataSet(
                "camera",
                "sigma",
                "Photographs of a single-lens reflex camera indoors, every fourth of 81; truth: a thin lens over "
                "measured depths, fitted to a second photograph at a smaller aperture.",
                lambda: read_camera(root),
            ),
            DataSet(
                "camera-choosing",
                "sigma",
                "As the set camera, other photographs: settings may be chosen on these.",
                lambda: read_camera(root, "choosing"),
            ),
        ],
        "depth": lambda: [
            *_blurred_sets(lambda: generators.sharp_pictures(lambda: read_depth(root))),
            generators.depth_rendered("depth", lambda: read_depth(root)),
            generators.aperture_rendered("aperture", lambda: read_depth(root)),
            content("content", lambda: _of_content(root)),
        ],
    }
    return [data for name, make in makers.items() if (root / name).is_dir() for data in make()]


def _of_content(root: Path) -> Iterator[Example]:
    return (e for e in generators.sharp_pictures(lambda: read_depth(root)) if e.name in _CONTENT_PICTURES)


def _blurred_sets(sharp: Callable[[], Iterator[Example]]) -> list[DataSet]:
    return [
        generators.uniform("uniform-gaussian", sharp, "gaussian"),
        generators.uniform("uniform-disc", sharp, "disc"),
        generators.disc_regions("rtf-like", sharp),
        generators.noisy("noise", sharp),
    ]
