"""Phase figures: where a reading attack stops, along every number that the scenario varies.

As in every figure, an SVG holds numbers and shapes only; what its height means and the lines' names stand beside it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from fedsec.api import Asks, Form, GoalCard, Shown
from fedsec.comparison.rows import BUDGET, NONE, goal_of
from fedsec.report.chart import Chart, Scale, in_percent, linear, logarithmic, plain, style
from fedsec.report.scorecard import settings_label

BATCH = "federation.batch_size"
_FEWEST_POINTS, _MOST_LINES = 3, 12
_WIDE = 20.0
"""Values that reach over more than this factor stand on a logarithmic scale."""
_LARGEST = 1e15
"""No setting is larger; files that somebody made may say otherwise, and figures have no room for it."""

Row = Mapping[str, Any]


class Line(NamedTuple):
    """One line of a figure and its legend."""

    name: str
    number: int
    colour: str
    dashes: str


class Phase(NamedTuple):
    """Figures over one axis for one attack."""

    attack: str
    across: str
    lines: tuple[Line, ...]
    marks: tuple[str, ...]
    """What the upright lines stand for, from left to right."""
    heights: tuple[str, ...]
    """What the heights of each figure mean."""
    svgs: tuple[str, ...]


class _Point(NamedTuple):
    """One row of the summary at one place of an axis."""

    axis: str
    attack: str
    line: str
    """Everything else about the row, in words."""
    x: float
    row: Row
    about: Row
    """What its update held, or nothing."""
    goal: GoalCard


def phases(rows: Sequence[Row], contents: Sequence[Row]) -> list[Phase]:
    """A figure per attack and axis with three or more values, a line for everything else that the scenario varies.

    Over batch sizes the axis counts the tokens of an update's texts, and upright lines mark the hidden size and the
    LoRA rank: what a row space of that many dimensions can hold.

    Args:
        rows: the scorecard's summary.
        contents: cell files.
    """
    first: dict[str, Row] = {}
    held: dict[str, list[Row]] = {}
    for content in contents:
        key = _key(content["cell"])
        first.setdefault(key, content["cell"])
        if content.get("attacked"):
            held.setdefault(key, []).append(content["attacked"])
    points = [
        point
        for row in rows
        if (goal := _asked(row)) is not None and _key(row) in first
        for point in _points(row, first[_key(row)], _together(held.get(_key(row), [])), goal)
    ]
    figures: dict[tuple[str, str], dict[str, list[_Point]]] = {}
    for point in points:
        figures.setdefault((point.axis, point.attack), {}).setdefault(point.line, []).append(point)
    found: list[Phase] = []
    for (axis, attack), lines in figures.items():
        kept = {name: own for name, own in lines.items() if len({p.x for p in own}) >= _FEWEST_POINTS}
        if kept:
            found.append(_phase(axis, attack, dict(list(kept.items())[:_MOST_LINES]), len(found)))
    return found


def _asked(row: Row) -> GoalCard | None:
    """The row's goal, if it asks after training, had the time, and its first headline metric has a value."""
    whole = row["attack"] != NONE and row["metrics"] and row["status"] != BUDGET
    goal = goal_of(row) if whole else None
    return goal if goal is not None and goal.asks == Asks.AFTER and _has(row, goal.headline[0]) else None


def _has(row: Row, shown: Shown) -> bool:
    return (row["metrics"].get(shown.metric) or {}).get("value") is not None


def _key(row: Row) -> str:
    return repr((row["settings"], row["attack"], row["defense"]))


def _together(held: Sequence[Row]) -> Row:
    """What the updates of all seeds held: the mean number of tokens."""
    tokens = [count for one in held for count in one["tokens"]]
    return {**held[0], "mean": sum(tokens) / len(tokens)} if tokens else {}


def _points(row: Row, cell: Row, about: Row, goal: GoalCard) -> Iterator[_Point]:
    """A row's places on all numeric axes: varied settings, and the parameters of a defense or an attack."""
    stack, settings = cell["defense_stack"], row["settings"]
    for path, value in settings.items():
        if _numeric(value):
            line = _words(row["defense"], _others(settings, path))
            yield _Point(path, row["attack"], line, float(value), row, about, goal)
    name = stack[0]["name"] if len(stack) == 1 else ""
    for key, value in stack[0]["params"].items() if name else ():
        if _numeric(value):
            line = _words(_called(name, stack[0]["params"], key), settings)
            yield _Point(f"{name}: {key}", row["attack"], line, float(value), row, about, goal)
    name = row["attack"].partition("(")[0]
    for key, value in cell["attack_params"].items():
        if _numeric(value):
            line = _words(row["defense"], {**settings, **_others(cell["attack_params"], key)})
            yield _Point(f"{name}: {key}", name, line, float(value), row, about, goal)


def _numeric(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _others(params: Row, key: str) -> dict[str, Any]:
    return {name: value for name, value in params.items() if name != key}


def _called(name: str, params: Row, key: str) -> str:
    return f"{name}({settings_label(_others(params, key))})" if _others(params, key) else name


def _words(defense: str, settings: Row) -> str:
    return "; ".join(filter(None, ("no defense" if defense == NONE else defense, settings_label(settings))))


def _phase(axis: str, attack: str, lines: Mapping[str, Sequence[_Point]], number: int) -> Phase:
    every = [point for own in lines.values() for point in own]
    counted = axis == BATCH and all(point.about for point in every)
    bounds = _bounds(every[0].about) if counted else {}
    across = "tokens of an update's texts" if counted else axis
    svgs: list[str] = []
    heights: list[str] = []
    goal = every[0].goal

    def x_of(point: _Point) -> float:
        return float(point.about["mean"]) if counted else point.x

    across_scale = _across([*map(x_of, every), *bounds])
    for shown in (goal.headline[0], *goal.beside):
        if not all(_has(point.row, shown) for point in every):
            continue
        if every[0].row["metrics"][shown.metric]["unit"] != "fraction":
            continue  # of other units, such as rounds, there is no everything to draw up to
        chart = Chart(across_scale, _heights(every, shown), ("tokens of an update" if counted else "its value", ""))
        for index, own in enumerate(lines.values()):
            _draw(
                chart, index, sorted(((x_of(p), p.row["metrics"][shown.metric]) for p in own), key=lambda one: one[0])
            )
        for bound in bounds:
            chart.plain([(bound, chart.up.low), (bound, chart.up.high)], "bound")
        svgs.append(chart.svg())
        heights.append(shown.axis)
    legend = tuple(Line(name, index + 1, **style(index)) for index, name in enumerate(lines))
    marks = tuple(f"{text} ({bound})" for bound, text in sorted(bounds.items()))
    return Phase(attack, across, legend, marks, tuple(heights), tuple(svgs))


def _bounds(about: Row) -> dict[int, str]:
    """Dimensions that a row space can have at most."""
    known = {about.get("width"): "tokens = hidden size", about.get("rank"): "tokens = LoRA rank"}
    return {bound: text for bound, text in known.items() if bound}


def _draw(chart: Chart, index: int, at: Sequence[tuple[float, Row]]) -> None:
    points = [(x, float(value["value"])) for x, value in at]
    for x, value in at:
        if value["ci_low"] is not None and value["ci_high"] is not None:
            chart.line([(x, value["ci_low"]), (x, value["ci_high"])], index, "reach")
    chart.line(points, index)
    chart.marks(points, index)
    chart.ends({index: points[-1][1]})


def _heights(points: Sequence[_Point], shown: Shown) -> Scale:
    """From nothing to everything, and below where a value is."""
    values = [point.row["metrics"][shown.metric] for point in points]
    lows = [value["value"] if value["ci_low"] is None else value["ci_low"] for value in values]
    return linear(max(min(-0.03, *lows), -1.03), 1.03, plain if shown.form == Form.NUMBER else in_percent)


def _rough(value: float) -> str:
    return f"{value:.3g}"


def _across(places: Sequence[float]) -> Scale:
    """Logarithmic for what reaches far."""
    low, high = min(places), max(places)
    if low > 0 and high / low > _WIDE:
        return logarithmic(low / 1.2, high * 1.2, _rough)
    return linear(low - 0.04 * (high - low), high + 0.04 * (high - low), plain)
