"""How a long computation reports how far it is, without knowing who listens."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, float], None]
"""Called with the name of the step at hand and the share of the whole work that is done, 0..1."""
