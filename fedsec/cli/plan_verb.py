"""`fedsec plan`: what a run would do, and about how long it would take."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedsec.cli.options import AllowPlugins, Json, Memory, Out, Set, Threads, Workers, allow

if TYPE_CHECKING:
    from fedsec.runner.preview import Plan, PlannedGroup


_WORTH_SAYING = 50_000_000
"""Bytes of disk below which nobody needs to be told."""


def plan(
    scenario: Annotated[str, typer.Argument(help="A scenario file or the name of a shipped scenario.")],
    overrides: Set = [],  # noqa: B006
    plugins: AllowPlugins = [],  # noqa: B006
    out: Out = Path("runs"),
    workers: Workers = None,
    threads: Threads = 1,
    memory: Memory = None,
    as_json: Json = False,
) -> None:
    """Show the cells of a scenario by training, what is done or does not apply, and about how long the rest takes."""
    from fedsec.cli.commands import command, quoted
    from fedsec.config.load import load_scenario
    from fedsec.runner.machine import Machine, parse_memory, thread_variables_set

    thread_variables_set(1)  # what is measured is one thread's rate
    from fedsec.runner.disk import check_disk
    from fedsec.runner.preview import preview

    allow(plugins)
    machine = Machine(workers=workers, threads=threads, memory=parse_memory(memory))
    found = preview(load_scenario(scenario, overrides), out, machine)
    if as_json:
        typer.echo(json.dumps(found.as_json(), ensure_ascii=False))
    else:
        given = {"workers": workers, "threads": None if threads == 1 else threads, "memory": memory}
        _print(found, quoted(command("run", scenario, overrides=overrides, plugins=plugins, out=out, **given)))
    check_disk(found.disk, found.path)


def _print(plan: "Plan", given: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from fedsec.cli.commands import quoted
    from fedsec.report.visible import visible

    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    table = Table(caption="Cells between two lines share one training.", caption_justify="left")
    for name, justify in (("cell", "left"), ("status", "left"), ("about", "right"), ("memory", "right")):
        table.add_column(name, justify="right" if justify == "right" else "left")
    for group in plan.groups:
        for place, cell in enumerate(group.cells):
            status = cell.status if cell.reason is None else f"{cell.status}: {cell.reason}"
            own = [_time_of(group), _size(group.memory)] if place == 0 and group.left else ["", ""]
            table.add_row(Text(cell.label), Text(visible(status)), *own)
        table.add_section()
    console.print(table)
    counts = {status: plan.count(status) for status in ("done", "waiting", "error", "n/a")}
    console.print(Text(", ".join(f"{count} {status}" for status, count in counts.items() if count) or "no cells"))
    left = any(group.left for group in plan.groups)
    if not left:
        see = quoted(["fedsec", "report", str(plan.path)])
        console.print(Text(visible(f"Nothing is left to run. See: {see}")), soft_wrap=True)
        return
    wait = "unknown for this model" if plan.seconds is None else f"about {_time(plan.seconds)}"
    unknown = any(cell.reads and cell.status != "done" for group in plan.groups for cell in group.cells)
    console.print(
        Text(
            f"{wait} with {plan.workers} worker{'s' * (plan.workers != 1)}"
            f"{', and what attacks that read need' if unknown else ''}; "
            f"about {_size(plan.memory)} of {_size(plan.bound)} of memory"
            f"{f', {_size(plan.disk)} of {_size(plan.disk_free)} of disk' if plan.disk >= _WORTH_SAYING else ''}"
        )
    )
    console.print(Text(visible(f"Run it: {given}")), soft_wrap=True)


def _time_of(group: "PlannedGroup") -> str:
    return "?" if group.seconds is None else f"{_time(group.seconds)}{' (measured)' if group.measured else ''}"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB"
