"""`fedsec plan`: what a run would do, and about how long it would take."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedsec.cli.options import AllowPlugins, Json, Memory, Out, Set, Threads, Workers, allow, look_and_load
from fedsec.cli.words import duration

if TYPE_CHECKING:
    from rich.table import Table

    from fedsec.config.schema import Scenario
    from fedsec.config.suite import Suite
    from fedsec.runner.preview import Plan, PlannedCell, PlannedGroup


_BESIDE = 60
"""Columns of a terminal that the status, the times and the memory of a line need beside its label."""
_WORTH_SAYING = 50_000_000
"""Bytes of disk below which nobody needs to be told."""


def plan(
    scenario: Annotated[str, typer.Argument(help="The file or the shipped name of a scenario or suite.")],
    overrides: Set = [],  # noqa: B006
    plugins: AllowPlugins = [],  # noqa: B006
    out: Out = Path("runs"),
    workers: Workers = None,
    threads: Threads = 1,
    memory: Memory = None,
    every: Annotated[bool, typer.Option("--all", envvar="FEDSEC_ALL", help="Show every cell, by training.")] = False,
    as_json: Json = False,
) -> None:
    """Show a scenario's or suite's attacks and defenses, what is done or does not apply, and how long it takes."""
    from fedsec.cli.commands import command, quoted
    from fedsec.runner.machine import Machine, parse_memory, thread_variables_set

    thread_variables_set(1)  # what is measured is one thread's rate
    from fedsec.runner.disk import check_disk
    from fedsec.runner.preview import preview

    allow(plugins)
    machine = Machine(workers=workers, threads=threads, memory=parse_memory(memory))
    loaded = look_and_load(scenario, overrides)[0]
    found = preview(loaded, out, machine)
    fine = _unresolved(loaded, found.path)
    if as_json:
        typer.echo(json.dumps({**found.as_json(), "unresolved_tolerances": fine}, ensure_ascii=False))
    else:
        given = {"workers": workers, "threads": None if threads == 1 else threads, "memory": memory}
        again = quoted(command("run", scenario, overrides=overrides, plugins=plugins, out=out, **given))
        _print(found, again, every=every)
        from fedsec.report.visible import visible

        for line in fine:
            typer.echo(visible(line))
    check_disk(found.disk, found.path)


def _unresolved(scenario: "Scenario | Suite", path: Path) -> list[str]:
    """What its gate asks for and its sample cannot tell, from what ran so far."""
    if not scenario.gate:
        return []
    from fedsec.errors import NotARunError
    from fedsec.gate.power import unresolved
    from fedsec.result import read

    try:
        result, _ = read(path)
    except NotARunError:
        return list(unresolved(scenario, {"cells": []}, []))
    return list(unresolved(scenario, result.scorecard, result.cells))


def _print(plan: "Plan", given: str, *, every: bool) -> None:
    from rich.console import Console
    from rich.text import Text

    from fedsec.cli.commands import quoted
    from fedsec.report.visible import visible

    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    console.print(_every_cell(plan, console.width) if every else _summed(plan, console.width))
    counts = {status: plan.count(status) for status in ("done", "waiting", "error", "budget", "n/a")}
    console.print(Text(", ".join(f"{count} {status}" for status, count in counts.items() if count) or "no cells"))
    left = any(group.left for group in plan.groups)
    if not left:
        see = quoted(["fedsec", "report", str(plan.path)])
        console.print(Text(visible(f"Nothing is left to run. See: {see}")), soft_wrap=True)
        return
    wait = (
        "unknown for this model"
        if plan.seconds is None
        else f"{'up to' if plan.bounded else 'about'} {duration(plan.seconds)}"
    )
    console.print(
        Text(
            f"{wait} with {plan.workers} worker{'s' * (plan.workers != 1)}"
            f"{f' without the attacks of {names}' if (names := ' and '.join(plan.unknown)) else ''}; "
            f"about {_size(plan.memory)} of {_size(plan.bound)} of memory"
            f"{f', {_size(plan.disk)} of {_size(plan.disk_free)} of disk' if plan.disk >= _WORTH_SAYING else ''}"
        )
    )
    for name in plan.unknown:
        console.print(Text(visible(_unknown(name))))
    console.print(Text(visible(f"Run it: {given}")), soft_wrap=True)


def _every_cell(plan: "Plan", width: int) -> "Table":
    """A line per cell."""
    from rich.text import Text

    from fedsec.report.visible import visible

    labels = [cell.label for group in plan.groups for cell in group.cells]
    table = _table("cell", labels, width, "Cells between two lines share one training.")
    for group in plan.groups:
        for place, cell in enumerate(group.cells):
            status = cell.status if cell.reason is None else f"{cell.status}: {cell.reason}"
            training, memory = (_time_of(group), _size(group.memory)) if place == 0 and group.left else ("", "")
            table.add_row(Text(cell.label), Text(visible(status)), training, _attack_time([cell]), memory)
        table.add_section()
    return table


def _summed(plan: "Plan", width: int) -> "Table":
    """A line per attack and defense, over seeds and settings."""
    from rich.text import Text

    from fedsec.report.visible import visible

    pairs: dict[tuple[str, str], list[tuple[PlannedCell, PlannedGroup]]] = {}
    for group in plan.groups:
        for cell in group.cells:
            pairs.setdefault((", ".join(cell.scenarios), cell.pair), []).append((cell, group))
    caption = "The time of a training stands with the first of the cells that share it. Every cell: --all."
    table = _table("attack vs defense", [pair for _, pair in pairs], width, caption)
    shown = plan.scenario
    for (scenario, pair), cells in sorted(pairs.items(), key=lambda item: plan.scenarios.index(item[0][0])):
        if scenario != shown:
            table.add_section()
            table.add_row(Text(visible(scenario), style="bold"))
            shown = scenario
        own = [cell for cell, _ in cells]
        first = [group for cell, group in cells if group.left and group.cells[0] is cell]
        known = [group.seconds for group in first if group.seconds is not None]
        about = "?" if len(known) < len(first) else duration(sum(known)) if first else ""
        memory = _size(max(group.memory for group in first)) if first else ""
        table.add_row(Text(pair), Text(visible(_statuses(own))), about, _attack_time(own), memory)
    return table


def _table(first: str, labels: Sequence[str], width: int, caption: str) -> "Table":
    """An empty table whose labels stay whole where there is room."""
    from rich.table import Table

    table = Table(caption=caption, caption_justify="left")
    room = width - _BESIDE
    table.add_column(first, overflow="fold", no_wrap=max(map(len, labels), default=0) <= room)
    table.add_column("status")
    table.add_column("training", justify="right")
    table.add_column("attack", justify="right")
    table.add_column("memory", justify="right")
    return table


def _statuses(cells: "Sequence[PlannedCell]") -> str:
    """`3 waiting, 2 n/a: why`; the reason is that of the first."""
    parts = []
    for status in dict.fromkeys(cell.status for cell in cells):
        own = [cell for cell in cells if cell.status == status]
        reason = next((cell.reason for cell in own if cell.reason), None)
        parts.append(f"{len(own)} {status}" + (f": {reason}" if reason else ""))
    return ", ".join(parts)


def _attack_time(cells: "Sequence[PlannedCell]") -> str:
    """Of the attacks of these cells that are to run, all together."""
    times = [cell.time for cell in cells if cell.time is not None]
    known = [time.seconds for time in times if time.seconds is not None]
    if len(known) < len(times):
        return "?"
    return f"{'up to ' if any(time.basis == 'limit' for time in times) else ''}{duration(sum(known))}" if known else ""


def _unknown(name: str) -> str:
    """What is to be said of an attack whose time nobody has measured."""
    from fedsec import registry

    cost = registry.attacks().get(name).cost if name in registry.attacks() else ""
    stated = f" Its card: {cost}." if cost else ""
    return f"{name}: how long it takes is known when a cell of it is done; threat.attack_seconds bounds it.{stated}"


def _time_of(group: "PlannedGroup") -> str:
    return "?" if group.seconds is None else f"{duration(group.seconds)}{' (measured)' if group.measured else ''}"


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB"
