"""Conversions between display-referred sRGB, linear light and grey.

Lenses average linear light, and files hold values encoded with the sRGB curve.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["linear_to_srgb", "luma", "srgb_to_linear"]

_LUMA_WEIGHTS = np.array([0.299, 0.587, 0.114])
_ENTRIES = 65536
"""Number of entries of a table."""
_tables: dict[str, NDArray[np.float32]] = {}


def luma(rgb: NDArray[np.floating], dtype: DTypeLike = np.float64) -> NDArray[Any]:
    """Return the grey image by the weights of ITU-R BT.601, which the published code of the other methods uses too.

    Parameters
    ----------
    rgb : H x W x 3 float array, 0..1.
    dtype : np.float64, or np.float32, which takes a third of the time.

    Returns
    -------
    H x W of that type, 0..1.

    Examples
    --------
    >>> luma(np.array([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 1.0]]]))
    array([[0.299, 0.587, 1.   ]])
    """
    grey: NDArray[Any] = rgb.astype(dtype, copy=False) @ _LUMA_WEIGHTS.astype(dtype)
    return grey


def srgb_to_linear(values: NDArray[np.floating], *, by_table: bool = False) -> NDArray[Any]:
    """Decode sRGB values to linear light (IEC 61966-2-1).

    Parameters
    ----------
    values : any shape, 0..1.
    by_table : look values up in a table of 65,536 entries, which is several times as fast for large photographs.

    Returns
    -------
    The same shape, 0..1; float64, or float32 by the table.

    Examples
    --------
    >>> srgb_to_linear(np.array([0.0, 0.5, 1.0])).round(4)
    array([0.   , 0.214, 1.   ])
    """
    if by_table:
        return _table("decode")[_places(values)]
    return np.where(values <= 0.04045, values / 12.92, ((np.maximum(values, 0) + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(values: NDArray[np.floating], *, by_table: bool = False) -> NDArray[Any]:
    """Encode linear light as sRGB values (IEC 61966-2-1): the inverse of `srgb_to_linear`.

    Parameters
    ----------
    values : any shape, 0..1; the table clips what lies outside.
    by_table : see `srgb_to_linear`.

    Returns
    -------
    The same shape, 0..1; float64, or float32 by the table.

    Examples
    --------
    >>> linear_to_srgb(np.array([0.0, 0.214, 1.0])).round(2)
    array([0. , 0.5, 1. ])
    """
    if by_table:
        # The curve is steep near 0, so the table is indexed by the square root, which spreads the dark end.
        return _table("encode")[_places(np.sqrt(np.clip(values, 0, 1)))]
    curved: NDArray[np.float64] = 1.055 * np.maximum(values, 0) ** (1 / 2.4) - 0.055
    return np.where(values <= 0.0031308, values * 12.92, curved)


def _places(values: NDArray[np.floating]) -> NDArray[np.uint16]:
    return (np.clip(values, 0, 1) * np.float32(_ENTRIES - 1) + np.float32(0.5)).astype(np.uint16)


def _table(name: str) -> NDArray[np.float32]:
    if name not in _tables:
        x = np.linspace(0, 1, _ENTRIES)
        y = srgb_to_linear(x) if name == "decode" else linear_to_srgb(x**2)
        _tables[name] = y.astype(np.float32)
    return _tables[name]
