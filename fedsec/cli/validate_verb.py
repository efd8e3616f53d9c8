"""`fedsec validate`: is a scenario sound, and if not, everything that is wrong with it."""

import json
from typing import Annotated

import typer

from fedsec.cli.options import AllowPlugins, Json, Set, allow, look_and_load


def validate(
    scenario: Annotated[str, typer.Argument(help="The file or the shipped name of a scenario or suite.")],
    overrides: Set = [],  # noqa: B006
    plugins: AllowPlugins = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Check a scenario and its data without running anything; each fault with its place and what is allowed."""
    from fedsec.cli.commands import command, quoted
    from fedsec.config.suite import Suite, members_of
    from fedsec.plan.cells import expand

    allow(plugins)
    loaded, notes = look_and_load(scenario, overrides)
    members = members_of(loaded)
    cells = sum(len(expand(member)) for member in members)
    names = [member.name for member in members] if isinstance(loaded, Suite) else []
    again = quoted(command("run", scenario, overrides=overrides, plugins=plugins))
    if as_json:
        typer.echo(
            json.dumps({"scenario": loaded.name, "valid": True, "cells": cells, "notes": notes, "members": names})
        )
    else:
        what = f"{len(names)} scenarios, {cells} cells" if names else f"{cells} cells"
        typer.echo(f"{loaded.name} is valid: {what}. Run it: {again}")
