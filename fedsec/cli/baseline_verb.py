"""`fedsec baseline`: bless a run, and show what was blessed."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedsec.cli.gate_verb import RunArgument, looked_at
from fedsec.cli.options import AllowPlugins, Json, allow
from fedsec.errors import BaselineError, ExitCode

if TYPE_CHECKING:
    from fedsec.gate.baseline import Baseline
    from fedsec.gate.readings import Group

app = typer.Typer(help="Bless a run as the baseline of later ones, or show a baseline.", no_args_is_help=True)


@app.command()
def bless(
    run: RunArgument,
    baseline: Annotated[
        Path, typer.Option("--baseline", envvar="FEDSEC_BASELINE", help="The file to write; commit it.")
    ],
    plugins: AllowPlugins = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Make a run the baseline; nothing else ever writes one."""
    from fedsec.gate.baseline import read, write
    from fedsec.report.visible import visible

    allow(plugins)
    looked = looked_at(run)
    if looked.missing:
        lines = ["gated cells have no value, so that the run cannot be blessed:", *looked.missing]
        typer.echo(visible("\n".join(lines)), err=True)
        raise typer.Exit(ExitCode.CELLS_MISSING)
    for doubt in looked.doubts:
        typer.echo(visible(f"note: {doubt}"), err=True)
    made = looked.baseline()
    try:
        before: Baseline | None = read(baseline)
    except BaselineError:
        before = None
    write(baseline, made)
    changes = _changes(before, made)
    if as_json:
        typer.echo(json.dumps({"file": str(baseline), "cells": len(made.cells), **changes}, ensure_ascii=False))
        return
    for kind, names in changes.items():
        for name in names:
            typer.echo(visible(f"{kind}: {name}"))
    typer.echo(visible(f"{baseline} holds {len(made.cells)} gated values of {made.scenario}. Commit it."))


@app.command()
def show(
    baseline: Annotated[Path, typer.Argument(help="The file that `fedsec baseline bless` wrote.")],
    as_json: Json = False,
) -> None:
    """Print what a baseline holds."""
    from fedsec.gate.baseline import read

    found = read(baseline)
    if as_json:
        typer.echo(json.dumps(found.model_dump(mode="json", by_alias=True), ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from fedsec.report.visible import visible

    table = Table()
    for name in ("scenario", "metric / attack / defense", "value", "seeds"):
        table.add_column(name, overflow="fold")
    for group in found.groups().values():
        seeds = ", ".join(map(str, sorted(group.seeds)))
        table.add_row(*(Text(visible(cell)) for cell in (group.scenario, group.label, _value(group), seeds)))
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    console.print(table)
    made_by = ", ".join(f"{name} {version}" for name, version in found.made_by.items())
    console.print(Text(visible(f"Baseline of {found.scenario}, made with {made_by}.")), soft_wrap=True)


def _changes(before: "Baseline | None", now: "Baseline") -> dict[str, list[str]]:
    """What blessing changes of a baseline, in words."""
    old: dict[str, Any] = {} if before is None else before.groups()
    new = now.groups()
    return {
        "new": [group.label for key, group in new.items() if key not in old],
        "gone": [group.label for key, group in old.items() if key not in new],
        "changed": [
            f"{group.label}: {_value(old[key])} becomes {_value(group)}"
            for key, group in new.items()
            if key in old and old[key].seeds != group.seeds
        ],
    }


def _value(group: "Group") -> str:
    found = group.overall()
    if found is None:
        return "no value"
    mean, low, high = found
    return f"{mean:.4g}" if low is None or high is None else f"{mean:.4g} [{low:.3g}, {high:.3g}]"
