"""What is compared: groups of cells that differ in their seed alone, and the places where they stand."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from fedsec.comparison.ranks import Span
from fedsec.comparison.rows import BUDGET, NONE

Row = Mapping[str, Any]
Content = Mapping[str, Any]
"""A cell file."""
Place = tuple[str, str]
"""A scenario and its varied settings, where one training is held against another."""
RAN = ("ok", BUDGET)
"""Statuses of attacks that ran."""


class Group(NamedTuple):
    """A row of the summary, its cells as they stand in the scorecard, and their files."""

    row: Row
    cells: Sequence[Row]
    contents: Sequence[Content]

    @property
    def place(self) -> Place:
        """Where it stands."""
        return scenario_of(self.row), repr(sorted(self.row["settings"].items()))

    @property
    def slot(self) -> tuple[Place, str]:
        """Where it stands, and the attack that it faced there."""
        return self.place, str(self.row["attack"])

    @property
    def stack(self) -> str:
        """Its defenses with all their resolved parameters; empty without any."""
        found = self.cells[0].get("defense_stack")
        return json.dumps(found, sort_keys=True) if found else ""

    @property
    def position(self) -> str | None:
        """That of the adversary; None in a control."""
        found = self.cells[0].get("position")
        return None if found is None else str(found)

    @property
    def harm(self) -> Row | None:
        """The harm, where it has a value."""
        found = self.row.get("harm")
        return None if found is None or found["value"] is None else found


def scenario_of(row: Row) -> str:
    """The member of a suite that a row belongs to; empty in a scenario by itself."""
    return str(row.get("scenario") or "")


def where_of(row: Row) -> str:
    """A row's place in words: its scenario in a suite, and its varied settings."""
    settings = (f"{path.rsplit('.', 1)[-1]}={value}" for path, value in row["settings"].items())
    return ", ".join(filter(None, (scenario_of(row), *settings)))


def controls_of(groups: Iterable[Group]) -> dict[tuple[Place, str], Group]:
    """The trainings without an attack that have a result, by place and stack."""
    return {(one.place, one.stack): one for one in groups if one.row["attack"] == NONE and one.row["status"] in RAN}


def worst_of(groups: Iterable[Group]) -> Group | None:
    """The group with the largest harm; the first of several, and None where none has one."""
    known = [one for one in groups if one.harm is not None]
    return max(known, key=lambda one: float((one.harm or {})["value"]), default=None)


def span_of(value: Row | None) -> Span | None:
    """The interval of a metric or a harm; None without one."""
    if value is None or value["value"] is None or value.get("ci_low") is None or value.get("ci_high") is None:
        return None
    return Span(float(value["ci_low"]), float(value["ci_high"]))


def span_of_worst(spans: Iterable[Span | None]) -> Span | None:
    """Where the largest of several values lies: no end is below that of any of them. None if one is unknown."""
    known = list(spans)
    if not known or None in known:
        return None
    ends = [one for one in known if one is not None]
    return Span(max(one.low for one in ends), max(one.high for one in ends))
