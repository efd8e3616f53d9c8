"""`fedsec`: the verbs, the exit codes, and errors without tracebacks."""

import sys
from typing import Annotated

import typer

from fedsec.cli import list_verb, report_verb, run_verb, show_verb, validate_verb
from fedsec.errors import ExitCode, FedsecError

app = typer.Typer(
    name="fedsec",
    help="Attack and defend federated training of language models, with numbers that hold up.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"auto_envvar_prefix": "FEDSEC", "help_option_names": ["-h", "--help"]},
)
app.command("list")(list_verb.list_cards)
app.command("show")(show_verb.show)
app.command("validate")(validate_verb.validate)
app.command("run")(run_verb.run)
app.command("report")(report_verb.report)


def _version(wanted: bool) -> None:
    if wanted:
        from fedsec import __version__

        typer.echo(f"fedsec {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version and exit.",
            callback=_version,
            is_eager=True,
            allow_from_autoenv=False,  # FEDSEC_VERSION often says which version to install
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point: a user's mistake is one clear message and its exit code, never a traceback."""
    try:
        app()
    except FedsecError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:  # before or after a verb ran
        sys.exit(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        sys.exit(ExitCode.OK)


if __name__ == "__main__":
    main()
