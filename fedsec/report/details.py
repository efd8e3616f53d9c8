"""Every cell in full: attack and defense, each metric of each seed, hooks' measurements, what was dropped."""

from collections.abc import Mapping, Sequence
from shlex import join
from typing import Any

from fedsec.api import Form
from fedsec.comparison.rows import NONE, form_of
from fedsec.report.again import cell_again
from fedsec.report.findings import brief
from fedsec.report.numbers import amount, between, percent, reach, span, written
from fedsec.report.scorecard import settings_label

MOST_EVENTS, MOST_MEASUREMENTS = 40, 60

Row = Mapping[str, Any]


def details(record: Row, cells: Sequence[Row], contents: Sequence[Row]) -> list[dict[str, Any]]:
    """Everything about the cells, those that differ in their seed together.

    Args:
        record: record.json.
        cells: the scorecard's, which have what compares them with their controls as well.
        contents: their files.
    """
    groups: dict[str, list[tuple[Row, Row]]] = {}
    for cell, content in zip(cells, contents, strict=True):
        key = repr((cell["settings"], cell["attack"], cell["defense"]))
        groups.setdefault(key, []).append((cell, content))
    return [_detail(record, group) for group in groups.values()]


def _detail(record: Row, group: Sequence[tuple[Row, Row]]) -> dict[str, Any]:
    cells = [cell for cell, _ in group]
    first = next((cell for cell in cells if cell["metrics"]), cells[0])
    attack = "no attack, " if first["attack"] == NONE else f"{first['attack']} against "
    names = sorted({name for cell in cells for name in cell["metrics"]})
    return {
        "title": f"{attack}{'no defense' if first['defense'] == NONE else first['defense']}",
        "settings": settings_label(first["settings"]),
        "row": first,
        "statuses": list(dict.fromkeys(cell["status"] for cell in cells)),
        "params": [(part["name"], part["params"]) for part in first["defense_stack"]],
        "malicious": group[0][1].get("malicious") or [],
        "seeds": [_seed(record, cell, content, several=len(group) > 1) for cell, content in group],
        "metrics": [(name, [_metric(name, cell["metrics"].get(name)) for cell in cells]) for name in names],
        **_measured([content.get("rounds") or () for _, content in group]),
    }


def _seed(record: Row, cell: Row, content: Row, *, several: bool) -> dict[str, Any]:
    """What belongs to one cell alone."""
    where = f"seed {cell['seed']}, " if several else ""
    events = []
    for entry in content.get("rounds") or ():
        lead = f"{where}round {entry['round']}"
        events += [f"{lead}, client {r['client']} dropped: {r['reason']}" for r in entry["rejected"]]
        events += [f"{lead} left the model as it was: {entry['skipped']}"] if entry["skipped"] else []
    more = [f"{where}{len(events) - MOST_EVENTS} more"] if len(events) > MOST_EVENTS else []
    return {
        "seed": cell["seed"],
        "status": cell["status"],
        "reason": cell["reason"],
        "harm": _harm(cell),
        "events": [*events[:MOST_EVENTS], *more],
        "command": join(cell_again(record, cell)),
    }


def _harm(row: Row) -> str:
    """The row's harm in words; empty where there is none."""
    harm = row.get("harm")
    if harm is None:
        return ""
    if harm["value"] is None:
        return f"undefined: {brief(harm['reason'])}"
    return f"{percent(harm['value'])} by {harm['metric']} (95\u00a0% interval {span(harm)})"


def _metric(name: str, value: Row | None) -> dict[str, str]:
    """A figure in the form of the goal that tells it, if one does; what is needed to read it stands beside it."""
    if value is None:
        return {"value": "none", "about": "", "more": ""}
    number, unit = form_of(name) == Form.NUMBER, value["unit"]

    def shown(one: float | None) -> str:
        return written(one, Form.NUMBER) if number else amount(one, unit)

    known = value["ci_low"] is not None and value["ci_high"] is not None
    interval = reach(value, Form.NUMBER) if number else span(value) if unit == "fraction" else between(value)
    about = [interval] if known else []
    about.append(f"n {value['n']}")
    if value.get("left_out"):
        about.append(f"{value['left_out']} left out")
    scale = (("baseline", "guess"), ("random_guess", "random"), ("chance", "chance"), ("best", "best"))
    scale += (("best_low", "best at least"),)  # type: ignore[assignment]
    more = [f"{words} {shown(value[key])}" for key, words in scale if value.get(key) is not None]
    more += [f"{key} {one:.4g}" for key, one in (value.get("detail") or {}).items()]
    return {"value": shown(value["value"]), "about": "; ".join(about), "more": ", ".join(more)}


def _measured(seeds: Sequence[Sequence[Row]]) -> dict[str, Any]:
    """What hooks measured: of each, its mean over the rounds that have it, the first and the last, over the seeds."""
    found: dict[str, list[list[float]]] = {}
    for rounds in seeds:
        own: dict[str, list[float]] = {}
        for entry in rounds:
            for name, value in (entry.get("measurements") or {}).items():
                own.setdefault(name, []).append(float(value))
        for name, values in own.items():
            found.setdefault(name, []).append(values)

    def mean(numbers: Sequence[float]) -> str:
        return f"{sum(numbers) / len(numbers):.4g}"

    lines = [
        {
            "name": name,
            "rounds": max(map(len, several)),
            "mean": mean([one for values in several for one in values]),
            "first": mean([values[0] for values in several]),
            "last": mean([values[-1] for values in several]),
        }
        for name, several in sorted(found.items())
    ]
    return {"measured": lines[:MOST_MEASUREMENTS], "more_measured": len(lines[MOST_MEASUREMENTS:])}
