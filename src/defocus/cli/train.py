"""`defocus train` and `defocus study`: sharp photographs in, weights or the table of the feature study out."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

from defocus.errors import DefocusError

if TYPE_CHECKING:  # PyTorch takes seconds to import, which --help must not wait for
    from defocus.training.photographs import Report

NETWORKS: dict[str, tuple[str, ...]] = {
    "pyramid": ("device", "resume", "epochs", "processes", "scenes", "start"),
    "dhde": ("device", "resume", "epochs", "processes", "patches", "released_recipe"),
}
"""Methods with a network that PyTorch fits, and which of the options below they take."""
TRAINED = (*NETWORKS, "shi2014", "shi2015jnb", "shi2015tog")
"""Methods with weights; each but dhde is trained by `train` of its module."""

TRAIN_EXAMPLES = """[bold]Examples[/bold]

defocus train --photos sharp/ --out pyramid.onnx --processes 2

defocus train --photos sharp/ --out pyramid.onnx --processes 2 --resume

defocus train --method dhde --photos sharp/ --out dhde.onnx

defocus train --method shi2015jnb --photos sharp/ --out jnb.npz

Then: defocus estimate photo.jpg --method shi2015jnb --weights jnb.npz
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
    context: typer.Context,
    photos: Photos,
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="FILE", help="The .onnx (pyramid, dhde) or .npz file to write; a model card goes beside."
        ),
    ],
    method: Annotated[str, typer.Option(metavar="NAME", help=f"{', '.join(TRAINED)}.")] = "pyramid",
    device: Device = "cpu",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint of a killed training.")] = False,
    epochs: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Passes over the data; 3 for pyramid and 10 for dhde if not given."),
    ] = None,
    patches: Patches = 32,
    scenes: Annotated[
        int, typer.Option(metavar="N", min=1, help="Scenes to render for pyramid, 114 kB each on disk.")
    ] = 32768,
    start: Annotated[
        Path | None,
        typer.Option(
            "--start",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Train these weights of pyramid further instead of random ones, at a lower learning rate, on scenes "
            "that they have not seen. The result is the mean of them and what they became.",
        ),
    ] = None,
    seed: Seed = 2017,
    processes: Processes = 1,
    released_recipe: Annotated[
        bool, typer.Option("--released-recipe", help="Make patches as the authors' scripts do, without augmentation.")
    ] = False,
    note: Annotated[
        str, typer.Option(metavar="TEXT", help="A sentence for the model card, such as the data's source.")
    ] = "",
) -> None:
    """Train a method's weights on sharp photographs, blurred with known sigma; a tenth is held out to measure on.

    For pyramid and dhde, a folder FILE.run beside FILE keeps scenes or patches and checkpoints; it can be deleted when
    the training is done. These two need PyTorch, the extra `train`, and an hour or two on a CPU; the other methods do
    without, in minutes, and take of the options below only --seed and --note.
    """
    if method not in TRAINED:
        raise typer.BadParameter(f"{method} has no weights to train: choose {', '.join(TRAINED)}.")
    ending = ".onnx" if method in NETWORKS else ".npz"
    if out.suffix != ending:
        raise typer.BadParameter(f"{out} must end in {ending}.", param_hint="--out")
    for name in {name for options in NETWORKS.values() for name in options}:
        source = context.get_parameter_source(name)
        if name not in NETWORKS.get(method, ()) and source is not None and source.name != "DEFAULT":
            takers = " and ".join(network for network, options in NETWORKS.items() if name in options)
            raise typer.BadParameter(f"--{name.replace('_', '-')} is for {takers}, not {method}: leave it out.")
    fitting: FittingOptions = {
        "device": device,
        "processes": processes,
        "resume": resume,
        "note": note,
    }
    with _progress() as report:
        out.parent.mkdir(parents=True, exist_ok=True)
        if method == "pyramid":
            summary = _train_pyramid(photos, out, epochs, scenes, start, seed, fitting, report)
        elif method == "dhde":
            summary = _train_dhde(photos, out, epochs, seed, patches, released_recipe, fitting, report)
        else:
            trainer = importlib.import_module(f"defocus.training.{method}")
            summary = trainer.train(photos, out, seed=seed, note=note, report=report)
    typer.echo(f"{out}: {summary} The model card is {out.with_suffix('.md')}.")


class FittingOptions(TypedDict):
    """What both networks' trainings take."""

    device: str
    processes: int
    resume: bool
    note: str


def _train_pyramid(
    photos: Path,
    out: Path,
    epochs: int | None,
    scenes: int,
    start: Path | None,
    seed: int,
    fitting: FittingOptions,
    report: Report,
) -> str:
    from defocus.training.pyramid import PyramidTraining, train

    standard = PyramidTraining(scenes=scenes, seed=seed)
    parameters = standard if epochs is None else replace(standard, epochs=epochs)
    scores = train(photos, out, parameters, start=start, **fitting, report=report)
    confident = "" if scores.seeds_relative_error is None else f"{scores.seeds_relative_error:.3f} where confident, "
    return f"relative error {scores.relative_error:.3f}, {confident}on {scores.scenes} scenes of held-out photographs."


def _train_dhde(
    photos: Path,
    out: Path,
    epochs: int | None,
    seed: int,
    patches: int,
    released_recipe: bool,
    fitting: FittingOptions,
    report: Report,
) -> str:
    from defocus.training.patches import RELEASED, PatchRecipe
    from defocus.training.train import TrainingParameters, train

    recipe = replace(RELEASED if released_recipe else PatchRecipe(), patches_per_label=patches)
    standard = TrainingParameters(recipe=recipe, seed=seed)
    parameters = standard if epochs is None else replace(standard, epochs=epochs)
    scores = train(photos, out, parameters, **fitting, report=report)
    return (
        f"top-1 {scores.top1:.3f}, within one label {scores.within_one:.3f}, mean error {scores.mean_error:.3f} "
        f"px on {scores.patches:,} patches of held-out photographs."
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
        if error.name not in ("torch", "sklearn"):
            raise
        typer.echo("Training needs PyTorch and scikit-learn: pip install 'defocus[train]'.", err=True)
        raise typer.Exit(1) from error
    except (DefocusError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
