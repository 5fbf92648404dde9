"""How a long computation reports its progress to the caller."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Progress"]

Progress = Callable[[str, float], None]
"""A function that is called with the name of the current step and the fraction of the whole work done, 0..1."""
