"""Options that several verbs share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Set = Annotated[
    list[str],
    typer.Option(
        "--set", metavar="PATH=VALUE", help="Override a setting, e.g. --set federation.rounds=20. Repeatable."
    ),
]
Out = Annotated[Path, typer.Option("--out", help="Folder of runs.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


class Display(StrEnum):
    """How progress is shown."""

    RICH = "rich"
    PLAIN = "plain"
    NONE = "none"
