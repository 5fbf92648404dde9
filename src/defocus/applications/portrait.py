"""A JPEG that holds its own depth, as portrait modes of telephones make it: GDepth in the XMP.

The depth is a picture in grey, stretched over the photograph, in the property GDepth:Data. XMP of more than 64 kB does
not fit into one segment of a JPEG: the rest goes into segments of its own (Adobe's extended XMP, XMP specification
part 3, 1.1.3.1).
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import struct
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from defocus.applications.depth import Depth
from defocus.applications.surface import distances
from defocus.errors import ParameterError
from defocus.photograph import Photograph, encode_photograph

if TYPE_CHECKING:
    from defocus.provenance import Provenance

__all__ = ["portrait_jpeg"]

_LONGEST_SIDE = 1500
"""Longer side in px of the depth, which is smooth over some px of the photograph."""
_GDEPTH, _NOTE = "http://ns.google.com/photos/1.0/depthmap/", "http://ns.adobe.com/xmp/note/"
_XMP_NAME, _EXTENSION_NAME = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
_MOST_XMP, _MOST_EXTENSION = 65_533 - len(_XMP_NAME), 65_400
"""Largest sizes in bytes of what follows the name in a segment."""
_EMPTY = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    "</rdf:RDF></x:xmpmeta>"
)
_OLD = re.compile(r"""\s+(?:GDepth:\w+|xmpNote:HasExtendedXMP)\s*=\s*(?:"[^"]*"|'[^']*')""")
_OLD_ELEMENTS = re.compile(r"<(GDepth:\w+|xmpNote:HasExtendedXMP)\b[^>]*>.*?</\1>", re.DOTALL)


def portrait_jpeg(
    photograph: Photograph, depth: Depth, *, made_from: Provenance | None = None, quality: int = 95
) -> bytes:
    """Return the photograph as a JPEG with its depth inside.

    Near is black and far is white, in 256 steps that are finer near the camera ("RangeInverse"). Depth in metres says
    so; relative depth has the unit "relative" and runs from 1 to 2.5, as in the surfaces of `defocus depth`.

    Parameters
    ----------
    photograph : H x W px; more than 8 bits become 8.
    depth : its depth, of the same size.
    made_from : what the file says it was made from; None to say nothing.
    quality : of the JPEG, 1..100.

    Raises
    ------
    ParameterError
        If the sizes differ or quality is out of range.

    Examples
    --------
    >>> import defocus
    >>> photo = defocus.Photograph(np.random.default_rng(1).integers(0, 256, (60, 90, 3), np.uint8))
    >>> b'GDepth:Format="RangeInverse"' in defocus.portrait_jpeg(photo, defocus.depth(photo))
    True
    """
    if depth.depth.shape != (photograph.height, photograph.width):
        raise ParameterError("The depth is of another photograph: compute that of this one.")
    z = distances(depth)[0].astype(np.float32)
    near, far = max(float(z.min()), 1e-3), min(float(z.max()), 1e5)
    far = max(far, near * 1.001)
    z = np.clip(z, near, far)
    levels = np.rint(255 * (far * (z - near)) / (z * (far - near))).astype(np.uint8)
    data = base64.b64encode(_png(levels)).decode("ascii")
    extension = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:GDepth="{_GDEPTH}" GDepth:Data="{data}"/></rdf:RDF></x:xmpmeta>'
    ).encode("ascii")
    name = hashlib.md5(extension, usedforsecurity=False).hexdigest().upper()
    described = (
        f'<rdf:Description rdf:about="" xmlns:GDepth="{_GDEPTH}" xmlns:xmpNote="{_NOTE}" '
        f'GDepth:Format="RangeInverse" GDepth:Near="{near:.4f}" GDepth:Far="{far:.4f}" '
        f'GDepth:Units="{depth.unit}" GDepth:MeasureType="OpticalAxis" GDepth:Mime="image/png" '
        f'GDepth:ImageWidth="{photograph.width}" GDepth:ImageHeight="{photograph.height}" '
        f'GDepth:Software="defocus" xmpNote:HasExtendedXMP="{name}"/>'
    )
    xmp = _with_description(photograph.xmp, described)
    contents = encode_photograph(
        ".jpg", np.asarray(photograph.pixels), replace(photograph, xmp=xmp), provenance=made_from, quality=quality
    )
    return _with_extension(contents, extension, name.encode("ascii"))


def _png(levels: np.ndarray) -> bytes:
    picture = Image.fromarray(levels)
    picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), Image.Resampling.BOX)
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


def _with_description(stored: bytes | None, described: str) -> bytes:
    """The photograph's own XMP, without a depth that it may hold, and with one more description.

    XMP that is no text, has no place for it or leaves none is left out.
    """
    for packet in (stored or b"", _EMPTY.encode("ascii")):
        try:
            text = packet.decode("utf-8").strip("\0 \t\r\n\ufeff")
        except UnicodeDecodeError:
            continue
        text = _OLD_ELEMENTS.sub("", _OLD.sub("", text))
        before, end, after = text.rpartition("</rdf:RDF>")
        together = (before + described + end + after).encode("utf-8")
        if end and len(together) <= _MOST_XMP:
            return together
    raise AssertionError("The packet of this package has a place for a description.")


def _with_extension(contents: bytes, extension: bytes, name: bytes) -> bytes:
    """A JPEG with extended XMP in segments of its own, after that of its XMP."""
    place = contents.index(_XMP_NAME) - 4
    end = place + 2 + struct.unpack_from(">H", contents, place + 2)[0]
    segments = b""
    for start in range(0, len(extension), _MOST_EXTENSION):
        part = extension[start : start + _MOST_EXTENSION]
        body = _EXTENSION_NAME + name + struct.pack(">II", len(extension), start) + part
        segments += b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
    return contents[:end] + segments + contents[end:]
