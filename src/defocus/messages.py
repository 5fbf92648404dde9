"""What is said about what went wrong, in one sentence each, by commands, the server and runs alike."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from defocus.errors import DefocusError

__all__ = ["error_message", "user_warnings", "without_path"]


def error_message(error: Exception) -> str:
    """Return what went wrong, for the user.

    Parameters
    ----------
    error : any exception; one that this package did not raise on purpose is called a fault of it.

    Examples
    --------
    >>> error_message(MemoryError())
    'there is not enough memory for it: make it smaller.'
    >>> error_message(KeyError("a"))
    "KeyError: 'a' (a fault in defocus: please report it)."
    """
    if isinstance(error, MemoryError):
        return "there is not enough memory for it: make it smaller."
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}."
    if isinstance(error, DefocusError):
        return str(error)
    return f"{type(error).__name__}: {error} (a fault in defocus: please report it)."


def user_warnings(
    caught: Sequence[warnings.WarningMessage], shortened: Callable[[str], str] = lambda sentence: sentence
) -> tuple[str, ...]:
    """Return the warnings that are meant for the user, each once, in the order in which they were given.

    Parameters
    ----------
    caught : of `warnings.catch_warnings(record=True)`.
    shortened : called with each sentence; returns what is to be said instead, such as without a path.

    Examples
    --------
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     for kind in (UserWarning, UserWarning, DeprecationWarning):
    ...         warnings.warn("it is dark", kind)
    >>> user_warnings(caught, str.capitalize)
    ('It is dark',)
    """
    sentences = (str(each.message) for each in caught if issubclass(each.category, UserWarning))
    return tuple(dict.fromkeys(shortened(sentence) for sentence in sentences))


def without_path(message: str, path: Path) -> str:
    """Return a sentence about a file without the file's path in front, which is said before it anyway.

    Examples
    --------
    >>> without_path("a.jpg: it is dark.", Path("a.jpg"))
    'it is dark.'
    """
    rest = message.removeprefix(str(path))
    # A sidecar's name begins with the photograph's.
    return rest.lstrip(": ") if rest.startswith((" ", ":")) else message
