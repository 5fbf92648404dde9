"""The options that the commands on photographs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Photos = Annotated[
    list[Path],
    typer.Argument(
        metavar="PHOTO",
        help="Photographs; folders are walked; - reads one from standard input. What defocus wrote is left out.",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="DIR|FILE",
        help="Write into this folder, not beside each photograph. For a single photograph also a file, by whose "
        "suffix its format goes, or - for standard output.",
    ),
]
MapFile = Annotated[
    Path | None,
    typer.Option(
        "--map",
        metavar="FILE|DIR",
        exists=True,
        help="Use this map or, for several photographs, the folder of their maps. Else the map that `defocus estimate` "
        "left beside the photograph or in the output folder is used, if it was made from this very photograph.",
    ),
]
MethodName = Annotated[str, typer.Option("--method", metavar="NAME", help="One of `defocus methods`.")]
Jobs = Annotated[
    int,
    typer.Option(
        "--jobs",
        "-j",
        metavar="N",
        min=1,
        help="Photographs at once, each in a process of its own. For folders the number of cores is fastest; each "
        "process needs memory for its photograph.",
    ),
]
SkipExisting = Annotated[
    bool,
    typer.Option(
        "--skip-existing",
        help="Leave photographs whose outputs are whole and were made from the very same file, options, weights and "
        "version; else they are replaced.",
    ),
]
MaxMegapixels = Annotated[float, typer.Option(metavar="MP", min=0.001, help="Refuse larger photographs.")]
Strict = Annotated[
    bool,
    typer.Option("--strict", help="Refuse files of which a part is missing, instead of reading the rest."),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object per photograph, as each is finished, or its error.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors (and what --json prints).")]

EditFormat = Literal["jpg", "png", "tif", "webp"]
EditFormatOption = Annotated[
    EditFormat | None, typer.Option("--format", help="Of the edited photograph; its own if left out.")
]
Quality = Annotated[int, typer.Option(metavar="Q", min=1, max=100, help="Of an edited JPEG or WebP.")]

EXIT_CODES = """[bold]Exit codes[/bold]

0 all photographs done, 1 at least one failed (named at the end), 2 wrong usage, 130 interrupted.
"""
