"""The head-to-head table: what defenses leave to the worst attack of each goal, cost and promise."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fedsec.api import Form
from fedsec.comparison.harm import drawn
from fedsec.comparison.rows import NONE
from fedsec.report.defended import guarantee_words, name_of, wants
from fedsec.report.findings import brief
from fedsec.report.numbers import amount, percent, reach
from fedsec.report.scorecard import settings_label
from fedsec.report.worst import few, shade

_LOOKS = {"n/a": "na"}
_STATUS = {"budget": "time over, it may get more", "blocked": "blocked", "missing": "no result"}
_COSTS = {"upload_bytes": ("sent", "bytes"), "download_bytes": ("received", "bytes"), "seconds_per_round": ("", "s")}

Entry = Mapping[str, Any]
"""Of the scorecard's `head_to_head`."""


def side_by_side(entries: Sequence[Entry]) -> dict[str, Any] | None:
    """The table; None with fewer than two defenses."""
    if len(entries) < 2:
        return None
    goals = list(entries[0]["goals"])
    ranked = {goal: len({entry["goals"][goal]["rank"] for entry in entries} - {None}) > 1 for goal in goals}
    return {
        "goals": [{"name": goal, "wants": wants(goal)} for goal in goals],
        "lines": [
            {
                "defense": name_of(entry),
                "squares": [_harm(entry["goals"][goal], entry, ranked=ranked[goal]) for goal in goals],
                "overall": _overall(entry) if len(goals) > 1 else None,
                "price": _price(entry),
                "promises": _promises(entry),
                "costs": [text for kind, names in _COSTS.items() if (text := _cost(entry, kind, *names))],
            }
            for entry in entries
        ],
    }


def _harm(one: Entry, entry: Entry, *, ranked: bool) -> dict[str, Any]:
    """What the worst attack of one goal did to a defense."""
    status, harm = one["status"], one["harm"]
    square: dict[str, Any] = {"look": _LOOKS.get(status, status), "sort": None, "bar": "", "unadapted": False}
    lines = [_STATUS[status]] if status in ("budget",) else []
    if harm is None or status not in ("ok", "budget"):
        why = [brief(one["reason"])] if one["reason"] else []
        return {**square, "main": _STATUS.get(status, status), "lines": why}
    lines += [f"{_ends(harm)}, n = {harm['n']}", _whom(one)]
    if one["alike"]:
        lines.append(f"not told apart from {few(one['alike'])}")
    if one["unknown"]:
        lines.append(f"may be more, open: {few(one['unknown'])}")
    if ranked:
        lines.append(f"rank {one['rank']}" if one["rank"] is not None else f"no rank: {brief(one['unranked'])}")
    return {
        "look": shade(harm),
        "main": percent(drawn(harm)),
        "lines": lines,
        "sort": round(drawn(harm), 4),
        "bar": _bar(harm),
        "unadapted": entry["defense"] != NONE and not one["adaptive"],
    }


def _whom(one: Entry) -> str:
    """The attack, and where it did so."""
    return ", ".join(filter(None, (one["attack"], _place(one["scenario"]), settings_label(one["settings"] or {}))))


def _ends(harm: Entry) -> str:
    """The interval of a harm, as far as there is harm."""
    if harm["ci_low"] is None or harm["ci_high"] is None:
        return "no interval"
    low, high = (drawn({"value": harm[end]}) for end in ("ci_low", "ci_high"))
    return f"{percent(low, '')} to {percent(high)}"


def _bar(harm: Entry) -> str:
    """The harm and its interval on a line from nothing to everything."""
    at = round(100 * drawn(harm), 1)
    low, high = (
        at if harm[end] is None else round(100 * drawn({"value": harm[end]}), 1) for end in ("ci_low", "ci_high")
    )
    shapes = f'<path class="rule" d="M0 6h100M0 3v6M50 4v4M100 3v6"/><path d="M{low} 6H{high}"/>'
    return (
        f'<svg class="mini" viewBox="-4 0 108 12" role="presentation">{shapes}<circle cx="{at}" cy="6" r="3.5"/></svg>'
    )


def _overall(entry: Entry) -> dict[str, Any]:
    """The place over all goals."""
    worst = entry["worst"]
    share = None if worst is None else drawn(worst["harm"])
    lines = [] if worst is None else [f"{percent(share)}: {worst['attack']}"]
    if entry["rank"] is not None:
        lines += [f"not told apart from {few(entry['alike'])}"] if entry["alike"] else []
        return {"main": f"rank {entry['rank']}", "lines": lines, "sort": -entry["rank"]}
    open_ones = [goal for goal, one in entry["goals"].items() if one["unranked"]]
    why = f"no rank in {few(open_ones)}" if open_ones else brief(entry["unranked"] or "")
    return {"main": "not ranked", "lines": [*lines, why], "sort": None}


def _price(entry: Entry) -> dict[str, Any]:
    """Points of what is right that are lost without an attack."""
    cost, idle = entry["utility_cost"], ["the model did not learn"] if entry["learned"] is False else []
    if entry["defense"] == NONE or cost is None:
        return {"main": "0", "lines": idle, "sort": 0}
    if cost["value"] is None:
        return {"main": "unknown", "lines": [cost["reason"], *idle], "sort": None}
    low, high = cost["ci_low"], cost["ci_high"]
    chance = ["may be chance"] if low is None or high is None or low <= 0 <= high else []
    where = [_place(cost["scenario"])] if cost["scenario"] else []
    lines = [f"{reach(cost, Form.POINTS)}, n = {cost['n']}", *where, *chance, *idle]
    return {"main": percent(cost["value"], ""), "lines": lines, "sort": round(float(cost["value"]), 4)}


def _promises(entry: Entry) -> list[str]:
    """What is promised, each with whom it holds against and where."""
    found: dict[str, dict[str, dict[str, None]]] = {}
    for one in entry["guarantees"]:
        guarantee = one["guarantee"]
        against = guarantee.get("against") if "epsilon" in guarantee else None
        whom = f" against {', '.join(map(str, against))}" if against else ""
        amount_of, what = guarantee_words(guarantee)
        found.setdefault(f"{what}{whom}", {}).setdefault(amount_of, {})[_place(one["scenario"])] = None
    return [_amounts(amounts) + what for what, amounts in found.items()]


def _amounts(amounts: Mapping[str, Iterable[str]]) -> str:
    """Amounts of the same, each with the scenarios that it holds in: `epsilon 7.95 (this), 7.99 (that)`."""
    told = []
    for place, (words, scenarios) in enumerate(amounts.items()):
        text = words if not place else words.rpartition(" ")[2]
        where = ", ".join(filter(None, scenarios))
        told.append(f"{text} ({where})" if where and text else text)
    return ", ".join(filter(None, told))


def _place(scenario: object) -> str:
    """The last part of a scenario's name; sentences have all of it."""
    return str(scenario or "").rpartition("/")[2]


def _cost(entry: Entry, kind: str, verb: str, unit: str) -> str:
    """An amount per round, beside the one without a defense."""
    found = entry[kind]
    if found is None:
        return ""
    times = "" if found["ratio"] is None or entry["defense"] == NONE else f" (x {found['ratio']:.2f})"
    return f"{amount(found['value'], unit)} {verb}".strip() + times
