"""The command `defocus` and its subcommands. A new one is a module beside this and one line here."""

# No postponed annotations here: typer must find `Annotated` and itself, which load inside a function.
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer


def main() -> None:
    """Run the command line and exit: 0 all done, 1 something failed, 2 wrong usage, 130 interrupted."""
    from defocus.cli.terminal import OutputClosedError, say

    try:
        if sys.argv[1:] == ["--version"]:  # without typer, so that scripts can ask often
            _print_version(True)
        application()(prog_name="defocus")
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


def application() -> "typer.Typer":
    """Return the program with all its commands; the documentation is made from it too."""
    from typing import Annotated

    import typer

    from defocus.cli import benchmark, depth, estimate, magnify, methods, rank, segment, sharpen, train
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

    for name, module in {
        "estimate": estimate,
        "segment": segment,
        "magnify": magnify,
        "sharpen": sharpen,
        "depth": depth,
        "rank": rank,
    }.items():
        app.command(name, epilog=module.EXAMPLES)(module.command)
    app.command("methods", epilog=methods.EXAMPLES)(methods.command)
    app.command("train", epilog=train.TRAIN_EXAMPLES)(train.train_command)
    app.command("benchmark", epilog=benchmark.EXAMPLES)(benchmark.command)
    app.command("study", epilog=train.STUDY_EXAMPLES)(train.study_command)
    return app
