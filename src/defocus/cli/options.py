"""The options that all commands on photographs share, each written once and given to the commands by a decorator."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import typer

from defocus.methods.session import Device
from defocus.runtime.cores import limited_cores

__all__ = ["EXIT_CODES", "EditFormat", "EditFormatOption", "Options", "Quality", "shares_options"]


@dataclass(frozen=True)
class Options:
    """What the user gave for the options that all commands on photographs share."""

    photos: Annotated[
        list[Path],
        typer.Argument(
            metavar="PHOTO",
            help="Photographs, or folders, which are searched with all their folders; - reads one from standard input. "
            "What defocus wrote is left out.",
        ),
    ]
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR|FILE",
            help="Write into this folder, not beside each photograph. For a single photograph also a file, whose "
            "suffix chooses the format, or - for standard output.",
        ),
    ] = None
    map_file: Annotated[
        Path | None,
        typer.Option(
            "--map",
            metavar="FILE|DIR",
            exists=True,
            help="Use this map or, for several photographs, the folder of their maps. Otherwise the map that `defocus "
            "estimate` left beside the photograph or in the output folder is used, if it was made from this very "
            "photograph.",
        ),
    ] = None
    method: Annotated[
        str, typer.Option("--method", metavar="NAME", help="How the map is estimated: one of `defocus methods`.")
    ] = "pyramid"
    device: Annotated[
        Device,
        typer.Option(
            "--device",
            help="What the network of pyramid or dhde is run on. auto is an NVIDIA GPU or DirectML if the installed "
            "ONNX Runtime can use them, or else the CPU.",
        ),
    ] = "auto"
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs",
            "-j",
            metavar="N",
            min=1,
            help="Number of photographs processed at once, each in a process of its own. For folders the number of "
            "cores is fastest; each process needs memory for its photograph.",
        ),
    ] = 1
    cores: Annotated[
        int | None,
        typer.Option(
            "--cores",
            metavar="N",
            min=1,
            help="Use at most N CPU cores, for all photographs together. If left out, all that the system, the CPU "
            "quota of a container and OMP_NUM_THREADS allow.",
        ),
    ] = None
    skip_existing: Annotated[
        bool,
        typer.Option(
            "--skip-existing",
            help="Skip photographs whose outputs are complete and were made from the very same file, with the same "
            "options, weights and version.",
        ),
    ] = False
    max_megapixels: Annotated[
        float | None,
        typer.Option(
            "--max-megapixels",
            metavar="MP",
            min=0.001,
            help="Refuse larger photographs. By default 200 for files that have to be read whole: all but large TIFFs "
            "and PNGs.",
            show_default=False,
        ),
    ] = None
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse incomplete files instead of reading what is there.")
    ] = False
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object per photograph, as each is finished, or its error."),
    ] = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors (and what --json prints).")] = False


def shares_options(
    *, without: tuple[str, ...] = (), json_help: str | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of `Options`, beside its own.

    Parameters
    ----------
    without : fields of `Options` that the command does not have; it sees their defaults.
    json_help : what the command's `--json` prints, if it is more than the usual.

    Returns
    -------
    A decorator. The command takes an `Options` first and its own options after that; on the command line the
    photographs come first, then its own options, then the shared ones.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(command).parameters.values())[1:]
        shared_hints = get_type_hints(Options, include_extras=True)
        hints = get_type_hints(command, include_extras=True)
        shared = [field for field in fields(Options) if field.name not in without]
        names = {field.name for field in shared}

        @functools.wraps(command)
        def wrapper(**values: Any) -> None:
            options = Options(**{name: value for name, value in values.items() if name in names})
            with nullcontext() if options.cores is None else limited_cores(options.cores):
                command(options, **{name: value for name, value in values.items() if name not in names})

        parameters = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if field.name == "photos" else field.default,
                annotation=Annotated[bool, typer.Option("--json", help=json_help)]
                if field.name == "as_json" and json_help is not None
                else shared_hints[field.name],
            )
            for field in shared
        ]
        before = [each for each in parameters if each.name in ("photos", "output")]
        after = [each for each in parameters if each.name not in ("photos", "output")]
        mine = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[each.name]) for each in own]
        signature = inspect.Signature([*before, *mine, *after])
        # Typer reads both.
        wrapper.__signature__ = signature  # type: ignore[attr-defined]
        wrapper.__annotations__ = {each.name: each.annotation for each in signature.parameters.values()}
        return wrapper

    return decorate


EditFormat = Literal["jpg", "png", "tif", "webp"]
EditFormatOption = Annotated[
    EditFormat | None,
    typer.Option("--format", help="Format of the edited photograph; the photograph's own if left out."),
]
Quality = Annotated[int, typer.Option(metavar="Q", min=1, max=100, help="Quality of an edited JPEG or WebP.")]

EXIT_CODES = """[bold]Exit codes[/bold]

0 all photographs done, 1 at least one failed (named at the end), 2 wrong usage, 130 interrupted.
"""
