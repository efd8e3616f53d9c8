"""Defenses side by side: per goal the worst that an attack got, the price, what is promised, and ranks."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedsec.comparison.faced import Faced, faced, harm_json
from fedsec.comparison.groups import Group, Place, Row, controls_of, scenario_of, span_of_worst
from fedsec.comparison.panels import on_any_front
from fedsec.comparison.prices import COSTS, Pairs, amount, utility_cost
from fedsec.comparison.ranks import Span, alike, ranks
from fedsec.comparison.rows import RESULT
from fedsec.metrics.stats.differences import Measured, difference

_ALONE = "nothing to rank it with"


def head_to_head(groups: Sequence[Group], fronts: Sequence[Row]) -> list[dict[str, Any]]:
    """An entry for each defense stack, the undefended first, then in the order in which they come.

    Stacks of several scenarios are one if their resolved parameters agree. A goal's worst case is over scenarios,
    settings and attacks; the interval is that of the worst attack, and ranks go by where the largest of all lies. A
    rank needs a whole result of every attack that any defense faced for that goal, and one over all goals needs a rank
    in each.

    Args:
        groups: of all cells, as the summary has them.
        fronts: from `panels`.
    """
    controls = controls_of(groups)
    learned = {key: one.row["learned"] for key, one in controls.items()}
    goals = list(dict.fromkeys(str(one.row["goal"]) for one in groups if one.row.get("goal")))
    stacks: dict[str, list[Group]] = {}
    for group in sorted(groups, key=lambda one: one.stack != ""):
        stacks.setdefault(group.stack, []).append(group)
    table: dict[str, dict[str, Faced]] = {stack: {} for stack in stacks}
    for goal in goals:
        rivals = [one for one in groups if one.row.get("goal") == goal]
        for stack in stacks:
            table[stack][goal] = faced([one for one in rivals if one.stack == stack], rivals, learned)
    labels = {stack: str(own[0].row["defense"]) for stack, own in stacks.items()}
    by_goal = {goal: _ranked({stack: table[stack][goal] for stack in stacks}, labels) for goal in goals}
    overall = _overall(table, goals, labels)
    found = []
    for stack, own in stacks.items():
        entry: dict[str, Any] = {"defense": labels[stack], "stack": list(own[0].cells[0].get("defense_stack") or ())}
        entry["goals"] = {goal: _goal(table, stack, goal) | by_goal[goal][stack] for goal in goals}
        entry |= {"worst": _worst(table[stack]), **_price(stack, controls), "guarantees": _guarantees(own)}
        entry |= overall[stack]
        entry["adaptive"] = any(one.row["adaptive"] for one in own if one.row["status"] in RESULT)
        entry["learned"] = _learned([one for (_, other), one in learned.items() if other == stack])
        entry["pareto"] = on_any_front(fronts, labels[stack])
        found.append(entry)
    return found


def _goal(table: Mapping[str, Mapping[str, Faced]], stack: str, goal: str) -> dict[str, Any]:
    """A goal's entry with the difference to the undefended worst case."""
    own, plain = table[stack][goal], table.get("", {}).get(goal)
    beside = None if stack == "" or plain is None else _versus(own, plain)
    return {**own.as_json(), "versus_none": beside}


def _versus(own: Faced, plain: Faced) -> dict[str, Any] | None:
    """The worst harm less the undefended one, paired over seeds where both stand in one place."""
    if own.worst is None or plain.worst is None or own.status != "ok" or plain.status != "ok":
        return None
    ours, theirs = (_harms(one.worst) for one in (own, plain))
    if not ours or not theirs:
        return None
    if own.worst.place != plain.worst.place:  # seeds of different trainings have nothing in common
        ours = {-1 - seed: one for seed, one in ours.items()}
    found = difference(ours, theirs)
    low, high = found.interval() or (None, None)
    return {"value": found.value, "ci_low": low, "ci_high": high, "method": found.method, "n": found.n}


def _harms(group: Group | None) -> dict[int, Measured]:
    """The harm in each seed of a group."""
    found = {}
    for cell in () if group is None else group.cells:
        harm = harm_json(cell)
        if harm is not None:
            n = max(1, int(harm["n"]))
            found[int(cell["seed"])] = Measured(
                float(harm["value"]), harm["ci_low"], harm["ci_high"], n, fraction=False
            )
    return found


def _ranked(column: Mapping[str, Faced], labels: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Ranks within one goal, by stack."""
    spans = {stack: one.span for stack, one in column.items() if one.unranked is None and one.span is not None}
    return _ranks(spans, {stack: one.unranked for stack, one in column.items()}, labels, "rivals")


def _overall(
    table: Mapping[str, Mapping[str, Faced]], goals: Sequence[str], labels: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Ranks over all goals, by stack: of those that have a rank in each."""
    spans: dict[str, Span] = {}
    reasons: dict[str, str | None] = {}
    for stack, own in table.items():
        why = [f"{goal}: {own[goal].unranked}" for goal in goals if own[goal].unranked is not None]
        span = span_of_worst(own[goal].span for goal in goals)
        reasons[stack] = "; ".join(why) if why else None if goals else "nothing attacked it"
        if reasons[stack] is None and span is not None:
            spans[stack] = span
    return _ranks(spans, reasons, labels, "alike")


def _ranks(
    spans: Mapping[str, Span], reasons: Mapping[str, str | None], labels: Mapping[str, str], others: str
) -> dict[str, dict[str, Any]]:
    """Rank, those that share the interval's reach, and why there is no rank, by stack."""
    places = ranks(spans) if len(spans) > 1 else {}
    return {
        stack: {
            "rank": places.get(stack),
            others: [labels[one] for one in alike(spans, stack)] if stack in places else [],
            "unranked": why or (None if stack in places else _ALONE),
            "ranked_by": list(spans[stack]) if stack in spans else None,
        }
        for stack, why in reasons.items()
    }


def _worst(own: Mapping[str, Faced]) -> dict[str, Any] | None:
    """The goal in which most harm was done; None where no attack ran."""
    known = {goal: one for goal, one in own.items() if one.ran and one.worst is not None and one.worst.harm}
    if not known:
        return None
    goal = max(known, key=lambda name: float((known[name].worst.harm or {})["value"]))  # type: ignore[union-attr]
    found = known[goal].as_json()
    return {"goal": goal, **{name: found[name] for name in ("scenario", "settings", "attack", "status", "harm")}}


def _price(stack: str, controls: Mapping[tuple[Place, str], Group]) -> dict[str, Any]:
    """Utility, bytes and seconds beside the undefended training; its own amounts have a ratio of 1."""
    pairs: Pairs = {
        place: (one, plain)
        for (place, other), one in controls.items()
        if other == stack and (plain := controls.get((place, ""))) is not None
    }
    costs = {name: amount(pairs, kind) for name, kind in COSTS.items()}
    return {"utility_cost": utility_cost(pairs) if stack else None, **costs}


def _guarantees(own: Sequence[Group]) -> list[dict[str, Any]]:
    """The different guarantees of a stack and where they hold: of differential privacy the weakest in each place."""
    found: dict[str, dict[str, Any]] = {}
    for place in dict.fromkeys(one.place for one in own):
        here = [one for one in own if one.place == place and one.row["status"] in RESULT]
        kept = [guarantee for one in here if isinstance(guarantee := _guarantee(one), Mapping)]
        if kept and len(kept) == len(here):  # a proof whose assumption an attack breaks is none
            guarantee = max(kept, key=promised)
            where = {"scenario": scenario_of(here[0].row) or None, "settings": here[0].row["settings"]}
            found.setdefault(f"{where['scenario']}{guarantee}", {**where, "guarantee": guarantee})
    return list(found.values())


def _guarantee(group: Group) -> Any:
    """Of the seeds' guarantees the weakest; a proof of robustness counts where every seed has it."""
    if group.row.get("guarantee"):
        return group.row["guarantee"]
    each = [cell.get("guarantee") for cell in group.cells if cell["status"] in RESULT]
    return each[0] if each and all(each) else None


def promised(guarantee: Mapping[str, Any]) -> float:
    """The epsilon of a guarantee, infinite where it is void; below every epsilon where it is none of privacy."""
    if "epsilon" not in guarantee:
        return -1.0
    epsilon = guarantee["epsilon"]
    return float(epsilon) if isinstance(epsilon, (int, float)) else float("inf")


def _learned(marks: Sequence[bool | None]) -> bool | None:
    """Whether all of a stack's controls learned; None where that is unknown."""
    if False in marks:
        return False
    return True if marks and None not in marks else None
