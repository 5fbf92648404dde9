"""What a command says about what went wrong, in one sentence each."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from defocus.errors import DefocusError


def error_message(error: Exception) -> str:
    """What went wrong, for the user."""
    if isinstance(error, MemoryError):
        return "there is not enough memory for it: make it smaller."
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}."
    if isinstance(error, DefocusError):
        return str(error)
    return f"{type(error).__name__}: {error} (a fault in defocus: please report it)."


def warnings_about(path: Path, caught: Sequence[warnings.WarningMessage]) -> tuple[str, ...]:
    """The warnings meant for the user, each once, without the photograph's path in front."""
    messages = (str(each.message) for each in caught if issubclass(each.category, UserWarning))
    return tuple(dict.fromkeys(without_path(message, path) for message in messages))


def without_path(message: str, path: Path) -> str:
    """A sentence about a file without the file's path in front, which is said before it anyway."""
    rest = message.removeprefix(str(path))
    # A sidecar's name begins with the photograph's.
    return rest.lstrip(": ") if rest.startswith((" ", ":")) else message
