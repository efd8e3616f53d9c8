"""`fedsec report`: rebuild scorecard and report from a run's cells, and print the table again."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedsec.cli.options import AllowPlugins, Json, allow
from fedsec.errors import ExitCode, FedsecError

if TYPE_CHECKING:
    from fedsec.config.schema import Scenario
    from fedsec.config.suite import Suite


def report(
    run: Annotated[Path, typer.Argument(help="A run's folder, or the folder above it for the newest run in there.")],
    plugins: AllowPlugins = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Rebuild scorecard.json and report.html from a run's cells."""
    from fedsec.result import rebuild

    allow(plugins)
    result = rebuild(run)
    if as_json:
        typer.echo(json.dumps(result.scorecard, ensure_ascii=False))
    else:
        from fedsec.cli.commands import again_from_here
        from fedsec.cli.summary import print_result
        from fedsec.store.rundir import RunDirectory

        record = RunDirectory(result.path).read_json("record.json")
        rerun = again_from_here(record, result.path)
        print_result(result, str(record.get("summary", "")), rerun, _scenario(result.path), same=False)
    if not result.complete:
        raise typer.Exit(ExitCode.CELLS_MISSING)


def _scenario(run: Path) -> "Scenario | Suite | None":
    """What ran, unless its file or a plug-in that it names is gone."""
    from fedsec.config.load import load_scenario

    try:
        return load_scenario(run / "scenario.resolved.yaml")
    except FedsecError:
        return None
