"""The result every method returns: sigma in pixels, its confidence and the seeds it grew from."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from defocus.atomic import atomic_write
from defocus.cores import available_cores
from defocus.errors import MapFileError, ParameterError
from defocus.preview import limits_of_photograph, preview
from defocus.version import __version__

_FORMAT = "defocus map"
_FORMAT_VERSION = 1
# Page name and what it holds, in the order of the file: any program shows the first page, so that is sigma.
_PAGES = {
    "sigma": "standard deviation of the Gaussian blur",
    "confidence": "confidence in sigma, 0..1",
    "saturated": "1 where sigma is at the end of the method's range, a lower bound",
    "seeds.sigma": "sigma at the seeds, NaN elsewhere",
    "seeds.probability": "probability of the seeds' sigma, NaN elsewhere",
}
_DEPTH_PAGE = {"relative_depth": "relative depth, 0 near to 1 far"}  # last, and only where a method tells it
# Classic TIFF addresses 4 GiB; the margin is for tags and for data that does not compress.
_CLASSIC_TIFF_BYTES = 2**32 - 2**26


@dataclass(frozen=True, eq=False)
class Seeds:
    """The sparse map that a full map grew from.

    Attributes
    ----------
    sigma : float32 H x W, px; NaN where there is no seed.
    probability : float32 H x W, 0..1, how probable the method holds that sigma; NaN at the same pixels.

    Raises
    ------
    ValueError
        If shapes or dtypes differ from this, a value is out of range, or the NaNs do not coincide.
    """

    sigma: NDArray[np.float32]
    probability: NDArray[np.float32]

    def __post_init__(self) -> None:
        _check_plane("seeds.sigma", self.sigma, np.float32, self.sigma.shape)
        _check_plane("seeds.probability", self.probability, np.float32, self.sigma.shape)
        absent = np.isnan(self.sigma)
        if not np.array_equal(absent, np.isnan(self.probability)):
            raise ValueError("seeds.sigma and seeds.probability must be NaN at the same pixels.")
        present = ~absent
        _check_range("seeds.sigma", self.sigma[present], 0.0, np.inf)
        _check_range("seeds.probability", self.probability[present], 0.0, 1.0)

    @classmethod
    def none(cls, shape: tuple[int, int]) -> Seeds:
        """Return seeds of `shape` (H, W) without a single seed, for methods that estimate every pixel."""
        return cls(np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32))


@dataclass(frozen=True, eq=False)
class DefocusMap:
    """How far out of focus every pixel of a photograph is.

    Attributes
    ----------
    sigma : float32 H x W, the standard deviation of the Gaussian that best explains the blur, in `unit`,
        aligned with the upright photograph; finite, 0 or more.
    confidence : float32 H x W, 0..1, how well the values around a pixel support its sigma: near 1 where
        the photograph itself tells, near 0 where sigma was only carried in from far away. The method says how
        it is computed; 0.5 and more counts as confident.
    saturated : bool H x W, True where sigma is at the end of the method's range and so a lower bound.
    seeds : the sparse map that sigma grew from.
    method : name of the method.
    sigma_range : lowest and highest sigma that the method can tell, in `unit`.
    unit : unit of all sigmas, "px" for pixels of the photograph.
    metadata : what else belongs to the map (parameters, weights, ...), as JSON knows it; saved with the map.
    relative_depth : float32 H x W, 0 (nearest) to 1 (farthest), without scale or offset; None unless the method
        tells depth.

    Raises
    ------
    ValueError
        If shapes or dtypes differ from this or a value is out of range.
    """

    sigma: NDArray[np.float32]
    confidence: NDArray[np.float32]
    saturated: NDArray[np.bool_]
    seeds: Seeds
    method: str
    sigma_range: tuple[float, float]
    unit: str = "px"
    metadata: Mapping[str, Any] = field(default_factory=dict)
    relative_depth: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        shape = self.sigma.shape
        _check_plane("sigma", self.sigma, np.float32, shape)
        _check_plane("confidence", self.confidence, np.float32, shape)
        _check_plane("saturated", self.saturated, np.bool_, shape)
        _check_plane("seeds.sigma", self.seeds.sigma, np.float32, shape)
        _check_range("sigma", self.sigma, 0.0, np.inf)
        _check_range("confidence", self.confidence, 0.0, 1.0)
        if self.relative_depth is not None:
            _check_plane("relative_depth", self.relative_depth, np.float32, shape)
            _check_range("relative_depth", self.relative_depth, 0.0, 1.0)
        low, high = self.sigma_range
        if not 0 <= low < high < np.inf:
            raise ValueError(f"sigma_range must be two finite sigmas, lowest first, not {self.sigma_range}.")

    @classmethod
    def without_evidence(
        cls,
        shape: tuple[int, int],
        method: str,
        sigma_range: tuple[float, float],
        unit: str = "px",
        metadata: Mapping[str, Any] | None = None,
    ) -> DefocusMap:
        """Return the map of a photograph that shows nothing to measure blur at.

        Sigma is the middle of `sigma_range` everywhere, confidence 0, and there are no seeds.

        Warns
        -----
        UserWarning
            Always, in one line that says so.
        """
        warnings.warn(
            "The photograph shows no edge to measure blur at: the map is the middle of the range, with confidence 0.",
            stacklevel=3,
        )
        return cls(
            sigma=np.full(shape, sum(sigma_range) / 2, dtype=np.float32),
            confidence=np.zeros(shape, dtype=np.float32),
            saturated=np.zeros(shape, dtype=bool),
            seeds=Seeds.none(shape),
            method=method,
            sigma_range=sigma_range,
            unit=unit,
            metadata={} if metadata is None else metadata,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the map to a TIFF that `load` reads back without loss.

        The file has five pages, deflate-compressed: sigma first (float32, so any program that reads float
        TIFF sees the map), then confidence, saturated (uint8, 0 or 1), the seeds' sigma and their
        probability, and a sixth, the relative depth, if the map has one. Each page bears its name; the first
        one's description holds the rest as JSON. The file appears whole or not at all.

        Parameters
        ----------
        path : where to; an existing file is replaced.

        Raises
        ------
        MapFileError
            If the file cannot be written or `metadata` is not JSON.
        """
        target = Path(path)
        pages = _PAGES if self.relative_depth is None else _PAGES | _DEPTH_PAGE
        about = {
            "format": _FORMAT,
            "format_version": _FORMAT_VERSION,
            "defocus": __version__,
            "method": self.method,
            "unit": self.unit,
            "sigma_range": [float(bound) for bound in self.sigma_range],
            "pages": list(pages),
            "metadata": dict(self.metadata),
        }
        try:
            description = json.dumps(about, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise MapFileError(f"The map's metadata must be plain JSON, but {error}.") from error
        planes: list[NDArray[Any]] = [
            self.sigma,
            self.confidence,
            self.saturated.astype(np.uint8),
            self.seeds.sigma,
            self.seeds.probability,
        ]
        if self.relative_depth is not None:
            planes.append(self.relative_depth)
        big = sum(plane.nbytes for plane in planes) > _CLASSIC_TIFF_BYTES
        try:
            with atomic_write(target) as file, tifffile.TiffWriter(file, bigtiff=big, byteorder="<") as tiff:
                for (name, meaning), plane in zip(pages.items(), planes, strict=True):
                    tiff.write(
                        plane,
                        photometric="minisblack",
                        compression="zlib",
                        # A third less time than the usual level 6 takes, for a file 3 % larger.
                        compressionargs={"level": 1},
                        maxworkers=available_cores(),
                        # Differences of neighbours, of use where there are neighbours.
                        predictor=not name.startswith("seeds."),
                        description=description if name == "sigma" else meaning,
                        software=f"defocus {__version__}",
                        extratags=[(285, "s", 0, name, True)],  # PageName
                        metadata=None,
                    )
        except OSError as error:
            raise MapFileError(f"Cannot write {target}: {error.strerror or error}.") from error

    def limits(self, scale: Literal["photograph", "method"] = "photograph") -> tuple[float, float]:
        """Return the sigmas of the first and the last colour of a picture of this map, in `unit`.

        Parameters
        ----------
        scale : "photograph" for readable limits around the map's own sigmas, so that small differences show, also in
            landscapes; "method" for the method's range, so that pictures of different photographs compare.

        Raises
        ------
        ParameterError
            If the scale is neither.
        """
        if scale not in ("photograph", "method"):
            raise ParameterError(f"The scale is photograph or method, not {scale!r}.")
        return self.sigma_range if scale == "method" else limits_of_photograph(self.sigma, self.sigma_range)

    def preview(
        self,
        *,
        scale_bar: bool = False,
        show_confidence: bool = True,
        scale: Literal["photograph", "method"] = "photograph",
        sigma_limits: tuple[float, float] | None = None,
    ) -> NDArray[np.uint8]:
        """Return the map as a picture: dark blue is sharp, yellow is blurred.

        Parameters
        ----------
        scale_bar : draw a scale with ticks in `unit` underneath; the picture above it keeps its size.
        show_confidence : let colours fade to grey where confidence is below 0.5, so that a guess looks like one.
        scale : see `limits`.
        sigma_limits : sigmas of the first and the last colour, instead of those of `scale`.

        Returns
        -------
        uint8 H x W x 3, sRGB; taller (and at least wide enough for its text) with `scale_bar`.

        Raises
        ------
        ParameterError
            If the scale is unknown, or the limits are not two finite numbers, lowest first.
        """
        return preview(
            self.sigma,
            sigma_limits=self.limits(scale) if sigma_limits is None else sigma_limits,
            confidence=self.confidence if show_confidence else None,
            scale_bar=scale_bar,
            unit=self.unit,
        )


def load(path: str | os.PathLike[str]) -> DefocusMap:
    """Read a map that `DefocusMap.save` wrote.

    Parameters
    ----------
    path : the file.

    Returns
    -------
    DefocusMap
        Equal to the one that was saved, bit by bit.

    Raises
    ------
    MapFileError
        If the file is missing, damaged, not such a map, or of a newer version than this package knows.
    """
    with _opened(Path(path)) as (tiff, about):
        planes = {page.tags.valueof(285): page.asarray() for page in tiff.pages}
        return DefocusMap(
            sigma=planes["sigma"],
            confidence=planes["confidence"],
            saturated=planes["saturated"].astype(np.bool_),
            seeds=Seeds(planes["seeds.sigma"], planes["seeds.probability"]),
            method=about["method"],
            sigma_range=(about["sigma_range"][0], about["sigma_range"][1]),
            unit=about["unit"],
            metadata=about["metadata"],
            relative_depth=planes.get("relative_depth"),
        )


@dataclass(frozen=True)
class MapDescription:
    """What a map's file says of it, without its values.

    Attributes
    ----------
    method, unit, sigma_range, metadata : as in `DefocusMap`.
    version : of the package that wrote the file.
    """

    method: str
    unit: str
    sigma_range: tuple[float, float]
    metadata: Mapping[str, Any]
    version: str


def describe(path: str | os.PathLike[str]) -> MapDescription:
    """Read what a map's file says of it, without decoding its values: fast even for thousands of files.

    Raises
    ------
    MapFileError
        As `load`; a file that is cut short is noticed, values that are damaged in place are not.
    """
    with _opened(Path(path)) as (tiff, about):
        size = tiff.filehandle.size
        for page in tiff.pages:
            ends = (start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=True))
            if max(ends, default=size + 1) > size:
                raise MapFileError(f"{path} is cut short: estimate it again.")
        return MapDescription(
            method=about["method"],
            unit=about["unit"],
            sigma_range=(about["sigma_range"][0], about["sigma_range"][1]),
            metadata=about["metadata"],
            version=about["defocus"],
        )


@contextmanager
def _opened(source: Path) -> Iterator[tuple[tifffile.TiffFile, dict[str, Any]]]:
    """Open a map's file and read its description; whatever goes wrong then or within becomes one sentence."""
    if source.is_dir():
        raise MapFileError(f"{source} is a folder: give the path of a .defocus.tiff file.")
    try:
        with tifffile.TiffFile(source) as tiff:
            about = _read_description(tiff, source)
            names = [page.tags.valueof(285) for page in tiff.pages]
            if names not in (list(_PAGES), list(_PAGES | _DEPTH_PAGE)):
                raise MapFileError(f"{source} is damaged: it does not hold the pages of a defocus map.")
            yield tiff, about
    except MapFileError:
        raise
    except FileNotFoundError as error:
        raise MapFileError(f"There is no file {source}.") from error
    except tifffile.TiffFileError as error:
        raise MapFileError(f"{source} is not a TIFF file, so not a defocus map.") from error
    except OSError as error:
        raise MapFileError(f"Cannot read {source}: {error.strerror or error}.") from error
    except Exception as error:  # decoders raise many kinds on damaged data
        raise MapFileError(f"{source} is damaged: {error}.") from error


def _read_description(tiff: tifffile.TiffFile, source: Path) -> dict[str, Any]:
    try:
        about = json.loads(tiff.pages[0].tags.valueof(270) or "")
    except (ValueError, TypeError):
        about = None
    if not isinstance(about, dict) or about.get("format") != _FORMAT:
        raise MapFileError(f"{source} is a TIFF, but not a defocus map written by this package.")
    if about["format_version"] > _FORMAT_VERSION:
        raise MapFileError(
            f"{source} was written by defocus {about.get('defocus')}, a newer version: update this package."
        )
    return about


def _check_plane(name: str, plane: NDArray[Any], dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    if plane.dtype != dtype or plane.ndim != 2 or plane.shape != shape:
        size = " x ".join(map(str, shape)) if len(shape) == 2 else "H x W"
        raise ValueError(f"{name} must be {np.dtype(dtype)} {size}, not {plane.dtype} {plane.shape}.")


def _check_range(name: str, values: NDArray[np.float32], low: float, high: float) -> None:
    # NaN passes through min and max, and no comparison with it holds.
    if values.size and not (values.min() >= low and values.max() <= high and values.max() < np.inf):
        raise ValueError(f"{name} must be finite and in {low}..{high}.")
