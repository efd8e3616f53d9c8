"""`fedsec gate`: hold a run to its scenario's rules and to a baseline."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedsec.cli.options import AllowPlugins, Json, allow
from fedsec.errors import ExitCode

if TYPE_CHECKING:
    from fedsec.gate.judge import Looked
    from fedsec.gate.verdict import Verdict

RunArgument = Annotated[
    Path, typer.Argument(help="A run's folder, or the folder above it for the newest run in there.")
]


class FormatName(StrEnum):
    """What a verdict is written as; `fedsec.gate.formats.FORMATS` has the files' names."""

    SUMMARY = "summary"
    ANNOTATIONS = "annotations"
    JUNIT = "junit"
    SARIF = "sarif"
    METRICS = "metrics"
    CSV = "csv"
    JSON = "json"


def gate(
    run: RunArgument,
    baseline: Annotated[
        Path | None,
        typer.Option("--baseline", envvar="FEDSEC_BASELINE", help="The file that `fedsec baseline bless` wrote."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", envvar="FEDSEC_STRICT", help="Fail on what is inconclusive too (13).")
    ] = False,
    formats: Annotated[
        list[FormatName],
        typer.Option("--format", envvar="FEDSEC_FORMAT", help="Write this format only; repeatable. All if left out."),
    ] = [],  # noqa: B006
    files: Annotated[
        Path | None,
        typer.Option("--files", envvar="FEDSEC_FILES", help="Folder to write to; the run's folder if left out."),
    ] = None,
    plugins: AllowPlugins = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Hold a run to its scenario's gate: 0 passed, 10 failed, 11 cells missing, 12 no comparable baseline."""
    from fedsec.gate.formats import FORMATS, write
    from fedsec.gate.judge import judge

    allow(plugins)
    verdict = judge(looked := looked_at(run), baseline, strict=strict)
    faults = write(verdict, files or looked.path, [one.value for one in formats] or FORMATS)
    if as_json:
        typer.echo(json.dumps(verdict.as_json()))
    else:
        _print(verdict)
    from fedsec.report.visible import visible

    for fault in faults:
        typer.echo(visible(fault), err=True)
    if code := verdict.exit_code or (ExitCode.USAGE if faults else ExitCode.OK):
        raise typer.Exit(code)


def looked_at(run: Path) -> "Looked":
    """A run with its rules."""
    from fedsec.gate.judge import look
    from fedsec.result import read

    result, record = read(run)
    return look(result.path, record, result.scorecard, result.cells)


def _print(verdict: "Verdict") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from fedsec.gate.formats.words import changed, demanded, value
    from fedsec.report.visible import visible

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    table = Table()
    for name in ("outcome", "check", "measured", "demanded", "change", "why"):
        table.add_column(name, overflow="fold")
    for check in verdict.worst_first:
        cells = (check.outcome.word, check.name, value(check), demanded(check), changed(check))
        table.add_row(*(Text(visible(cell)) for cell in (*cells, "; ".join(check.reasons))))
    console.print(table)
    for line in (*verdict.problems, *verdict.notes, verdict.sentence):
        console.print(Text(visible(line)), soft_wrap=True)
