"""Moving and copying photographs together with what belongs to them; nothing is ever overwritten."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from pathlib import Path

from defocus.culling.sidecars import sidecars_of
from defocus.errors import DefocusError
from defocus.photograph.folders import may_be_photograph
from defocus.photograph.raw import RAW_SUFFIXES
from defocus.runtime.atomic import copy_new, move_new

__all__ = ["FilingError", "belongings", "copy_photograph", "move_photograph"]


class FilingError(DefocusError):
    """A photograph cannot be moved or copied; it is where it was, with its sidecars.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("a.jpg", "best/a.jpg"):
    ...         (Path(folder) / name).parent.mkdir(exist_ok=True)
    ...         _ = (Path(folder) / name).write_bytes(b"...")
    ...     try:
    ...         copy_photograph(Path(folder) / "a.jpg", Path(folder) / "best")
    ...     except FilingError as error:
    ...         print(str(error).replace(folder, "shoot"))
    shoot/best/a.jpg exists already, and nothing is overwritten: move it away, or choose another folder.
    """


def move_photograph(photo: Path, folder: Path) -> list[tuple[Path, Path]]:
    """Move a photograph, its sidecars and what this package wrote beside it into a folder, made where it is missing.

    Parameters
    ----------
    photo : the photograph's file.
    folder : where it goes.

    Returns
    -------
    list of pairs of paths
        Where each file was and where it is; the photograph first. Moving them back undoes it.

    Raises
    ------
    FilingError
        If a file of that name is there already, or one cannot be moved. Then all are where they were.
    """
    return _file(photo, folder, move_new, lambda source, target: move_new(target, source), outputs=True)


def copy_photograph(photo: Path, folder: Path) -> list[tuple[Path, Path]]:
    """Copy a photograph and its sidecars into a folder, which is made where it is missing.

    Parameters
    ----------
    photo : the photograph's file.
    folder : where the copies go.

    Returns
    -------
    list of pairs of paths
        Each file and its copy; the photograph first.

    Raises
    ------
    FilingError
        If a file of that name is there already, or one cannot be copied. Then there are no copies.
    """
    return _file(photo, folder, copy_new, lambda _, target: target.unlink(), outputs=False)


def belongings(photo: Path, *, outputs: bool) -> list[Path]:
    """Return the files that go where a photograph goes: itself, its sidecars, and those of darktable's duplicates.

    x.xmp stays where it is while another photograph that has it, and is no JPEG beside a RAW file, stays too.

    Parameters
    ----------
    photo : the photograph's file.
    outputs : whether its map, strokes and whatever else this package wrote beside it go too; those named without its
        suffix only if no other photograph has its name.
    """
    stem, ending = re.escape(photo.stem), re.escape(photo.suffix)
    duplicate = re.compile(rf"{stem}_\d\d{ending}\.xmp", re.IGNORECASE)
    beside = sorted(photo.parent.iterdir())
    others = [
        path for path in beside if path != photo and path.stem.casefold() == photo.stem.casefold() and _may_own(path)
    ]
    own = [
        path
        for path in sidecars_of(photo)
        if path.stem.casefold() == photo.name.casefold() or not others or photo.suffix.lower() in RAW_SUFFIXES
    ]
    written = [photo.name] if others else [photo.name, photo.stem]
    made = [path for path in beside if outputs and any(path.name.startswith(f"{name}.defocus.") for name in written)]
    return [photo, *own, *(path for path in beside if duplicate.fullmatch(path.name)), *made]


def _may_own(path: Path) -> bool:
    return may_be_photograph(path.name) and ".defocus." not in path.name


def _file(
    photo: Path,
    folder: Path,
    do: Callable[[Path, Path], None],
    undo: Callable[[Path, Path], None],
    *,
    outputs: bool,
) -> list[tuple[Path, Path]]:
    done: list[tuple[Path, Path]] = []
    target = folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        pairs = [(path, folder / path.name) for path in belongings(photo, outputs=outputs)]
        for source, target in pairs:
            do(source, target)
            done.append((source, target))
    except OSError as error:
        for source, back in reversed(done):
            undo(source, back)
        if error.errno == errno.EEXIST:
            raise FilingError(
                f"{target} exists already, and nothing is overwritten: move it away, or choose another folder."
            ) from error
        raise FilingError(f"{photo} cannot be put into {folder}: {error.strerror or error}.") from error
    return done
