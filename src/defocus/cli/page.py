"""`defocus page`: a page in the browser, of one photograph or of a shoot, served on this computer alone."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from defocus.cli.options import Options, shares_options
from defocus.cli.terminal import OutputClosedError, say
from defocus.errors import ParameterError, PhotographWarning, WeightsError

EXAMPLES = """[bold]Examples[/bold]

defocus page photo.jpg

defocus page shoot/ -o exports

defocus page shoot/ --no-browser --port 8000

Nothing leaves the computer: the page is served on 127.0.0.1, for the browser that is opened alone. Ctrl-C ends it.
"""


@shares_options(without=("output", "map_file", "jobs", "skip_existing", "as_json"))
def command(
    options: Options,
    exports: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            file_okay=False,
            help="Folder of what is exported; made with the first export. If left out, the folder defocus within the "
            "folder given, or beside the first photograph.",
        ),
    ] = None,
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")
    ] = 0,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in the browser, or print its address only.")
    ] = True,
    keep_maps: Annotated[
        bool,
        typer.Option(
            "--keep-maps",
            help="Keep the maps that are made: as NAME.defocus.tiff among the exports, where other commands find them "
            "with the same -o. Otherwise they are removed at the end.",
        ),
    ] = False,
) -> None:
    """See, refocus, cull and export photographs in the browser.

    One photograph opens with its map; a folder opens as an overview, read
    quickly first. Exports are made at full size, and never replace a file.
    Ratings go into XMP sidecars, never into a photograph.
    """
    from defocus.cli.files import STANDARD_STREAM, find_photographs, name_outputs
    from defocus.estimation import check_device, find_parameters, map_recipe
    from defocus.methods.registry import find_method
    from defocus.provenance import is_output
    from defocus.runtime.processes import terminable

    try:
        from defocus.server.serve import PortError, serve
        from defocus.server.shoot import Settings, Shoot
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("starlette", "uvicorn"):
            raise
        raise typer.BadParameter(
            "The page needs two more packages: pip install 'defocus[page]', or pip install starlette uvicorn."
        ) from error
    if STANDARD_STREAM in options.photos:
        raise typer.BadParameter("A page shows files: name photographs or folders, not -.")
    try:
        method = find_method(options.method)
        check_device(method, options.device)
        recipe = map_recipe(method, find_parameters(method))
    except (ParameterError, WeightsError) as error:
        raise typer.BadParameter(str(error)) from error
    found = find_photographs(options.photos)
    sources = [source for source in found.photographs if source.named or not is_output(source.path)]
    if not options.quiet:
        for path in found.outputs:
            say(f"{path} was written by defocus and is left out.", error=True)
        for path, reason in found.failures:
            say(f"{path}: {reason}", error=True)
    if not sources:
        raise typer.BadParameter("There is no photograph to show: name photographs, or a folder of them.")
    first = options.photos[0]
    folder = (exports or (first if first.is_dir() else first.parent) / "defocus").resolve()
    photographs = [
        (source.path.absolute(), stem) for source, stem in zip(sources, name_outputs(sources, folder), strict=True)
    ]

    def started(address: str, opened: bool) -> None:
        # The address holds what lets a browser in: it goes to a terminal, and elsewhere only where it is needed.
        shown = address if not opened or (sys.stdout is not None and sys.stdout.isatty()) else address.split("#")[0]
        with suppress(OutputClosedError):  # nobody reads it
            if not options.quiet or not opened:
                say(shown)
        if not options.quiet:
            say(f"Exports go to {folder}. Ctrl-C ends this.", error=True)

    def fault(sentence: str) -> None:
        say(f"Warning: {sentence}", error=True)

    # Closing the terminal's window ends it as cleanly, unless the shell was told otherwise (nohup).
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    with terminable(), tempfile.TemporaryDirectory(prefix="defocus-page-") as maps:
        settings = Settings(
            recipe=recipe,
            maps=Path(maps),
            device=options.device,
            max_pixels=None if options.max_megapixels is None else int(options.max_megapixels * 1e6),
            strict=options.strict,
            keep_maps=keep_maps,
        )
        warnings.simplefilter("ignore", PhotographWarning)  # the page says them, beside the photograph
        try:
            serve(Shoot(photographs, folder, settings), port=port, open_browser=browser, started=started, fault=fault)
        except PortError as error:
            raise typer.BadParameter(str(error)) from error
