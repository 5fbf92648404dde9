"""Weights that are plain arrays: a compressed .npz with a card that says where they come from.

DHDE's network is ONNX (`defocus.network`); the naive Bayes, dictionary and edgelets of the older methods are these.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from defocus.atomic import atomic_write
from defocus.errors import WeightsError
from defocus.version import __version__

SHIPPED = Path(__file__).parent / "weights"
LARGEST = 64 * 2**20
"""Bytes of a weights file, packed and unpacked; those of this package have under 2 MB."""
MOST_ARRAYS = 32
LAYOUTS: Mapping[str, Mapping[str, tuple[int | str, ...]]] = {
    "shi2014": {f"filters_{w}": (w * w, 2) for w in (11, 15, 21)} | {f"classes_{w}": (2, 2, 5) for w in (11, 15, 21)},
    "shi2015jnb": {"dictionary": (64, "k"), "sigma": ("s",), "count_relative": ("s",), "count_absolute": ("s",)},
    "shi2015tog": {"mean": (75,), "basis": (75, "d"), "codes": ("n", "d"), "sigma": ("n",)},
}
"""Arrays of each method and their shapes; a letter is a size that training chooses."""


@dataclass(frozen=True, eq=False)
class ArrayWeights:
    """Trained arrays of one method.

    Attributes
    ----------
    method : name of the method they belong to.
    arrays : by name; shapes and units are the method's to say.
    card : where they come from (photographs, command, parameters, held-out figures), as JSON knows it.
    sha256 : of the file, to tell which weights made a map.
    """

    method: str
    arrays: Mapping[str, NDArray[Any]]
    card: Mapping[str, Any]
    sha256: str


def read_weights(method: str, path: Path | None = None) -> ArrayWeights:
    """Read the weights of `method` from `path`, or those in the package if None.

    Raises
    ------
    WeightsError
        If the file is missing, damaged, or holds the weights of another method.
    """
    source = SHIPPED / f"{method}.npz" if path is None else path
    if not source.is_file():
        raise WeightsError(f"There is no weights file {source}; give the path of a .npz file of `defocus train`.")
    try:
        contents = source.read_bytes() if source.stat().st_size <= LARGEST else b""
        _check_sizes(contents)
        with np.load(io.BytesIO(contents), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        card = json.loads(str(arrays.pop("card")))
        if not isinstance(card, dict):
            raise TypeError
    except Exception as error:  # zipfile, zlib, NumPy and JSON raise many kinds on damaged data
        raise WeightsError(f"{source} is not a weights file of `defocus train`, or is damaged.") from error
    if card.get("method") != method:
        raise WeightsError(f"{source} holds weights of another method than {method}: give another file.")
    _check_arrays(arrays, LAYOUTS[method], source)
    return ArrayWeights(method, arrays, card, hashlib.sha256(contents).hexdigest())


def _check_sizes(contents: bytes) -> None:
    """Refuse an archive of which anything is large, or larger than it says, before it is unpacked."""
    with zipfile.ZipFile(io.BytesIO(contents)) as archive:
        members = archive.infolist()
        if len(members) > MOST_ARRAYS or sum(member.file_size for member in members) > LARGEST:
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


def _check_arrays(arrays: Mapping[str, NDArray[Any]], layout: Mapping[str, tuple[int | str, ...]], path: Path) -> None:
    """Refuse arrays that are missing, of another shape or type than the method needs, or not finite."""
    sizes: dict[str, int] = {}
    for name, shape in layout.items():
        if name not in arrays:
            raise WeightsError(f"{path} lacks the array {name}; give a file of `defocus train`.")
        array = arrays[name]
        fits = array.dtype.kind == "f" and array.ndim == len(shape) and array.size > 0
        # A letter stands for a size that training may choose; it is the same wherever the letter is.
        if not fits or any(
            size != (sizes.setdefault(wanted, size) if isinstance(wanted, str) else wanted)
            for size, wanted in zip(array.shape, shape, strict=True)
        ):
            wanted_shape = " x ".join(map(str, shape))
            raise WeightsError(f"{path} has {name} as {array.dtype} {array.shape} where floats {wanted_shape} belong.")
        if not np.isfinite(array).all():
            raise WeightsError(f"{path} has numbers in {name} that are not finite; train it again.")


def write_weights(path: Path, method: str, arrays: Mapping[str, NDArray[Any]], card: Mapping[str, Any]) -> None:
    """Write the weights of `method`; the file appears whole or not at all.

    Parameters
    ----------
    path : a .npz file; replaced if it exists.
    method : name of the method, kept in the card.
    arrays : by name, none called "card".
    card : plain JSON; the package's version is added.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    text = json.dumps({"method": method, "defocus": __version__, **card}, allow_nan=False)
    with atomic_write(path) as file:
        np.savez_compressed(file, allow_pickle=False, card=np.array(text), **arrays)
