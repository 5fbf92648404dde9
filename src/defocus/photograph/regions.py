"""Planes of pixels that are read in rectangular parts, so that a photograph of any size need not be in memory."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

__all__ = ["Region"]


class Region(Protocol):
    """H x W values that are read by two slices, as those of an array are."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Height and width, px."""

    def __getitem__(self, part: tuple[slice, slice], /) -> NDArray[Any]: ...
