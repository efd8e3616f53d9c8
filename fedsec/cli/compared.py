"""What `fedsec compare` prints: what differs by choice, the differences, and which of them are told apart."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fedsec.api import Form
from fedsec.comparison.compare import LEVEL, SAME, Comparison, Figure, Pair, Told
from fedsec.comparison.lone import Lone
from fedsec.comparison.rows import form_of, words_for
from fedsec.report.numbers import percent
from fedsec.report.scorecard import settings_label
from fedsec.report.visible import visible

Column = tuple[str, Callable[[Pair], str]]
"""A heading, and what stands below it."""

_MOST_LINES = 20
"""Lines of one kind that a terminal is given; `--json` has all."""
_MOST_LABELS = 6
_SHORT, _REASON = 60, 160
"""Characters of a value and of a reason."""
_FEW = 4
"""Seeds below which Student's t leaves an interval more than four times its standard error wide to either side."""


def print_comparison(comparison: Comparison, runs: Sequence[tuple[Path, Mapping[str, Any]]]) -> None:
    """Print runs, settings that differ, a table for each run beside the first, and what is told apart.

    Args:
        comparison: of the runs.
        runs: folder and record of each.
    """
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)

    def say(text: str) -> None:
        console.print(Text(visible(text.replace("\u00a0", " "))), soft_wrap=True)

    for run, (path, record) in zip(comparison.runs, runs, strict=True):
        created = str(record.get("created", ""))[:16].replace("T", " ")
        say(f"{run.name}: {path} ({', '.join(filter(None, (run.scenario, created)))})")
    for place in range(1, len(runs)):
        for line in _limited([_differs(comparison, one) for one in comparison.told if one.run == place]):
            say(line)
        table = _table(comparison, place)
        if table is not None:
            console.print(table)
    for line in _findings(comparison):
        say(f"- {line}")


def _differs(comparison: Comparison, told: Told) -> str:
    names = comparison.runs[0].name, comparison.runs[told.run].name
    where = f" ({', '.join(told.scenarios)})" if _of_suites(comparison) and told.scenarios else ""
    return f"Differs: {told.what}: {_value(told.old)} in {names[0]}, {_value(told.new)} in {names[1]}{where}"


def _value(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 1]}…"


def _table(comparison: Comparison, run: int) -> Table | None:
    """The differences of one run to the first; None where it has none that could be other than 0."""
    first, other = comparison.runs[0].name, comparison.runs[run].name
    rows = [
        (pair, figure)
        for pair in comparison.pairs
        if pair.run == run
        for figure in pair.figures
        if figure.told and figure.difference.method != SAME
    ]
    if not rows:
        return None
    lead: list[Column] = [
        ("attack", lambda pair: str(pair.where.first["attack"])),
        ("defense", lambda pair: str(pair.where.first["defense"])),
    ]
    if any(pair.where.settings for pair, _ in rows):
        lead.insert(0, ("settings", lambda pair: settings_label(pair.where.settings)))
    if _of_suites(comparison):
        lead.insert(0, ("scenario", lambda pair: pair.where.scenario))
    shared = [note for note in rows[0][0].notes if len(rows) > 1 and all(note in pair.notes for pair, _ in rows)]
    every = f" Every row: {', '.join(shared)}." if shared else ""
    caption = Text(visible(f"Brackets hold 95 % intervals of the difference.{every}"))
    table = Table(caption=caption, caption_justify="left")
    ends = ["figure", first, other, f"{other} − {first}", "note"]  # noqa: RUF001
    for heading in [*(name for name, _ in lead), *ends]:
        justify: Literal["left", "right"] = "right" if heading in ends[1:-1] else "left"
        table.add_column(heading, justify=justify, overflow="fold")
    for pair, figure in rows:
        cells = [
            *(tell(pair) for _, tell in lead),
            words_of(figure.metric),
            _shown(figure, figure.old),
            _shown(figure, figure.new),
            _difference(figure),
            ", ".join(
                [*([_verdict(figure)] if figure.apart else []), *(one for one in pair.notes if one not in shared)]
            ),
        ]
        table.add_row(*(Text(visible(cell.replace("\u00a0", " "))) for cell in cells))
    return table


def _findings(comparison: Comparison) -> Iterator[str]:
    """What is told apart, and what could not be."""
    apart = [(pair, figure) for pair in comparison.pairs for figure in pair.figures if figure.apart]
    if comparison.tested:
        yield (
            f"Told apart: {len(apart)} of {comparison.tested} differences, by Holm's correction over all of them "
            f"(where nothing differs, any is in at most {100 * LEVEL:.0f} of 100 cases)."
        )
    yield from _limited([_sentence(comparison, pair, figure) for pair, figure in apart])
    yield from _resolved(comparison)
    if any(_few_seeds(pair) for pair in comparison.pairs):
        yield (
            "One seed says nothing of what another would give, and two or three leave wide intervals: to see more, run "
            "both with more seeds, such as --set 'matrix.seed=[0, 1, 2, 3, 4]'."
        )
    for place in range(1, len(comparison.runs)):
        yield from _left_out(comparison, place)


def _few_seeds(pair: Pair) -> bool:
    tested = any(figure.adjusted is not None for figure in pair.figures)
    return tested and min(len(pair.seeds) or len(pair.where.cells[run]) for run in (0, pair.run)) < _FEW


def _sentence(comparison: Comparison, pair: Pair, figure: Figure) -> str:
    row, low_high = pair.where.first, figure.difference.interval()
    where = [pair.where.scenario] if _of_suites(comparison) else []
    where += [settings_label(pair.where.settings)] if pair.where.settings else []
    place = f" ({'; '.join(where)})" if where else ""
    side = "higher" if figure.difference.value > 0 else "lower"
    size = _size(figure, abs(figure.difference.value))
    ends = sorted(map(abs, low_high)) if low_high else []
    span = f" (95 % interval {_size(figure, ends[0], bare=True)} to {_size(figure, ends[1])})" if ends else ""
    of, other = f"{row['attack']} against {row['defense']}", comparison.runs[pair.run].name
    return f"{of}{place}: {words_of(figure.metric)} is {size} {side} in {other}{span}: {_verdict(figure)}."


def _verdict(figure: Figure) -> str:
    """What a difference means for who defends."""
    if figure.better_for == "neither":
        return "differs"
    return "better" if (figure.better_for == "defender") == (figure.difference.value > 0) else "worse"


def _resolved(comparison: Comparison) -> Iterator[str]:
    """What samples of this size can tell apart, of the shares that were not."""
    found = [
        resolved
        for pair in comparison.pairs
        for figure in pair.figures
        if figure.adjusted is not None and not figure.apart and figure.unit == "fraction"
        if (resolved := figure.difference.resolves()) is not None
    ]
    if found:
        least, most = (percent(min(1.0, one), "") for one in (min(found), max(found)))
        span = least if least == most else f"{least} to {most}"
        yield (
            f"Not told apart does not mean equal: each of these shares, tested alone, would have to differ by {span} "
            "points for samples of this size to show it in 80 of 100 cases."
        )


def _left_out(comparison: Comparison, run: int) -> Iterator[str]:
    """Cells of one run and the first that have no difference, and why."""
    pairs = [pair for pair in comparison.pairs if pair.run == run]
    same = sum(any(figure.difference.method == SAME for figure in pair.figures) for pair in pairs)
    names = comparison.runs[0].name, comparison.runs[run].name
    if same:
        yield f"{same} of {len(pairs)} are the same cells in {names[0]} and {names[1]}: nothing differs."
    reasons: dict[str, list[str]] = {}
    for pair in pairs:
        for reason in pair.refused:
            reasons.setdefault(reason, []).append(_label(comparison, pair.where.scenario, pair.where.first))
    yield from _limited([f"Not compared, {_first_line(reason)}: {_few(labels)}" for reason, labels in reasons.items()])
    yield from _limited(_alone(comparison, [one for one in comparison.lone if run in (one.has, one.lacks)]))


def _alone(comparison: Comparison, lone: Sequence[Lone]) -> list[str]:
    """Cells that one of two runs has, those of the same seeds together."""
    found: dict[tuple[int, tuple[int, ...]], list[str]] = {}
    for one in lone:
        settings = f" at {settings_label(one.where.settings)}" if one.where.settings else ""
        near = f" ({_first_line(one.near)})" if one.near and not one.has else ""  # once is enough
        label = f"{_label(comparison, one.where.scenario, one.row)}{settings}{near}"
        found.setdefault((one.has, one.seeds), []).append(label)
    return [
        f"Only in {comparison.runs[has].name}: {_few(labels)}, {_seeds(seeds)}"
        for (has, seeds), labels in found.items()
    ]


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def _label(comparison: Comparison, scenario: str, row: Mapping[str, Any]) -> str:
    member = f"{scenario}: " if _of_suites(comparison) else ""
    return f"{member}{row['attack']} vs {row['defense']}"


def _first_line(reason: str) -> str:
    line = reason.split("\n", 1)[0]
    return line if len(line) <= _REASON else f"{line[: _REASON - 1]}…"


def _few(labels: Sequence[str]) -> str:
    more = f"; and {len(labels) - _MOST_LABELS} more" if len(labels) > _MOST_LABELS else ""
    return "; ".join(labels[:_MOST_LABELS]) + more


def _limited(lines: Sequence[str]) -> Iterator[str]:
    yield from lines[:_MOST_LINES]
    if len(lines) > _MOST_LINES:
        yield f"and {len(lines) - _MOST_LINES} more; --json has all"


def _of_suites(comparison: Comparison) -> bool:
    return len({pair.where.scenario for pair in comparison.pairs}) > 1


def words_of(metric: str) -> str:
    """What tables call a metric: the heading of its goal's card, else its own."""
    from fedsec import registry

    told = (one for card in registry.goals() for one in (*card.headline, *card.beside) if one.metric == metric)
    found = next(told, None)
    return words_for(metric) if found is None else found.axis


def _shown(figure: Figure, value: float) -> str:
    """A value in the form that cards ask for."""
    if figure.unit != "fraction":
        return f"{value:.4g}"
    form = form_of(figure.metric)
    if form == Form.NUMBER:
        return f"{value:.3f}"
    return percent(value, "" if form == Form.POINTS else "\u00a0%")


def _difference(figure: Figure) -> str:
    """A difference with its interval in brackets."""
    interval = figure.difference.interval()
    ends = "" if interval is None else f" [{', '.join(_signed(figure, end) for end in interval)}]"
    return f"{_signed(figure, figure.difference.value)}{ends}"


def _signed(figure: Figure, value: float) -> str:
    return f"{'−' if value < 0 else '+' if value > 0 else ''}{_size(figure, abs(value), bare=True)}"  # noqa: RUF001


def _size(figure: Figure, value: float, *, bare: bool = False) -> str:
    """The size of a difference; of shares in points."""
    if figure.unit != "fraction":
        return f"{value:.3g}"
    if form_of(figure.metric) == Form.NUMBER:
        return f"{value:.3f}"
    return percent(value, "" if bare else " points")
