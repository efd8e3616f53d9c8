"""`fedsec compare`: what differs between runs, with intervals."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedsec.cli.options import AllowPlugins, Json, allow
from fedsec.errors import ExitCode, FedsecError

if TYPE_CHECKING:
    from fedsec.result import RunResult

_MOST_RUNS = 26


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="A B...",
            help="Folders of runs, or the folder above one for the newest run in there; the first is what the others "
            "are held against.",
        ),
    ],
    plugins: AllowPlugins = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Compare runs cell by cell: differences with intervals, and which are told apart."""
    if not 2 <= len(runs) <= _MOST_RUNS:
        raise FedsecError(f"give 2 to {_MOST_RUNS} runs to compare, not {len(runs)}: fedsec compare A B")
    from fedsec import result

    allow(plugins)
    found = [result.read(run) for run in runs]
    results = [one for one, _ in found]
    _check_distinct(results)
    for one in results:
        if not one.complete:
            counts = f"{one.missing} missing, {one.errors} in error, {one.budget} whose time was over"
            typer.echo(f"{one.path} is incomplete: {counts}. To finish it, run its scenario again.", err=True)
    comparison = result.compare(results)
    if as_json:
        listed = [_described(one, record) for one, record in found]
        typer.echo(json.dumps({"runs": listed, **comparison.as_json()}, ensure_ascii=False))
    else:
        from fedsec.cli.compared import print_comparison

        print_comparison(comparison, [(one.path, record) for one, record in found])
    if not all(one.complete for one in results):
        raise typer.Exit(ExitCode.CELLS_MISSING)


def _check_distinct(results: "list[RunResult]") -> None:
    paths = [one.path.resolve() for one in results]
    for place, path in enumerate(paths):
        if path in paths[:place]:
            raise FedsecError(f"{path} is given twice; compare it with another run. Those there are: fedsec runs")


def _described(one: "RunResult", record: dict[str, Any]) -> dict[str, Any]:
    return {
        "path": str(one.path),
        "scenario": one.scorecard["scenario"],
        "key": one.scorecard["key"],
        "created": record.get("created"),
        "cells": len(one.cells),
        "missing": one.missing,
        "errors": one.errors,
        "budget": one.budget,
    }
