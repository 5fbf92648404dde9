"""The photograph, its blurred version and a mask as the layers of one TIFF, to be edited further in other programs.

Photoshop keeps layers in a tag of its own (37724, ImageSourceData), which Krita and ImageMagick read too. Programs that
do not know it, GIMP 2.10 among them, show the picture that the layers make together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from defocus.applications.segment import segment
from defocus.errors import ParameterError
from defocus.photograph import Photograph, encode_photograph
from defocus.photograph.exif import Entry, parse_exif
from defocus.runtime.cores import available_cores

if TYPE_CHECKING:
    import psdtags

    from defocus.maps.defocus_map import DefocusMap
    from defocus.provenance import Provenance

__all__ = ["blur_mask", "layered_tiff"]

_IMAGE_SOURCE_DATA, _UNDEFINED = 37724, 7
_LARGEST = 2**31
"""Bytes of all layers, uncompressed, from which the file might not fit into a TIFF of 4 GiB."""


def blur_mask(
    photograph: Photograph, defocus_map: DefocusMap, *, threshold: float | None = None, moved: bool = False
) -> NDArray[np.float32]:
    """Return the mask of the blurred layer: H x W float32, 0 where the photograph shows, 1 where the blurred one does.

    Parameters
    ----------
    photograph : H x W px.
    defocus_map : its map.
    threshold : blur in the map's unit from which on the blurred layer shows; found for the photograph if None.
    moved : whether the focus was moved elsewhere: then the blurred layer shows everywhere, as what was in focus need
        not be any more.

    Raises
    ------
    ParameterError
        If the threshold is less than 0, or the map is of another size.
    """
    if moved:
        return np.ones((photograph.height, photograph.width), np.float32)
    return segment(photograph, defocus_map, threshold=threshold).matte


def layered_tiff(
    photograph: Photograph,
    blurred: NDArray[Any],
    matte: NDArray[np.float32],
    *,
    made_from: Provenance | None = None,
) -> bytes:
    r"""Return a TIFF with two layers: "Photograph", and above it "Blurred" with a mask that shows it where it is white.

    Painting the mask black brings the photograph back, white the blur. Depth, colour profile, EXIF and XMP are the
    photograph's.

    Parameters
    ----------
    photograph : H x W px; floats become 16 bits.
    blurred : H x W x 3 of the photograph's type, as `magnify` makes it.
    matte : H x W float32, 0..1: the mask.
    made_from : what the file says it was made from; None to say nothing.

    Raises
    ------
    ParameterError
        If the sizes differ, or the photograph is so large that the layers might not fit into one file.

    Examples
    --------
    >>> import defocus
    >>> photo = defocus.Photograph(np.random.default_rng(1).integers(0, 256, (60, 90, 3), np.uint8))
    >>> defocus.layered_tiff(photo, photo.pixels // 2, np.ones((60, 90), np.float32))[:4]
    b'II*\x00'
    """
    import psdtags

    below = _whole_numbers(np.asarray(photograph.pixels))
    above = _whole_numbers(np.asarray(blurred))
    if above.shape != below.shape or matte.shape != below.shape[:2] or above.dtype != below.dtype:
        raise ParameterError("The layers of a photograph are of its size and type.")
    if 3 * below.nbytes > _LARGEST:
        raise ParameterError(
            f"Layers of {photograph.width} x {photograph.height} pixels do not fit into one TIFF: make the photograph "
            "smaller, or export the blurred photograph and the mask as files of their own."
        )
    full = np.iinfo(below.dtype).max
    part = matte[..., None]
    together = np.rint(below + part * (above.astype(np.float32) - below)).astype(below.dtype)
    mask = np.rint(matte * full).astype(below.dtype)
    opaque = np.full(below.shape[:2], full, below.dtype)
    if photograph.alpha is not None:
        opaque = _whole_numbers(photograph.alpha)
    little = parse_exif(photograph.exif).order == "<"
    deep = below.dtype == np.uint16
    source = psdtags.TiffImageSourceData(
        psdformat=psdtags.PsdFormat.LE32BIT if little else psdtags.PsdFormat.BE32BIT,
        layers=psdtags.PsdLayers(
            key=psdtags.PsdKey.LAYER_16 if deep else psdtags.PsdKey.LAYER,
            layers=[_layer("Photograph", below, opaque), _layer("Blurred", above, opaque, mask)],
            has_transparency=False,
        ),
        usermask=psdtags.PsdUserMask(colorspace=psdtags.PsdColorSpaceType.RGB, components=(65535, 0, 0, 0), opacity=50),
    )
    tag = source.tobytes(compression=psdtags.PsdCompressionType.ZIP_PREDICTED, maxworkers=available_cores())
    return encode_photograph(
        ".tif", together, photograph, provenance=made_from, tiff_entries={_IMAGE_SOURCE_DATA: Entry(_UNDEFINED, tag)}
    )


def _whole_numbers(pixels: NDArray[Any]) -> NDArray[Any]:
    return np.rint(np.clip(pixels, 0, 1) * 65535).astype(np.uint16) if pixels.dtype.kind == "f" else pixels


def _layer(name: str, pixels: NDArray[Any], opaque: NDArray[Any], mask: NDArray[Any] | None = None) -> psdtags.PsdLayer:
    import psdtags

    height, width = pixels.shape[:2]
    frame = psdtags.PsdRectangle(0, 0, height, width)
    planes = {
        psdtags.PsdChannelId.TRANSPARENCY_MASK: opaque,
        psdtags.PsdChannelId.CHANNEL0: pixels[..., 0],
        psdtags.PsdChannelId.CHANNEL1: pixels[..., 1],
        psdtags.PsdChannelId.CHANNEL2: pixels[..., 2],
    }
    if mask is not None:
        planes[psdtags.PsdChannelId.USER_LAYER_MASK] = mask
    return psdtags.PsdLayer(
        name=name,
        rectangle=frame,
        channels=[
            psdtags.PsdChannel(channelid=number, data=np.ascontiguousarray(plane)) for number, plane in planes.items()
        ],
        mask=psdtags.PsdLayerMask() if mask is None else psdtags.PsdLayerMask(default_color=255, rectangle=frame),
        info=[psdtags.PsdString(psdtags.PsdKey.UNICODE_LAYER_NAME, name)],
    )
