"""Photographs: reading every common format, holding them upright in sRGB, and saving edits of them."""

from defocus.errors import PhotographWarning
from defocus.photograph.formats import PHOTOGRAPH_SUFFIXES
from defocus.photograph.orientation import turn_as_stored, turn_upright
from defocus.photograph.photograph import (
    MIN_SIDE,
    Photograph,
    PhotographLike,
    as_photograph,
    photograph_from_array,
    reduce_photograph,
)
from defocus.photograph.read import photograph_from_image, read_photograph
from defocus.photograph.save import encode_photograph, save_photograph, saving_note, suffix_for
from defocus.photograph.source import MAX_PIXELS, photograph_sha256
from defocus.photograph.stored_pixels import StoredPixels

__all__ = [
    "MAX_PIXELS",
    "MIN_SIDE",
    "PHOTOGRAPH_SUFFIXES",
    "Photograph",
    "PhotographLike",
    "PhotographWarning",
    "StoredPixels",
    "as_photograph",
    "encode_photograph",
    "photograph_from_array",
    "photograph_from_image",
    "photograph_sha256",
    "read_photograph",
    "reduce_photograph",
    "save_photograph",
    "saving_note",
    "suffix_for",
    "turn_as_stored",
    "turn_upright",
]
