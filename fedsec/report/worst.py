"""The last column of the matrix: the attack that does each defense the most harm."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedsec.api import Tells
from fedsec.comparison.harm import drawn
from fedsec.comparison.rows import BUDGET, NONE, RESULT, telling
from fedsec.report.findings import undefined
from fedsec.report.numbers import percent, span
from fedsec.report.worst_findings import is_ranked, worse_than_plain

LEVELS = (0.05, 0.2, 0.5, 0.8)
"""Where a shade of harm ends and the next begins."""

_RAN = ("ok", BUDGET)

Row = Mapping[str, Any]


def shade(harm: Row | None) -> str:
    """The look of a square by the harm in it: `harm0` to `harm4`, or `undefined`."""
    if harm is None or harm["value"] is None:
        return "undefined"
    return f"harm{sum(drawn(harm) >= level for level in LEVELS)}"


def worst_square(rows: Sequence[Row], attacks: Sequence[str], damages: Sequence[Row] = ()) -> dict[str, Any]:
    """The square of a defense's worst attack by harm; attacks whose intervals overlap its own are named beside it.

    Args:
        rows: the summary's, of one defense and setting.
        attacks: all that any defense of this table met.
        damages: the scorecard's `worst_case` of this setting.
    """
    faced = [row for row in rows if row["attack"] != NONE]
    known = [row for row in faced if row["status"] in _RAN and (row.get("harm") or {}).get("value") is not None]
    unknown = _unknown(faced, attacks)
    square: dict[str, Any] = {
        "look": "na",
        "main": "none",
        "lines": [],
        "heads": (),
        "undefined": None,
        "idle": "",
        "unadapted": False,
        "sort": None,
        "worst": True,
    }
    if not known:
        blocked = any(row["status"] == "blocked" for row in faced)
        why = "no attack on what stays visible was run" if blocked else "no attack has a result"
        open_ones = [row for row in faced if undefined(row)]
        look = "blocked" if blocked else "undefined" if open_ones else "na"
        main = "blocked" if blocked else "undefined" if open_ones else "none"
        return {**square, "look": look, "main": main, "lines": [why, *unknown] if not open_ones else unknown}
    worst = max(known, key=lambda row: float(row["harm"]["value"]))
    alike = [row["attack"] for row in known if row is not worst and _overlap(row["harm"], worst["harm"])]
    lines = [worst["attack"], f"interval {_ends(worst['harm'])}"]
    if alike:
        lines.append(f"not told apart from {few(alike)}")
    elif len(known) > 1:
        lines.append(f"worst of {len(known)} attacks")
    return {
        **square,
        "look": shade(worst["harm"]),
        "main": percent(drawn(worst["harm"])),
        "lines": [*lines, *unknown, *_damage(worst["defense"], damages)],
        "unadapted": worst["defense"] != NONE and not any(row["adaptive"] for row in faced if row["status"] in RESULT),
        "sort": round(drawn(worst["harm"]), 4),
    }


def _unknown(faced: Sequence[Row], attacks: Sequence[str]) -> list[str]:
    """The attacks that may do more: those that failed, were cut short, or whose harm nobody knows."""
    settled = {row["attack"] for row in faced if row["status"] in ("ok", "blocked", "n/a") and not undefined(row)}
    missing = [attack for attack in attacks if attack not in (NONE, *settled)]
    return [f"may be worse, open: {few(missing)}"] if missing else []


def _damage(defense: str, damages: Sequence[Row]) -> list[str]:
    """What is left at worst in the last rounds, and that the plain mean would do better, where that is known."""
    entry = next((one for one in damages if one["defense"] == defense), None)
    plain = next((one for one in damages if one["defense"] == NONE and is_ranked(one)), None)
    if entry is None:
        return []
    tail = telling(entry["metrics"], Tells.TAIL)
    lines = (
        [f"last fifth of the rounds under {entry['attack']}: {percent(tail['value'])}{_guess(tail)}"] if tail else []
    )
    worse = plain is not None and is_ranked(entry) and worse_than_plain(entry, plain)
    return [*lines, *(["▼ worse than the plain mean"] if worse else [])]


def _guess(metric: Row) -> str:
    return "" if metric.get("baseline") is None else f"; guess {percent(metric['baseline'])}"


def _ends(harm: Row) -> str:
    """The interval of a harm, as far as there is harm."""
    return span({end: None if harm[end] is None else drawn({"value": harm[end]}) for end in ("ci_low", "ci_high")})


def _overlap(one: Row, other: Row) -> bool:
    """Whether two harms' intervals meet; without intervals nothing is told apart."""
    ends = (one["ci_low"], one["ci_high"], other["ci_low"], other["ci_high"])
    return None in ends or bool(one["ci_low"] <= other["ci_high"] and other["ci_low"] <= one["ci_high"])


def few(labels: Sequence[str]) -> str:
    """Three of them, and how many more."""
    more = f" and {len(labels) - 3} more" if len(labels) > 3 else ""
    return ", ".join(labels[:3]) + more
