"""Display-referred sRGB and linear light: lenses add up light, files hold its sRGB curve (IEC 61966-2-1).

Two ways: exact in float64, and by table in float32 for photographs of many megapixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ENTRIES = 65536
_tables: dict[str, NDArray[np.float32]] = {}


def srgb_to_linear(values: Floats) -> Floats:
    """Decode sRGB values 0..1 to linear light 0..1 (IEC 61966-2-1)."""
    return np.where(values <= 0.04045, values / 12.92, ((np.maximum(values, 0) + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(values: Floats) -> Floats:
    """Encode linear light 0..1 as sRGB values 0..1 (IEC 61966-2-1)."""
    curved: Floats = 1.055 * np.maximum(values, 0) ** (1 / 2.4) - 0.055
    return np.where(values <= 0.0031308, values * 12.92, curved)


def linear_from_srgb(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Decode sRGB values 0..1 to linear light 0..1, float32; a table of 65,536 entries, read to the nearest."""
    return _table("decode")[_places(values)]


def srgb_from_linear(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Encode linear light, clipped to 0..1, as sRGB 0..1, float32."""
    # Steep near 0: the table is of the square root, which spreads the dark end.
    return _table("encode")[_places(np.sqrt(np.clip(values, 0, 1)))]


def _places(values: NDArray[np.floating]) -> NDArray[np.uint16]:
    return (np.clip(values, 0, 1) * np.float32(_ENTRIES - 1) + np.float32(0.5)).astype(np.uint16)


def _table(name: str) -> NDArray[np.float32]:
    if name not in _tables:
        x = np.linspace(0, 1, _ENTRIES)
        y = srgb_to_linear(x) if name == "decode" else linear_to_srgb(x**2)
        _tables[name] = y.astype(np.float32)
    return _tables[name]
