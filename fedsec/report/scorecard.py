"""The scorecard: the table of cells, and its summary with paired differences to the controls."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from fedsec.api import Compared, GoalCard, MetricValue, Tells
from fedsec.comparison.groups import Group, controls_of
from fedsec.comparison.harm import drawn, harm_by, harm_of
from fedsec.comparison.head_to_head import head_to_head
from fedsec.comparison.panels import panels
from fedsec.comparison.rows import (
    BUDGET,
    NONE,
    RANKED,
    RESULT,
    correct,
    damage,
    damage_in,
    goal_of,
    goals_of,
    learned,
    name_telling,
)
from fedsec.metrics.stats.intervals import Interval, over_seeds
from fedsec.registry import load_attribute
from fedsec.report.controls import Controls, control_rows, place_of
from fedsec.report.untrained import any_untrained, never_moved, training_of, untrained

SCHEMA = 1
_SETTLED = (*RANKED, "n/a")
"""Statuses that leave nothing open."""

_ALSO_MEANS = ("baseline", "random_guess", "chance", "best", "best_low")
Content = Mapping[str, Any]
"""A cell file."""
RowT = TypeVar("RowT", bound=Mapping[str, Any])


def build(scenario: str, key: str, contents: Sequence[Content]) -> dict[str, Any]:
    """The scorecard of a run.

    Args:
        scenario: its name, or that of the suite.
        key: the run's key.
        contents: the cells' files in the plan's order; the rows of a suite name their `scenario`, within which alone
            cells are compared.

    `learned` says of each row and cell whether its control (the same defense and settings without an attack; itself if
    it is one) is right more often than always the same answer; null where that is unknown.
    """
    members: dict[str, list[Content]] = {}
    for content in contents:
        members.setdefault(str(content["cell"].get("scenario", "")), []).append(content)
    tables = [_tables(own, {"scenario": name} if name else {}) for name, own in members.items()]
    side_by_side = [group for table in tables for group in table.groups]
    fronts = panels(side_by_side, controls_of(side_by_side))
    return {
        "schema": SCHEMA,
        "scenario": scenario,
        "key": key,
        "cells": [cell for table in tables for cell in table.cells],
        "summary": [row for table in tables for row in table.summary],
        "worst_case": [entry for table in tables for entry in table.worst_case],
        "head_to_head": head_to_head(side_by_side, fronts),
        "fronts": fronts,
    }


class _Tables(NamedTuple):
    """What a scorecard tells of one scenario."""

    cells: list[dict[str, Any]]
    summary: list[dict[str, Any]]
    worst_case: list[dict[str, Any]]
    groups: list[Group]


def _tables(contents: Sequence[Content], named: Mapping[str, str]) -> _Tables:
    """The tables of one scenario, whose cells are compared with each other alone.

    Args:
        contents: its cells' files.
        named: what each row says of its scenario; empty in a run of one.
    """
    controls = Controls(contents)
    groups: dict[str, list[Content]] = {}
    for content in contents:
        groups.setdefault(_key(content["cell"]), []).append(content)
    summary = [{**named, **row} for row in _summary(groups, controls)]
    cells = [_compared_cell(content, controls) for content in contents]
    worst_case = [{**named, **entry} for entry in _worst_case(summary, groups)]
    return _Tables(cells, summary, worst_case, _side_by_side(summary, cells, groups))


def without_timings(scorecard: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a scorecard that the same scenario, seed and versions reproduce bit for bit.

    What an attack had read when its time was over belongs to the machine that it ran on.
    """

    def strip(row: Mapping[str, Any]) -> dict[str, Any]:
        kept = {name: value for name, value in row["metrics"].items() if not name.endswith(("seconds", "-per-round"))}
        return {**row, "metrics": kept}

    whole = all(row["status"] != BUDGET for row in scorecard["summary"])
    untimed = [
        {name: value for name, value in entry.items() if not name.startswith("seconds")}
        for entry in scorecard["head_to_head"]
    ]
    return {
        **scorecard,
        "cells": [strip(cell) for cell in scorecard["cells"] if cell["status"] != BUDGET],
        "summary": [strip(row) for row in scorecard["summary"] if row["status"] != BUDGET],
        "head_to_head": untimed if whole else [],
        "fronts": scorecard["fronts"] if whole else [],
    }


def settings_label(settings: Mapping[str, Any]) -> str:
    """Varied settings in words: `attack_rounds=1, batch_size=4`."""
    return ", ".join(f"{path.rsplit('.', 1)[-1]}={value}" for path, value in settings.items())


def by_setting(rows: Iterable[RowT]) -> dict[str, list[RowT]]:
    """Rows by their varied settings in words, both in the order in which they come."""
    found: dict[str, list[RowT]] = {}
    for row in rows:
        found.setdefault(settings_label(row["settings"]), []).append(row)
    return found


def _compared_cell(content: Content, controls: Controls) -> dict[str, Any]:
    """A cell's row with the metrics that hold it against its controls, and its harm."""
    cell = dict(content["cell"])
    metrics = {**cell["metrics"], **_comparisons(cell, [content], controls)}
    cell["metrics"] = dict(sorted(metrics.items()))
    cell["untrained"] = untrained(content)
    cell["harm"] = _comparable(cell, harm_of(cell), [content], controls)
    control = controls.of(cell, cell["defense"])
    cell["learned"] = None if control is None else learned(control["cell"]["metrics"])
    return cell


def _comparisons(row: Content, ran: Sequence[Content], controls: Controls) -> dict[str, Any]:
    """What the row's goals make of its cells beside their controls, by metric."""
    if row["status"] not in RESULT:
        return {}
    pairs = [
        Compared(
            cell=one,
            control=controls.trained(one["cell"], one["cell"]["defense"]),
            plain=controls.trained(one["cell"], NONE),
        )
        for one in ran
    ]
    found: dict[str, MetricValue] = {}
    for card in goals_of(row):
        found |= _compare(card, pairs)
    return {name: value.as_json() for name, value in found.items()}


def _comparable(
    row: Content, harm: dict[str, Any] | None, ran: Sequence[Content], controls: Controls
) -> dict[str, Any] | None:
    """The harm, or that it is undefined because the undefended control did not train.

    A defended control that did not train is a result: what a defense ruins by itself counts as harm.

    Args:
        row: a cell or a row of the summary.
        harm: its harm as its metrics tell it.
        ran: its cells.
        controls: of all cells.
    """
    if harm is None:
        return None
    if harm["value"] is None and any(controls.idle(one["cell"]) for one in ran):
        return {"value": None, "reason": "the undefended control did not train"}
    card = goal_of(row)
    reads_model = card is not None and not card.by_round and not row.get("acts")
    if reads_model and any(map(never_moved, ran)):  # that nothing leaks from it says nothing of one that learns
        return {"value": None, "reason": any_untrained(ran)}
    return harm


def _compare(card: GoalCard, pairs: Sequence[Compared]) -> dict[str, MetricValue]:
    """What a goal makes of cells beside their controls; nothing if it compares nothing."""
    if not card.compare or not pairs:
        return {}
    found: dict[str, MetricValue] = load_attribute(card.name, card.compare)(tuple(pairs))
    return found


def _summary(groups: Mapping[str, Sequence[Content]], controls: Controls) -> list[dict[str, Any]]:
    """A row for each group of cells that differ in their seed alone."""
    rows = [_row(group, controls) for group in groups.values()]
    known = control_rows(rows)
    for row in rows:
        control = known.get(place_of(row))
        row["learned"] = None if control is None else learned(control["metrics"])
    _mark_pareto(rows, known)
    return rows


def _side_by_side(
    rows: Sequence[Mapping[str, Any]], cells: Sequence[Mapping[str, Any]], groups: Mapping[str, Sequence[Content]]
) -> list[Group]:
    """Each row of the summary with its cells and their files."""
    compared: dict[str, list[Mapping[str, Any]]] = {}
    for cell in cells:
        compared.setdefault(_key(cell), []).append(cell)
    return [Group(row, own, files) for row, own, files in zip(rows, compared.values(), groups.values(), strict=True)]


def _key(row: Mapping[str, Any]) -> str:
    """What the seeds of a row have in common."""
    return repr((row["settings"], row["attack"], row["defense"]))


def _worst_case(rows: Sequence[Mapping[str, Any]], groups: Mapping[str, Sequence[Content]]) -> list[dict[str, Any]]:
    """For each defense and setting the attack on the training that costs it most, defenses in their order.

    Picked for being the largest of `compared` figures, so that chance alone makes it a little too large; the interval
    is that of the one attack. `unknown` names the attacks that have a figure against another defense and none against
    this one because their cells failed or are missing. `below_plain` is by how much the model is worse than the plain
    mean's under the mean's own worst attack, paired by seed and test row; only where the mean has a worst case. `harm`
    is that of the damage alone; where it is undefined, or the control did not learn, the entry has no place in a
    ranking.
    """
    found: list[dict[str, Any]] = []
    told = damage()
    if told is None:
        return found
    name = told[1].metric
    alike: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        alike.setdefault(repr(row["settings"]), []).append(row)
    for own in alike.values():
        known = [
            row for row in own if row["status"] == "ok" and (row["metrics"].get(name) or {}).get("value") is not None
        ]
        attacks = list(dict.fromkeys(row["attack"] for row in own if name in row["metrics"]))
        plain = _worst([row for row in known if row["defense"] == NONE])
        defenses = dict.fromkeys(row["defense"] for row in own)
        for defense in sorted(defenses, key=lambda label: label != NONE):
            faced = [row for row in known if row["defense"] == defense]
            worst = _worst(faced)
            if worst is None:
                continue
            settled = {row["attack"] for row in own if row["defense"] == defense and row["status"] in _SETTLED}
            kinds = (Tells.CORRECT, Tells.QUALITY, Tells.TAIL)
            names = (name, *(name_telling(worst["metrics"], kind) for kind in kinds))
            entry = {
                "defense": defense,
                "settings": own[0]["settings"],
                "attack": worst["attack"],
                "compared": len(faced),
                "unknown": [attack for attack in attacks if attack not in settled],
                "seeds": worst["seeds"],
                "learned": worst["learned"],
                "harm": harm_by(told[0], worst["metrics"], own=False),
                "metrics": {name: worst["metrics"][name] for name in names if name in worst["metrics"]},
            }
            cells = None if plain is None or defense == NONE else (groups[_key(plain)], groups[_key(worst)])
            if cells is not None and (below := _below(told[0], *cells)):
                entry["below_plain"] = below.as_json()
            found.append(entry)
    return found


def _worst(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    return max(rows, key=lambda row: float(damage_in(row["metrics"])["value"]), default=None)


def _below(card: GoalCard, plain: Sequence[Content], own: Sequence[Content]) -> MetricValue | None:
    """By how much cells are worse than those of the plain mean, over the seeds that both have; None without any."""
    theirs = {content["cell"]["seed"]: content for content in plain}
    both = [one for one in own if one["cell"]["seed"] in theirs]
    pairs = [Compared(cell=one, control=theirs[one["cell"]["seed"]], plain=None) for one in both]
    return _compare(card, pairs).get(card.headline[0].metric)


def _row(group: Sequence[Content], controls: Controls) -> dict[str, Any]:
    """Means over the seeds that have a result; `failed` counts those in error, where there are any."""
    ran = [content for content in group if content["cell"]["status"] in RESULT]
    cells, counted = ([content["cell"] for content in some] for some in (group, ran))
    names = sorted({name for cell in counted for name in cell["metrics"]})
    metrics = {name: _mean([c["metrics"][name] for c in counted if name in c["metrics"]]) for name in names}
    statuses = [cell["status"] for cell in cells]
    status = next((s for s in ("error", *RESULT) if s in statuses), statuses[0])
    failed = statuses.count("error")
    row = {
        "attack": cells[0]["attack"],
        "defense": cells[0]["defense"],
        "settings": cells[0]["settings"],
        "goal": cells[0].get("goal"),
        "acts": any(cell.get("acts") for cell in counted),
        "seeds": len(counted),
        **({"failed": failed} if failed else {}),
        "status": status,
        "reason": next((cell["reason"] for cell in cells if cell["status"] == status and cell["reason"]), None),
        "adaptive": any(cell["adaptive"] for cell in cells),
        "guarantee": _weakest([cell["guarantee"] for cell in counted]),
        "metrics": metrics,
    }
    # Seeds that ran in spite of others' errors are compared as well.
    row["metrics"] |= _comparisons({**row, "status": "ok"} if counted else row, ran, controls)
    row["training"], row["untrained"] = training_of(ran), any_untrained(ran)
    row["harm"] = _comparable(row, harm_of(row), ran, controls)
    return row


def _mean(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean over the seeds with a value; one seed keeps its own interval, several get that of `over_seeds`.

    What belongs to one seed alone (a threshold) does not stand beside all seeds' mean.
    """
    values = [value for value in values if value["value"] is not None] or values[:1]
    mean = dict(values[0])
    if len(values) == 1:
        return mean
    mean["value"] = float(np.mean([v["value"] for v in values]))
    mean["n"] = sum(v["n"] for v in values)
    mean |= _interval(values)
    for name in (*_ALSO_MEANS, "detail", "left_out"):
        mean.pop(name, None)
    for name in _ALSO_MEANS:
        if all(name in v for v in values):
            mean[name] = float(np.mean([v[name] for v in values]))
    if left_out := sum(v.get("left_out", 0) for v in values):
        mean["left_out"] = left_out
    return mean


def _interval(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Over seeds; none where a seed has none, as costs have not."""
    ends = [(v["ci_low"], v["ci_high"]) for v in values]
    if any(low is None or high is None for low, high in ends):
        return {"ci_low": None, "ci_high": None, "method": "none"}
    within = [Interval(low, high, "") for low, high in ends]
    limits = (0.0, 1.0) if values[0]["unit"] == "fraction" else (-np.inf, np.inf)
    found = over_seeds([v["value"] for v in values], within, *limits)
    return {"ci_low": found.low, "ci_high": found.high, "method": found.method}


def _mark_pareto(rows: Sequence[dict[str, Any]], controls: Mapping[tuple[str, str], Mapping[str, Any]]) -> None:
    """Mark rows that no other defense against the same attack equals in utility and harm and beats in one of them."""
    rivals: dict[tuple[str, str], list[tuple[float, float]]] = {}
    standings = [_standing(row, controls.get(place_of(row))) for row in rows]
    for row, own in zip(rows, standings, strict=True):
        if own is not None:
            rivals.setdefault((row["attack"], place_of(row)[1]), []).append(own)
    for row, own in zip(rows, standings, strict=True):
        others = () if own is None else rivals[row["attack"], place_of(row)[1]]
        row["pareto"] = own is not None and not any(_beats(other, own) for other in others)


def _beats(other: tuple[float, float], own: tuple[float, float]) -> bool:
    """Whether a standing is at least as good in both, and not the same."""
    return other != own and other[0] >= own[0] and other[1] <= own[1]


def _standing(row: Mapping[str, Any], control: Mapping[str, Any] | None) -> tuple[float, float] | None:
    """(what is right without an attack, harm) of a defense; None without either, or if its control did not learn."""
    harm = row["harm"]
    right = None if control is None or row["learned"] is False else correct(control["metrics"])
    if row["attack"] == NONE or right is None or row["status"] not in RANKED or not harm or harm["value"] is None:
        return None
    return float(right["value"]), drawn(harm)


def _weakest(guarantees: Sequence[object]) -> Mapping[str, Any] | None:
    """Of several seeds' guarantees the one that promises least; None if none is of differential privacy."""
    known = [one for one in guarantees if isinstance(one, Mapping) and "epsilon" in one]

    def promised(one: Mapping[str, Any]) -> float:
        epsilon = one["epsilon"]
        return float(epsilon) if isinstance(epsilon, (int, float)) else float("inf")

    return max(known, key=promised, default=None)
