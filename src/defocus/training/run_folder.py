"""The folder NAME.run beside the weights: what a training needs to continue after it was stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from defocus.errors import DefocusError
from defocus.runtime.atomic import write_text
from defocus.training.trainer import TrainingProgress

__all__ = ["open_run_folder", "render_missing"]


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


def render_missing(
    parts: Sequence[Path],
    counts: Sequence[int],
    seeds: Sequence[int],
    save: Callable[[Path, int, int, Callable[[int], None]], None],
    step: str,
    report: TrainingProgress,
) -> None:
    """Render the files of scenes that a stopped training has not rendered yet.

    Parameters
    ----------
    parts : the files.
    counts, seeds : number of scenes of each, and the seed that they follow from.
    save : renders one file, given its path, number and seed, and a function to call with the number of scenes that
        were finished since the last call.
    step : name of the step in the progress.
    report : called with the progress.

    Examples
    --------
    >>> def save(path, count, seed, done):
    ...     path.write_text(f"{count} scenes of seed {seed}")
    ...     done(count)
    >>> said = []
    >>> render_missing([Path("0.txt")], [4], [7], save, "scenes", lambda *progress: said.append(progress))
    >>> Path("0.txt").read_text(), said
    ('4 scenes of seed 7', [('scenes', 1.0, '4 of 4')])
    """
    made = 0

    def done(number: int) -> None:
        nonlocal made
        made += number
        report(step, made / sum(counts), f"{made} of {sum(counts)}")

    for part, count, seed in zip(parts, counts, seeds, strict=True):
        if part.exists():
            done(count)
        else:
            save(part, count, seed, done)
