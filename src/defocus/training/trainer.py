"""The interface of the modules that train the weights of a method: one for each, named like the method.

A further network of a method has a module within that one, named like the part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

__all__ = ["Trainer", "TrainingOptions", "TrainingProgress"]

TrainingProgress = Callable[[str, float, str], None]
"""A function that is called with the name of a step, the fraction of it that is done (0..1), and the latest figures."""


@dataclass(frozen=True)
class TrainingOptions:
    """The options of `defocus train`; a method uses those that its trainer names in `OPTIONS`, and ignores the others.

    Attributes
    ----------
    seed : seed of all random choices; the same seed gives the same result on a CPU.
    note : a sentence for the model card, such as the source of the photographs.
    device : device on which a network is trained, "cpu" or "cuda".
    processes : number of photographs or scenes processed at once.
    resume : continue from the checkpoint of a training that was stopped.
    epochs : number of passes over the data; None for the method's own number.
    patches : number of patches of each photograph, for each label and patch size.
    released_recipe : make patches as the authors' scripts do.
    scenes : number of scenes to render; None for the method's own number.
    steps : number of steps of the optimiser; None for the method's own number.
    start : weights to continue from, instead of random ones; for a further network, those with the first one.
    truths : folder of data sets whose photographs with measured blur are learned from too; None for none.
    """

    seed: int = 2017
    note: str = ""
    device: str = "cpu"
    processes: int = 1
    resume: bool = False
    epochs: int | None = None
    patches: int = 32
    released_recipe: bool = False
    scenes: int | None = None
    steps: int | None = None
    start: Path | None = None
    truths: Path | None = None


class Trainer(Protocol):
    """The interface of the module `defocus.training.NAME`, or `defocus.training.NAME.PART`."""

    @property
    def OPTIONS(self) -> frozenset[str]:
        """The fields of `TrainingOptions`, beside seed and note, that this training uses."""

    def train(self, photos: Path, out: Path, options: TrainingOptions, report: TrainingProgress) -> str:
        """Train on the photographs of a folder and write the weights, with their model card beside them.

        Parameters
        ----------
        photos : folder of sharp photographs, searched recursively; a tenth of them is held out for evaluation.
        out : weights file to write.
        options : see `TrainingOptions`.
        report : called with the progress.

        Returns
        -------
        The figures on held-out photographs, in a sentence.

        Raises
        ------
        DefocusError
            If the folder is missing or has too few photographs.
        """
