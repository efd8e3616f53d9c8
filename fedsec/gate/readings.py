"""What a run says about the cells that its rules are about, aligned by resolved parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedsec import registry
from fedsec.api import BetterFor
from fedsec.comparison.align import canonical
from fedsec.comparison.rows import BUDGET, NONE, RESULT
from fedsec.config.gate import fits, measurement_of, patterns
from fedsec.config.schema import Component, GateRule, Scenario
from fedsec.metrics.stats.differences import Measured
from fedsec.metrics.stats.intervals import Interval, over_seeds
from fedsec.plan.cells import Cell, expand

DIGITS = 6
"""Significant digits of what is compared: a baseline holds no more, and a run is read with no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The cells of an attack, a defense and settings, and one metric of them: what a rule is about."""

    scenario: str
    """The scenario that the cells belong to: of a suite, the member."""
    metric: str
    attack: str
    attack_params: Mapping[str, Any]
    defense: str
    defense_stack: tuple[Mapping[str, Any], ...]
    settings: Mapping[str, Any]
    unit: str
    better_for: BetterFor
    seeds: Mapping[int, Measured]
    """Of the seeds that have a value."""

    @property
    def identity(self) -> str:
        """Equal for the same cells and metric of two runs, whatever their labels are."""
        name = self.attack.partition("(")[0]
        parts = (self.scenario, self.metric, name, self.attack_params, list(self.defense_stack), self.settings)
        return canonical(parts)

    @property
    def label(self) -> str:
        """In words, for people: the settings at the end."""
        settings = "".join(f" {path}={value}" for path, value in sorted(self.settings.items()))
        return f"{self.metric}/{self.attack}/{self.defense}{settings}"

    def overall(self) -> tuple[float, float | None, float | None] | None:
        """The mean over seeds and both ends of its interval; None without any value."""
        own = list(self.seeds.values())
        if not own:
            return None
        if len(own) == 1:
            return own[0].value, own[0].low, own[0].high
        values = [one.value for one in own]
        within = [
            Interval(one.value, one.value, "")  # without an interval of its own a seed tells its value alone
            if one.low is None or one.high is None
            else Interval(one.low, one.high, "")
            for one in own
        ]
        limits = (0.0, 1.0) if self.unit == "fraction" and min(values) >= 0 else (-np.inf, np.inf)
        found = over_seeds(values, within, *limits)
        return float(np.mean(values)), found.low, found.high


@dataclass(frozen=True, slots=True)
class Gated:
    """What one rule says about one group of cells."""

    rule: GateRule
    place: int
    """The rule's place in its list, from 0."""
    group: Group
    missing: tuple[str, ...]
    """Cells without a value, each with the reason."""
    doubts: tuple[str, ...]
    """Why a value that keeps the rule does not show that it is kept."""


@dataclass(frozen=True, slots=True)
class Member:
    """A scenario of a run, and the keys of its cells in the plan's order."""

    scenario: Scenario
    keys: tuple[str, ...]


def gated(
    rules: Sequence[GateRule],
    members: Sequence[Member],
    scorecard: Mapping[str, Any],
    contents: Sequence[Mapping[str, Any]],
) -> list[Gated]:
    """Every rule with every group of cells that it is about, in the rules' order.

    Args:
        rules: of the scenario, or of the suite.
        members: the scenario, or a suite's.
        scorecard: of the run.
        contents: the run's cell files, as the scorecard's cells.
    """
    alone = members[0].scenario.name
    rows = {
        (str(row.get("scenario", alone)), str(content["key"])): (row, content)
        for row, content in zip(scorecard["cells"], contents, strict=True)
    }
    found: list[Gated] = []
    planned = [(member, _groups(member)) for member in members]
    for place, rule in enumerate(rules):
        attack, defense = patterns(rule.attack), patterns(rule.defense)
        for member, groups in planned:
            for own in groups:
                cell = own[0][0]
                attacks = () if cell.attack.name == NONE else (cell.attack,)
                if fits(attack, attacks) and fits(defense, cell.defense):
                    found.append(_read(rule, place, member.scenario.name, own, rows))
    return found


def significant(number: float) -> float:
    """A number as a baseline holds it."""
    return float(f"{number:.{DIGITS}g}")


def _groups(member: Member) -> list[list[tuple[Cell, str]]]:
    """The cells that differ in their seed alone, with their keys."""
    groups: dict[str, list[tuple[Cell, str]]] = {}
    for cell, key in zip(expand(member.scenario), member.keys, strict=True):
        stack = [part.model_dump() for part in cell.defense]
        alike = canonical([cell.settings, cell.attack.model_dump(), stack])
        groups.setdefault(alike, []).append((cell, key))
    return list(groups.values())


def _read(
    rule: GateRule,
    place: int,
    scenario: str,
    cells: Sequence[tuple[Cell, str]],
    rows: Mapping[tuple[str, str], tuple[Mapping[str, Any], Mapping[str, Any]]],
) -> Gated:
    first = cells[0][0]
    plugins = [part.name for part in (first.attack, *first.defense)]
    measured = measurement_of(rule.metric, plugins)
    card = None if measured else registry.metrics().get(rule.metric)
    seeds: dict[int, Measured] = {}
    missing: dict[str, list[int]] = {}
    doubts: dict[str, list[int]] = {}
    for cell, key in cells:
        row, content = rows.get((scenario, key), (None, None))
        one = None
        if row is None or content is None:
            fault = "there is no result"
        elif row["status"] not in RESULT:
            fault = f"{row['status']}: {row['reason']}" if row["reason"] else str(row["status"])
        else:
            one = _measurement(content, *measured) if measured else row["metrics"].get(rule.metric)
            fault = f"there is no {rule.metric}" if one is None else "nothing could count for it"
        value = None if one is None else _rounded(one)
        if row is None or value is None:
            missing.setdefault(fault, []).append(cell.seed)
            continue
        seeds[cell.seed] = value
        for doubt in _doubts(row):
            doubts.setdefault(doubt, []).append(cell.seed)
    group = Group(
        scenario=scenario,
        metric=rule.metric,
        attack=first.attack_label,
        attack_params=dict(first.attack.params) if first.attack.name != NONE else {},
        defense=first.defense_label,
        defense_stack=tuple(_plain(part) for part in first.defense),
        settings=dict(first.settings),
        unit="" if card is None else card.unit,
        better_for=BetterFor.NEITHER if card is None else card.better_for,
        seeds=seeds,
    )
    return Gated(rule, place, group, _told(missing), _told(doubts))


def _told(found: Mapping[str, Sequence[int]]) -> tuple[str, ...]:
    """`seeds 0, 2: why`."""
    return tuple(
        f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}: {reason}" for reason, seeds in found.items()
    )


def _plain(part: Component) -> dict[str, Any]:
    return {"name": part.name, "params": dict(part.params)}


def _doubts(row: Mapping[str, Any]) -> list[str]:
    """What keeps a good value from showing anything."""
    found = []
    if row["status"] == BUDGET:
        found.append("threat.attack_seconds ended the attack, which may get more with more time")
    if row["attack"] != NONE and row.get("learned") is False:
        found.append(
            "without the attack the model is no better than always the same answer, so that there was nothing to lose"
        )
    return found


def _rounded(one: Mapping[str, Any]) -> Measured | None:
    """A metric as a baseline holds it; None without a value."""
    found = Measured.read(one)
    if found is None:
        return None
    low, high = (None if end is None else significant(float(end)) for end in (found.low, found.high))
    return found._replace(value=significant(found.value), low=low, high=high)


def _measurement(content: Mapping[str, Any], plugin: str, name: str) -> dict[str, Any] | None:
    """What a plug-in measured, as the mean over the rounds in which it did; None if it never did."""
    values = [
        float(value)
        for summary in content["rounds"]
        for told, value in summary["measurements"].items()
        if told.endswith(f"/{name}") and told.partition("(")[0].removesuffix(f"/{name}").split(" ")[-1] == plugin
    ]
    if not values:
        return None
    value = float(np.mean(values))
    return {"value": value, "unit": "", "ci_low": None, "ci_high": None, "method": "none", "n": len(values)}
