"""The result that every method returns: sigma at every pixel, its confidence, and the seeds it was propagated from."""

from __future__ import annotations

import base64
import html
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from defocus.errors import MapFileError, ParameterError
from defocus.maps.accuracy import CONFIDENT
from defocus.maps.motion import Motion
from defocus.maps.preview import limits_of_photograph, preview
from defocus.photograph.png_encoder import encode_png

if TYPE_CHECKING:
    from defocus.maps.map_file import Precision
    from defocus.photograph import PhotographLike

__all__ = ["DefocusMap", "Seeds"]

_NOTEBOOK_SIDE = 800
"""Longer side in px of the pictures that notebooks show."""


class Seeds:
    """The sparse map that a full map was propagated from.

    Parameters
    ----------
    sigma : float32 H x W, px, 0 or more; NaN where there is no seed.
    probability : float32 H x W, 0..1, the probability of that sigma according to the method; NaN at the same pixels.

    Raises
    ------
    ValueError
        If shapes or dtypes differ from this, a value is out of range, or the NaNs do not coincide.

    Examples
    --------
    >>> import defocus
    >>> sigma = np.array([[1.5, np.nan]], np.float32)
    >>> seeds = defocus.Seeds(sigma, probability=np.array([[0.9, np.nan]], np.float32))
    >>> int(np.isfinite(seeds.sigma).sum())
    1
    """

    def __init__(self, sigma: NDArray[np.float32], probability: NDArray[np.float32]) -> None:
        _check_plane("seeds.sigma", sigma, np.float32, sigma.shape)
        _check_plane("seeds.probability", probability, np.float32, sigma.shape)
        absent = np.isnan(sigma)
        if not np.array_equal(absent, np.isnan(probability)):
            raise ValueError("seeds.sigma and seeds.probability must be NaN at the same pixels.")
        present = ~absent
        _check_range("seeds.sigma", sigma[present], 0.0, np.inf)
        _check_range("seeds.probability", probability[present], 0.0, 1.0)
        self._sigma, self._probability = sigma, probability
        self._stride = 1
        self._places: tuple[NDArray[np.integer], NDArray[np.integer]] | None = None
        self.shape: tuple[int, int] = (sigma.shape[0], sigma.shape[1])
        """Height and width of the photograph, px."""

    @classmethod
    def none(cls, shape: tuple[int, int]) -> Seeds:
        """Return an empty sparse map of `shape` (H, W), for methods that estimate every pixel.

        Examples
        --------
        >>> Seeds.none((2, 3)).sigma.shape
        (2, 3)
        """
        nothing = np.full((1, 1), np.nan, np.float32)
        return cls.on_grid(nothing, nothing, max(*shape, 1), shape)

    @classmethod
    def on_grid(
        cls, sigma: NDArray[np.float32], probability: NDArray[np.float32], stride: int, shape: tuple[int, int]
    ) -> Seeds:
        """Return seeds at the centres of blocks of pixels, which take little memory.

        Parameters
        ----------
        sigma, probability : float32 h x w, one for each block, as above.
        stride : side of the blocks, px.
        shape : height and width of the photograph, px; h = ceil(H / stride).

        Examples
        --------
        >>> one = np.ones((1, 1), np.float32)
        >>> np.argwhere(np.isfinite(Seeds.on_grid(one, one, stride=4, shape=(4, 4)).sigma)).tolist()
        [[2, 2]]
        """
        seeds = cls(sigma, probability)
        seeds._stride, seeds.shape = stride, (shape[0], shape[1])
        return seeds

    @classmethod
    def at_pixels(
        cls,
        rows: NDArray[np.integer],
        columns: NDArray[np.integer],
        sigma: NDArray[np.float32],
        probability: NDArray[np.float32],
        shape: tuple[int, int],
    ) -> Seeds:
        """Return seeds at some pixels, which take little memory.

        Parameters
        ----------
        rows, columns : n integers, the pixels.
        sigma, probability : n float32, one for each pixel, as above.
        shape : height and width of the photograph, px.

        Examples
        --------
        >>> one = np.ones(1, np.float32)
        >>> Seeds.at_pixels(np.array([0]), np.array([2]), one, one, shape=(1, 3)).sigma
        array([[nan, nan,  1.]], dtype=float32)
        """
        seeds = cls(sigma[None], probability[None])
        seeds._places, seeds.shape = (rows, columns), (shape[0], shape[1])
        return seeds

    @property
    def sigma(self) -> NDArray[np.float32]:
        """Sigma of the seeds, float32 H x W, px; NaN where there is no seed."""
        return self._spread(self._sigma)

    @property
    def probability(self) -> NDArray[np.float32]:
        """Probability of the seeds' sigma, float32 H x W, 0..1; NaN where there is no seed."""
        return self._spread(self._probability)

    def _spread(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._stride == 1 and self._places is None:
            return values
        spread = np.full(self.shape, np.nan, np.float32)
        if self._places is not None:
            spread[self._places] = values[0]
            return spread
        rows, columns = (
            np.minimum(np.arange(n) * self._stride + self._stride // 2, side - 1)
            for n, side in zip(values.shape, self.shape, strict=True)
        )
        spread[np.ix_(rows, columns)] = values
        return spread


@dataclass(frozen=True, eq=False, repr=False)
class DefocusMap:
    """How far out of focus every pixel of a photograph is.

    The unit of a map is the unit of its method. With "px", `sigma` is the standard deviation of the Gaussian that best
    explains the blur, in pixels of the photograph. With "score" (method `shi2014`), `sigma` is a blur score without
    physical unit, from 0 (sharp) to 1 (blurred). Scores of one photograph can be compared with each other, but not with
    values in px: `depth`, `magnify`, `rank`, `sharpness` and `sharpen` refuse such a map with a `ParameterError`;
    `segment` takes it with a threshold that is a score too.

    Attributes
    ----------
    sigma : float32 H x W, blur in `unit`, aligned with the upright photograph; finite, 0 or more.
    confidence : float32 H x W, 0..1, how well the values around a pixel support its sigma: near 1 where it was measured
        at the pixel itself, near 0 where it was only propagated from far away. Each method documents how it computes
        the confidence; 0.5 or more counts as confident.
    saturated : bool H x W, True where sigma is at the upper end of the method's range and so a lower bound.
    seeds : the sparse map that sigma was propagated from.
    method : name of the method.
    sigma_range : lowest and highest sigma that the method can return, in `unit`.
    unit : unit of all sigmas, "px" or "score".
    metadata : further facts about the map (parameters, weights, ...) as plain JSON; saved with the map.
    relative_depth : float32 H x W, 0 (nearest) to 1 (farthest), without scale or offset; None unless the method
        estimates depth.
    motion : blur by movement, which is not in `sigma`, for blocks of the photograph; None unless the method looks for
        it, as "pyramid" does. Where it is sure, the confidence is low.

    Raises
    ------
    ValueError
        If shapes or dtypes differ from this or a value is out of range.

    Examples
    --------
    >>> import defocus
    >>> photograph = np.random.default_rng(0).random((64, 64, 3))
    >>> defocus_map = defocus.estimate(photograph, method="zhuo2011")
    >>> defocus_map.sigma.shape, defocus_map.sigma.dtype, defocus_map.unit
    ((64, 64), dtype('float32'), 'px')
    >>> bool(np.asarray(defocus_map).max() <= defocus_map.sigma_range[1])
    True
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
    motion: Motion | None = None

    def __post_init__(self) -> None:
        shape = self.sigma.shape
        _check_plane("sigma", self.sigma, np.float32, shape)
        _check_plane("confidence", self.confidence, np.float32, shape)
        _check_plane("saturated", self.saturated, np.bool_, shape)
        if self.seeds.shape != shape:
            raise ValueError(f"seeds must be of the map's size {shape}, not {self.seeds.shape}.")
        _check_range("sigma", self.sigma, 0.0, np.inf)
        _check_range("confidence", self.confidence, 0.0, 1.0)
        if self.relative_depth is not None:
            _check_plane("relative_depth", self.relative_depth, np.float32, shape)
            _check_range("relative_depth", self.relative_depth, 0.0, 1.0)
        if self.motion is not None and self.motion.shape != shape:
            raise ValueError(f"motion must be of the map's size {shape}, not {self.motion.shape}.")
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
        """Return the map of a photograph that has no edge to measure blur at.

        Sigma is the middle of `sigma_range` everywhere, confidence 0, and there are no seeds.

        Parameters
        ----------
        shape : height and width, px.
        method, sigma_range, unit, metadata : as the attributes of the same names.

        Warns
        -----
        UserWarning
            Always: sigma was not measured.

        Examples
        --------
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore")
        ...     defocus_map = DefocusMap.without_evidence((2, 3), "zhuo2011", (0.0, 5.0))
        >>> float(defocus_map.sigma.max()), float(defocus_map.confidence.max())
        (2.5, 0.0)
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

    def save(self, path: str | os.PathLike[str], *, precision: Precision = "compact", reduced: int = 1) -> None:
        """Write the map in the format of the file's suffix; the file is written whole or not at all.

        Parameters
        ----------
        path : file to write; an existing one is replaced. `defocus.load` reads `.tiff` and `.tif`, and any program
            that reads float TIFF shows sigma; `.npy` holds sigma, `.exr` sigma and confidence, `.npz` all planes,
            `.png` sigma in thousandths of a px, 16 bits, 65.535 at most.
        precision : precision of a TIFF. "compact" keeps sigma within 0.4 % and confidence within 1/510, without the
            seeds. "lossless" keeps every bit, and the seeds, in a file about ten times as large.
        reduced : for a TIFF, the factor N by which width and height are reduced, 1 or more; `load` enlarges it again.

        Raises
        ------
        MapFileError
            If the suffix is none of these, the file cannot be written, a package for it is missing, or `metadata` is
            not JSON.
        ParameterError
            If precision or reduced are none of these.

        Examples
        --------
        >>> import tempfile
        >>> import defocus
        >>> defocus_map = defocus.estimate(np.random.default_rng(0).random((64, 64)), method="zhuo2011")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     defocus_map.save(f"{folder}/map.tiff", precision="lossless")
        ...     loaded = defocus.load(f"{folder}/map.tiff")
        >>> np.array_equal(loaded.sigma, defocus_map.sigma)
        True
        """
        from defocus.maps.map_file import save_map

        save_map(path, self, precision=precision, reduced=reduced)

    def save_page(self, path: str | os.PathLike[str], photo: PhotographLike, *, name: str | None = None) -> None:
        """Write one HTML file in which the photograph and its map can be looked at, refocused and cut out.

        It opens in any browser, without this package, and asks nobody for anything. Pictures in it are at most 2560 px
        wide and high.

        Parameters
        ----------
        path : file to write, such as "photo.html"; an existing one is replaced.
        photo : the photograph of this map.
        name : what the page calls it; the name of the photograph's file, or "photograph", if None.

        Raises
        ------
        ParameterError
            If the photograph is not of the map's size.
        MapFileError
            If the file cannot be written.

        Examples
        --------
        >>> import tempfile
        >>> import defocus
        >>> photo = np.random.default_rng(0).random((64, 64))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     defocus.estimate(photo).save_page(f"{folder}/noise.html", photo)
        """
        from defocus.applications.guide import map_or_estimate
        from defocus.pages.pictures import PagePhotograph
        from defocus.pages.saved import save_page
        from defocus.photograph import as_photograph

        photograph = as_photograph(photo)
        if name is None:
            name = "photograph" if photograph.path is None else photograph.path.name
        shown = PagePhotograph.of(photograph, map_or_estimate(photograph, self), name=name)
        try:
            save_page(path, [shown])
        except OSError as error:
            raise MapFileError(f"Cannot write {os.fspath(path)}: {error.strerror or error}.") from error

    def _repr_png_(self) -> bytes:
        """Return a picture of the map with its scale, which notebooks show."""
        every = max(1, -(-max(self.sigma.shape) // _NOTEBOOK_SIDE))
        picture = preview(
            self.sigma[::every, ::every],
            sigma_limits=self.limits(),
            confidence=self.confidence[::every, ::every],
            scale_bar=True,
            unit=self.unit,
        )
        return encode_png(picture)

    def _repr_html_(self) -> str:
        """Return the picture with a line of words, which notebooks show."""
        words = html.escape(repr(self).strip("<>"))
        source = base64.b64encode(self._repr_png_()).decode()
        return (
            f'<figure><img alt="{words}" src="data:image/png;base64,{source}"><figcaption>{words}</figcaption></figure>'
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return sigma, so that NumPy treats a map as a float32 H x W array."""
        return np.array(self.sigma, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        """Return one line: size, method, 5th and 95th percentile of sigma, and the fraction that is confident."""
        height, width = self.sigma.shape
        low, high = np.percentile(self.sigma[::8, ::8], (5, 95))
        confident = float((self.confidence[::8, ::8] >= CONFIDENT).mean())
        return (
            f"<DefocusMap {width} x {height} by {self.method}: {low:.2f} to {high:.2f} {self.unit}, "
            f"{confident:.0%} confident>"
        )

    def limits(self, scale: Literal["photograph", "method"] = "photograph") -> tuple[float, float]:
        """Return the sigmas of the first and the last colour of a picture of this map, in `unit`.

        Parameters
        ----------
        scale : "photograph" for readable limits around the map's own sigmas, so that small differences show;
            "method" for the method's range, so that pictures of different photographs can be compared.

        Raises
        ------
        ParameterError
            If the scale is neither.

        Examples
        --------
        >>> import defocus
        >>> defocus_map = defocus.estimate(np.random.default_rng(0).random((64, 64)), method="zhuo2011")
        >>> defocus_map.limits("method")
        (0.0, 5.0)
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
        show_confidence : fade colours to grey where confidence is below 0.5, so that guesses can be recognised.
        scale : see `limits`.
        sigma_limits : sigmas of the first and the last colour, instead of those of `scale`.

        Returns
        -------
        uint8 H x W x 3, sRGB; taller (and at least wide enough for its text) with `scale_bar`.

        Raises
        ------
        ParameterError
            If the scale is unknown, or the limits are not two finite numbers, lowest first.

        Examples
        --------
        >>> import defocus
        >>> defocus_map = defocus.estimate(np.random.default_rng(0).random((64, 64)), method="zhuo2011")
        >>> defocus_map.preview().shape, defocus_map.preview(scale_bar=True).shape
        ((64, 64, 3), (138, 200, 3))
        """
        return preview(
            self.sigma,
            sigma_limits=self.limits(scale) if sigma_limits is None else sigma_limits,
            confidence=self.confidence if show_confidence else None,
            scale_bar=scale_bar,
            unit=self.unit,
        )


def _check_plane(name: str, plane: NDArray[Any], dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    if plane.dtype != dtype or plane.ndim != 2 or plane.shape != shape:
        size = " x ".join(map(str, shape)) if len(shape) == 2 else "H x W"
        raise ValueError(f"{name} must be {np.dtype(dtype)} {size}, not {plane.dtype} {plane.shape}.")


def _check_range(name: str, values: NDArray[np.float32], low: float, high: float) -> None:
    # NaN passes through min and max, and no comparison with it holds.
    if values.size and not (values.min() >= low and values.max() <= high and values.max() < np.inf):
        raise ValueError(f"{name} must be finite and in {low}..{high}.")
