"""What `defocus magnify` and `defocus sharpen` have in common: an edited photograph is the output."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defocus.cli.options import EditFormat
from defocus.cli.photographs import Result
from defocus.cli.up_to_date import ANY_SUFFIX
from defocus.outputs import with_ending

if TYPE_CHECKING:  # numpy must not load for --help
    from numpy.typing import NDArray

    from defocus.photograph import Photograph
    from defocus.provenance import Provenance


def edit_output(stem: Path, ending: str, file_format: EditFormat | None) -> Path:
    """Return where an edit goes: its suffix is the format asked for, or depends on the photograph."""
    return with_ending(stem, ending + (ANY_SUFFIX if file_format is None else f".{file_format}"))


def edit(
    record: dict[str, Any], pixels: NDArray[Any], photograph: Photograph, file_format: EditFormat | None, quality: int
) -> Result:
    """Return an edited photograph, to be saved in its own format or the one asked for.

    Parameters
    ----------
    record : figures about it.
    pixels : H x W x 3, of the photograph's own type.
    photograph : what it was made from.
    file_format : suffix without the dot, or None for the photograph's own.
    quality : 1..100 of formats that lose something.
    """
    from defocus.photograph import save_photograph, saving_note, suffix_for

    if file_format is None:
        note = saving_note(photograph)
        if note is not None:
            warnings.warn(note, stacklevel=2)

    def save(path: Path, made_from: Provenance) -> None:
        save_photograph(path, pixels, photograph, provenance=made_from, quality=quality)

    return Result(record, save, suffix=suffix_for(photograph) if file_format is None else f".{file_format}")
