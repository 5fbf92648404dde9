"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

__all__ = ["atomic_write", "write_bytes", "write_text"]


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a new file for `path` that takes its place only once the block has ended well.

    The bytes go to a hidden ``.NAME.xxxxxxxx.part`` in the same folder, so that the final step is one rename
    and a reader never meets half a file. On any exception, Ctrl-C included, the hidden file is removed and
    what was at `path` before stays.

    Parameters
    ----------
    path : where the file will be.

    Yields
    ------
    binary file
        Open for reading and writing, seekable.

    Raises
    ------
    OSError
        If the folder does not exist or cannot be written, or the disk is full.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb+") as file:
            yield file
            # Its bytes before its name: else a power cut could leave an empty file in the place of the old one.
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)  # noqa: PTH105 (the name of the guarantee: atomic on every platform)
        _sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def _sync_folder(folder: Path) -> None:
    """Have the rename itself written to the disk, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file with `atomic_write`."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, contents: bytes) -> None:
    """Write the contents of a file with `atomic_write`."""
    with atomic_write(path) as file:
        file.write(contents)
