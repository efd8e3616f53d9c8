"""The head-to-head table in the terminal: a row per defense, split where a terminal is too narrow for it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.table import Table
from rich.text import Text

from fedsec.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

Entry = Mapping[str, Any]
"""Of the scorecard's `head_to_head`."""

_FRAME = 3
"""Columns of a terminal that the lines around a cell take."""
_MARK = "*"
_WORDS = {
    "budget": "time over",
    "blocked": "blocked",
    "n/a": "n/a",
    "error": "ERROR",
    "missing": "no result",
    "undefined": "undefined",
}
_AMOUNTS = (
    ("upload_bytes", "sends", "bytes"),
    ("download_bytes", "gets", "bytes"),
    ("seconds_per_round", "takes", "s"),
)
_CAPTION = (
    "Harm: 0 % is what a guess gets, 100 % all that the adversary wants; brackets hold 95 % intervals. "
    "Ranks differ only where intervals separate."
)
_MARKED = f"{_MARK} No attack that it faced knows the defense."


class _Column(NamedTuple):
    heading: str
    cells: list[str]

    @property
    def width(self) -> int:
        """Its longest line."""
        return max(len(line) for text in (self.heading, *self.cells) for line in text.split("\n"))


def head_to_head_tables(entries: Sequence[Entry], width: int) -> list[Table]:
    """The table, in as many parts as a terminal needs, each with the defenses' names; empty with fewer than two.

    Args:
        entries: the scorecard's `head_to_head`.
        width: columns of the terminal.
    """
    if len(entries) < 2:
        return []
    names = _Column("defense", [_broken(str(entry["defense"])) for entry in entries])
    columns = [
        *(_of_goal(goal, entries) for goal in entries[0]["goals"]),
        _Column("price\n(points of\naccuracy)", [_price(entry) for entry in entries]),
        _Column("guarantee", [_promised(entry) for entry in entries]),
        _Column("per round\n(bytes are a\nclient's)", list(_amounts(entries))),
    ]
    tables = [_table(names, part, width) for part in _parts(names.width, columns, width)]
    tables[0].title = "Head-to-head: the harm of the worst attack for each goal, and the price"
    tables[0].title_justify = "left"
    marked = any(_MARK in cell for column in columns for cell in column.cells)
    tables[-1].caption = f"{_CAPTION} {_MARKED}" if marked else _CAPTION
    return tables


def _parts(first: int, columns: Sequence[_Column], width: int) -> "Iterator[list[_Column]]":
    """The columns in groups that fit beside the names, in their order."""
    part: list[_Column] = []
    room = width - first - _FRAME - 1
    for column in columns:
        if part and sum(one.width + _FRAME for one in (*part, column)) > room:
            yield part
            part = []
        part.append(column)
    yield part


def _table(names: _Column, columns: Sequence[_Column], width: int) -> Table:
    """One part; where even one column does not fit, names are broken."""
    whole = names.width + sum(column.width for column in columns) + _FRAME * (len(columns) + 1) + 1 <= width
    table = Table(caption_justify="left", show_lines=True)
    for place, column in enumerate((names, *columns)):
        keep = whole or place > 0
        table.add_column(Text(_shown(column.heading)), overflow="fold", no_wrap=keep and column.width < width // 2)
    for row in zip(names.cells, *(column.cells for column in columns), strict=True):
        table.add_row(*(Text(_shown(cell)) for cell in row))
    return table


def _broken(label: str) -> str:
    """A stack's label, a line for each defense and each one's parameters."""
    return label.replace("+", "\n+").replace("(", "\n(")


def _shown(text: str) -> str:
    return "\n".join(map(visible, text.split("\n")))


def _of_goal(goal: str, entries: Sequence[Entry]) -> _Column:
    """What was done to each defense for one goal; ranks where there is more than one."""
    cells = [entry["goals"][goal] for entry in entries]
    ranks = {one["rank"] for one in cells} - {None}
    texts = [_harm(entry["goals"][goal], entry["defense"], ranked=len(ranks) > 1) for entry in entries]
    return _Column(goal, texts)


def _harm(one: Mapping[str, Any], defense: str, *, ranked: bool) -> str:
    """Harm with its interval, the attack that did it, and the place among the defenses."""
    from fedsec.comparison.harm import within
    from fedsec.report.scorecard import settings_label

    status = one["status"]
    harm = one["harm"]
    lines = [_WORDS[status]] if status != "ok" else []
    if harm is not None and status != "blocked":
        told = within(harm)
        lines.append(f"{_percent(told['value'])} %{_interval(told)}")
        mark = "" if one["adaptive"] or defense == "none" else f" {_MARK}"
        lines.append(f"{one['attack']}{mark}")
        lines += [settings_label(one["settings"])] if one["settings"] else []
    if ranked:
        lines.append(f"rank {one['rank']}" if one["rank"] is not None else "no rank")
    return "\n".join(lines)


def _price(entry: Entry) -> str:
    """What is right less often than undefended, in points."""
    cost = entry["utility_cost"]
    lines = ["-"]
    if cost is not None:
        lines = ["unknown"] if cost["value"] is None else [f"{_percent(cost['value'])}{_interval(cost)}"]
        lines += [str(cost["scenario"]).rpartition("/")[2]] if cost.get("scenario") else []  # sentences have all of it
    return "\n".join([*lines, *(["did not learn"] if entry["learned"] is False else [])])


def _promised(entry: Entry) -> str:
    """The guarantees, a line for each; with its unit and not beside what it does not bind."""
    lines = []
    for guarantee in (one["guarantee"] for one in entry["guarantees"]):
        if "epsilon" not in guarantee:
            lines += str(guarantee.get("kind")).split("+")
        elif not isinstance(guarantee["epsilon"], (int, float)):
            lines.append("void")
        else:
            lines += [f"epsilon {guarantee['epsilon']:.2f}", f"per {guarantee.get('unit')}"]
            known = guarantee.get("against")
            against = known if isinstance(known, Sequence) else ()
            faced = dict.fromkeys(one["position"] for one in entry["goals"].values() if one["position"])
            lines += [f"not vs {position}" for position in faced if position not in against]
    return "\n".join(dict.fromkeys(lines)) or "none"


def _amounts(entries: Sequence[Entry]) -> "Iterator[str]":
    """Bytes and seconds: as they are where all come from one scenario, and beside those without a defense."""
    from fedsec.report.numbers import amount

    verbs = {
        "upload_bytes": ("sends", "bytes"),
        "download_bytes": ("gets", "bytes"),
        "seconds_per_round": ("takes", "s"),
    }
    single = len({entry[name]["scenario"] for entry in entries for name in verbs if entry[name]}) <= 1
    for entry in entries:
        lines = []
        for name, (verb, unit) in verbs.items():
            found = entry[name]
            if found is None:
                continue
            ratio = "" if found["ratio"] is None else f"x {found['ratio']:.2f}"
            same = entry["defense"] == "none" or ratio == "x 1.00"
            text = amount(found["value"], unit) if single else ratio
            lines.append(f"{verb} {text}{f' ({ratio})' if single and ratio and not same else ''}")
        yield "\n".join(lines) or "no result"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.0f}".replace("-0", "0") if abs(fraction) < 0.005 else f"{100 * fraction:.0f}"


def _interval(value: Mapping[str, Any]) -> str:
    if value["ci_low"] is None or value["ci_high"] is None:
        return ""
    return f" [{_percent(value['ci_low'])}, {_percent(value['ci_high'])}]"
