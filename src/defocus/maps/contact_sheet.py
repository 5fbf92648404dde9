"""A contact sheet: small photographs in order, with what is in focus outlined and the measurements beneath."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from defocus.maps.lettering import draw_text, shortened
from defocus.photograph import Photograph

__all__ = ["Tile", "contact_sheet", "thumbnail"]

_WIDTH, _HEIGHT = 320, 240
"""Size in px that a thumbnail fits in."""
_GROUND, _INK, _FAINT, _FRAME = (32, 32, 32), (240, 240, 240), (176, 176, 176), (255, 255, 255)
_IN_FOCUS, _SHADOW = (255, 214, 0), (0, 0, 0)
_GAP, _NAME_PX, _TEXT_PX = 16, 18, 16
_REACH = 3
"""Sigma in px of the blur that joins details in focus to one area, whose outline is easier to see than theirs."""
_LEAST_FRACTION = 0.3
"""Least fraction of the surroundings that is in focus within such an area."""


@dataclass(frozen=True, eq=False)
class Tile:
    """One photograph on the sheet.

    Attributes
    ----------
    thumbnail : h x w x 3 uint8, at most 240 x 320.
    name : the first line beneath; shortened in its middle where it is too long.
    lines : further lines.

    Examples
    --------
    >>> Tile(np.zeros((240, 320, 3), np.uint8), "beach.jpg", ("sharpness 0.8",)).name
    'beach.jpg'
    """

    thumbnail: NDArray[np.uint8]
    name: str
    lines: tuple[str, ...] = ()


def thumbnail(
    photograph: Photograph,
    in_focus: NDArray[np.bool_],
    subject: tuple[float, float, float, float] | None = None,
) -> NDArray[np.uint8]:
    """Return a thumbnail with what is in focus outlined in yellow and the subject region framed in white.

    Parameters
    ----------
    photograph : H x W px.
    in_focus : bool array of any size that covers the same frame.
    subject : left, top, width and height as fractions of the frame; None draws no frame.

    Returns
    -------
    uint8 h x w x 3, sRGB, the largest size that fits in 240 x 320 px; smaller photographs are enlarged to it.

    Examples
    --------
    >>> from defocus.photograph import photograph_from_array
    >>> photograph = photograph_from_array(np.zeros((600, 400, 3)))
    >>> thumbnail(photograph, np.zeros((60, 40), bool)).shape
    (240, 160, 3)
    """
    scale = min(_HEIGHT / photograph.height, _WIDTH / photograph.width)
    width, height = max(1, round(photograph.width * scale)), max(1, round(photograph.height * scale))
    pixels = np.asarray(photograph.pixels)
    if pixels.dtype != np.uint8:
        pixels = np.rint(photograph.as_float(np.float32) * 255).astype(np.uint8)
    small = Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3)
    fraction = Image.fromarray(np.uint8(255) * in_focus).resize((width, height), Image.Resampling.BOX)
    area = np.asarray(fraction.filter(ImageFilter.GaussianBlur(_REACH))) >= 255 * _LEAST_FRACTION
    picture = np.array(small)
    for grow, colour in ((2, _SHADOW), (1, _IN_FOCUS)):
        picture[_rim(area, grow)] = colour
    if subject is not None:
        framed = Image.fromarray(picture)
        left, top = round(subject[0] * width), round(subject[1] * height)
        right, bottom = round((subject[0] + subject[2]) * width) - 1, round((subject[1] + subject[3]) * height) - 1
        corners = (left, top, max(right, left + 4), max(bottom, top + 4))
        ImageDraw.Draw(framed).rectangle(corners, outline=_SHADOW, width=4)
        ImageDraw.Draw(framed).rectangle(
            [c + d for c, d in zip(corners, (1, 1, -1, -1), strict=True)], outline=_FRAME, width=2
        )
        picture = np.array(framed)
    return picture


def contact_sheet(tiles: Sequence[Tile], columns: int = 5) -> NDArray[np.uint8]:
    """Put tiles on a dark sheet, row by row.

    Parameters
    ----------
    tiles : one or more, in order.
    columns : tiles in a row, 1 or more; fewer tiles make a narrower sheet.

    Returns
    -------
    uint8 H x W x 3, sRGB.

    Examples
    --------
    >>> tile = Tile(np.zeros((240, 320, 3), np.uint8), "beach.jpg", ("sharpness 0.8",))
    >>> contact_sheet([tile] * 3, columns=2).shape
    (636, 688, 3)
    """
    columns = min(columns, len(tiles))
    line = _TEXT_PX + 6
    foot = _HEIGHT + _GAP // 2
    height = foot + _NAME_PX + 6 + line * max(len(tile.lines) for tile in tiles) + _GAP
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * (_WIDTH + _GAP) + _GAP, rows * height + _GAP), _GROUND)
    draw = ImageDraw.Draw(sheet)
    for place, tile in enumerate(tiles):
        left, top = _GAP + place % columns * (_WIDTH + _GAP), _GAP + place // columns * height
        picture = Image.fromarray(tile.thumbnail)
        # Pictures are aligned at their lower edges, so that the texts below them are aligned too.
        sheet.paste(picture, (left + (_WIDTH - picture.width) // 2, top + _HEIGHT - picture.height))
        draw_text(draw, (left, top + foot), shortened(tile.name, _NAME_PX, _WIDTH), _NAME_PX, _INK)
        for number, text in enumerate(tile.lines):
            at = top + foot + _NAME_PX + 6 + number * line
            draw_text(draw, (left, at), shortened(text, _TEXT_PX, _WIDTH), _TEXT_PX, _FAINT)
    return np.asarray(sheet)


def _rim(area: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Return the pixels within `width` px of the area's boundary inside it, and within one px less outside it."""
    picture = Image.fromarray(np.uint8(255) * area)
    size = 2 * width + 1
    inner = np.asarray(picture.filter(ImageFilter.MinFilter(size))) > 0
    outer = np.asarray(picture.filter(ImageFilter.MaxFilter(max(size - 2, 1)))) > 0
    return outer & ~inner
