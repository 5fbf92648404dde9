"""Data sets with truth: photographs and their truth, one `Example` at a time.

Here are `Example`, `DataSet` and the readers of the development sets: `masks/`, `multifocus/`, `pixel4/` and `camera/`
(`image/` and `truth/` each) and `depth/` (`NAME.png`, `NAME_disparity.png`). `defocus.evaluation.layouts` opens other
people's. Photographs are read as `defocus.estimate` reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from defocus.errors import DefocusError
from defocus.photograph import read_photograph
from defocus.photograph.folders import photographs_below

__all__ = [
    "CameraPart",
    "DataSet",
    "Example",
    "Kind",
    "existing_folder",
    "photographs_in",
    "read_camera",
    "read_depth",
    "read_masks",
    "read_multifocus",
    "read_picture",
    "read_pixel4",
    "read_sharp",
    "read_values",
]

Kind = Literal["mask", "sigma", "relative"]
CameraPart = Literal["reported", "choosing", "training"]
"""Part of the photographs of `camera/`: figures are reported on the first, settings are chosen on the second, and
methods may be trained on the third."""
_CAMERA_PARTS: tuple[CameraPart, ...] = ("reported", "choosing", "training", "training")
"""Part of each photograph of `camera/`, by its number in the order of the names, over and over."""


@dataclass(frozen=True)
class Example:
    """A photograph and its truth.

    Attributes
    ----------
    name : file name without its ending; unique in its set.
    image : H x W x 3 uint8, display-referred sRGB.
    truth : H x W; what it holds is the reader's to say (mask, sigma in px, relative defocus, disparity).
    valid : H x W bool, False where the truth is not to be counted.
    source : what it was made from; examples of one source are not independent of each other.
    condition : what was done to the source ("2 px, noise 5"), the same text for every source; "" if nothing was.
    unreadable : H x W bool, True where nobody can know the blur (a frame, camera shake), so that it is wrong to be
        sure; not among the valid pixels. None means nowhere.
    """

    name: str
    image: NDArray[np.uint8]
    truth: NDArray[Any]
    valid: NDArray[np.bool_]
    source: str = ""
    condition: str = ""
    unreadable: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class DataSet:
    """A named set of examples.

    Attributes
    ----------
    name : short, as it stands in tables.
    kind : "mask" (truth bool, True = blurred), "sigma" (float32, px) or "relative" (float32, larger = more blurred).
    description : a sentence or two: what it is and where its truth comes from.
    examples : gives a fresh iterator over all of them, the same in every run.
    """

    name: str
    kind: Kind
    description: str
    examples: Callable[[], Iterator[Example]] = field(repr=False)


def read_values(path: Path, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Read a truth's numbers untouched: a grey image of any depth, a NumPy array, or a MATLAB file's first array."""
    try:
        if path.suffix == ".npy":
            values = np.load(path)
        elif path.suffix == ".mat":
            from scipy.io import loadmat

            values = next(v for k, v in loadmat(path).items() if not k.startswith("__") and np.ndim(v) == 2)
        elif path.suffix in (".tif", ".tiff"):
            import tifffile

            values = tifffile.imread(path)
        else:
            with Image.open(path) as opened:
                values = np.asarray(opened)
    except Exception as error:  # decoders raise many kinds
        raise DefocusError(f"The truth {path} cannot be read as an image: replace the file.") from error
    if values.ndim == 3:
        values = values[..., 0]
    if values.shape != shape:
        raise DefocusError(f"The truth {path} is {values.shape}, its photograph {shape}: they must agree.")
    return values.astype(np.float64)


def existing_folder(path: Path) -> Path:
    """Return the folder, or raise `DefocusError` if there is none."""
    if not path.is_dir():
        raise DefocusError(f"There is no folder {path}: give the root folder that holds the data sets.")
    return path


def photographs_in(folder: Path, pattern: str = "*") -> list[Path]:
    """Photographs of a folder by name, but what this package wrote; not searched below; `DefocusError` if none."""
    photographs = photographs_below(existing_folder(folder), pattern=pattern, recursive=False)
    if not photographs:
        raise DefocusError(f"The folder {folder} holds no photograph: check the path.")
    return photographs


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Read a photograph as H x W x 3 uint8; deeper pixels are rounded to 8 bits."""
    pixels: NDArray[Any] = np.asarray(read_photograph(path).pixels)
    full = np.iinfo(pixels.dtype).max if np.issubdtype(pixels.dtype, np.integer) else 1.0
    picture: NDArray[np.uint8] = (
        pixels if full == 255 else np.rint(pixels.astype(np.float64) / full * 255).astype(np.uint8)
    )
    return picture


def _present(path: Path) -> Path:
    if not path.is_file():
        raise DefocusError(f"The truth {path} is missing: every photograph needs one of the same name.")
    return path


def _read_levels(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Read an 8-bit grey truth image of the photograph's size, values untouched."""
    _present(path)
    try:
        with Image.open(path) as opened:
            levels = np.asarray(opened)
    except (UnidentifiedImageError, OSError) as error:
        raise DefocusError(f"The truth {path} cannot be read as an image: replace the file.") from error
    if levels.ndim != 2 or levels.dtype != np.uint8:
        raise DefocusError(f"The truth {path} must be an 8-bit grey image.")
    if levels.shape != shape:
        raise DefocusError(f"The truth {path} is {levels.shape}, its photograph {shape}: they must agree.")
    return levels


def _pairs(folder: Path) -> Iterator[tuple[str, NDArray[np.uint8], NDArray[np.uint8], Path]]:
    truths = existing_folder(folder / "truth")
    for path in photographs_in(folder / "image"):
        image = read_picture(path)
        truth = truths / f"{path.stem}.png"
        yield path.stem, image, _read_levels(truth, image.shape[:2]), truth


def _only(levels: NDArray[np.uint8], allowed: tuple[int, ...], path: Path) -> None:
    if not np.isin(levels, allowed).all():
        raise DefocusError(f"The mask {path} holds values other than {allowed}: check that it is the truth.")


def read_masks(root: str | Path) -> Iterator[Example]:
    """Read `root/masks`: photographs with human masks.

    Parameters
    ----------
    root : folder of the development sets.

    Yields
    ------
    Example
        truth is bool, True = blurred (255 in the file); all pixels are valid.

    Raises
    ------
    DefocusError
        A folder or a truth is missing, or a mask holds values other than 0 and 255.
    """
    for name, image, levels, path in _pairs(Path(root) / "masks"):
        _only(levels, (0, 255), path)
        yield Example(name, image, levels == 255, np.ones(levels.shape, dtype=bool), name)


def read_multifocus(root: str | Path) -> Iterator[Example]:
    """Read `root/multifocus`: photographs of multi-focus pairs, with a truth voted from fusion results.

    Parameters
    ----------
    root : folder of the development sets.

    Yields
    ------
    Example
        truth is bool, True = blurred (255 in the file); pixels of 128 are not valid.

    Raises
    ------
    DefocusError
        A folder or a truth is missing, or a truth holds values other than 0, 128 and 255.
    """
    for name, image, levels, path in _pairs(Path(root) / "multifocus"):
        _only(levels, (0, 128, 255), path)
        yield Example(name, image, levels == 255, levels != 128, name)


def read_pixel4(root: str | Path) -> Iterator[Example]:
    """Read `root/pixel4`: a phone camera's photographs with relative, signed defocus of unknown unit.

    Parameters
    ----------
    root : folder of the development sets.

    Yields
    ------
    Example
        truth is float32, larger = more defocus, comparable within one photograph only: score rank correlation
        and affine-invariant error. Pixels without a value (0 in the file) are not valid.

    Raises
    ------
    DefocusError
        A folder or a truth is missing.
    """
    for name, image, levels, _ in _pairs(Path(root) / "pixel4"):
        yield Example(name, image, levels.astype(np.float32), levels != 0, name)


def read_camera(root: str | Path, part: CameraPart = "reported") -> Iterator[Example]:
    """Read one part of `root/camera`: a single-lens reflex camera's photographs with sigma in px.

    The photographs are 81 of a Nikon D200 at f/2.8 (Carvalho et al., ECCV workshops 2018). Their truth is a thin lens
    over the depths of a sensor, fitted to the same scenes at f/8. By the order of the names, every fourth photograph is
    reported, the one after each of these is for choosing, and the other two are for training, so that no photograph
    serves two purposes.

    Parameters
    ----------
    root : folder of the development sets.
    part : which of the photographs.

    Yields
    ------
    Example
        truth is the sigma of the Gaussian that fits best, px, float32 (the file holds 1 + 1000 sigma in 16 bits);
        pixels without a value (0 in the file) are not valid.

    Raises
    ------
    DefocusError
        A folder or a truth is missing, or a truth cannot be read.
    """
    folder = Path(root) / "camera"
    truths = existing_folder(folder / "truth")
    for number, path in enumerate(photographs_in(folder / "image")):
        if _CAMERA_PARTS[number % len(_CAMERA_PARTS)] != part:
            continue
        image = read_picture(path)
        levels = read_values(_present(truths / f"{path.stem}.png"), image.shape[:2])
        sigma = np.maximum(levels - 1, 0) / 1000
        yield Example(path.stem, image, sigma.astype(np.float32), levels > 0, path.stem)


def read_depth(root: str | Path) -> Iterator[Example]:
    """Read `root/depth`: all-in-focus pictures with disparities (Middlebury 2006, a third of full size).

    Parameters
    ----------
    root : folder of the development sets.

    Yields
    ------
    Example
        truth is the disparity in px of the picture, float32 (the file holds three times that, as published),
        larger = nearer; unknown pixels (0 in the file) are not valid.

    Raises
    ------
    DefocusError
        The folder or a disparity is missing.
    """
    for path in photographs_in(Path(root) / "depth"):
        if path.stem.endswith("_disparity"):
            continue
        image = read_picture(path)
        levels = _read_levels(path.with_name(f"{path.stem}_disparity.png"), image.shape[:2])
        yield Example(path.stem, image, (levels / np.float32(3)).astype(np.float32), levels != 0, path.stem)


def read_sharp(folder: str | Path) -> Iterator[Example]:
    """Read sharp photographs of a folder, to be blurred by known amounts.

    Parameters
    ----------
    folder : folder of photographs; not searched below.

    Yields
    ------
    Example
        truth is float32 and 0 everywhere: the blur added so far, not a claim that the lens added none.

    Raises
    ------
    DefocusError
        The folder is missing or holds no photograph.
    """
    for path in photographs_in(Path(folder)):
        image = read_picture(path)
        everywhere = np.ones(image.shape[:2], bool)
        yield Example(path.stem, image, np.zeros(image.shape[:2], np.float32), everywhere, path.stem)
