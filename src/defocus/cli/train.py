"""`defocus train` and `defocus study`: sharp photographs in, weights or the table of the feature study out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from defocus.errors import DefocusError

if TYPE_CHECKING:  # PyTorch takes seconds to import, which --help must not wait for
    from defocus.training.photographs import Report

TRAIN_EXAMPLES = """[bold]Examples[/bold]

defocus train --photos sharp/ --out dhde.onnx

defocus train --photos sharp/ --out dhde.onnx --resume

Then: defocus estimate photo.jpg --weights dhde.onnx
"""

STUDY_EXAMPLES = """[bold]Example[/bold]

defocus study --photos sharp/ --out features.md
"""


def _known_device(device: str) -> str:
    if device not in ("cpu", "cuda"):
        raise typer.BadParameter(f"{device} is neither cpu nor cuda.")
    return device


Photos = Annotated[Path, typer.Option("--photos", metavar="DIR", help="Folder of sharp photographs, walked.")]
Device = Annotated[
    str, typer.Option("--device", metavar="cpu|cuda", callback=_known_device, help="Where the network is fitted.")
]
Processes = Annotated[int, typer.Option(metavar="N", min=1, help="Photographs worked on at once for patches.")]
Patches = Annotated[
    int, typer.Option(metavar="N", min=1, help="Patches of each photograph, for each label and patch size.")
]
Seed = Annotated[int, typer.Option(metavar="N", min=0, help="The same seed gives the same result on a CPU.")]


def train_command(
    photos: Photos,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The .onnx file to write; a model card goes beside.")
    ],
    device: Device = "cpu",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint of a killed training.")] = False,
    epochs: Annotated[int, typer.Option(metavar="N", min=1, help="Passes over the patches.")] = 10,
    patches: Patches = 32,
    seed: Seed = 2017,
    processes: Processes = 1,
    released_recipe: Annotated[
        bool, typer.Option("--released-recipe", help="Make patches as the authors' scripts do, without augmentation.")
    ] = False,
    note: Annotated[
        str, typer.Option(metavar="TEXT", help="A sentence for the model card, such as the data's source.")
    ] = "",
) -> None:
    """Train the DHDE network on sharp photographs, blurred with known sigma.

    A tenth of the photographs is held out for validation. Beside FILE, a folder FILE.run keeps patches and a
    checkpoint after every epoch; it can be deleted when the training is done. Needs PyTorch, the extra `train`.
    """
    if out.suffix != ".onnx":
        raise typer.BadParameter(f"{out} must end in .onnx.", param_hint="--out")
    with _progress() as report:
        from dataclasses import replace

        from defocus.training.patches import RELEASED, PatchRecipe
        from defocus.training.train import TrainingParameters, train

        recipe = replace(RELEASED if released_recipe else PatchRecipe(), patches_per_label=patches)
        parameters = TrainingParameters(recipe=recipe, epochs=epochs, seed=seed)
        out.parent.mkdir(parents=True, exist_ok=True)
        scores = train(
            photos, out, parameters, device=device, processes=processes, resume=resume, note=note, report=report
        )
    typer.echo(
        f"{out}: top-1 {scores.top1:.3f}, within one label {scores.within_one:.3f}, mean error {scores.mean_error:.3f} "
        f"px on {scores.patches:,} patches of held-out photographs; the model card is {out.with_suffix('.md')}."
    )


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
        from defocus.training.patches import PatchRecipe
        from defocus.training.study import study
        from defocus.training.train import TrainingParameters

        parameters = TrainingParameters(recipe=PatchRecipe(patches_per_label=patches), epochs=epochs, seed=seed)
        out.parent.mkdir(parents=True, exist_ok=True)
        study(photos, out, parameters, device=device, processes=processes, report=report)
    typer.echo(out.read_text(encoding="utf-8"))


@contextmanager
def _progress() -> Iterator[Report]:
    """A bar a step on standard error; errors that a user can mend become one line and exit code 1."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    steps: dict[str, TaskID] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), TextColumn("{task.fields[words]}"))
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as bar:

            def report(step: str, fraction: float, words: str) -> None:
                if step not in steps:
                    steps[step] = bar.add_task(step, total=1.0, words="")
                before = bar.tasks[steps[step]].completed
                bar.update(steps[step], completed=fraction, words=words)
                # In a log file, a line every twentieth of a step stands for the bar.
                if not console.is_terminal and (int(20 * fraction) > int(20 * before) or before == 0):
                    console.print(f"{step}: {fraction:.0%}, {words}", highlight=False, soft_wrap=True)

            yield report
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        typer.echo("Training needs PyTorch: pip install 'defocus[train]'.", err=True)
        raise typer.Exit(1) from error
    except (DefocusError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
