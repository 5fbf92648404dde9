"""Train the network of the pyramid method that reads blur on rendered scenes; `completion` trains the other one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from defocus.methods.onnx_file import import_onnx
from defocus.training.trainer import TrainingOptions, TrainingProgress

__all__ = ["OPTIONS", "train"]

OPTIONS = frozenset({"device", "resume", "epochs", "processes", "scenes", "start"})


def train(photos: Path, out: Path, options: TrainingOptions, report: TrainingProgress) -> str:
    """Train the network on scenes rendered from sharp photographs; see `defocus.training.trainer.Trainer`."""
    from defocus.training.pyramid.fitting import PyramidTraining, train_network

    import_onnx()  # before hours of work whose result could not be saved
    parameters = PyramidTraining(seed=options.seed)
    if options.scenes is not None:
        parameters = replace(parameters, scenes=options.scenes)
    if options.epochs is not None:
        parameters = replace(parameters, epochs=options.epochs)
    scores = train_network(
        photos,
        out,
        parameters,
        device=options.device,
        processes=options.processes,
        resume=options.resume,
        start=options.start,
        note=options.note,
        report=report,
    )
    confident = "" if scores.seeds_relative_error is None else f"{scores.seeds_relative_error:.3f} where confident, "
    return f"relative error {scores.relative_error:.3f}, {confident}on {scores.scenes} scenes of held-out photographs."
