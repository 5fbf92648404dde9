"""Train the completion of the pyramid method on colour scenes, for a reader that is trained already."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from defocus.methods.onnx_file import import_onnx
from defocus.training.trainer import TrainingOptions, TrainingProgress

__all__ = ["OPTIONS", "train"]

OPTIONS = frozenset({"device", "resume", "processes", "scenes", "start", "steps", "truths"})


def train(photos: Path, out: Path, options: TrainingOptions, report: TrainingProgress) -> str:
    """Train the network on scenes made from sharp photographs; see `defocus.training.trainer.Trainer`."""
    from defocus.training.pyramid.completion.fitting import CompletionTraining, steps_for, train_completion

    import_onnx()  # before hours of work whose result could not be saved
    parameters = CompletionTraining(seed=options.seed)
    if options.scenes is not None:
        parameters = replace(parameters, scenes=options.scenes, steps=steps_for(options.scenes))
    if options.steps is not None:
        parameters = replace(parameters, steps=options.steps)
    scores = train_completion(
        photos,
        out,
        parameters,
        start=options.start,
        truths=options.truths,
        device=options.device,
        processes=options.processes,
        resume=options.resume,
        note=options.note,
        report=report,
    )
    return (
        f"mean error {scores.error_octaves:.3f} octaves, {scores.propagated_error_octaves:.3f} as propagated, on "
        f"{scores.scenes} scenes of held-out photographs."
    )
