"""The feature study of the paper: each feature alone and together, at each patch size, separately trained."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

from defocus.methods.dhde.features.layout import FEATURES
from defocus.runtime.atomic import write_text
from defocus.training.dhde.fitting import Scores, TrainingParameters, fit, predict, score
from defocus.training.dhde.network import ALL_FEATURES, CNN
from defocus.training.dhde.patches import PatchSet, make_patches
from defocus.training.photographs import find_photographs, split_photographs
from defocus.training.trainer import TrainingProgress

__all__ = ["study"]

_FEATURE_SETS = {
    "DCT": ("dct",),
    "gradient": ("gradient",),
    "SVD": ("svd",),
    "all hand-crafted": FEATURES,
    "CNN": (CNN,),
    "all": ALL_FEATURES,
}
_SCALE_SETS = {"large (27 px)": ("large",), "small (15 px)": ("small",), "both": ("large", "small")}


def study(
    folder: Path,
    out: Path,
    parameters: TrainingParameters,
    *,
    device: str = "cpu",
    processes: int = 1,
    report: TrainingProgress = lambda step, fraction, figures: None,
) -> dict[str, dict[str, Scores]]:
    """Train and validate one network for each set of features and each set of patch sizes.

    Parameters
    ----------
    folder : sharp photographs.
    out : the Markdown table to write; the same figures go to `out` with the suffix .json.
    parameters : of every training; its features and scales are replaced.
    device : "cpu" or "cuda".
    processes : photographs worked on at once while patches are made.
    report : receives the progress.

    Returns
    -------
    Scores on held-out photographs by features, then by patch sizes.

    Raises
    ------
    DefocusError : the folder has too few photographs, or none with edges.
    """
    sets: list[PatchSet] = []
    splits = split_photographs(find_photographs(folder), parameters.held_out, parameters.seed)
    for index, photographs in enumerate(splits):
        report("patches", index / 2, f"{len(photographs)} photographs")
        sets.append(make_patches(photographs, parameters.recipe, seed=parameters.seed + index, processes=processes))
    training, held_out = sets
    table: dict[str, dict[str, Scores]] = {}
    trainings = [(features, scales) for features in _FEATURE_SETS for scales in _SCALE_SETS]
    for index, (features, scales) in enumerate(trainings):
        report("trainings", index / len(trainings), f"{features}, {scales}")
        variant = replace(parameters, features=_FEATURE_SETS[features], scales=_SCALE_SETS[scales])
        probabilities, labels, beyond = predict(fit(training, variant, device=device), held_out, variant.scales, device)
        table.setdefault(features, {})[scales] = score(probabilities[~beyond], labels[~beyond])
    report("trainings", 1.0, "done")
    write_text(out.with_suffix(".json"), json.dumps(_as_dict(table, parameters, len(training)), indent=1))
    write_text(out, _study_table(table, parameters, (len(splits[0]), len(splits[1])), len(training)))
    return table


def _as_dict(table: dict[str, dict[str, Scores]], parameters: TrainingParameters, patches: int) -> dict[str, object]:
    rows = {features: {scales: asdict(s) for scales, s in row.items()} for features, row in table.items()}
    return {"parameters": asdict(parameters), "training_patches": patches, "table": rows}


def _study_table(
    table: dict[str, dict[str, Scores]], parameters: TrainingParameters, photographs: tuple[int, int], patches: int
) -> str:
    """The study as Markdown."""
    lines = [
        f"Trained on {patches:,} patches of {photographs[0]} photographs ({parameters.epochs} epochs, seed "
        f"{parameters.seed}), read on {photographs[1]} other photographs. Each cell: top-1 accuracy of 11 labels "
        "(chance 0.091) / mean absolute error of the probability-weighted mean, px.",
        "",
        "| features | " + " | ".join(_SCALE_SETS) + " |",
        "|---" * (1 + len(_SCALE_SETS)) + "|",
    ]
    for features, row in table.items():
        cells = [f"{row[scales].top1:.3f} / {row[scales].mean_error:.3f}" for scales in _SCALE_SETS]
        lines.append(f"| {features} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])
