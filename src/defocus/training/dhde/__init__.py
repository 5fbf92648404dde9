"""Train the network of DHDE, and repeat the paper's study of its features."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from defocus.methods.onnx_file import import_onnx
from defocus.training.trainer import TrainingOptions, TrainingProgress

__all__ = ["OPTIONS", "train"]

OPTIONS = frozenset({"device", "resume", "epochs", "processes", "patches", "released_recipe"})


def train(photos: Path, out: Path, options: TrainingOptions, report: TrainingProgress) -> str:
    """Train the network on patches of sharp photographs; see `defocus.training.trainer.Trainer`."""
    from defocus.training.dhde.fitting import TrainingParameters, train_network
    from defocus.training.dhde.patches import RELEASED, PatchRecipe

    import_onnx()  # before hours of work whose result could not be saved
    recipe = replace(RELEASED if options.released_recipe else PatchRecipe(), patches_per_label=options.patches)
    parameters = TrainingParameters(recipe=recipe, seed=options.seed)
    if options.epochs is not None:
        parameters = replace(parameters, epochs=options.epochs)
    scores = train_network(
        photos,
        out,
        parameters,
        device=options.device,
        processes=options.processes,
        resume=options.resume,
        note=options.note,
        report=report,
    )
    return (
        f"top-1 {scores.top1:.3f}, within one label {scores.within_one:.3f}, mean error {scores.mean_error:.3f} "
        f"px on {scores.patches:,} patches of held-out photographs."
    )
