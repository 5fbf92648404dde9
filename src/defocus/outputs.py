"""What files that this package writes are called, and the folder that they go to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from defocus.errors import ParameterError

__all__ = [
    "DEPTH_ENDING",
    "MAP_ENDING",
    "OVERLAY_ENDING",
    "PAGE_ENDING",
    "PREVIEW_ENDING",
    "STROKES_ENDING",
    "MaskNaming",
    "mask_ending",
    "prepare_folder",
    "with_ending",
]

MAP_ENDING = ".defocus.tiff"
PREVIEW_ENDING = ".defocus.png"
OVERLAY_ENDING = ".defocus.overlay.png"
DEPTH_ENDING = ".defocus.depth.png"
PAGE_ENDING = ".defocus.html"
STROKES_ENDING = ".defocus.strokes.json"
"""What was painted on a photograph (`defocus.maps.strokes`); it lies beside the photograph."""

MaskNaming = Literal["colmap", "metashape"]
"""Programs of photogrammetry that expect masks under names of their own."""


def with_ending(stem: Path, ending: str) -> Path:
    """Append an ending to a path whose name may have dots of its own.

    Examples
    --------
    >>> with_ending(Path("5.1 beach"), MAP_ENDING).name
    '5.1 beach.defocus.tiff'
    """
    return stem.with_name(stem.name + ending)


def mask_ending(naming: MaskNaming, photo: Path) -> str:
    """Return what a program expects after the name without suffix of a photograph, in the name of its mask.

    Examples
    --------
    >>> mask_ending("colmap", Path("a.jpg")), mask_ending("metashape", Path("a.jpg"))
    ('.jpg.png', '_mask.png')
    """
    return f"{photo.suffix}.png" if naming == "colmap" else "_mask.png"


def prepare_folder(folder: Path | None) -> None:
    """Make the folder that outputs go to.

    Parameters
    ----------
    folder : its path; None where outputs go beside their photographs, and nothing is to be made.

    Raises
    ------
    ParameterError
        If it cannot be made or written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     prepare_folder(Path(parent) / "maps" / "of today")
    ...     (Path(parent) / "maps" / "of today").is_dir()
    True
    """
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ParameterError(f"Cannot make the folder {folder}: {error.strerror}.") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ParameterError(f"The folder {folder} cannot be written: choose another with -o.")
