"""Writing of files so that they appear complete or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

__all__ = ["atomic_write", "publish", "write_bytes", "write_text"]


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that replaces `path` once the block has ended without an exception.

    The bytes go to a hidden ``.NAME.xxxxxxxx.part`` in the same folder, so that the final step is one rename
    and no reader sees an incomplete file. On any exception, including Ctrl-C, the hidden file is removed and
    the previous file at `path` stays.

    Parameters
    ----------
    path : path of the file to write.

    Yields
    ------
    binary file
        Open for reading and writing, seekable.

    Raises
    ------
    OSError
        If the folder does not exist or cannot be written, or the disk is full.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_write(Path(folder) / "numbers.txt") as file:
    ...         _ = file.write(b"1 2 3")
    ...     [path.name for path in Path(folder).iterdir()]
    ['numbers.txt']
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb+") as file:
            yield file
            # The bytes are written before the rename: else a power cut could leave an empty file at `path`.
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)  # noqa: PTH105 (documented as atomic)
        _sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def publish(finished: Path, path: Path) -> None:
    """Give a finished file its name, unless another file has that name; nobody ever sees a part of it there.

    Parameters
    ----------
    finished : file on the same file system, which is gone afterwards.
    path : its name; nothing that is there is replaced.

    Raises
    ------
    FileExistsError
        If something of that name is there; `finished` stays.
    OSError
        If the folder cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_bytes(Path(folder) / "finished", b"1")
    ...     publish(Path(folder) / "finished", Path(folder) / "named")
    ...     [path.name for path in Path(folder).iterdir()]
    ['named']
    """
    try:
        os.link(finished, path)  # unlike a rename, it fails where the name is taken
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):  # a file system without links: the name is taken first, then filled
        path.open("xb").close()
        os.replace(finished, path)  # noqa: PTH105 (documented as atomic)
    else:
        finished.unlink()
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Write the rename itself to the disk, where the system supports it."""
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
