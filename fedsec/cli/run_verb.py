"""`fedsec run`: run a scenario and print its table."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fedsec.cli.options import Display, Json, Out, Set
from fedsec.errors import ExitCode


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
    from fedsec.config.load import load_scenario

    loaded = load_scenario(scenario, overrides)
    from fedsec.cli.display import make_observer
    from fedsec.result import run as run_scenario

    with make_observer(display) as observer:
        result = run_scenario(loaded, out, observer)
    if as_json:
        typer.echo(json.dumps(result.scorecard, ensure_ascii=False))
    else:
        from fedsec.cli.summary import print_result

        print_result(result, loaded.summary)
    if not result.complete:
        raise typer.Exit(ExitCode.CELLS_MISSING)
