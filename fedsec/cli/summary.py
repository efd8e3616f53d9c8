"""The table at the end of a run."""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fedsec.cli.commands import next_step, quoted
from fedsec.cli.side_by_side import head_to_head_tables
from fedsec.comparison.rows import refuted
from fedsec.report.classes import about_classes
from fedsec.report.defended import defended
from fedsec.report.findings import findings
from fedsec.report.guarantees import promises, refutations
from fedsec.report.members import by_scenario, member_findings
from fedsec.report.trouble import note, training_findings
from fedsec.report.visible import visible
from fedsec.report.worst_findings import worst_findings

if TYPE_CHECKING:
    from fedsec.api import Shown
    from fedsec.config.schema import Scenario
    from fedsec.config.suite import Suite
    from fedsec.result import RunResult

_SIGNS = {"ok": "", "budget": "time over", "blocked": "blocked", "n/a": "does not apply", "error": "ERROR"}

_MOST_FIGURES = 5
"""Columns of goals in one table, which a terminal has room for."""
_TABLES = ("summary", "worst_case")
_FRAME, _LEAST_FIGURE = 3, 7
"""Columns of a terminal that the lines around a cell take, and that a figure needs."""

Row = Mapping[str, Any]
Column = tuple[str, Callable[[Row], str]]
"""A heading, and what stands below it."""


def print_result(
    result: "RunResult",
    question: str,
    rerun: Sequence[str] = (),
    scenario: "Scenario | Suite | None" = None,
    *,
    same: bool = True,
) -> None:
    """Print the question, the tables (head-to-head first), the findings, where the report is and what to do next.

    Args:
        result: of the run.
        question: its scenario's.
        rerun: the words of the command that runs it again.
        scenario: what ran, if it can be read.
        same: whether `rerun` is what the user has just typed.
    """
    width = None if sys.stdout.isatty() else 140
    console = Console(width=width, highlight=False)
    console.print(Text(visible(question), style="bold"))
    side_by_side = result.scorecard.get("head_to_head", ())
    for table in head_to_head_tables(side_by_side, console.width):
        console.print(table)
    _print_findings(console, defended(side_by_side))
    if result.scorecard.get("members"):
        rows, worst = (by_scenario(result.scorecard[name]) for name in _TABLES)
        for member, own in rows.items():
            console.print(Text(visible(f"\n{member}"), style="bold"))
            cells = [content for content in result.cells if content["cell"]["scenario"] == member]
            _print_scenario(console, cells, own, worst.get(member, ()))
    else:
        _print_scenario(console, result.cells, *(result.scorecard[name] for name in _TABLES))
    _print_findings(console, member_findings(result.scorecard))
    console.print(Text(visible(f"\nReport: {result.path / 'report.html'}")), soft_wrap=True)
    if result.budget:
        what = f"{result.budget} cell{'s' * (result.budget != 1)}"
        hint = "With a higher limit the same command attacks them again."
        console.print(Text(f"threat.attack_seconds ended the attacks of {what}. {hint}"))
    if result.missing or result.errors:
        where = next((path for name in ("errors.log", "events.jsonl") if (path := result.path / name).is_file()), None)
        hint = f"; see {where}" if where else ""
        counts = [
            f"{count} {what}" for count, what in ((result.errors, "in error"), (result.missing, "missing")) if count
        ]
        retry = "The same command retries." if same or not rerun else f"To retry: {quoted(rerun)}"
        console.print(Text(visible(f"Cells: {' and '.join(counts)}{hint}. {retry}")), soft_wrap=True)
    elif rerun:
        console.print(Text(visible(f"Next:   {next_step(result.scorecard, scenario, rerun)}")), soft_wrap=True)


def _print_scenario(console: Console, cells: Sequence[Row], rows: Sequence[Row], worst: Sequence[Row]) -> None:
    """The table and the findings of one scenario.

    Args:
        console: where to print.
        cells: its cell files.
        rows: the scorecard's summary of them.
        worst: the scorecard's worst cases of them.
    """
    for line in about_classes(cells):
        console.print(Text(visible(line)))
    for table in _tables(rows, console.width):
        console.print(table)
    for sentence in refutations(rows):
        console.print(Text(visible(f"! REFUTED: {sentence}".replace("\u00a0", " ")), style="bold red"))
    _print_findings(console, [*training_findings(rows), *findings(rows), *worst_findings(worst), *promises(rows)])


def _print_findings(console: Console, paragraphs: Sequence[str]) -> None:
    for paragraph in paragraphs:
        console.print(Text(visible(f"- {paragraph}".replace("\u00a0", " "))))


def _tables(rows: Sequence[Row], width: int) -> list[Table]:
    """One table, or one for each goal where all their columns together are too many."""
    parts: list[Sequence[Row]] = [rows]
    figures = len(_of_goals(rows))
    if figures > _MOST_FIGURES or (figures > 1 and not _fits(rows, width)):
        goals = dict.fromkeys(row.get("goal") for row in rows)
        parts = [[row for row in rows if row.get("goal") == goal] for goal in goals]
    tables = [_table(part, width) for part in parts]
    tables[-1].caption = "Brackets hold 95 % intervals."
    return tables


def _labels(rows: Sequence[Row]) -> list[Column]:
    """The columns that say what a row is of."""
    from fedsec.report.scorecard import settings_label

    lead: list[Column] = [("attack", lambda row: row["attack"]), ("defense", lambda row: row["defense"])]
    if any(row["settings"] for row in rows):
        lead.insert(0, ("settings", lambda row: settings_label(row["settings"])))
    return lead


def _stacked(rows: Sequence[Row]) -> list[Column]:
    """The same in one column, a line for each, where there is no room for several."""
    columns = _labels(rows)
    heading = "\n".join(name for name, _ in columns)
    return [(heading, lambda row: "\n".join(cell(row) for _, cell in columns))]


def _fits(rows: Sequence[Row], width: int, columns: Sequence[Column] | None = None) -> bool:
    """Whether labels can stand whole beside the figures in a terminal of so many columns."""
    columns = _labels(rows) if columns is None else columns
    lines = [max((len(line) for row in rows for line in cell(row).split("\n")), default=0) for _, cell in columns]
    figures = len(_of_goals(rows)) + len(_of_utility(rows)) + 1
    return sum(lines) + len(lines) * _FRAME + figures * (_LEAST_FIGURE + _FRAME) <= width


def _table(rows: Sequence[Row], width: int) -> Table:
    """A table of rows; its labels are not broken where a terminal of so many columns has room for that."""
    goals, utility, lead = _of_goals(rows), _of_utility(rows), _labels(rows)
    if not _fits(rows, width, lead):
        lead = _stacked(rows)
    whole = _fits(rows, width, lead)
    table = Table(caption_justify="left")
    columns = [*lead, *goals, *utility, ("note", _note)]
    for place, (heading, _) in enumerate(columns):
        justify: Literal["left", "right"] = "right" if place in range(len(lead), len(columns) - 1) else "left"
        keep = whole and place < len(lead)
        table.add_column(
            Text("\n".join(map(visible, heading.split("\n")))), justify=justify, overflow="fold", no_wrap=keep
        )
    for row in rows:
        cells = (Text("\n".join(map(visible, cell(row).split("\n")))) for _, cell in columns)
        table.add_row(*cells, style="bold red" if refuted(row) else None)
    return table


def _of_goals(rows: Sequence[Row]) -> list[Column]:
    """A column for each figure of the goals that the rows have; what acting cost only where somebody acted."""
    from fedsec import registry
    from fedsec.comparison.rows import damage, is_damage, shown_beside

    columns: list[Column] = []
    for name in dict.fromkeys(str(row["goal"]) for row in rows if row.get("goal")):
        if name in registry.goals() and not is_damage(card := registry.goals().get(name)):
            columns += [_told(shown, name) for shown in (*card.headline, *shown_beside(card))]
    told = damage()
    if told is not None and any(row.get("acts") for row in rows):
        columns.append(_told(told[1]))
    return columns


def _told(shown: "Shown", goal: str | None = None) -> Column:
    """The column of one figure, of the rows with this goal or of all."""
    from fedsec.api import Form

    def cell(row: Row) -> str:
        if goal is not None and row.get("goal") != goal:
            return ""
        if shown.form == Form.NUMBER:
            return _shown(row, shown.metric, lambda value: f"{value:.3f}")
        return _percent(row, shown.metric, "" if shown.form == Form.POINTS else " %")

    return f"{shown.axis}\n(points)" if shown.form == Form.POINTS else shown.axis, cell


def _of_utility(rows: Sequence[Row]) -> list[Column]:
    """What the models are worth: the share of what is right, and the quality that is told in its place."""
    from fedsec.api import Tells
    from fedsec.comparison.rows import guesses, name_telling, words_for

    def heading(name: str) -> str:
        found = [f"{100 * value:.0f}" for value in guesses(rows, name)]
        share = " to ".join(dict.fromkeys([found[0], found[-1]])) if found else ""
        return f"{words_for(name)}\n(a guess: {share} %)" if share else words_for(name)

    kinds = {kind: [name_telling(row["metrics"], kind) for row in rows] for kind in (Tells.CORRECT, Tells.QUALITY)}
    right = [
        name for name, instead in zip(kinds[Tells.CORRECT], kinds[Tells.QUALITY], strict=True) if name and not instead
    ]
    quality = dict.fromkeys(name for name in kinds[Tells.QUALITY] if name)
    return [
        *((heading(name), partial(_percent, name=name)) for name in dict.fromkeys(right)),
        *((words_for(name), partial(_number, name=name)) for name in quality),
    ]


def _note(row: Row) -> str:
    """What is not ok about a row, in how many of its seeds if not in all, and whether a control did not learn."""
    failed, seeds = row.get("failed", 0), row.get("seeds", 0)
    part = f" in {failed} of {failed + seeds} seeds" if failed and seeds else ""
    harm = row.get("harm")
    ran = row["status"] in ("ok", "budget")
    unknown = ["harm undefined"] if ran and harm is not None and harm["value"] is None else []
    unlearned = row["attack"] == "none" and row.get("learned") is False and not row.get("untrained")
    idle = ["did not learn"] if unlearned else []
    broken = ["REFUTED"] if refuted(row) else []
    return ", ".join([*broken, *filter(None, [f"{_SIGNS[row['status']]}{part}"]), *unknown, *idle, *note(row)])


def _number(row: Row, name: str) -> str:
    return _shown(row, name, lambda value: f"{value:.4g}")


def _percent(row: Row, name: str, unit: str = " %") -> str:
    return _shown(row, name, lambda value: f"{100 * value:.0f}", unit)


def _shown(row: Row, name: str, form: Callable[[float], str], unit: str = "") -> str:
    """A metric with its interval in brackets; nothing where a row does not have it."""
    from fedsec.report.numbers import NO_VALUE

    value = row["metrics"].get(name)
    if value is None:
        return ""
    if value["value"] is None:
        return NO_VALUE
    interval = f" [{form(value['ci_low'])}, {form(value['ci_high'])}]" if value["ci_low"] is not None else ""
    return f"{form(value['value'])}{unit}{interval}"
