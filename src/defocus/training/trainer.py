"""What trains the weights of a method: one module of this package for each, named like the method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

__all__ = ["Trainer", "TrainingOptions", "TrainingProgress"]

TrainingProgress = Callable[[str, float, str], None]
"""Called with a step's name, the fraction of it that is done (0..1), and the latest figures as text."""


@dataclass(frozen=True)
class TrainingOptions:
    """The options of `defocus train`; a method uses those that its trainer names in `OPTIONS`, and ignores the others.

    Attributes
    ----------
    seed : the same seed gives the same result on a CPU.
    note : a sentence for the model card, such as the source of the photographs.
    device : "cpu" or "cuda", where a network is trained.
    processes : photographs or scenes worked on at once.
    resume : continue from the checkpoint of a training that was stopped.
    epochs : passes over the data; None for the method's own number.
    patches : patches of each photograph, for each label and patch size.
    released_recipe : make patches as the authors' scripts do.
    scenes : number of scenes to render.
    start : weights to continue training from, instead of random ones.
    """

    seed: int = 2017
    note: str = ""
    device: str = "cpu"
    processes: int = 1
    resume: bool = False
    epochs: int | None = None
    patches: int = 32
    released_recipe: bool = False
    scenes: int = 32768
    start: Path | None = None


class Trainer(Protocol):
    """What the module `defocus.training.NAME` offers."""

    @property
    def OPTIONS(self) -> frozenset[str]:
        """The fields of `TrainingOptions`, beside seed and note, that this training uses."""

    def train(self, photos: Path, out: Path, options: TrainingOptions, report: TrainingProgress) -> str:
        """Train on the photographs of a folder and write the weights, with their model card beside them.

        Parameters
        ----------
        photos : folder of sharp photographs, searched with all its folders; a tenth is held out to measure on.
        out : the weights file to write.
        options : see `TrainingOptions`.
        report : receives the progress.

        Returns
        -------
        The figures on held-out photographs, in a sentence.

        Raises
        ------
        DefocusError
            If the folder is missing or has too few photographs.
        """
