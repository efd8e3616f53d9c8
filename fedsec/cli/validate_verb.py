"""`fedsec validate`: is a scenario sound, and if not, everything that is wrong with it."""

import json
from typing import Annotated

import typer

from fedsec.cli.options import AllowPlugins, Json, Set, allow, look_and_load


def validate(
    scenario: Annotated[str, typer.Argument(help="A scenario file or the name of a shipped scenario.")],
    overrides: Set = [],  # noqa: B006
    plugins: AllowPlugins = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Check a scenario and its data without running anything; each fault with its place and what is allowed."""
    from fedsec.cli.commands import command, quoted
    from fedsec.plan.cells import expand

    allow(plugins)
    loaded, notes = look_and_load(scenario, overrides)
    cells = len(expand(loaded))
    again = quoted(command("run", scenario, overrides=overrides, plugins=plugins))
    if as_json:
        typer.echo(json.dumps({"scenario": loaded.name, "valid": True, "cells": cells, "notes": notes}))
    else:
        typer.echo(f"{loaded.name} is valid: {cells} cells. Run it: {again}")
