"""Utility against harm: what a defense costs and what it stops."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedsec.comparison.harm import drawn
from fedsec.report.chart import MOST_PANELS, Chart, Panel, Panels, in_percent, linear
from fedsec.report.numbers import percent
from fedsec.report.scorecard import settings_label

Row = Mapping[str, Any]


def fronts_drawn(fronts: Sequence[Row], defenses: Sequence[str]) -> Panels:
    """A panel per goal, position of the adversary, unit of epsilon and setting, a dot per defense.

    Args:
        fronts: the scorecard's.
        defenses: their labels, in the order that numbers and colours them.
    """
    panels = [
        Panel(f"{front['goal']}, against {front['against']}", _about(front), _drawn(front, defenses))
        for front in fronts[:MOST_PANELS]
    ]
    return Panels(tuple(panels), len(fronts) - len(panels))


def _about(front: Row) -> str:
    """What the panel is of, and how much of it the front encloses."""
    unit = "" if front["unit"] is None else f"epsilon for each {front['unit']}"
    area = front["hypervolume"]
    enclosed = "" if area is None else f"hypervolume {percent(area)}"
    return "; ".join(filter(None, (settings_label(front["settings"]), unit, enclosed)))


def _drawn(front: Row, defenses: Sequence[str]) -> str:
    """Dots with both intervals; those on the front are ringed, dominated ones grey, blocked ones open."""
    points = front["points"]
    rights = [end for point in points for end in _ends(point["utility"])]
    most = max(end for point in points for end in _ends(_within(point["harm"])))
    up = linear(max(0.0, min(rights) - 0.03), min(1.0, max(rights) + 0.03), in_percent)
    across = linear(-0.04, min(1.04, max(0.12, most + 0.06)), in_percent)
    chart = Chart(across, up, ("harm of the worst attack", "accuracy without attack"))
    dots: dict[tuple[float, float], list[int]] = {}
    for point in sorted(points, key=lambda one: bool(one["front"])):
        index, harm, utility = defenses.index(point["defense"]), _within(point["harm"]), point["utility"]
        x, y = harm["value"], float(utility["value"])
        looks = [*(["dominated"] if point["dominated"] else []), *(["open"] if point["status"] == "blocked" else [])]
        for value, is_harm in ((harm, True), (utility, False)):
            if value["ci_low"] is not None and value["ci_high"] is not None:
                ends = [(end, y) if is_harm else (x, end) for end in (value["ci_low"], value["ci_high"])]
                chart.line(ends, index, " ".join(["reach", *looks]))
        chart.marks([(x, y)], index, " ".join(["big", *looks]))
        if point["front"]:
            chart.ring(x, y)
        dots.setdefault((round(x, 2), round(y, 2)), []).append(index)
    chart.numbers(dots)
    return chart.svg()


def _ends(value: Row) -> list[float]:
    return [float(value[end]) for end in ("value", "ci_low", "ci_high") if value[end] is not None]


def _within(harm: Row) -> dict[str, Any]:
    """A harm and its interval between 0 and 1, where it is drawn."""
    ends = {end: None if harm[end] is None else drawn({"value": harm[end]}) for end in ("ci_low", "ci_high")}
    return {"value": drawn(harm), **ends}
