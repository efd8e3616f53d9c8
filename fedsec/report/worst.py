"""The worst case of each defense as tables: what every attack on the training costs it, most accuracy left first."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedsec.api import Form, Tells
from fedsec.comparison.harm import harm_by
from fedsec.comparison.rows import NONE, correct, damage, damage_in, telling
from fedsec.report.bars import axis, bar, scale_of
from fedsec.report.findings import controls_first
from fedsec.report.grid import shade
from fedsec.report.numbers import evidence, percent, span
from fedsec.report.scorecard import by_setting
from fedsec.report.worst_findings import by_worst_case, correct_words, is_ranked, unranked, worse_than_plain

Row = Mapping[str, Any]


def worst_tables(rows: Sequence[Row], worst_case: Sequence[Row]) -> list[dict[str, Any]]:
    """A table per varied setting in which two defenses or more have a worst case and can be ranked by it.

    Args:
        rows: the scorecard's summary.
        worst_case: the scorecard's.
    """
    tables = []
    grouped = by_setting(rows)
    for label, entries in by_setting(worst_case).items():
        if sum(map(is_ranked, entries)) > 1 and all(correct(entry["metrics"]) for entry in entries):
            tables.append({"label": label, **_table(grouped[label], entries)})
    return tables


def _table(rows: Sequence[Row], entries: Sequence[Row]) -> dict[str, Any]:
    at = {(row["attack"], row["defense"]): row for row in rows}
    attacks = controls_first(row["attack"] for row in rows if damage_in(row["metrics"]))
    before = {entry["defense"]: _accuracy(at.get((NONE, entry["defense"]))) for entry in entries}
    after = {entry["defense"]: correct(entry["metrics"]) for entry in entries}
    shown = [value for metric in (*before.values(), *after.values()) if metric for value in _reach(metric)]
    scale = scale_of(shown)
    plain = next((entry for entry in entries if entry["defense"] == NONE and is_ranked(entry)), None)
    lines = []
    for entry in by_worst_case(entries):
        defense = entry["defense"]
        control, left = before[defense], after[defense]
        tail = telling(entry["metrics"], Tells.TAIL)
        lines.append(
            {
                "defense": "no defense" if defense == NONE else defense,
                "worse": plain is not None and is_ranked(entry) and worse_than_plain(entry, plain),
                "unranked": unranked(entry),
                "bar": bar(scale, control["value"] if control else None, left, left.get("baseline")),
                "left": f"{percent(left['value'])}, {evidence(left, Form.PERCENT, 'guess')}",
                "tail": f"last fifth of the rounds: {percent(tail['value'])}{_guess(tail)}" if tail else "",
                "control": percent(control["value"]) if control else "none",
                "squares": [_square(at.get((attack, defense)), entry) for attack in attacks],
            }
        )
    words = correct_words(entry["metrics"] for entry in entries)
    return {"attacks": attacks, "words": words, "axis": axis(scale), "lines": lines}


def _guess(metric: Row) -> str:
    return "" if metric.get("baseline") is None else f"; guess {percent(metric['baseline'])}"


def _accuracy(row: Row | None) -> Any:
    return correct(row["metrics"]) if row else None


def _reach(metric: Row) -> list[float]:
    ends = ("value", "ci_low", "ci_high", "baseline")
    return [float(metric[end]) for end in ends if metric.get(end) is not None]


def _square(row: Row | None, entry: Row) -> dict[str, Any]:
    """What one attack costs one defense."""
    told, lost = damage(), damage_in(row["metrics"]) if row is not None else None
    if row is not None and row["status"] != "ok":
        look = "na" if row["status"] == "n/a" else row["status"]
        return {"look": look, "main": f"⚠ {look}" if look == "error" else row["status"], "interval": "", "worst": False}
    if row is None or lost is None or told is None:
        return {"look": "missing", "main": "no result", "interval": "", "worst": False}
    return {
        "look": shade(harm_by(told[0], row["metrics"], own=False)),
        "main": percent(lost["value"], ""),
        "interval": span(lost, ""),
        "worst": row["attack"] == entry["attack"],
    }
