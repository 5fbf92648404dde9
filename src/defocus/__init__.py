"""How out of focus every pixel of a photograph is, in pixels.

>>> import defocus
>>> m = defocus.estimate("photo.jpg")      # doctest: +SKIP
>>> m.sigma                                # float32 H x W, in px of the photograph   # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from defocus.errors import DefocusError, MapFileError, ParameterError, PhotographError, WeightsError

# Bound at once, not lazily: importing the modules of the same names later would put the modules here.
# Both are light; numpy and the rest load on first use.
from defocus.estimate import estimate
from defocus.methods import methods
from defocus.version import __version__

if TYPE_CHECKING:
    from defocus.applications.depth import Depth as Depth
    from defocus.applications.depth import Lens as Lens
    from defocus.applications.depth import depth as depth
    from defocus.applications.magnify import magnify as magnify
    from defocus.applications.rank import Sharpness as Sharpness
    from defocus.applications.rank import rank as rank
    from defocus.applications.rank import sharpness as sharpness
    from defocus.applications.segment import Segmentation as Segmentation
    from defocus.applications.segment import segment as segment
    from defocus.applications.sharpen import sharpen as sharpen
    from defocus.defocus_map import DefocusMap as DefocusMap
    from defocus.defocus_map import Seeds as Seeds
    from defocus.map_file import load as load
    from defocus.methods.dhde import DHDEParameters as DHDEParameters
    from defocus.photograph import Photograph as Photograph
    from defocus.photograph import read_photograph as read_photograph

_HOME = {
    "DHDEParameters": "defocus.methods.dhde",
    "DefocusMap": "defocus.defocus_map",
    "Depth": "defocus.applications.depth",
    "Lens": "defocus.applications.depth",
    "Photograph": "defocus.photograph",
    "Seeds": "defocus.defocus_map",
    "Segmentation": "defocus.applications.segment",
    "Sharpness": "defocus.applications.rank",
    "depth": "defocus.applications.depth",
    "load": "defocus.map_file",
    "magnify": "defocus.applications.magnify",
    "rank": "defocus.applications.rank",
    "read_photograph": "defocus.photograph",
    "segment": "defocus.applications.segment",
    "sharpen": "defocus.applications.sharpen",
    "sharpness": "defocus.applications.rank",
}

__all__ = [
    "DHDEParameters",
    "DefocusError",
    "DefocusMap",
    "Depth",
    "Lens",
    "MapFileError",
    "ParameterError",
    "Photograph",
    "PhotographError",
    "Seeds",
    "Segmentation",
    "Sharpness",
    "WeightsError",
    "__version__",
    "depth",
    "estimate",
    "load",
    "magnify",
    "methods",
    "rank",
    "read_photograph",
    "segment",
    "sharpen",
    "sharpness",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'defocus' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
