"""The file formats of photographs, one row each. A new format is a reader and a row here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from defocus.photograph.decoded import Decoded
from defocus.photograph.heif import is_heif, read_heif
from defocus.photograph.jpeg import read_jpeg
from defocus.photograph.jpegxl import is_jpegxl, read_jpegxl
from defocus.photograph.pillow import read_pillow
from defocus.photograph.png import SIGNATURE, read_png
from defocus.photograph.pnm import read_pnm
from defocus.photograph.raw import RAW_SUFFIXES, is_raw, read_raw
from defocus.photograph.source import Source
from defocus.photograph.tiff import read_tiff

__all__ = ["FORMATS", "PHOTOGRAPH_SUFFIXES", "Format", "find_format"]


@dataclass(frozen=True)
class Format:
    """One format of photographs.

    Attributes
    ----------
    name : common name of the format.
    suffixes : suffixes, in lower case, by which its files are found in a folder. Reading goes by content.
    matches : function that tells by a file's content (for RAW by its suffix too) whether it has this format.
    read : reader of the format.
    edit_suffix : suffix of the file that an edit of such a photograph is saved as.
    deep_edit_suffix : the same for a photograph of more than 8 bits.
    in_parts : whether a large one may be read part by part, so that there is no largest file.
    """

    name: str
    suffixes: frozenset[str]
    matches: Callable[[Source], bool]
    read: Callable[[Source], Decoded]
    edit_suffix: str
    deep_edit_suffix: str = ".png"
    in_parts: bool = False


def _begins(*signatures: bytes) -> Callable[[Source], bool]:
    return lambda source: source.head().startswith(signatures)


def _is_webp(source: Source) -> bool:
    head = source.head()
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def _is_avif(source: Source) -> bool:
    head = source.head()
    return head[4:8] == b"ftyp" and b"avif" in head[8:]


# In the order in which they are tried: RAW looks like TIFF, and HEIC like AVIF.
FORMATS = (
    Format("RAW", RAW_SUFFIXES, is_raw, read_raw, ".png"),
    Format("JPEG", frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"}), _begins(b"\xff\xd8"), read_jpeg, ".jpg"),
    Format("PNG", frozenset({".png"}), _begins(SIGNATURE), read_png, ".png", in_parts=True),
    Format(
        "TIFF",
        frozenset({".tif", ".tiff"}),
        _begins(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
        read_tiff,
        ".tif",
        deep_edit_suffix=".tif",
        in_parts=True,
    ),
    Format("HEIC", frozenset({".heic", ".heif", ".hif"}), is_heif, read_heif, ".jpg"),
    Format("AVIF", frozenset({".avif"}), _is_avif, read_pillow, ".jpg"),
    Format("WebP", frozenset({".webp"}), _is_webp, read_pillow, ".webp"),
    Format("JPEG XL", frozenset({".jxl"}), is_jpegxl, read_jpegxl, ".jpg"),
    Format(
        "JPEG 2000", frozenset({".jp2", ".j2k"}), _begins(b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"), read_pillow, ".png"
    ),
    Format("BMP", frozenset({".bmp"}), _begins(b"BM"), read_pillow, ".png"),
    Format("GIF", frozenset({".gif"}), _begins(b"GIF8"), read_pillow, ".png"),
    Format("PNM", frozenset({".ppm", ".pgm"}), _begins(b"P2", b"P3", b"P5", b"P6"), read_pnm, ".png"),
)
PHOTOGRAPH_SUFFIXES = frozenset[str]().union(*(each.suffixes for each in FORMATS))
"""Suffixes, in lower case, by which photographs are found in a folder."""


def find_format(source: Source) -> Format | None:
    """Return the format of a file, or None if it has none of these."""
    return next((each for each in FORMATS if each.matches(source)), None)
