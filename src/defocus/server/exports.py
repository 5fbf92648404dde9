"""What the page exports: made by the package at full size, and written under a name that nothing has yet."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from itertools import count
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray

from defocus.applications.depth import depth
from defocus.applications.layers import blur_mask, layered_tiff
from defocus.applications.magnify import magnify
from defocus.applications.portrait import portrait_jpeg
from defocus.applications.segment import Guesses, Segmentation, cut_out, segment
from defocus.applications.sharpen import sharpen
from defocus.errors import ParameterError
from defocus.maps.defocus_map import DefocusMap
from defocus.optics.layered_blur import APERTURES, Aperture
from defocus.optics.lens import Lens, lens_from_exif
from defocus.outputs import MaskNaming, mask_ending, prepare_folder, with_ending
from defocus.photograph import Photograph, save_photograph, saving_note, suffix_for, turn_as_stored
from defocus.photograph.png_encoder import png
from defocus.progress import Progress
from defocus.provenance import Provenance
from defocus.runtime.atomic import move_new, write_bytes
from defocus.server.shoot import NotReadyError, Shoot

__all__ = ["Wanted", "export"]

_MAP_FORMATS = ("tiff", "exr", "npy")


@dataclass(frozen=True)
class Wanted:
    """What the page asks for; each kind of export reads its own of these.

    Attributes
    ----------
    kind : "mask", "cutout", "refocused", "layers", "map" or "depth".
    threshold : blur from which on it is called blurred, in the map's unit; None for the automatic one.
    grow : px by which what is in focus grows; less than 0 shrinks it.
    feather : width of the soft border, px.
    convention : "plain", or the program that masks are named for.
    amount : every blur becomes this many times itself; less than 1 takes blur away.
    focus : (x, y) of the pixel to be in focus, px; None for what is in focus.
    aperture : shape of the bokeh.
    format : of the map.

    Raises
    ------
    ParameterError
        If a value is none of these.
    """

    kind: str
    threshold: float | None = None
    grow: float = 0.0
    feather: float = 0.0
    convention: str = "plain"
    amount: float = 2.0
    focus: tuple[int, int] | None = None
    aperture: Aperture = "disc"
    format: str = "tiff"

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Wanted:
        """Return what an object of JSON asks for; null stands for what is usual."""
        names = [each.name for each in fields(cls)]
        unknown = sorted(set(told) - set(names))
        if unknown:
            raise ParameterError(f"An export has no {unknown[0][:40]!r}: it has {', '.join(names)}.")
        given = {name: value for name, value in told.items() if value is not None}
        focus = given.get("focus")
        if isinstance(focus, list):
            given["focus"] = tuple(focus)
        return cls(**{"kind": "", **given})

    def __post_init__(self) -> None:
        """See that the values are what they should be."""
        choices: dict[str, tuple[str, ...]] = {
            "kind": tuple(_KINDS),
            "convention": ("plain", *get_args(MaskNaming)),
            "aperture": APERTURES,
            "format": _MAP_FORMATS,
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ParameterError(f"{name} must be one of {', '.join(allowed)}.")
        limits = {"threshold": (0.0, 1e4), "grow": (-500.0, 500.0), "feather": (0.0, 500.0), "amount": (0.0, 64.0)}
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if name == "threshold" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise ParameterError(f"{name} must be a number from {low:g} to {high:g}.")
        place = self.focus
        if place is not None and (
            not isinstance(place, tuple) or len(place) != 2 or not all(type(each) is int for each in place)
        ):
            raise ParameterError("focus must be [x, y] in px from the left and the top, or null.")


@dataclass(frozen=True)
class _Order:
    """What is to be made.

    Attributes
    ----------
    path : of the photograph.
    photograph : of full size and in its own colours.
    found : its map.
    wanted : how.
    go_on : called with the step and the fraction done; ends the work by an exception.
    painted : whether strokes have changed the map.
    """

    path: Path
    photograph: Photograph
    found: DefocusMap
    wanted: Wanted
    go_on: Progress
    painted: bool


@dataclass(frozen=True)
class _Made:
    """What is to be written.

    Attributes
    ----------
    kind : as in `Provenance`.
    ending : of its name, after that of the photograph without suffix.
    write : writes it to a path with the ending's suffix.
    note : a sentence about what it cannot keep or what of it is a guess, or "".
    own_name : whether the name is what other programs expect, and not this package's.
    """

    kind: str
    ending: str
    write: Callable[[Path, Provenance], None]
    note: str = ""
    own_name: bool = False


def export(shoot: Shoot, index: int, wanted: Wanted) -> dict[str, Any]:
    """Make an export of a photograph and write it into the folder of exports.

    Parameters
    ----------
    shoot : the photographs.
    index : of the photograph.
    wanted : what, and how.

    Returns
    -------
    The name of the file within the folder of exports, the seconds that it took, and a note where it cannot keep
    all or guesses.

    Raises
    ------
    NotReadyError
        If the map is not there yet, or the server is being ended.
    DefocusError, OSError
        If it cannot be made or written.
    """
    start = time.perf_counter()

    def go_on(_step: str, _fraction: float) -> None:
        if shoot.closing:
            raise NotReadyError("defocus is being ended, so nothing was exported.")

    photograph, stem, found = shoot.photograph(index), shoot.stem(index), shoot.defocus_map(index)
    strokes = shoot.strokes_file(index) if found.unit == "px" else None
    recipe = dict(shoot.settings.recipe)
    if strokes is not None:
        recipe["strokes_sha256"] = hashlib.sha256(strokes.read_bytes()).hexdigest()
    made = _KINDS[wanted.kind](_Order(shoot.path(index), photograph, found, wanted, go_on, painted=strokes is not None))
    prepare_folder(stem.parent)
    made_from = Provenance(made.kind, photograph.sha256, recipe, asdict(wanted))
    if made.own_name:
        stem = stem.with_name(shoot.path(index).stem)
    # In a hidden folder first, so that a name is never that of a part of a file.
    with tempfile.TemporaryDirectory(dir=stem.parent, prefix=".defocus-") as folder:
        finished = Path(folder) / f"export{Path(made.ending).suffix}"
        made.write(finished, made_from)
        go_on("writing", 1.0)
        path = _named(finished, stem, made.ending)
    told = {
        "name": path.relative_to(shoot.exports).as_posix(),
        "folder": shoot.exports.name,
        "seconds": round(time.perf_counter() - start, 2),
    }
    return told | ({"note": made.note} if made.note else {})


def _named(finished: Path, stem: Path, ending: str) -> Path:
    before, suffix = ending[: -len(Path(ending).suffix)], Path(ending).suffix
    for number in count(1):
        path = with_ending(stem, ending if number == 1 else f"{before}.{number}{suffix}")
        try:
            move_new(finished, path)
        except FileExistsError:
            continue
        return path
    raise AssertionError("There is always a further number.")


def _mask(order: _Order) -> _Made:
    s = _segmented(order)
    if order.wanted.convention == "plain":
        levels = np.rint(255 * (1 - s.matte)).astype(np.uint8)
        return _Made(
            "mask",
            ".defocus.mask.png",
            lambda path, made_from: write_bytes(path, png(levels, made_from)),
            note=s.guesses.in_words(),
        )
    # These programs want black and white, and read pixels as they are stored.
    white = np.uint8(255) * ~s.mask
    stored = np.ascontiguousarray(turn_as_stored(white, order.photograph.orientation))
    return _Made(
        "mask",
        mask_ending(cast(MaskNaming, order.wanted.convention), order.path),
        lambda path, made_from: write_bytes(path, png(stored, made_from)),
        note=s.guesses.in_words(),
        own_name=True,
    )


def _cutout(order: _Order) -> _Made:
    s = _segmented(order)
    cut = cut_out(order.photograph, s)
    return _Made(
        "cutout",
        ".defocus.cutout.png",
        lambda path, made_from: save_photograph(path, np.asarray(cut.pixels), cut, provenance=made_from),
        note=s.guesses.in_words(),
    )


def _segmented(order: _Order) -> Segmentation:
    wanted = order.wanted
    return segment(
        order.photograph,
        order.found,
        threshold=wanted.threshold,
        grow=wanted.grow,
        feather=wanted.feather,
        progress=order.go_on,
    )


def _refocused(order: _Order) -> _Made:
    photograph, found, wanted = order.photograph, order.found, order.wanted
    if wanted.amount == 1 and wanted.focus is None:
        raise ParameterError("As taken, this is the photograph itself: change the aperture or the focus first.")
    if wanted.amount < 1:  # less blur than there is, wherever the focus is
        pixels, ending = sharpen(photograph, found, strength=1 - wanted.amount, progress=order.go_on), ".defocus.sharp"
    else:
        pixels, ending = _magnified(order), ".defocus.magnified"
    return _Made(
        "photograph",
        ending + suffix_for(photograph),
        lambda path, made_from: save_photograph(path, pixels, photograph, provenance=made_from),
        note=saving_note(photograph) or "",
    )


def _magnified(order: _Order) -> NDArray[Any]:
    wanted = order.wanted
    return magnify(
        order.photograph,
        order.found,
        amount=wanted.amount,
        aperture=wanted.aperture,
        focus=wanted.focus,
        progress=order.go_on,
    )


def _layers(order: _Order) -> _Made:
    if order.wanted.amount <= 1 and order.wanted.focus is None:
        raise ParameterError("As taken, there is no blur to lay over the photograph: open the aperture first.")
    blurred = _magnified(order)
    mask = blur_mask(
        order.photograph, order.found, threshold=order.wanted.threshold, moved=order.wanted.focus is not None
    )
    return _Made(
        "layers",
        ".defocus.layers.tif",
        lambda path, made_from: write_bytes(path, layered_tiff(order.photograph, blurred, mask, made_from=made_from)),
        note=Guesses.of(mask >= 0.5, order.found.confidence).in_words(),
    )


def _map(order: _Order) -> _Made:
    # A map says itself what it was made from, but not what was painted: under its usual name it would be taken for what
    # `estimate` leaves, and painted on again.
    ending = f".defocus.painted.{order.wanted.format}" if order.painted else f".defocus.{order.wanted.format}"
    return _Made("map", ending, lambda path, _: order.found.save(path))


def _depth(order: _Order) -> _Made:
    photograph = order.photograph
    lens = lens_from_exif(photograph)
    told = depth(photograph.in_srgb(), order.found, lens=lens if isinstance(lens, Lens) else None, progress=order.go_on)
    return _Made(
        "portrait",
        ".defocus.portrait.jpg",
        lambda path, made_from: write_bytes(path, portrait_jpeg(photograph, told, made_from=made_from)),
        note="" if told.unit == "m" else "The depth is relative: the EXIF does not hold all of the lens.",
    )


_KINDS: dict[str, Callable[[_Order], _Made]] = {
    "mask": _mask,
    "cutout": _cutout,
    "refocused": _refocused,
    "layers": _layers,
    "map": _map,
    "depth": _depth,
}
