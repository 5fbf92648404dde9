"""`defocus methods`: which methods there are, and what parameters each has."""

from __future__ import annotations

from typing import Annotated

import typer

from defocus.errors import ParameterError
from defocus.methods import METHODS, Method, find_method

EXAMPLES = """[bold]Examples[/bold]

defocus methods

defocus methods dhde

Then: defocus estimate photo.jpg --method dhde --set reduction=1
"""


def command(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="List the parameters of this method, for `estimate --set`.")
    ] = None,
) -> None:
    """List the methods, one line each, or the parameters of one method."""
    if name is None:
        width = max(map(len, METHODS))
        for method in METHODS.values():
            typer.echo(f"{method.name:{width}}  [{method.unit}]  {method.summary}")
        return
    try:
        chosen = find_method(name)
    except ParameterError as error:
        raise typer.BadParameter(str(error)) from error
    _print_parameters(chosen)


def _print_parameters(method: Method) -> None:
    """Print what each parameter means, its default, what it may be, and where the presets differ."""
    import shutil
    import textwrap

    from defocus.methods.parameters import describe_parameters

    presets = method.load().PRESETS
    width = min(shutil.get_terminal_size().columns, 100)
    typer.echo(f"{method.name}: {method.summary}\n")
    for parameter in describe_parameters(presets["default"]):
        typer.echo(f"{parameter.name}={parameter.default}  ({parameter.allowed})")
        typer.echo(textwrap.indent(textwrap.fill(parameter.meaning, width - 4), "    "))
    for preset, parameters in presets.items():
        if preset == "default":
            continue
        default = describe_parameters(presets["default"])
        changes = [
            f"{own.name}={own.default}"
            for own, usual in zip(describe_parameters(parameters), default, strict=True)
            if own.default != usual.default
        ]
        typer.echo("\n" + textwrap.fill(f"Preset {preset}: {', '.join(changes)}", width))
