"""The bytes of a photograph, opened once, and a check whether they fit into memory."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import BinaryIO, cast

from defocus.errors import PhotographError

__all__ = ["LARGEST_FILE", "MAX_PIXELS", "Source", "available_memory", "open_file", "opened", "photograph_sha256"]

MAX_PIXELS = 200_000_000
"""Number of pixels above which photographs that have to be read whole are refused, unless another limit is given."""
_BYTES_PER_PIXEL = 3
"""Peak memory in bytes per pixel of `defocus estimate` by the default method, beside the pixels
(docs/figures/speed.md)."""
LARGEST_FILE = 8 * 2**30
"""Largest size in bytes of a file that has to be read whole."""
_NOT_OPENED = {errno.ENXIO: "it is a pipe, a device or a socket, not a file", errno.ELOOP: "its links lead in a circle"}
"""Plainer messages than those of the operating system."""


@dataclass(frozen=True)
class Source:
    """The bytes of a photograph.

    Attributes
    ----------
    file : binary file, open for reading.
    name : name for messages.
    path : path of the file, or None for bytes.
    size : size in bytes.
    max_pixels : largest number of pixels; larger photographs are refused. None for `MAX_PIXELS` where a photograph has
        to be read whole, and no limit but memory where not.
    strict : whether a file of which a part is missing is refused.
    """

    file: BinaryIO
    name: str
    path: Path | None
    size: int
    max_pixels: int | None
    strict: bool

    def read(self) -> bytes:
        """Return the whole file.

        Raises
        ------
        PhotographError
            If there is not enough memory.
        """
        free = available_memory()
        if self.size > free:
            raise PhotographError(
                f"{self.name} has {self.size / 1e9:.1f} GB and has to be read whole, but {free / 1e9:.1f} GB of memory "
                "are free: make it smaller."
            )
        self.file.seek(0)
        return self.file.read()

    def head(self, length: int = 64) -> bytes:
        """Return the first bytes."""
        self.file.seek(0)
        return self.file.read(length)

    def sha256(self) -> str:
        """Return the SHA-256 of the file, 64 hexadecimal digits."""
        self.file.seek(0)
        return _sha256(self.file)

    def keep(self) -> Callable[[int, int], bytes]:
        """Return a function of offset and count that reads bytes, also after the file has been closed, from any thread.

        It reads the file as it was opened, even if another has its name by then.
        """
        return _KeptFile(self.file).read

    def check_size(self, height: int, width: int, bytes_per_pixel: float = 4, *, in_parts: bool = False) -> None:
        """Check, before a picture is decoded, that it is neither too small nor too large.

        Parameters
        ----------
        height, width : size of the picture, px.
        bytes_per_pixel : bytes per pixel of the decoded picture, all its channels together.
        in_parts : whether it is read part by part; else it has to be read whole.

        Raises
        ------
        PhotographError
            If a side is below 3 px, or the picture has more pixels than allowed or needs more memory than is free.
        """
        from defocus.photograph.photograph import check_sides

        check_sides(height, width, self.name)
        pixels = height * width
        needed = pixels * (_BYTES_PER_PIXEL + (0 if in_parts else 2 * bytes_per_pixel))
        limit = MAX_PIXELS if self.max_pixels is None and not in_parts else self.max_pixels
        if limit is not None and pixels > limit:
            hint = "" if in_parts else ", or save it as a tiled TIFF without alpha, which is read part by part"
            raise PhotographError(
                f"{self.name} has {width} x {height} pixels, more than the limit of {limit / 1e6:g} million, and needs "
                f"about {needed / 1e9:.1f} GB of memory: make it smaller, raise the limit{hint}."
            )
        free = available_memory()
        # 32 bytes are four times those of 16-bit colour with alpha: such files hold no photograph.
        if bytes_per_pixel > 32 or needed > free:
            raise PhotographError(
                f"{self.name} has {width} x {height} pixels of {bytes_per_pixel:g} bytes and needs about "
                f"{needed / 1e9:.1f} GB of memory, of which {free / 1e9:.1f} GB are free: make it smaller."
            )


class _KeptFile:
    """The bytes of an open file, kept open by a descriptor of its own, or of a file in memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._lock = threading.Lock()
        self._memory: memoryview | None = None
        if isinstance(file, io.BytesIO):
            self._memory = file.getbuffer()
        else:
            self._descriptor = os.dup(file.fileno())
            weakref.finalize(self, os.close, self._descriptor)

    def read(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset` on, fewer where the file ends before."""
        if self._memory is not None:
            return bytes(self._memory[offset : offset + count])
        parts = []
        while count > 0:
            part = self._read_some(offset, count)
            if not part:
                break
            parts.append(part)
            offset, count = offset + len(part), count - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read_some(self, offset: int, count: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._descriptor, count, offset)
        with self._lock:  # Windows
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            return os.read(self._descriptor, count)


@contextmanager
def opened(photo: str | os.PathLike[str] | bytes | BinaryIO, max_pixels: int | None, strict: bool) -> Iterator[Source]:
    """Open a photograph's file, or wrap its bytes; only regular files are opened, never pipes or devices.

    Raises
    ------
    PhotographError
        If it is missing, a folder, a pipe, empty, or cannot be read.
    """
    if not isinstance(photo, str | os.PathLike):
        data = bytes(photo) if isinstance(photo, bytes | bytearray | memoryview) else _read_open(photo)
        if not isinstance(data, bytes):
            raise PhotographError("The file is open as text: open it as binary, with mode 'rb'.")
        if not data:
            raise PhotographError("The photograph is empty: there are no bytes.")
        yield Source(io.BytesIO(data), "the photograph", None, len(data), max_pixels, strict)
        return
    path = Path(photo)
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            raise PhotographError(f"{path} is empty: copy it again from where it came.")
        yield Source(file, str(path), path, size, max_pixels, strict)


def _read_open(file: BinaryIO) -> object:
    try:
        return file.read(LARGEST_FILE)
    except (OSError, ValueError) as error:  # closed, or open for writing only
        reason = getattr(error, "strerror", None)
        hint = reason if reason else "give it before it is closed, opened with mode 'rb'"
        raise PhotographError(f"The open file cannot be read: {hint}.") from error


@contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file for reading, never waiting for a pipe; raise `PhotographError` if that cannot be done."""
    try:
        folder = path.is_dir()
    except (OSError, ValueError, RuntimeError):  # reported below
        folder = False
    if folder:
        raise PhotographError(f"{path} is a folder: give a photograph.")
    try:
        file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 (closed by the block below)
    except FileNotFoundError as error:
        raise PhotographError(f"There is no file {path}.") from error
    except (OSError, ValueError, RuntimeError) as error:  # a name with a zero byte; a loop of links
        reason = _NOT_OPENED.get(getattr(error, "errno", None) or 0) or getattr(error, "strerror", None) or error
        raise PhotographError(f"{path} cannot be read: {reason}.") from error
    with file:
        try:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise PhotographError(
                    f"{path} is a pipe, a device or a socket, not a file: give a photograph's own file."
                )
            yield file
        except OSError as error:
            if error.errno is None:
                raise
            raise PhotographError(f"{path} cannot be read: {error.strerror}.") from error


def _without_waiting(path: str, flags: int) -> int:
    """Open a file without waiting for a pipe that has no writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def photograph_sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a photograph's file, 64 hexadecimal digits.

    Parameters
    ----------
    path : path of the file.

    Raises
    ------
    PhotographError
        If the file is missing, a folder, a pipe, or cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "photo.jpg").write_bytes(b"abc")
    ...     photograph_sha256(Path(folder) / "photo.jpg")[:16]
    'ba7816bf8f01cfea'
    """
    with open_file(Path(path)) as file:
        return _sha256(file)


def _sha256(file: BinaryIO) -> str:
    return hashlib.file_digest(cast(BufferedIOBase, file), "sha256").hexdigest()


def available_memory() -> float:
    """Return the bytes of memory that are free on the machine, or within the limit of a container.

    Infinity where the system does not state it.
    """
    free = float("inf")
    try:
        with Path("/proc/meminfo").open() as file:
            lines = dict(line.split(":", 1) for line in file)
        free = float(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError, IndexError):
        try:
            free = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
        except (AttributeError, OSError, ValueError):
            return free
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            free = min(free, float(Path(limit).read_text()) - float(Path(used).read_text()))
        except (OSError, ValueError):
            continue
    return max(free, 0.0)
