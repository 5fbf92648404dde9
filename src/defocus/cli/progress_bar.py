"""One progress bar for many photographs, on a terminal only."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self


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
        if hidden or not sys.stderr.isatty():
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
            self._bar.update(self._task, name=name, step=step, photo=self._done + 1)

    def report(self, step: str, fraction: float) -> None:
        """Show a step of the photograph at hand and the share of it that is done, 0..1; a `Progress`."""
        if self._bar:
            self._bar.update(self._task, step=step, completed=self._done + fraction)

    def end(self) -> None:
        """Count the photograph at hand as done."""
        self._done += 1
        if self._bar:
            self._bar.update(self._task, completed=self._done)

    def say(self, line: str, *, error: bool = False) -> None:
        """Print a line to standard output, or standard error, without disturbing the bar."""
        stream = sys.stderr if error else sys.stdout
        text = line.encode(stream.encoding or "utf-8", "backslashreplace").decode(stream.encoding or "utf-8")
        if self._bar and stream.isatty():
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=stream, flush=True)
