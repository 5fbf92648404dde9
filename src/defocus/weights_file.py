"""Weights that are plain arrays: a compressed .npz with a card that says where they come from.

DHDE's network is ONNX (`defocus.network`); the naive Bayes, dictionary and edgelets of the older methods are these.
"""

from __future__ import annotations

import hashlib
import json
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
        with np.load(source, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        card = json.loads(str(arrays.pop("card")))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{source} is not a weights file of `defocus train`, or is damaged.") from error
    if card.get("method") != method:
        raise WeightsError(f"{source} holds weights of {card.get('method')}, not of {method}: give another file.")
    return ArrayWeights(method, arrays, card, hashlib.sha256(source.read_bytes()).hexdigest())


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
