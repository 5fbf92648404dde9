"""Finding photographs in folders: the one place that decides what in a folder is a photograph."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

from defocus.photograph.formats import PHOTOGRAPH_SUFFIXES
from defocus.provenance import has_output_name, is_output

__all__ = ["may_be_photograph", "photographs_below", "reason_not_to_open"]


def may_be_photograph(name: str) -> bool:
    """Tell by its name alone whether a file may be a photograph: a known suffix, and not hidden.

    Parameters
    ----------
    name : of the file, without its folder.

    Examples
    --------
    >>> [may_be_photograph(name) for name in ("IMG_1.JPG", ".IMG_1.jpg", "notes.txt")]
    [True, False, False]
    """
    return not name.startswith(".") and Path(name).suffix.lower() in PHOTOGRAPH_SUFFIXES


def photographs_below(
    folder: Path,
    *,
    pattern: str = "*",
    recursive: bool = True,
    open_files: bool = True,
    on_failure: Callable[[Path, str], None] | None = None,
) -> list[Path]:
    """Return the photographs of a folder in the order of their names, without hidden files and outputs of this package.

    Parameters
    ----------
    folder : the folder; it is listed once.
    pattern : only names that match it, such as "*_left*".
    recursive : search the folders within, too.
    open_files : look into every file, which finds outputs of this package that were given another name. A caller that
        reads the photographs with `refuse_outputs` saves this second opening.
    on_failure : called with a path and the reason for every folder or file that cannot be read; without it they are
        left out silently.

    Returns
    -------
    Paths that begin with `folder`; folder by folder, names sorted within each.
    """

    def fail(path: Path, reason: str) -> None:
        if on_failure is not None:
            on_failure(path, reason)

    photographs = []
    walk = os.walk(folder, onerror=lambda error: fail(Path(error.filename), f"{error.strerror}."))
    for parent, folders, names in walk:
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if recursive else []
        for name in sorted(names):
            path = Path(parent) / name
            if not may_be_photograph(name) or not fnmatch(name, pattern) or has_output_name(path):
                continue
            reason = reason_not_to_open(path)
            if reason is not None:
                fail(path, reason)
            elif not (open_files and is_output(path)):
                photographs.append(path)
    return photographs


def reason_not_to_open(path: Path) -> str | None:
    """Say why a path cannot be a photograph's file, without opening it, which would wait at a pipe; None if it can."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "There is no file of that name: check it."
    except OSError as error:
        return f"{error.strerror or error}."
    if not stat.S_ISREG(mode):
        return "It is a pipe, a device or a socket, not a file: give a photograph's own file, or - for standard input."
    return None
