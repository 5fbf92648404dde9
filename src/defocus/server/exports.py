"""What the page exports: made by the package at full size, and written under a name that nothing has yet."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, get_args

import numpy as np

from defocus.applications.depth import depth
from defocus.applications.layers import blur_mask, layered_tiff
from defocus.applications.magnify import magnify
from defocus.applications.portrait import portrait_jpeg
from defocus.applications.segment import Segmentation, cut_out, segment
from defocus.applications.sharpen import sharpen
from defocus.cli.files import MaskNaming, mask_ending, png, prepare_folder, with_ending
from defocus.errors import ParameterError
from defocus.maps.defocus_map import DefocusMap
from defocus.optics.layered_blur import APERTURES, Aperture
from defocus.optics.lens import Lens, lens_from_exif
from defocus.photograph import Photograph, save_photograph, saving_note, suffix_for, turn_as_stored
from defocus.progress import Progress
from defocus.provenance import Provenance
from defocus.runtime.atomic import move_new, write_bytes
from defocus.server.shoot import NotReadyError, Shoot

__all__ = ["export"]

_LARGEST_GROW, _LARGEST_FEATHER, _LARGEST_AMOUNT = 500.0, 500.0, 64.0
_MAP_FORMATS = ("tiff", "exr", "npy")


@dataclass(frozen=True)
class _Order:
    """What is to be made.

    Attributes
    ----------
    path : of the photograph.
    photograph : of full size and in its own colours.
    found : its map.
    wanted : parameters, as the page gave them.
    go_on : called with the step and the fraction done; ends the work by an exception.
    painted : whether strokes have changed the map.
    """

    path: Path
    photograph: Photograph
    found: DefocusMap
    wanted: Mapping[str, Any]
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
    note : a sentence about what it cannot keep, or "".
    own_name : whether the name is what other programs expect, and not this package's.
    """

    kind: str
    ending: str
    write: Callable[[Path, Provenance], None]
    note: str = ""
    own_name: bool = False


def export(shoot: Shoot, index: int, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Make an export of a photograph and write it into the folder of exports.

    Parameters
    ----------
    shoot : the photographs.
    index : of the photograph.
    wanted : what the page asks for: "kind" and, by kind, its parameters.

    Returns
    -------
    The name of the file within the folder of exports, the seconds that it took, and a note where it cannot keep all.

    Raises
    ------
    ParameterError
        If what is asked for is none of what there is, or out of range.
    NotReadyError
        If the map is not there yet, or the server is being ended.
    DefocusError, OSError
        If it cannot be made or written.
    """
    start = time.perf_counter()
    kind = wanted.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ParameterError(f"kind must be one of {', '.join(_KINDS)}.")

    def go_on(_step: str, _fraction: float) -> None:
        if shoot.closing:
            raise NotReadyError("defocus is being ended, so nothing was exported.")

    photograph, stem, strokes = shoot.photograph(index), shoot.stem(index), shoot.strokes_file(index)
    recipe = dict(shoot.settings.recipe)
    if strokes is not None:
        recipe["strokes_sha256"] = hashlib.sha256(strokes.read_bytes()).hexdigest()
    found = shoot.defocus_map(index)
    made = _KINDS[kind](_Order(shoot.path(index), photograph, found, wanted, go_on, painted=strokes is not None))
    prepare_folder(stem.parent)
    made_from = Provenance(made.kind, photograph.sha256, recipe, {"page": dict(wanted)})
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
    naming = order.wanted.get("convention", "plain")
    if naming not in ("plain", *get_args(MaskNaming)):
        raise ParameterError(f"convention must be plain, {' or '.join(get_args(MaskNaming))}.")
    s = _segmented(order)
    if naming == "plain":
        levels, ending = np.rint(255 * (1 - s.matte)).astype(np.uint8), ".defocus.mask.png"
    else:  # these programs want black and white, and read pixels as they are stored
        levels, ending = np.uint8(255) * ~s.mask, mask_ending(naming, order.path)
        levels = np.ascontiguousarray(turn_as_stored(levels, order.photograph.orientation))
    return _Made(
        "mask", ending, lambda path, made_from: write_bytes(path, png(levels, made_from)), own_name=naming != "plain"
    )


def _cutout(order: _Order) -> _Made:
    cut = cut_out(order.photograph, _segmented(order))
    return _Made(
        "cutout",
        ".defocus.cutout.png",
        lambda path, made_from: save_photograph(path, np.asarray(cut.pixels), cut, provenance=made_from),
    )


def _segmented(order: _Order) -> Segmentation:
    return segment(
        order.photograph,
        order.found,
        threshold=_number(order.wanted, "threshold", 0, 1e4),
        grow=_number(order.wanted, "grow", -_LARGEST_GROW, _LARGEST_GROW, 0),
        feather=_number(order.wanted, "feather", 0, _LARGEST_FEATHER, 0),
        progress=order.go_on,
    )


def _refocused(order: _Order) -> _Made:
    photograph, found, wanted = order.photograph, order.found, order.wanted
    amount, focus, aperture = _number(wanted, "amount", 0, _LARGEST_AMOUNT), _place(wanted), _aperture(wanted)
    if amount == 1 and focus is None:
        raise ParameterError("As taken, this is the photograph itself: change the aperture or the focus first.")
    if amount < 1:  # less blur than there is, wherever the focus is
        pixels, ending = sharpen(photograph, found, strength=1 - amount, progress=order.go_on), ".defocus.sharp"
    else:
        pixels = magnify(photograph, found, amount=amount, aperture=aperture, focus=focus, progress=order.go_on)
        ending = ".defocus.magnified"
    return _Made(
        "photograph",
        ending + suffix_for(photograph),
        lambda path, made_from: save_photograph(path, pixels, photograph, provenance=made_from),
        note=saving_note(photograph) or "",
    )


def _layers(order: _Order) -> _Made:
    photograph, found, wanted = order.photograph, order.found, order.wanted
    amount, threshold = _number(wanted, "amount", 1, _LARGEST_AMOUNT), _number(wanted, "threshold", 0, 1e4)
    blurred = magnify(photograph, found, amount=amount, aperture=_aperture(wanted), progress=order.go_on)
    mask = blur_mask(photograph, found, threshold=threshold)
    return _Made(
        "layers",
        ".defocus.layers.tif",
        lambda path, made_from: write_bytes(path, layered_tiff(photograph, blurred, mask, made_from=made_from)),
    )


def _map(order: _Order) -> _Made:
    kind = order.wanted.get("format", "tiff")
    if kind not in _MAP_FORMATS:
        raise ParameterError(f"format must be one of {', '.join(_MAP_FORMATS)}.")
    # A map says itself what it was made from, but not what was painted: under its usual name it would be taken for what
    # `estimate` leaves, and painted on again.
    ending = f".defocus.painted.{kind}" if order.painted else f".defocus.{kind}"
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


def _number(wanted: Mapping[str, Any], name: str, low: float, high: float, default: float | None = None) -> float:
    value = wanted.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ParameterError(f"{name} must be a number from {low:g} to {high:g}.")
    return float(value)


def _place(wanted: Mapping[str, Any]) -> tuple[int, int] | None:
    place = wanted.get("focus")
    if place is None:
        return None
    if not isinstance(place, list) or len(place) != 2 or not all(type(each) is int for each in place):
        raise ParameterError("focus must be [x, y] in px from the left and the top, or null.")
    return place[0], place[1]


def _aperture(wanted: Mapping[str, Any]) -> Aperture:
    aperture = wanted.get("aperture", "disc")
    if aperture not in APERTURES:
        raise ParameterError(f"aperture must be one of {', '.join(APERTURES)}.")
    return aperture
