"""Options that several verbs share. Every option of every verb has a variable FEDSEC_*, which `--help` names."""

import os
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fedsec.config.schema import Scenario
    from fedsec.config.suite import Suite

Set = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        envvar="FEDSEC_SET",
        help="Override a setting, e.g. --set federation.rounds=20. Repeatable; in the variable, spaces separate.",
    ),
]
AllowPlugins = Annotated[
    list[Path],
    typer.Option(
        "--allow-plugins",
        metavar="FILE",
        envvar="FEDSEC_ALLOW_PLUGINS",
        help="Run a local plug-in file or folder, and know its cards (docs/plugins.md). Repeatable; in the variable, "
        f"'{os.pathsep}' separates.",
    ),
]
Out = Annotated[Path, typer.Option("--out", envvar="FEDSEC_OUT", help="Folder of runs.")]
Json = Annotated[bool, typer.Option("--json", envvar="FEDSEC_JSON", help="Print JSON for machines.")]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        max=1024,
        envvar="FEDSEC_WORKERS",
        help="Processes that run cells side by side; one per usable core if left out. No result depends on it.",
    ),
]
Threads = Annotated[
    int,
    typer.Option(
        "--threads",
        min=1,
        max=1024,
        envvar="FEDSEC_THREADS",
        help="Threads of each worker's numerics; results depend on it in their last bits.",
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        "--memory",
        metavar="SIZE",
        envvar="FEDSEC_MEMORY",
        help="What all workers together may use, e.g. 8GB; 80 % of what is free if left out.",
    ),
]


class Device(StrEnum):
    """Where models are trained."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Display(StrEnum):
    """How progress is shown."""

    RICH = "rich"
    PLAIN = "plain"
    NONE = "none"


DeviceOption = Annotated[
    Device,
    typer.Option("--device", envvar="FEDSEC_DEVICE", help="Where models are trained; auto: cuda if there is one."),
]
DisplayOption = Annotated[
    Display | None,
    typer.Option("--display", envvar="FEDSEC_DISPLAY", help="How progress is shown; plain off a terminal."),
]


def allow(plugins: Iterable[Path]) -> None:
    """Load the local plug-in files that the user allows; first in every verb that reads cards."""
    for file in plugins:
        from fedsec.plugin_files import allow_plugins

        allow_plugins(file)


def look_and_load(
    scenario: str, overrides: list[str], *, runs: bool = False
) -> tuple["Scenario | Suite", tuple[str, ...]]:
    """A scenario or suite, checked together with the data and the folders it names, and what else is to be known.

    That goes to stderr as well, also where there are faults. What a run says itself it does not say if it `runs`.
    """
    from fedsec.config.load import load_scenario
    from fedsec.plan.look import DataLook

    look = DataLook()
    try:
        loaded = load_scenario(scenario, overrides, look)
    finally:
        notes = look.passed_over if runs else (*look.classes, *look.notes)
        for note in notes:
            typer.echo(note, err=True)
    return loaded, notes
