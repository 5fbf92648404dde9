"""What the process beside the server does with a photograph: a quick reading for the overview, and the whole map."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from defocus.applications.rank import Sharpness, sharpness
from defocus.culling.bursts import Shot, shot_of
from defocus.culling.quick import QUICK_SIDE, quick_map, quick_sharpness
from defocus.culling.sidecars import SidecarError, read_rating
from defocus.culling.words import focus_point, why
from defocus.errors import OutputError
from defocus.estimation import estimate_strips, find_parameters
from defocus.maps.map_file import load_saved, save_map
from defocus.messages import error_message, user_warnings
from defocus.methods.registry import find_method
from defocus.methods.session import Device
from defocus.photograph import read_photograph, reduce_photograph
from defocus.photograph.reduced import read_metadata, read_reduced

__all__ = ["FullJob", "Job", "QuickJob", "Reading", "read"]


@dataclass(frozen=True)
class Job:
    """A photograph to be read.

    Attributes
    ----------
    path : its file.
    max_pixels, strict : as for `read_photograph`.
    device : what the network is run on.
    """

    path: Path
    max_pixels: int | None
    strict: bool
    device: Device


@dataclass(frozen=True)
class QuickJob(Job):
    """Only what the overview of many photographs shows."""


@dataclass(frozen=True)
class FullJob(Job):
    """The map, which is written to a file unless one is there already.

    Attributes
    ----------
    recipe : how it is made, as `map_recipe` returns it.
    saved_maps : files in which it may be already.
    target : file to write otherwise.
    """

    recipe: Mapping[str, Any]
    saved_maps: tuple[Path, ...]
    target: Path


@dataclass(frozen=True)
class Reading:
    """What became of a photograph; travels between processes.

    Attributes
    ----------
    about : what the page is told of it: width, height, in_focus, words, shaken, look, rating.
    error : why it failed, or "".
    is_output : whether this package wrote it, so that it is no photograph.
    warnings : about the photograph.
    seconds : time that it took.
    sha256 : of the photograph's file; None from a quick reading.
    map_file : file of its map; None from a quick reading.
    shot : what bursts are found by; None where it has failed.
    """

    about: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    is_output: bool = False
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    sha256: str | None = None
    map_file: Path | None = None
    shot: Shot | None = None


def read(job: Job) -> Reading:
    """Read a photograph; what fails is said in the answer."""
    start = time.perf_counter()

    def shortened(sentence: str) -> str:
        # The page names no folders.
        return sentence.replace(f"{job.path.parent}{os.sep}", "")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            found = _read_in_full(job) if isinstance(job, FullJob) else _read_quickly(job)
        except OutputError as error:
            return Reading(error=str(error), is_output=True)
        except Exception as error:  # one photograph must not cost the others
            return Reading(error=shortened(error_message(error)), warnings=user_warnings(caught, shortened))
    return replace(found, warnings=user_warnings(caught, shortened), seconds=round(time.perf_counter() - start, 2))


def _read_quickly(job: Job) -> Reading:
    small = read_reduced(job.path, QUICK_SIDE, max_pixels=job.max_pixels, strict=job.strict, refuse_outputs=True)
    metadata = read_metadata(job.path)
    defocus_map = quick_map(small, device=job.device)
    measured = quick_sharpness(small, defocus_map)
    size = metadata.width, metadata.height
    point = focus_point(metadata.tags, size, measured)
    about = _about(size, measured) | {"look": None if point is None else {"x": point.x, "y": point.y, "why": point.why}}
    return Reading(about | _rating(job.path), shot=shot_of(job.path, small, metadata.tags))


def _read_in_full(job: FullJob) -> Reading:
    photograph = read_photograph(job.path, max_pixels=job.max_pixels, strict=job.strict, refuse_outputs=True)
    saved = load_saved(job.saved_maps, photograph.sha256, job.recipe)
    if saved is not None:
        defocus_map, map_file = saved
    else:
        method = find_method(job.recipe["method"])
        defocus_map = estimate_strips(photograph, method, find_parameters(method), None, job.device).whole()
        map_file = job.target
        map_file.parent.mkdir(parents=True, exist_ok=True)
        save_map(map_file, defocus_map)
    size = photograph.width, photograph.height
    measured = sharpness(defocus_map, photograph) if defocus_map.unit == "px" else None
    about = _about(size, measured)
    point = focus_point(photograph.tags, size, measured)
    if point is not None:
        about["look"] = {"x": point.x, "y": point.y, "why": point.why}
    shot = shot_of(job.path, reduce_photograph(photograph, 256), photograph.tags)
    return Reading(about | _rating(job.path), sha256=photograph.sha256, map_file=map_file, shot=shot)


def _about(size: tuple[int, int], measured: Sharpness | None) -> dict[str, Any]:
    return {
        "width": size[0],
        "height": size[1],
        "in_focus": None if measured is None else measured.in_focus,
        "words": "" if measured is None else why(measured),
        "shaken": measured is not None and bool(measured.shaken),
    }


def _rating(path: Path) -> dict[str, Any]:
    try:
        return {"rating": read_rating(path).stars}
    except SidecarError as error:
        warnings.warn(str(error), stacklevel=2)
        return {"rating": None}
