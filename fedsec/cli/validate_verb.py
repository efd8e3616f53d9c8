"""`fedsec validate`: is a scenario sound, and if not, everything that is wrong with it."""

import json
from typing import Annotated

import typer

from fedsec.cli.options import AllowPlugins, Json, Set, allow


def validate(
    scenario: Annotated[str, typer.Argument(help="A scenario file or the name of a shipped scenario.")],
    overrides: Set = [],  # noqa: B006
    plugins: AllowPlugins = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Check a scenario without running anything; every fault with its file, line and what is allowed."""
    from fedsec.cli.commands import command, quoted
    from fedsec.config.load import load_scenario
    from fedsec.plan.cells import expand

    allow(plugins)
    loaded = load_scenario(scenario, overrides)
    cells = len(expand(loaded))
    again = quoted(command("run", scenario, overrides=overrides, plugins=plugins))
    if as_json:
        typer.echo(json.dumps({"scenario": loaded.name, "valid": True, "cells": cells}))
    else:
        typer.echo(f"{loaded.name} is valid: {cells} cells. Run it: {again}")
