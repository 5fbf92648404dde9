"""`defocus train` and `defocus study`: sharp photographs in, weights or the table of the feature study out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Literal

import typer

from defocus.errors import DefocusError, ParameterError
from defocus.methods import METHODS, find_method
from defocus.training.trainer import TrainingOptions, TrainingProgress

DEFAULTS = TrainingOptions()
TRAINED = ", ".join(method.name for method in METHODS.values() if method.weights)
TRAIN_EXAMPLES = """[bold]Examples[/bold]

defocus train --photos sharp/ --out pyramid.onnx --processes 2

defocus train --photos sharp/ --out pyramid.onnx --processes 2 --resume

defocus train --part completion --photos sharp/ --start pyramid.onnx --out completed.onnx --processes 2

defocus train --method dhde --photos sharp/ --out dhde.onnx

defocus train --method shi2015jnb --photos sharp/ --out jnb.npz

Then: defocus estimate photo.jpg --method shi2015jnb --weights jnb.npz
"""

STUDY_EXAMPLES = """[bold]Example[/bold]

defocus study --photos sharp/ --out features.md
"""


Photos = Annotated[
    Path, typer.Option("--photos", metavar="DIR", help="Folder of sharp photographs, searched with all its folders.")
]
Device = Annotated[Literal["cpu", "cuda"], typer.Option("--device", help="Where the network is trained.")]
Processes = Annotated[int, typer.Option(metavar="N", min=1, help="Number of photographs or scenes processed at once.")]
Patches = Annotated[
    int, typer.Option(metavar="N", min=1, help="Patches of each photograph, for each label and patch size.")
]
Seed = Annotated[int, typer.Option(metavar="N", min=0, help="The same seed gives the same result on a CPU.")]


def train_command(
    context: typer.Context,
    photos: Photos,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Weights file to write, .onnx (pyramid, dhde) or .npz; its model card is written beside it.",
        ),
    ],
    method: Annotated[
        str,
        typer.Option(metavar="NAME", help=f"{TRAINED}."),
    ] = "pyramid",
    part: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Train a further network instead of the first one: pyramid has completion, which is trained for the "
            "readings of a first one that is finished.",
        ),
    ] = None,
    device: Device = "cpu",
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the checkpoint of a training that was stopped.")
    ] = False,
    epochs: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Passes over the data; 3 for pyramid and 10 for dhde if not given."),
    ] = None,
    patches: Patches = DEFAULTS.patches,
    scenes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Scenes to render; if not given, 32,768 for pyramid (114 kB each on disk), 8,192 for its completion "
            "(439 kB each).",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Steps of the training of the completion, 16 scenes each; if not given, as many that each scene is "
            "seen six times, 3,072 for 8,192 scenes. With more it learns them by heart.",
        ),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            "--start",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Fine-tune these weights of pyramid instead of starting from random ones: at a lower learning rate, "
            "on scenes that they were not trained on. Saves the average of the starting and the fine-tuned weights. "
            "For the completion: weights whose first network is kept and gets a new completion; the package's if not "
            "given.",
        ),
    ] = None,
    truths: Annotated[
        Path | None,
        typer.Option(
            "--truths",
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Folder with the data set camera/, photographs whose blur was measured. A fifth of the steps of the "
            "completion then learns from the half of them that is for training, at four sizes each, and its confidence "
            "is calibrated on the quarter for choosing, too.",
        ),
    ] = None,
    seed: Seed = DEFAULTS.seed,
    processes: Processes = DEFAULTS.processes,
    released_recipe: Annotated[
        bool, typer.Option("--released-recipe", help="Make patches as the authors' scripts do, without augmentation.")
    ] = False,
    note: Annotated[
        str, typer.Option(metavar="TEXT", help="A sentence for the model card, such as the data's source.")
    ] = "",
) -> None:
    """Train a method's weights on sharp photographs, blurred with known sigma; a tenth is held out for validation.

    For pyramid and dhde, a folder FILE.run beside FILE keeps scenes or patches and checkpoints; it can be deleted when
    the training is done. These two need PyTorch, the extra `train`, and an hour or two on a CPU for each network. The
    other methods need neither, are trained in minutes, and take only the options --seed and --note.
    """
    options = TrainingOptions(
        seed=seed,
        note=note,
        device=device,
        processes=processes,
        resume=resume,
        epochs=epochs,
        patches=patches,
        released_recipe=released_recipe,
        scenes=scenes,
        steps=steps,
        start=start,
        truths=truths,
    )
    with _progress() as report:
        try:
            chosen = find_method(method)
            trainer = chosen.load_trainer(part)
        except ParameterError as error:
            raise typer.BadParameter(str(error), param_hint="--method or --part") from error
        ending = Path(str(chosen.weights)).suffix
        if out.suffix != ending:
            raise typer.BadParameter(f"{out} must end in {ending}.", param_hint="--out")
        for field in fields(options):
            source = context.get_parameter_source(field.name)
            if field.name not in {"seed", "note", *trainer.OPTIONS} and source is not None and source.name != "DEFAULT":
                option = "--" + field.name.replace("_", "-")
                trained = method if part is None else f"the {part} of {method}"
                raise typer.BadParameter(f"The training of {trained} has no {option}: leave it out.")
        out.parent.mkdir(parents=True, exist_ok=True)
        figures = trainer.train(photos, out, options, report)
    typer.echo(f"{out}: {figures} The model card is {out.with_suffix('.md')}.")


def study_command(
    photos: Photos,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The .md table to write; figures go to .json beside.")
    ],
    device: Device = "cpu",
    epochs: Annotated[int, typer.Option(metavar="N", min=1, help="Passes over the patches, for each training.")] = 6,
    patches: Patches = 8,
    seed: Seed = 2017,
    processes: Processes = 1,
) -> None:
    """Train the network with each feature alone and together, at each patch size: the paper's feature study.

    18 trainings on the same patches, each validated on photographs held out. Needs PyTorch, the extra `train`.
    """
    with _progress() as report:
        from defocus.training.dhde.fitting import TrainingParameters
        from defocus.training.dhde.patches import PatchRecipe
        from defocus.training.dhde.study import study

        parameters = TrainingParameters(recipe=PatchRecipe(patches_per_label=patches), epochs=epochs, seed=seed)
        out.parent.mkdir(parents=True, exist_ok=True)
        study(photos, out, parameters, device=device, processes=processes, report=report)
    typer.echo(out.read_text(encoding="utf-8"))


@contextmanager
def _progress() -> Iterator[TrainingProgress]:
    """A bar a step on standard error; errors that a user can mend become one line and exit code 1."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    steps: dict[str, TaskID] = {}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as bar:

            def report(step: str, fraction: float, figures: str) -> None:
                if step not in steps:
                    steps[step] = bar.add_task(step, total=1.0, figures="")
                before = bar.tasks[steps[step]].completed
                bar.update(steps[step], completed=fraction, figures=figures)
                # In a log file, a line every twentieth of a step stands for the bar.
                if not console.is_terminal and (int(20 * fraction) > int(20 * before) or before == 0):
                    console.print(f"{step}: {fraction:.0%}, {figures}", highlight=False, soft_wrap=True)

            yield report
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "sklearn"):
            raise
        typer.echo("Training needs PyTorch and scikit-learn: pip install 'defocus[train]'.", err=True)
        raise typer.Exit(1) from error
    except (DefocusError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
