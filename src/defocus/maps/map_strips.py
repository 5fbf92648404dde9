"""A map that is computed strip by strip, so that the map of a photograph of any size can be written to a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from defocus.errors import DefocusError
from defocus.maps.defocus_map import DefocusMap, Seeds
from defocus.maps.motion import Motion
from defocus.photograph.source import available_memory

__all__ = ["MapStrip", "MapStrips"]

_ROWS = 512
"""Number of rows of a strip of a map that is in memory."""
_BYTES_PER_PIXEL = 9
"""Size of a map in memory, in bytes per pixel."""


@dataclass(frozen=True, eq=False)
class MapStrip:
    """Whole rows of a map.

    Attributes
    ----------
    top : number of the first row.
    sigma, confidence, saturated : rows x W, as in `DefocusMap`.
    """

    top: int
    sigma: NDArray[np.float32]
    confidence: NDArray[np.float32]
    saturated: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class MapStrips:
    """A map that is computed strip by strip.

    Attributes
    ----------
    shape : height and width, px.
    strips : returns the strips, from the first row to the last. It may be called several times; each call may compute
        the strips anew.
    seeds : returns the sparse map that sigma was propagated from.
    method, sigma_range, unit, metadata, relative_depth, motion : as in `DefocusMap`.
    ready : the map, where it is in memory anyway.

    Examples
    --------
    >>> import defocus
    >>> defocus_map = defocus.estimate(np.random.default_rng(0).random((64, 64)), method="zhuo2011")
    >>> strips = MapStrips.of(defocus_map)
    >>> [strip.sigma.shape for strip in strips.strips()]
    [(64, 64)]
    >>> np.array_equal(strips.whole().sigma, defocus_map.sigma)
    True
    """

    shape: tuple[int, int]
    strips: Callable[[], Iterator[MapStrip]]
    seeds: Callable[[], Seeds]
    method: str
    sigma_range: tuple[float, float]
    unit: str = "px"
    metadata: Mapping[str, Any] = field(default_factory=dict)
    relative_depth: NDArray[np.float32] | None = None
    motion: Motion | None = None
    ready: DefocusMap | None = None

    @classmethod
    def of(cls, defocus_map: DefocusMap) -> MapStrips:
        """Return the strips of a map that is in memory, as views of its arrays."""

        def strips() -> Iterator[MapStrip]:
            for top in range(0, len(defocus_map.sigma), _ROWS):
                rows = slice(top, top + _ROWS)
                yield MapStrip(top, defocus_map.sigma[rows], defocus_map.confidence[rows], defocus_map.saturated[rows])

        return cls(
            shape=(defocus_map.sigma.shape[0], defocus_map.sigma.shape[1]),
            strips=strips,
            seeds=lambda: defocus_map.seeds,
            method=defocus_map.method,
            sigma_range=defocus_map.sigma_range,
            unit=defocus_map.unit,
            metadata=defocus_map.metadata,
            relative_depth=defocus_map.relative_depth,
            motion=defocus_map.motion,
            ready=defocus_map,
        )

    def watched(self, see: Callable[[MapStrip], None]) -> MapStrips:
        """Return the same strips; `see` is called with each of them when it is computed."""

        def strips() -> Iterator[MapStrip]:
            for strip in self.strips():
                see(strip)
                yield strip

        return replace(self, strips=strips, ready=None)

    def whole(self) -> DefocusMap:
        """Return the map in memory.

        Raises
        ------
        DefocusError
            If there is not enough memory for it.
        """
        if self.ready is not None:
            same = self.metadata is self.ready.metadata
            return self.ready if same else replace(self.ready, metadata=self.metadata)
        height, width = self.shape
        needed, free = _BYTES_PER_PIXEL * height * width, available_memory()
        if needed > free:
            raise DefocusError(
                f"The map of {width} x {height} pixels needs {needed / 1e9:.1f} GB of memory, of which "
                f"{free / 1e9:.1f} GB are free: write it to a file with defocus estimate, which needs less."
            )
        sigma, confidence = np.empty(self.shape, np.float32), np.empty(self.shape, np.float32)
        saturated = np.empty(self.shape, np.bool_)
        for strip in self.strips():
            rows = slice(strip.top, strip.top + len(strip.sigma))
            sigma[rows], confidence[rows], saturated[rows] = strip.sigma, strip.confidence, strip.saturated
        return DefocusMap(
            sigma=sigma,
            confidence=confidence,
            saturated=saturated,
            seeds=self.seeds(),
            method=self.method,
            sigma_range=self.sigma_range,
            unit=self.unit,
            metadata=self.metadata,
            relative_depth=self.relative_depth,
            motion=self.motion,
        )
