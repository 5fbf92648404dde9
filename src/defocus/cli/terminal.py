"""What a command shows: lines on standard output and standard error, and one progress bar, on a terminal only."""

from __future__ import annotations

import os
import sys
import unicodedata
from types import TracebackType
from typing import Self, TextIO

from defocus.errors import DefocusError


class OutputClosedError(DefocusError):
    """Standard output takes no more: its disk is full, or (without a message) its reader has gone."""


def printable(text: str) -> str:
    """Return text that cannot steer a terminal: control characters, as in names of files, are written as escapes."""
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if unicodedata.category(character) in ("Cc", "Cs") or character in _DIRECTIONS
        else character
        for character in text
    )


# Marks that let a name be shown in another order than it is spelt.
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def say(line: str, *, error: bool = False) -> None:
    """Print a line to standard output, or to standard error, if there is one.

    Raises
    ------
    OutputClosedError
        If standard output takes no more. Lines that standard error does not take are dropped.
    """
    stream = sys.stderr if error else sys.stdout
    if stream is None:  # closed before the command began, as services do
        return
    try:
        print(_encodable(printable(line), stream), file=stream, flush=True)
    except (OSError, ValueError) as failure:  # a broken pipe, a full disk; a stream that was closed
        if not error:
            raise OutputClosedError(_lost_output(failure)) from failure


def write_binary(contents: bytes) -> None:
    """Write the contents of a file to standard output.

    Raises
    ------
    OutputClosedError
        If there is none, or it takes no more.
    """
    try:
        if sys.stdout is None:
            raise ValueError("it is closed")
        sys.stdout.buffer.write(contents)
        sys.stdout.buffer.flush()
    except (OSError, ValueError) as failure:
        raise OutputClosedError(_lost_output(failure)) from failure


def _lost_output(failure: Exception) -> str:
    if sys.stdout is not None:
        # What is left in the buffer must not fail once more when Python exits.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
    if isinstance(failure, BrokenPipeError):
        return ""  # the reader, such as `head`, has what it wanted
    reason = getattr(failure, "strerror", None) or str(failure)
    return f"Cannot write to standard output: {reason}."


def _encodable(text: str, stream: TextIO) -> str:
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


class ProgressBar:
    """A bar on standard error, and lines above it.

    Without a terminal, or with `hidden`, there is no bar and lines go straight to their stream.

    Parameters
    ----------
    total : number of photographs.
    hidden : never show the bar.
    """

    def __init__(self, total: int, *, hidden: bool) -> None:
        self._bar = None
        self._done = 0
        if hidden or sys.stderr is None or not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.fields[name]}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[photo]} of {task.total:.0f}", markup=False),
            TimeRemainingColumn(),
            TextColumn("{task.fields[step]}", markup=False),
            console=Console(stderr=True),
            transient=True,
            # Redirecting would send JSON meant for a file to the terminal.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bar.add_task("", total=total, name="", step="", photo=1)

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def begin(self, name: str, step: str = "reading") -> None:
        """Show the name of the photograph that is next, and its first step."""
        if self._bar:
            self._bar.update(self._task, name=printable(name), step=step, photo=self._done + 1)

    def report(self, step: str, fraction: float) -> None:
        """Show a step of the photograph at hand and the fraction of it that is done, 0..1; a `Progress`."""
        if self._bar:
            self._bar.update(self._task, step=step, completed=self._done + fraction)

    def end(self) -> None:
        """Count the photograph at hand as done."""
        self._done += 1
        if self._bar:
            self._bar.update(self._task, completed=self._done)

    def say(self, line: str, *, error: bool = False) -> None:
        """Print a line as `say` does, without disturbing the bar."""
        stream = sys.stderr if error else sys.stdout
        if self._bar and stream is not None and stream.isatty():
            text = _encodable(printable(line), stream)
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            say(line, error=error)
