"""The eight orientations in which a file may store its pixels."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

__all__ = ["turn_as_stored", "turn_upright"]


def turn_upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn stored pixels upright by their EXIF orientation (EXIF 2.32, tag 0x0112).

    Parameters
    ----------
    pixels : H x W [x C] array.
    orientation : 1..8; anything else counts as 1.

    Returns
    -------
    A view, H x W [x C] or W x H [x C].

    Examples
    --------
    >>> import numpy as np
    >>> turn_upright(np.array([[1, 2, 3]]), orientation=6)  # a quarter turn clockwise
    array([[1],
           [2],
           [3]])
    """
    match orientation:
        case 2:  # top, right
            return pixels[:, ::-1]
        case 3:  # bottom, right
            return pixels[::-1, ::-1]
        case 4:  # bottom, left
            return pixels[::-1]
        case 5:  # left, top
            return pixels.swapaxes(0, 1)
        case 6:  # right, top
            return pixels[::-1].swapaxes(0, 1)
        case 7:  # right, bottom
            return pixels[::-1, ::-1].swapaxes(0, 1)
        case 8:  # left, bottom
            return pixels[:, ::-1].swapaxes(0, 1)
        case _:
            return pixels


def turn_as_stored(upright: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn an upright picture back to the orientation in which a file stores its pixels: the inverse of `turn_upright`.

    Parameters
    ----------
    upright : H x W [x C] array.
    orientation : EXIF orientation of the file, 1..8; anything else counts as 1.

    Returns
    -------
    A view, H x W [x C] or W x H [x C].

    Examples
    --------
    >>> import numpy as np
    >>> turn_as_stored(turn_upright(np.array([[1, 2, 3]]), orientation=6), orientation=6)
    array([[1, 2, 3]])
    """
    return turn_upright(upright, {6: 8, 8: 6}.get(orientation, orientation))
