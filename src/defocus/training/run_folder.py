"""The folder NAME.run beside the weights: what a training needs to continue after it was stopped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from defocus.errors import DefocusError
from defocus.runtime.atomic import write_text

__all__ = ["open_run_folder"]


def open_run_folder(out: Path, parameters: dict[str, Any], photographs: Sequence[Path], *, resume: bool) -> Path:
    """Make the folder of a training ready: what is there is kept only to resume the very same training.

    Parameters
    ----------
    out : the weights file that the training will write; the folder is the same path with the suffix .run.
    parameters : of the training, as JSON knows them.
    photographs : all that it reads.
    resume : whether to continue what is there.

    Returns
    -------
    The folder, empty but for `training.json` unless a training is resumed.

    Raises
    ------
    DefocusError
        If there is a training to resume, but with other parameters or photographs.
    """
    run = out.with_suffix(".run")
    run.mkdir(parents=True, exist_ok=True)
    claim = json.dumps({"parameters": parameters, "photographs": [path.name for path in photographs]})
    stored = run / "training.json"
    if resume and stored.exists() and stored.read_text(encoding="utf-8") != claim:
        raise DefocusError(f"{run} belongs to a training with other parameters or photographs; leave out --resume.")
    if not (resume and stored.exists()):
        for leftover in run.glob("*"):
            leftover.unlink()
        write_text(stored, claim)
    return run
