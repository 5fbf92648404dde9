"""The command `defocus` and its subcommands. A new one is a module beside this and one line here."""

# No postponed annotations here: typer must find `Annotated` and itself, which load inside a function.
import atexit
import gc
import sys
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import typer

__all__ = ["application", "main"]


class _Command(NamedTuple):
    """Where a command is: a module beside this, its function, and the examples that its help ends with.

    Without examples the function returns a group of commands.
    """

    module: str
    function: str = "command"
    examples: str = "EXAMPLES"


_COMMANDS = {
    "estimate": _Command("estimate"),
    "segment": _Command("segment"),
    "magnify": _Command("magnify"),
    "sharpen": _Command("sharpen"),
    "depth": _Command("depth"),
    "rank": _Command("rank"),
    "page": _Command("page"),
    "methods": _Command("methods"),
    "train": _Command("train", "train_command", "TRAIN_EXAMPLES"),
    "benchmark": _Command("benchmark"),
    "study": _Command("train", "study_command", "STUDY_EXAMPLES"),
    "batch": _Command("batch", "application", ""),
}


def main() -> None:
    """Run the command line and exit: 0 all done, 1 something failed, 2 wrong usage, 130 interrupted."""
    from defocus.cli.terminal import OutputClosedError, say

    # When Python exits it searches all that was imported for garbage, unless that is frozen: a tenth of the whole time
    # of a small photograph.
    atexit.register(gc.freeze)
    try:
        if sys.argv[1:] == ["--version"]:  # without typer, so that scripts can ask often
            _print_version(True)
        application(sys.argv[1] if len(sys.argv) > 1 else None)(prog_name="defocus")
    except KeyboardInterrupt:
        sys.exit(130)
    except OutputClosedError as error:
        if str(error):
            say(str(error), error=True)
        sys.exit(1)


def _print_version(wanted: bool) -> None:
    if wanted:
        from defocus.version import __version__

        print(f"defocus {__version__}")  # noqa: T201
        sys.exit(0)


def application(only: str | None = None) -> "typer.Typer":
    """Return the program with its commands; the documentation is made from it too.

    Parameters
    ----------
    only : name of the one command that is wanted, if that is known: the modules of the others are not imported then.
        With None, or what is no name of a command, the program has all of them.
    """
    from typing import Annotated

    import typer

    from defocus.runtime.cores import available_cores, limited_cores

    app = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback(epilog="Example:  defocus estimate photo.jpg")
    def defocus(
        context: typer.Context,
        version: Annotated[  # noqa: ARG001  # its callback reads it
            bool,
            typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
        ] = False,
    ) -> None:
        """How out of focus every pixel of a photograph is, in pixels."""
        # Libraries of which this package does not set the number of threads know nothing of a container's quota.
        context.with_resource(limited_cores(available_cores()))

    for name in [only] if only in _COMMANDS else _COMMANDS:
        command = _COMMANDS[name]
        module = import_module(f"defocus.cli.{command.module}")
        function = getattr(module, command.function)
        if command.examples:
            app.command(name, epilog=getattr(module, command.examples))(function)
        else:
            app.add_typer(function(), name=name, help=(module.__doc__ or "").partition(": ")[2].strip().capitalize())
    return app
