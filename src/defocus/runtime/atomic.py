"""Writing of files so that they appear complete or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

__all__ = ["atomic_write", "copy_new", "move_new", "write_bytes", "write_text"]

_FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
"""What the system says of a disk, a file or a user's share that takes no more; it does not say which file it was."""


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
        If the folder does not exist or cannot be written, or the disk is full; its `filename` is that of `path`.

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
    except BaseException as error:
        with suppress(OSError):
            part.unlink()
        if isinstance(error, OSError) and (error.filename == str(part) or error.errno in _FULL):
            error.filename = str(path)
        raise


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


def move_new(source: Path, target: Path) -> None:
    """Move a file to a name that nothing has yet; on the same file system it is only renamed.

    Parameters
    ----------
    source : path of the file.
    target : its new path.

    Raises
    ------
    FileExistsError
        If `target` exists; it is left as it is.
    OSError
        If the file cannot be moved; it is left where it is.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "a.txt").write_text("a")
    ...     move_new(Path(folder) / "a.txt", Path(folder) / "b.txt")
    ...     [path.name for path in Path(folder).iterdir()]
    ['b.txt']
    """
    try:
        # Where links are, the name is never that of an empty file, not even for a moment.
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):
        pass
    else:
        source.unlink()
        _sync_folder(target.parent)
        return
    with _reserved(target):
        try:
            os.replace(source, target)  # noqa: PTH105 (documented as atomic)
            return
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        _copy(source, target)
        source.unlink()


def copy_new(source: Path, target: Path) -> None:
    """Copy a file, with its times, to a name that nothing has yet; it appears whole or not at all.

    Parameters
    ----------
    source : path of the file.
    target : path of the copy.

    Raises
    ------
    FileExistsError
        If `target` exists; it is left as it is.
    OSError
        If the file cannot be copied.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "a.txt").write_text("a")
    ...     copy_new(Path(folder) / "a.txt", Path(folder) / "b.txt")
    ...     sorted(path.name for path in Path(folder).iterdir())
    ['a.txt', 'b.txt']
    """
    with _reserved(target):
        _copy(source, target)


@contextmanager
def _reserved(target: Path) -> Iterator[None]:
    """Make an empty file, so that the name is ours; take it away again where the block fails."""
    target.open("xb").close()
    try:
        yield
    except BaseException:
        with suppress(OSError):
            target.unlink()
        raise


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as original, atomic_write(target) as file:
        shutil.copyfileobj(original, file)
    shutil.copystat(source, target)
