"""`fedsec run`: run a scenario and print its table."""

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedsec.cli.options import (
    AllowPlugins,
    Device,
    DeviceOption,
    Display,
    DisplayOption,
    Json,
    Memory,
    Out,
    Set,
    Threads,
    Workers,
    allow,
    look_and_load,
)
from fedsec.errors import ExitCode

if TYPE_CHECKING:
    from fedsec.config.schema import Scenario
    from fedsec.config.suite import Suite
    from fedsec.result import RunResult
    from fedsec.runner.machine import Machine


def run(
    scenario: Annotated[str, typer.Argument(help="The file or the shipped name of a scenario or suite.")],
    overrides: Set = [],  # noqa: B006
    plugins: AllowPlugins = [],  # noqa: B006
    out: Out = Path("runs"),
    workers: Workers = None,
    threads: Threads = 1,
    memory: Memory = None,
    device: DeviceOption = Device.AUTO,
    display: DisplayOption = None,
    as_json: Json = False,
) -> None:
    """Run a scenario or suite, or what an earlier run of it left undone; print its table and where the report is."""
    from fedsec.config.load import source_of
    from fedsec.runner.machine import Machine, parse_memory, thread_variables_set

    thread_variables_set(threads)  # before torch is loaded, which reads them then
    machine = Machine(workers=workers, threads=threads, memory=parse_memory(memory), device=device.value)
    allow(plugins)
    loaded, _ = look_and_load(scenario, overrides, runs=True)
    try:
        with redirect_stdout(sys.stderr):  # what a plug-in prints is no data
            result = _run(loaded, out, display, machine, source_of(scenario))
    except KeyboardInterrupt:  # caught here: typer turns it into a silent exit
        typer.echo("\nInterrupted. The same command continues where it left off.", err=True)
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    if as_json:
        typer.echo(json.dumps(result.scorecard, ensure_ascii=False))
    else:
        from fedsec.cli.commands import command
        from fedsec.cli.summary import print_result

        given = {"workers": workers, "threads": None if threads == 1 else threads, "memory": memory}
        given["device"] = None if device == Device.AUTO else device.value
        rerun = command("run", scenario, overrides=overrides, plugins=plugins, out=out, **given)
        print_result(result, loaded.summary, rerun, loaded)
    if result.missing or result.errors:
        raise typer.Exit(ExitCode.CELLS_MISSING)


def _run(
    scenario: "Scenario | Suite", out: Path, display: Display | None, machine: "Machine", source: Path | None
) -> "RunResult":
    from fedsec.cli.display import make_observer
    from fedsec.result import rebuild
    from fedsec.runner.scenario import run_scenario

    with make_observer(display) as observer:
        return rebuild(run_scenario(scenario, out, observer, machine, source).run.path)
