"""`fedsec runs`: what has been run."""

import json
import sys
from pathlib import Path

import typer

from fedsec.cli.options import Json, Out


def runs(out: Out = Path("runs"), as_json: Json = False) -> None:
    """List the runs in a folder: what is complete, running, in error or damaged."""
    from fedsec.store.listing import runs_below

    found = runs_below(out)
    if as_json:
        typer.echo(json.dumps([run.as_json() for run in found]))  # in ASCII: a folder's name may be no UTF-8
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from fedsec.cli.commands import quoted
    from fedsec.report.visible import visible

    if not found:
        typer.echo(f"No runs in {out}. Make one: fedsec run quick/byzantine")
        return
    table = Table()
    for name in ("scenario", "key", "created", "state"):
        table.add_column(name)
    for name in ("done", "error", "time over", "missing", "MB"):
        table.add_column(name, justify="right")
    for run in found:
        known = (run.done, run.errors or "", run.budget or "", run.missing or "")
        counts = [""] * len(known) if run.problem else [str(count) for count in known]
        cells = [
            run.scenario,
            run.key,
            run.created[:16].replace("T", " "),
            run.state,
            *counts,
            f"{run.bytes / 1e6:.1f}",
        ]
        table.add_row(*(Text(visible(cell)) for cell in cells))
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    console.print(table)
    for run in found:
        if run.problem:
            console.print(Text(visible(f"damaged: {run.problem}")))
    sound = [run for run in found if not run.problem]
    if sound:
        newest = max(sound, key=lambda run: run.created)
        console.print(Text(visible(f"The newest: {quoted(['fedsec', 'report', newest.path])}")), soft_wrap=True)
