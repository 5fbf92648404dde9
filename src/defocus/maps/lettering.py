r"""Text in any script on a picture: the built-in font, installed ones for what it lacks, and else an escape.

A character that no font has is written as Python writes it, 東 as \u6771, so that it cannot be taken for another one.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from itertools import groupby

from PIL import ImageDraw, ImageFont

__all__ = ["draw_text", "shortened"]

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

INSTALLED = (
    *("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "segoeui.ttf", "arial.ttf", "Arial.ttf"),
    *("NotoSansCJK-Regular.ttc", "NotoSansCJKjp-Regular.otf", "msyh.ttc", "YuGothM.ttc", "meiryo.ttc", "malgun.ttf"),
    *("PingFang.ttc", "Hiragino Sans GB.ttc", "AppleSDGothicNeo.ttc", "Arial Unicode.ttf", "wqy-microhei.ttc"),
    *("DroidSansFallbackFull.ttf", "NotoSansArabic-Regular.ttf", "NotoSansHebrew-Regular.ttf"),
    *("NotoSansDevanagari-Regular.ttf", "NotoSansThai-Regular.ttf", "Nirmala.ttf", "leelawui.ttf", "seguisym.ttf"),
    *("NotoSansSymbols-Regular.ttf", "NotoSansSymbols2-Regular.ttf"),
)
"""Files of fonts that come with Linux, Windows and macOS, in the order in which they are tried."""
_NO_CHARACTER = "\uffff"
"""Fonts show this as what they show for each character that they lack."""


def draw_text(draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, fill: tuple[int, int, int]) -> None:
    """Write one line.

    Parameters
    ----------
    draw : of the picture.
    at : left end of the line, and its top, px.
    text : any text.
    size : of the font, px.
    fill : colour.

    Examples
    --------
    >>> from PIL import Image
    >>> picture = Image.new("RGB", (100, 20))
    >>> draw_text(ImageDraw.Draw(picture), (0, 0), "Größe", 16, (255, 255, 255))
    >>> picture.getbbox() is not None
    True
    """
    left, top = at
    # One base line for all fonts; the built-in font is about as high above it as its size.
    for font, part in _runs(text, size):
        if isinstance(font, ImageFont.FreeTypeFont):
            draw.text((left, top + size), part, fill=fill, font=font, anchor="ls")
        else:  # Pillow without FreeType has a font of one size
            draw.text((left, top), part, fill=fill, font=font)
        left += round(font.getlength(part))


def shortened(text: str, size: int, width: int) -> str:
    """Return a text that fits into a width in px, its middle left out where it is too long.

    Examples
    --------
    >>> shortened("short", 16, 200), len(shortened(200 * "x", 16, 200)) < 50
    ('short', True)
    """
    for kept in range(len(text), 0, -1):
        shown = text if kept == len(text) else f"{text[: kept // 2]}...{text[len(text) - (kept - kept // 2) :]}"
        if sum(font.getlength(part) for font, part in _runs(shown, size)) <= width:
            return shown
    return ""


def _runs(text: str, size: int) -> Iterator[tuple[_Font, str]]:
    """Split a text into parts that one font can write; characters that none has are escaped."""
    composed = unicodedata.normalize("NFC", text)
    fonts = [_font_of(character, size) for character in composed]
    if None in fonts:
        # A backslash of the text itself must not look like the beginning of an escape.
        composed = "".join(
            character.encode("unicode_escape").decode("ascii") if font is None or character == "\\" else character
            for character, font in zip(composed, fonts, strict=True)
        )
        fonts = [_font_of(character, size) for character in composed]
    place = 0
    for font, part in groupby(fonts):
        length = len(list(part))
        if font is not None:
            yield font, composed[place : place + length]
        place += length


@lru_cache(maxsize=4096)
def _font_of(character: str, size: int) -> _Font | None:
    """The first font that has a character; None where none has, or it cannot be seen."""
    if character == " " or "!" <= character <= "~":
        return _built_in(size)
    if unicodedata.category(character)[0] in "CZ":
        return None
    fonts: list[Callable[[], _Font | None]] = [
        partial(_built_in, size),
        *(partial(_installed, name, size) for name in INSTALLED),
    ]
    for find in fonts:
        font = find()
        if font is not None and _has(font, character):
            return font
    return None


def _has(font: _Font, character: str) -> bool:
    if not isinstance(font, ImageFont.FreeTypeFont):
        return False
    shape, none = (font.getmask(each) for each in (character, _NO_CHARACTER))
    return shape.size != none.size or bytes(shape) != bytes(none)


@lru_cache
def _built_in(size: int) -> _Font:
    return ImageFont.load_default(size)


@lru_cache(maxsize=256)
def _installed(name: str, size: int) -> ImageFont.FreeTypeFont | None:
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None
