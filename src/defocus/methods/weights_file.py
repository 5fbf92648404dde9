"""Files of trained weights: reading any of them once, and reading and writing those that are plain arrays.

The networks of pyramid and DHDE are ONNX files (`defocus.methods.onnx_file`). The naive Bayes classifier, dictionary
and edgelets of the older methods are compressed .npz files with a model card that states where they come from.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from defocus.errors import WeightsError
from defocus.methods.registry import find_method
from defocus.runtime.atomic import atomic_write
from defocus.version import __version__

__all__ = [
    "LARGEST",
    "ArrayWeights",
    "Contents",
    "Layout",
    "read_array_weights",
    "read_contents",
    "write_array_weights",
]

LARGEST = 64 * 2**20
"""Largest size in bytes of a weights file, compressed and uncompressed; those of this package have under 5 MB."""
_MOST_ARRAYS = 32
"""Largest number of arrays in a weights file."""
Layout: TypeAlias = Mapping[str, tuple[int | str, ...]]
"""Shapes of the arrays of a method's weights, by name; a letter is a size that training chooses."""


class Contents(NamedTuple):
    """The contents of a weights file.

    Attributes
    ----------
    data : bytes of the file.
    sha256 : SHA-256 of the bytes, hexadecimal; maps keep it to record which weights they were made with.
    """

    data: bytes
    sha256: str


def read_contents(path: Path) -> Contents:
    """Read a weights file; a file that has not changed is read and hashed only once in a process.

    Parameters
    ----------
    path : file to read.

    Returns
    -------
    Contents

    Raises
    ------
    WeightsError
        If the file is missing, cannot be read, or is larger than any weights of this package.
    """
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):
            raise WeightsError(f"There is no weights file {path}; give the path of a file of `defocus train`.")
        if state.st_size > LARGEST:
            raise WeightsError(f"{path} is too large for weights of this package; give another file.")
        return _contents(path, state.st_mtime_ns, state.st_size, state.st_ino)
    except FileNotFoundError:
        raise WeightsError(f"There is no weights file {path}; give the path of a file of `defocus train`.") from None
    except OSError as error:
        raise WeightsError(f"Cannot read {path}: {error.strerror or error}.") from error


@lru_cache(maxsize=8)
def _contents(path: Path, _changed: int, _size: int, _inode: int) -> Contents:
    data = path.read_bytes()
    return Contents(data, hashlib.sha256(data).hexdigest())


@dataclass(frozen=True, eq=False)
class ArrayWeights:
    """Trained arrays of one method.

    Attributes
    ----------
    method : name of the method.
    arrays : arrays by name; the method defines their shapes and units.
    card : model card with photographs, command, parameters and held-out figures, as plain JSON.
    sha256 : SHA-256 of the file, to record which weights a map was made with.
    """

    method: str
    arrays: Mapping[str, NDArray[Any]]
    card: Mapping[str, Any]
    sha256: str


def read_array_weights(method: str, layout: Layout, path: Path | None = None) -> ArrayWeights:
    """Read the weights of a method that are plain arrays.

    Parameters
    ----------
    method : name of the method.
    layout : arrays that the method needs.
    path : .npz file of `defocus train`; None for the weights of this package.

    Raises
    ------
    WeightsError
        If the file is missing, damaged, or holds the weights of another method.
    """
    source = find_method(method).weights_file(path)
    assert source is not None, f"{method} has no weights"
    contents = read_contents(source)
    try:
        _check_sizes(contents.data)
        with np.load(io.BytesIO(contents.data), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        card = json.loads(str(arrays.pop("card")))
        if not isinstance(card, dict):
            raise TypeError
    except Exception as error:  # zipfile, zlib, NumPy and JSON raise many kinds on damaged data
        raise WeightsError(f"{source} is not a weights file of `defocus train`, or is damaged.") from error
    if card.get("method") != method:
        raise WeightsError(f"{source} holds weights of another method than {method}: give another file.")
    _check_arrays(arrays, layout, source)
    return ArrayWeights(method, arrays, card, contents.sha256)


def _check_sizes(contents: bytes) -> None:
    """Refuse, before it is unpacked, an archive with arrays that are large or larger than stated."""
    with zipfile.ZipFile(io.BytesIO(contents)) as archive:
        members = archive.infolist()
        if len(members) > _MOST_ARRAYS or sum(member.file_size for member in members) > LARGEST:
            raise ValueError
        for member in members:
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                read_header = {
                    (1, 0): np.lib.format.read_array_header_1_0,
                    (2, 0): np.lib.format.read_array_header_2_0,
                }[version]
                shape, _, dtype = read_header(file)
                if math.prod(shape) * dtype.itemsize > member.file_size:
                    raise ValueError


def _check_arrays(arrays: Mapping[str, NDArray[Any]], layout: Layout, path: Path) -> None:
    """Refuse arrays that are missing, of another shape or type than the method needs, or not finite."""
    sizes: dict[str, int] = {}
    for name, shape in layout.items():
        if name not in arrays:
            raise WeightsError(f"{path} lacks the array {name}; give a file of `defocus train`.")
        array = arrays[name]
        fits = array.dtype.kind == "f" and array.ndim == len(shape) and array.size > 0
        # A letter stands for a size that training chooses; equal letters stand for equal sizes.
        if not fits or any(
            size != (sizes.setdefault(wanted, size) if isinstance(wanted, str) else wanted)
            for size, wanted in zip(array.shape, shape, strict=True)
        ):
            wanted_shape = " x ".join(map(str, shape))
            raise WeightsError(f"{path} has {name} as {array.dtype} {array.shape} where floats {wanted_shape} belong.")
        if not np.isfinite(array).all():
            raise WeightsError(f"{path} has numbers in {name} that are not finite; train it again.")


def write_array_weights(path: Path, method: str, arrays: Mapping[str, NDArray[Any]], card: Mapping[str, Any]) -> None:
    """Write the weights of a method; the file is written whole or not at all.

    Parameters
    ----------
    path : .npz file to write; an existing one is replaced.
    method : name of the method, kept in the card.
    arrays : arrays by name, none of them called "card".
    card : model card as plain JSON; the package's version is added.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    text = json.dumps({"method": method, "defocus": __version__, **card}, allow_nan=False)
    with atomic_write(path) as file:
        np.savez_compressed(file, allow_pickle=False, card=np.array(text), **arrays)
