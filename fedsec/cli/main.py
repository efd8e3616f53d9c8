"""`fedsec`: the verbs, the exit codes, and errors without tracebacks."""

import os
import sys
from typing import Annotated, NoReturn

import typer

from fedsec.cli import (
    baseline_verb,
    compare_verb,
    doctor_verb,
    gate_verb,
    init_verb,
    list_verb,
    plan_verb,
    report_verb,
    run_verb,
    runs_verb,
    show_verb,
    validate_verb,
)
from fedsec.errors import ExitCode, FedsecError

app = typer.Typer(
    name="fedsec",
    help="Attack and defend federated training of language models, with numbers that hold up.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("init")(init_verb.init)
app.command("list")(list_verb.list_cards)
app.command("show")(show_verb.show)
app.command("validate")(validate_verb.validate)
app.command("plan")(plan_verb.plan)
app.command("run")(run_verb.run)
app.command("runs")(runs_verb.runs)
app.command("report")(report_verb.report)
app.command("compare")(compare_verb.compare)
app.command("gate")(gate_verb.gate)
app.add_typer(baseline_verb.app, name="baseline")
app.command("doctor")(doctor_verb.doctor)


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
            is_eager=True,  # without a variable: FEDSEC_VERSION often says which version to install
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point: a user's mistake is one clear message and its exit code, never a traceback."""
    try:
        app()
    except FedsecError as error:
        from fedsec.report.visible import visible

        sys.stderr.write(f"{visible(str(error))}\n")  # it may quote a file
        sys.exit(error.exit_code)
    except KeyboardInterrupt:  # before or after a verb ran
        sys.exit(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        _end_quietly()
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # typer makes exit code 1 of it
            _end_quietly()
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            _end_quietly()
        raise


def _end_quietly() -> NoReturn:
    """Stop writing: the reader of our output has closed it, as `head` does."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(ExitCode.OK)


if __name__ == "__main__":
    main()
