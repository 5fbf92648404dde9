"""`defocus methods`: what `--method` can be."""

from __future__ import annotations

import typer

from defocus.methods.registry import METHODS


def command() -> None:
    """List the methods, one line each."""
    width = max(map(len, METHODS))
    for method in METHODS.values():
        typer.echo(f"{method.name:{width}}  [{method.unit}]  {method.summary}")
