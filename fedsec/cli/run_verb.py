"""`fedsec run`: run a scenario and print its table."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedsec.cli.options import Display, Json, Out, Set
from fedsec.errors import ExitCode

if TYPE_CHECKING:
    from fedsec.result import RunResult


def run(
    scenario: Annotated[str, typer.Argument(help="A scenario file or the name of a shipped scenario.")],
    overrides: Set = [],  # noqa: B006
    out: Out = Path("runs"),
    display: Annotated[
        Display | None, typer.Option("--display", help="How progress is shown; plain off a terminal.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run a scenario, or what an earlier run of it left undone; print its table and where the report is."""
    try:
        result, question = _run(scenario, overrides, out, display)
    except KeyboardInterrupt:  # caught here: typer turns it into a silent exit
        typer.echo("\nInterrupted. The same command continues where it left off.", err=True)
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    if as_json:
        typer.echo(json.dumps(result.scorecard, ensure_ascii=False))
    else:
        from fedsec.cli.summary import print_result

        print_result(result, question)
    if not result.complete:
        raise typer.Exit(ExitCode.CELLS_MISSING)


def _run(scenario: str, overrides: list[str], out: Path, display: Display | None) -> tuple["RunResult", str]:
    """The result, and the question that the scenario asks."""
    from fedsec.config.load import load_scenario

    loaded = load_scenario(scenario, overrides)
    from fedsec.cli.display import make_observer
    from fedsec.result import run as run_scenario

    with make_observer(display) as observer:
        return run_scenario(loaded, out, observer), loaded.summary
