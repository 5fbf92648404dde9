"""Whether what a command would make is there already: decided by content, not by name and date."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from defocus.defocus_map import DefocusMap, describe
from defocus.errors import MapFileError
from defocus.version import __version__

_PHOTOGRAPH = "photograph_sha256"
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"


def signed(result: DefocusMap, photograph_sha256: str) -> DefocusMap:
    """Return the map with the SHA-256 of its photograph's file among its metadata."""
    return dataclasses.replace(result, metadata={**result.metadata, _PHOTOGRAPH: photograph_sha256})


def is_finished(
    outputs: Mapping[str, Path], method: str, parameters: Any, weights: str | None, photograph_sha256: str
) -> bool:
    """Tell whether a photograph's outputs are whole and what this version would make of it again.

    Parameters
    ----------
    outputs : "map" and any pictures (PNG), by kind.
    method, parameters : of the map; parameters are a dataclass.
    weights : SHA-256 of their file, or None for a method without.
    photograph_sha256 : of its file as it is now; see `signed`.
    """
    try:
        found = describe(outputs["map"])
    except MapFileError:
        return False
    made_from = (found.version, found.method, *map(found.metadata.get, ("parameters", "weights_sha256", _PHOTOGRAPH)))
    as_json = json.loads(json.dumps(dataclasses.asdict(parameters)))
    same = made_from == (__version__, method, as_json, weights, photograph_sha256)
    return same and all(_is_whole_png(path) for kind, path in outputs.items() if kind != "map")


def _is_whole_png(path: Path) -> bool:
    try:
        with path.open("rb") as file, Image.open(file) as image:
            file.seek(-len(_PNG_END), 2)
            return image.format == "PNG" and file.read() == _PNG_END
    except (OSError, ValueError):
        return False
