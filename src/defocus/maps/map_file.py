"""The file of a map: a TIFF whose first page any program shows, and sigma alone in formats of other programs.

There are two precisions. "compact" rounds sigma to 8 significant bits, an error of 0.4 % at most, and confidence to
1/255; it keeps sigma, confidence and the saturated pixels. "lossless" keeps every bit, and the seeds. Either may be
reduced: saved at 1/N of the width and height, and enlarged again when it is read.
"""

from __future__ import annotations

import json
import os
import struct
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import tifffile
from numpy.typing import NDArray

from defocus.errors import DefocusError, MapFileError, ParameterError
from defocus.maps.map_tiff import COMPACT_PAGES, DEPTH_PAGES, LOSSLESS_PAGES, PAGE_NAME, Precision, write_map_tiff
from defocus.maps.motion import Motion
from defocus.photograph.source import available_memory, open_file
from defocus.provenance import TIFF_TAG, Provenance, read_provenance, stamp
from defocus.runtime.atomic import atomic_write, write_bytes
from defocus.version import __version__

if TYPE_CHECKING:
    from defocus.maps.defocus_map import DefocusMap
    from defocus.maps.map_strips import MapStrips

__all__ = ["MapDescription", "Precision", "describe", "load", "load_saved", "metadata_of", "save_map", "write_map"]

_SUFFIXES = (".tiff", ".tif", ".npy", ".npz", ".exr", ".png")
"""Suffixes of the formats that a map can be saved in."""
_PNG_STEP = 0.001
"""Step of a 16-bit PNG, px."""
_FORMAT = "defocus map"
_FORMAT_VERSION = 2
_DTYPES = {"saturated": ("uint8",), "confidence": ("uint8", "float32")}
_DESCRIPTION = 270
_MOST_PAGES = 8
_LONGEST_DESCRIPTION = 2**20
_MOST_COMPRESSED = 1100
"""Largest compression ratio of deflate: a file that states a larger one is a decompression bomb."""


@dataclass(frozen=True)
class MapDescription:
    """The description of a map in its file, without the values.

    Attributes
    ----------
    method, unit, sigma_range, metadata : as in `DefocusMap`.
    version : version of the package that wrote the file.
    precision : "compact" or "lossless".
    reduced : factor by which width and height of the file's pages are smaller than those of the photograph.
    shape : height and width of the photograph, px.
    motion : as in `DefocusMap`; None in files of versions that did not look for it.

    Examples
    --------
    >>> MapDescription("pyramid", "px", (0.3, 32.0), {}, "0.1", "compact", 2, (480, 640)).shape
    (480, 640)
    """

    method: str
    unit: str
    sigma_range: tuple[float, float]
    metadata: Mapping[str, Any]
    version: str
    precision: Precision
    reduced: int
    shape: tuple[int, int]
    motion: Motion | None = None


def save_map(
    path: str | os.PathLike[str],
    defocus_map: DefocusMap | MapStrips,
    *,
    precision: Precision = "compact",
    reduced: int = 1,
) -> None:
    """Write a map in the format of the file's suffix; the file is written whole or not at all.

    A TIFF is written strip by strip, each strip being computed once, so that a map that is given as strips may be of
    any size; for the other formats it has to fit into memory. Above 32 million pixels (2^25) it has tiles of 512 x 512
    pixels and overviews of sigma, and from 4 GiB on it is a BigTIFF.

    Parameters
    ----------
    path : file to write; an existing one is replaced. `.tiff` and `.tif` hold what `load` reads; `.npy` holds sigma
        (float32), `.exr` sigma and confidence, `.npz` all planes, `.png` sigma in thousandths of a px, 16 bits,
        65.535 at most.
    defocus_map : map to save, or its strips.
    precision : precision of a TIFF, "compact" or "lossless"; see the module.
    reduced : for a TIFF, side in px of the blocks whose means are saved, 1 or more.

    Raises
    ------
    MapFileError
        If the suffix is none of these, the file cannot be written, a package for it is missing, or the map's metadata
        are not JSON.
    ParameterError
        If precision or reduced are none of these.

    Examples
    --------
    >>> import tempfile
    >>> import defocus
    >>> defocus_map = defocus.estimate(np.random.default_rng(0).random((64, 64)), method="zhuo2011")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_map(f"{folder}/sigma.npy", defocus_map)
    ...     np.load(f"{folder}/sigma.npy").shape
    (64, 64)
    """
    target = Path(path)
    if precision not in ("compact", "lossless"):
        raise ParameterError(f"precision is compact or lossless, not {precision!r}.")
    if reduced < 1:
        raise ParameterError(f"reduced must be 1 or more, not {reduced}.")
    suffix = target.suffix.lower()
    from defocus.maps.map_strips import MapStrips

    strips = defocus_map if isinstance(defocus_map, MapStrips) else MapStrips.of(defocus_map)
    try:
        match suffix:
            case ".tiff" | ".tif":
                _write_tiff(target, strips, precision, reduced)
            case ".npy":
                whole = _whole(defocus_map)
                with atomic_write(target) as file:
                    np.save(file, whole.sigma)
            case ".npz":
                about = np.array(_about(strips, "lossless", 1))
                planes = _planes(_whole(defocus_map))
                with atomic_write(target) as file:
                    np.savez_compressed(file, allow_pickle=False, about=about, **planes)
            case ".exr":
                _write_exr(target, _whole(defocus_map))
            case ".png":
                write_bytes(target, _png(_whole(defocus_map)))
            case _:
                raise MapFileError(f"A map is saved as {', '.join(_SUFFIXES)}, not as {suffix or target.name}.")
    except OSError as error:
        raise MapFileError(f"Cannot write {target}: {error.strerror or error}.") from error


def _whole(defocus_map: DefocusMap | MapStrips) -> DefocusMap:
    from defocus.maps.defocus_map import DefocusMap

    return defocus_map if isinstance(defocus_map, DefocusMap) else defocus_map.whole()


def _provenance_of(defocus_map: DefocusMap | MapStrips, precision: Precision, reduced: int) -> Provenance:
    """Return the provenance of a map according to its metadata."""
    recipe = {
        "method": defocus_map.method,
        "parameters": defocus_map.metadata.get("parameters"),
        "weights_sha256": defocus_map.metadata.get("weights_sha256"),
    }
    photograph = defocus_map.metadata.get("photograph_sha256")
    return Provenance("map", photograph, recipe, {"precision": precision, "reduced": reduced})


def _about(strips: MapStrips, precision: Precision, reduced: int, further: Mapping[str, Any] | None = None) -> str:
    about = {
        "format": _FORMAT,
        "format_version": _FORMAT_VERSION,
        "defocus": __version__,
        "method": strips.method,
        "unit": strips.unit,
        "sigma_range": [float(bound) for bound in strips.sigma_range],
        "precision": precision,
        "reduced": reduced,
        "shape": list(strips.shape),
        "metadata": {**strips.metadata, **(further or {})},
    }
    if strips.motion is not None:
        about["motion"] = strips.motion.to_json()
    try:
        return json.dumps(about, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise MapFileError(f"The map's metadata must be plain JSON, but {error}.") from error


def _write_tiff(target: Path, strips: MapStrips, precision: Precision, reduced: int) -> None:
    with atomic_write(target) as file:
        _write_pages(target.parent, file, strips, precision, reduced)


def _write_pages(
    folder: Path,
    file: BinaryIO,
    strips: MapStrips,
    precision: Precision,
    reduced: int,
    further: Callable[[], Mapping[str, Any]] = dict,
) -> None:
    def description() -> str:
        # After a space: else tifffile takes the description, with its "shape", for one of its own.
        return f" {_about(strips, precision, reduced, further())}"

    _about(strips, precision, reduced)  # metadata that are not JSON are refused before anything is computed
    tag = (TIFF_TAG, "s", 0, _provenance_of(strips, precision, reduced).to_json(), True)
    write_map_tiff(folder, file, strips, description=description, tags=[tag], precision=precision, reduced=reduced)


def write_map(
    file: BinaryIO,
    defocus_map: DefocusMap | MapStrips,
    *,
    precision: Precision = "compact",
    reduced: int = 1,
    further: Callable[[], Mapping[str, Any]] = dict,
) -> None:
    """Write the TIFF that `save_map` would write into a file that is open, for storage that is no file system.

    Parameters
    ----------
    file : binary file, open for reading and writing, empty.
    defocus_map, precision, reduced : as for `save_map`.
    further : returns metadata beside those of the map; called when all strips have been computed, so that the file can
        say what they showed.

    Raises
    ------
    MapFileError
        If the map's metadata are not JSON, or the disk is full.

    Examples
    --------
    >>> import io
    >>> import defocus
    >>> defocus_map = defocus.estimate(np.random.default_rng(0).random((64, 64)), method="zhuo2011")
    >>> file = io.BytesIO()
    >>> write_map(file, defocus_map, reduced=4, further=lambda: {"shelf": "A 7"})
    >>> metadata_of(file)["shelf"]
    'A 7'
    """
    from defocus.maps.map_strips import MapStrips

    strips = defocus_map if isinstance(defocus_map, MapStrips) else MapStrips.of(defocus_map)
    try:
        _write_pages(Path(tempfile.gettempdir()), file, strips, precision, reduced, further)
    except OSError as error:
        raise MapFileError(f"Cannot write the map: {error.strerror or error}.") from error


def metadata_of(file: BinaryIO) -> Mapping[str, Any] | None:
    """Return the metadata of a map from the start of its file, or None where it is no map that this package wrote.

    Parameters
    ----------
    file : open for reading as binary, seekable; a few pieces of it are read, nearly always its first 16 KB alone.

    Examples
    --------
    >>> import io
    >>> import defocus
    >>> defocus_map = defocus.estimate(np.random.default_rng(0).random((64, 64)), method="zhuo2011")
    >>> file = io.BytesIO()
    >>> write_map(file, defocus_map)
    >>> metadata_of(file)["device"]
    'cpu'
    """
    try:
        file.seek(0)  # tifffile begins where the file is
        with tifffile.TiffFile(file) as tiff:
            page = tiff.pages.first
            assert isinstance(page, tifffile.TiffPage)
            return _description(page, Path("the map")).metadata
    except (MapFileError, tifffile.TiffFileError):
        return None
    except DefocusError:  # of what the file is read from
        raise
    except (LookupError, ValueError, TypeError, struct.error):
        return None


def _planes(defocus_map: DefocusMap) -> dict[str, NDArray[Any]]:
    """Return all planes of a map, by the names that they have in a .npz file."""
    planes: dict[str, NDArray[Any]] = {
        "sigma": defocus_map.sigma,
        "confidence": defocus_map.confidence,
        "saturated": defocus_map.saturated.astype(np.uint8),
        "seeds_sigma": defocus_map.seeds.sigma,
        "seeds_probability": defocus_map.seeds.probability,
    }
    if defocus_map.relative_depth is not None:
        planes["relative_depth"] = defocus_map.relative_depth
    return planes


def _png(defocus_map: DefocusMap) -> bytes:
    import imagecodecs

    levels = np.rint(np.clip(defocus_map.sigma / _PNG_STEP, 0, 65535)).astype(np.uint16)
    contents = bytes(imagecodecs.png_encode(levels))
    made_from = _provenance_of(defocus_map, "lossless", 1)
    options = {"unit": defocus_map.unit, "step": _PNG_STEP}
    return stamp(contents, Provenance("map", made_from.photograph_sha256, made_from.map, options))


def _write_exr(target: Path, defocus_map: DefocusMap) -> None:
    try:
        import OpenEXR
    except ImportError as error:
        raise MapFileError("Saving as .exr needs one more package: pip install OpenEXR.") from error
    part = target.with_name(f".{target.name}.part.exr")
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    channels = {"Y": defocus_map.sigma, "confidence": defocus_map.confidence}
    try:
        OpenEXR.File(header, channels).write(str(part))
        write_bytes(target, part.read_bytes())
    finally:
        part.unlink(missing_ok=True)


def load(path: str | os.PathLike[str]) -> DefocusMap:
    """Read a map that `DefocusMap.save` wrote as a TIFF.

    Parameters
    ----------
    path : file to read.

    Returns
    -------
    DefocusMap
        From a lossless file, equal to the one that was saved, bit by bit; from a compact one, within 0.4 % of sigma and
        1/510 of confidence, without seeds. A reduced map is enlarged to the photograph's size.

    Raises
    ------
    MapFileError
        If the file is missing, damaged, not such a map, larger than memory, or of a newer version than this package
        knows.

    Examples
    --------
    >>> import tempfile
    >>> import defocus
    >>> defocus_map = defocus.estimate(np.random.default_rng(0).random((64, 64)), method="zhuo2011")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     defocus_map.save(f"{folder}/map.tiff")
    ...     loaded = defocus.load(f"{folder}/map.tiff")
    >>> bool((abs(loaded.sigma - defocus_map.sigma) <= 0.004 * defocus_map.sigma).all())
    True
    """
    from defocus.maps.defocus_map import DefocusMap, Seeds

    with _opened(Path(path)) as (pages, about):
        planes = {name: page.asarray(maxworkers=1) for name, page in pages.items()}
        if planes["confidence"].dtype == np.uint8:
            planes["confidence"] = planes["confidence"].astype(np.float32) / np.float32(255)
        if about.reduced > 1:
            planes = {name: _enlarged(plane, about) for name, plane in planes.items()}
        seeds = Seeds.none(about.shape)
        if "seeds.sigma" in planes:
            seeds = Seeds(planes["seeds.sigma"], planes["seeds.probability"])
        return DefocusMap(
            sigma=planes["sigma"],
            confidence=planes["confidence"],
            saturated=planes["saturated"].astype(np.bool_),
            seeds=seeds,
            method=about.method,
            sigma_range=about.sigma_range,
            unit=about.unit,
            metadata=about.metadata,
            relative_depth=planes.get("relative_depth"),
            motion=about.motion,
        )


def load_saved(
    paths: Iterable[Path], photograph_sha256: str | None, recipe: Mapping[str, Any]
) -> tuple[DefocusMap, Path] | None:
    """Return the first map among files that was made from this very photograph in this very way, and its file.

    Parameters
    ----------
    paths : files that may be there; maps of reduced size do not count.
    photograph_sha256 : SHA-256 of the photograph's file.
    recipe : how the map has to be made, as `defocus.estimation.map_recipe` returns it.

    Warns
    -----
    UserWarning
        If such a file is damaged.
    """
    for path in paths:
        stored = read_provenance(path)
        if stored is None or stored.options.get("reduced", 1) != 1:
            continue
        if stored == Provenance("map", photograph_sha256, recipe, stored.options).as_stored():
            try:
                return load(path), path
            except MapFileError as error:
                warnings.warn(f"{error} The map is estimated anew.", stacklevel=2)
    return None


def _enlarged(plane: NDArray[Any], about: MapDescription) -> NDArray[Any]:
    """Enlarge a plane: floats linearly between the centres of blocks, others by repeating the block's value."""
    height, width = about.shape
    if plane.dtype == np.uint8:
        large = np.repeat(np.repeat(plane, about.reduced, axis=0), about.reduced, axis=1)
        return np.ascontiguousarray(large[:height, :width])
    large = plane
    for axis, size in enumerate((height, width)):
        at = np.clip((np.arange(size) + 0.5) / about.reduced - 0.5, 0, plane.shape[axis] - 1)
        low = np.minimum(at.astype(np.intp), max(plane.shape[axis] - 2, 0))
        part = (at - low).astype(np.float32).reshape((-1, 1) if axis == 0 else (1, -1))
        first = np.take(large, low, axis=axis)
        second = np.take(large, np.minimum(low + 1, plane.shape[axis] - 1), axis=axis)
        large = first + part * (second - first)
    return large


def describe(path: str | os.PathLike[str]) -> MapDescription:
    """Read the description of a map's file without decoding its values, which is fast even for thousands of files.

    Parameters
    ----------
    path : file to read.

    Raises
    ------
    MapFileError
        As `load`. A file that is cut short is noticed, values that are damaged in place are not.

    Examples
    --------
    >>> import tempfile
    >>> import defocus
    >>> defocus_map = defocus.estimate(np.random.default_rng(0).random((64, 64)), method="zhuo2011")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     defocus_map.save(f"{folder}/map.tiff", reduced=2)
    ...     description = describe(f"{folder}/map.tiff")
    >>> description.method, description.reduced, description.shape
    ('zhuo2011', 2, (64, 64))
    """
    with _opened(Path(path)) as (pages, about):
        size = next(iter(pages.values())).parent.filehandle.size
        for page in pages.values():
            ends = (start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=True))
            if max(ends, default=size + 1) > size:
                raise MapFileError(f"{path} is cut short: estimate it again.")
        return about


@contextmanager
def _opened(source: Path) -> Iterator[tuple[dict[str, tifffile.TiffPage], MapDescription]]:
    """Open a map's file and read its description; any error then or within the block becomes a `MapFileError`."""
    from defocus.errors import PhotographError

    if source.is_dir():
        raise MapFileError(f"{source} is a folder: give the path of a .defocus.tiff file.")
    try:
        with open_file(source) as file, tifffile.TiffFile(file) as tiff:
            pages = _pages(tiff, source)
            about = _description(pages[0], source)
            named = {str(page.tags.valueof(PAGE_NAME)): page for page in pages}
            _check_pages(named, about, source)
            yield named, about
    except MapFileError:
        raise
    except PhotographError as error:  # of opening
        raise MapFileError(str(error)) from error
    except tifffile.TiffFileError as error:
        raise MapFileError(f"{source} is not a TIFF file, so not a defocus map.") from error
    except OSError as error:
        raise MapFileError(f"Cannot read {source}: {error.strerror or error}.") from error
    except MemoryError as error:
        raise MapFileError(f"There is not enough memory for {source}.") from error
    except Exception as error:  # decoders raise many kinds on damaged data
        raise MapFileError(f"{source} is damaged: {' '.join(str(error).split()) or type(error).__name__}.") from error


def _pages(tiff: tifffile.TiffFile, source: Path) -> list[tifffile.TiffPage]:
    """Return the first page and its subdirectories, or in files of version 1 the next pages; no more than a map has."""
    first = tiff.pages.first
    below = first.pages
    others: list[Any] = []
    if below is not None:
        others = [below[number] for number in range(min(len(below), _MOST_PAGES))]
    else:
        for number in range(1, _MOST_PAGES):
            try:
                others.append(tiff.pages[number])
            except IndexError:
                break
    pages = [page if isinstance(page, tifffile.TiffPage) else page.aspage() for page in (first, *others)]
    if len({page.offset for page in pages}) < len(pages):
        raise MapFileError(f"{source} is damaged: its pages lead back to themselves.")
    return pages


def _description(page: tifffile.TiffPage, source: Path) -> MapDescription:
    tag = page.tags.get(_DESCRIPTION)
    about: Any = None
    if tag is not None and tag.count <= _LONGEST_DESCRIPTION:
        try:
            about = json.loads(tag.value)
        except (ValueError, TypeError, RecursionError):
            about = None
    if not isinstance(about, dict) or about.get("format") != _FORMAT:
        raise MapFileError(f"{source} is a TIFF, but not a defocus map written by this package.")
    if not isinstance(about.get("format_version"), int) or about["format_version"] > _FORMAT_VERSION:
        raise MapFileError(
            f"{source} was written by defocus {about.get('defocus')}, a newer version: update this package."
        )
    low, high = (float(bound) for bound in about["sigma_range"])
    metadata = about["metadata"]
    reduced, shape = about.get("reduced", 1), about.get("shape", list(page.shape))
    sane = isinstance(reduced, int) and 1 <= reduced <= 4096 and len(shape) == 2
    if not sane or not isinstance(metadata, dict) or not all(isinstance(side, int) and side > 0 for side in shape):
        raise MapFileError(f"{source} is damaged: its description does not make sense.")
    if page.shape != (-(-shape[0] // reduced), -(-shape[1] // reduced)):
        raise MapFileError(f"{source} is damaged: its pages are not of the size that it says.")
    try:
        motion = Motion.from_json(about["motion"], (shape[0], shape[1])) if "motion" in about else None
    except ValueError as error:
        raise MapFileError(f"{source} is damaged: its description does not make sense.") from error
    return MapDescription(
        method=str(about["method"]),
        unit=str(about["unit"]),
        sigma_range=(low, high),
        metadata=metadata,
        version=str(about["defocus"]),
        precision="compact" if about.get("precision") == "compact" else "lossless",
        reduced=reduced,
        shape=(shape[0], shape[1]),
        motion=motion,
    )


def _check_pages(pages: Mapping[str, tifffile.TiffPage], about: MapDescription, source: Path) -> None:
    """Check, before any page is decoded, that the pages are those of a map, have one size and fit into memory."""
    names = [name for name in pages if name not in DEPTH_PAGES]
    whole = about.precision == "lossless" and about.reduced == 1
    if names != list(LOSSLESS_PAGES if whole else COMPACT_PAGES):
        raise MapFileError(f"{source} is damaged: it does not hold the pages of a defocus map.")
    shape = pages["sigma"].shape
    decoded = 0
    for name, page in pages.items():
        if page.shape != shape or str(page.dtype) not in _DTYPES.get(name, ("float32",)):
            raise MapFileError(f"{source} is damaged: its pages differ in size or type.")
        decoded += page.nbytes
        if min(page.databytecounts, default=0) <= 0:
            raise MapFileError(f"{source} is damaged: a part of it is missing, so estimate it again.")
        if page.nbytes > _MOST_COMPRESSED * sum(page.databytecounts) + 4096:
            raise MapFileError(f"{source} is damaged: a page is too short for its size.")
    needed = decoded + 9 * about.shape[0] * about.shape[1] * (about.reduced > 1)
    if needed > available_memory():
        raise MapFileError(f"{source} needs {needed / 1e9:.1f} GB of memory, more than is free.")
