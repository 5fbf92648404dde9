"""Selection of the photographs that a training uses, and of those that it holds out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from defocus.errors import DefocusError
from defocus.photograph.folders import photographs_below

__all__ = ["find_photographs", "split_photographs"]


def find_photographs(folder: Path) -> list[Path]:
    """Return all photographs below a folder except outputs of this package, in the order of their names.

    Raises
    ------
    DefocusError
        If the folder is missing or has fewer than two photographs.
    """
    if not folder.is_dir():
        raise DefocusError(f"There is no folder {folder}; give a folder of sharp photographs.")
    photographs = photographs_below(folder)
    if len(photographs) < 2:
        number = "one photograph" if photographs else "no photographs"
        raise DefocusError(f"{folder} has {number}; training needs at least two, better hundreds.")
    return photographs


def split_photographs(photographs: Sequence[Path], held_out: float, seed: int) -> tuple[list[Path], list[Path]]:
    """Divide photographs into those to train on and those to validate on, at least one each.

    Parameters
    ----------
    photographs : at least two files.
    held_out : fraction to validate on, 0..1.
    seed : seed of the random choice.

    Examples
    --------
    >>> training, validation = split_photographs([Path(f"{n}.jpg") for n in range(10)], held_out=0.2, seed=0)
    >>> len(training), len(validation)
    (8, 2)
    """
    order = np.random.default_rng(seed).permutation(len(photographs))
    count = min(max(1, round(held_out * len(photographs))), len(photographs) - 1)
    chosen = {int(index) for index in order[:count]}
    return (
        [path for index, path in enumerate(photographs) if index not in chosen],
        [path for index, path in enumerate(photographs) if index in chosen],
    )
