"""ROC curves on logarithmic axes, from one false alarm on: what an attack finds where it has to be sure."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import beta

from fedsec.comparison.harm import drawn
from fedsec.comparison.rows import NONE
from fedsec.report.chart import COLOURS, MOST_PANELS, Chart, Panel, in_percent, logarithmic, style
from fedsec.report.scorecard import settings_label

_MOST_LINES = COLOURS
_MOST_CANDIDATES = 10**9
"""No pool is larger; files that somebody made may say otherwise."""
_TAIL = 0.025

Row = Mapping[str, Any]
Points = tuple[tuple[int, int], ...]
"""(false positives, true positives), both growing."""


class Curve(NamedTuple):
    """The curve of one cell, in counts."""

    members: int
    others: int
    points: Points
    blind: Points
    marks: tuple[tuple[int, int], ...]
    """(false positives, true positives) at the thresholds that tables tell."""


class Rocs(NamedTuple):
    """Figures, the legend of their lines, and how many figures are left out."""

    legend: tuple[dict[str, Any], ...]
    panels: tuple[Panel, ...]
    more: int
    reached: int
    """Attacks that have no line because there are too many."""


def rocs(rows: Sequence[Row], contents: Sequence[Row]) -> Rocs | None:
    """A figure for each defense and setting with a line for each attack; the worst one, by harm, has a band.

    A line is the mean of its seeds' curves, a band reaches from the lowest to the highest of their Clopper-Pearson
    intervals at each threshold. Curves come from `roc` in a cell's notes, which plug-ins wrote: others are passed over.

    Args:
        rows: the scorecard's summary.
        contents: cell files.

    Returns:
        None if no cell has a curve.
    """
    found: dict[tuple[str, str], dict[str, list[Curve]]] = {}
    for content in contents:
        cell, curve = content["cell"], _curve(content)
        if curve is not None:
            key = (settings_label(cell["settings"]), cell["defense"])
            found.setdefault(key, {}).setdefault(cell["attack"], []).append(curve)
    if not found:
        return None
    harms = {(settings_label(r["settings"]), r["defense"], r["attack"]): _harm(r) for r in rows}
    worst = {name: max(h for (_, _, a), h in harms.items() if a == name) for name in {a for _, _, a in harms}}
    attacks = list(dict.fromkeys(attack for lines in found.values() for attack in lines))
    names = sorted(sorted(attacks, key=lambda a: -worst.get(a, -1.0))[:_MOST_LINES], key=attacks.index)
    panels: list[Panel] = []
    for (setting, defense), lines in list(found.items())[:MOST_PANELS]:
        own = {names.index(attack): curves for attack, curves in lines.items() if attack in names}
        if own:
            banded = max(own, key=lambda index: harms.get((setting, defense, names[index]), -1.0))
            title = "no defense" if defense == NONE else defense
            panels.append(Panel(title, setting, _figure(own, banded)))
    legend = tuple({"number": index + 1, "name": name, **style(index)} for index, name in enumerate(names))
    return Rocs(legend, tuple(panels), max(0, len(found) - MOST_PANELS), len(attacks) - len(names))


def _harm(row: Row) -> float:
    harm = row.get("harm")
    return -1.0 if not harm or harm["value"] is None else drawn(harm)


def _curve(content: Row) -> Curve | None:
    """The curve in a cell's notes; None without one, and for what is no curve."""
    notes = content.get("notes")
    raw = notes.get("roc") if isinstance(notes, Mapping) else None
    if not isinstance(raw, Mapping):
        return None
    members, others = raw.get("members"), raw.get("others")
    if not (_count(members, _MOST_CANDIDATES) and _count(others, _MOST_CANDIDATES) and members and others):
        return None
    points, blind = (_points(raw.get(name), int(members), int(others)) for name in ("points", "blind"))
    marks = raw.get("marks")
    cuts = _points([m[1:] for m in marks if isinstance(m, list)] if isinstance(marks, list) else [], members, others)
    return Curve(int(members), int(others), points, blind, cuts) if points else None


def _points(raw: object, members: int, others: int) -> Points:
    """What are points of a curve, in their order."""
    if not isinstance(raw, list):
        return ()
    pairs = [p for p in raw if isinstance(p, list) and len(p) == 2 and _count(p[0], others) and _count(p[1], members)]
    return tuple(sorted((int(p[0]), int(p[1])) for p in pairs))


def _count(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _figure(lines: Mapping[int, Sequence[Curve]], banded: int) -> str:
    every = [curve for curves in lines.values() for curve in curves]
    start, least = 1 / max(c.others for c in every), 1 / max(c.members for c in every)
    scales = (logarithmic(start, 1.0, in_percent), logarithmic(least, 1.0, in_percent))
    chart = Chart(*scales, ("false positive rate", "members found"))
    chart.plain([(start, start), (1.0, 1.0)], "diagonal")
    first = every[0]
    if first.blind:
        chart.plain(list(zip(*_steps([first.blind], [first], start), strict=True)), "guess", steps=True)
    for index, curves in sorted(lines.items(), key=lambda one: one[0] == banded):  # the worst one lies on top
        rates, heights = _steps([c.points for c in curves], curves, start)
        if index == banded:
            low, high = _band(curves, rates)
            chart.band(rates.tolist(), low.tolist(), high.tolist(), index, steps=True)
        chart.line(zip(rates, heights, strict=True), index, "" if index == banded else "thin", steps=True)
        marks = [(wrong / c.others, right / c.members) for c in curves for wrong, right in c.marks if right]
        chart.marks(marks, index, "big")
    return chart.svg()


def _steps(several: Sequence[Points], curves: Sequence[Curve], start: float) -> tuple[np.ndarray, np.ndarray]:
    """The mean of some curves: the rates at which it steps, and its height from there on."""
    rates = np.unique([start, 1.0, *(w / c.others for ps, c in zip(several, curves, strict=True) for w, _ in ps)])
    rates = rates[(rates >= start) & (rates <= 1.0)]
    heights = [_found(points, curve, rates) / curve.members for points, curve in zip(several, curves, strict=True)]
    return rates, np.mean(heights, axis=0)


def _found(points: Points, curve: Curve, rates: np.ndarray) -> np.ndarray:
    """The members found at no more than these false positive rates."""
    wrong, right = np.array([(0, 0), *points]).T
    return np.maximum.accumulate(right)[np.searchsorted(wrong, rates * curve.others + 1e-9, side="right") - 1]


def _band(curves: Sequence[Curve], rates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest end of the seeds' Clopper-Pearson intervals at these rates."""
    lows, highs = [], []
    for curve in curves:
        hits, total = _found(curve.points, curve, rates), curve.members
        lows.append(np.where(hits == 0, 0.0, beta.ppf(_TAIL, np.maximum(hits, 1), total - hits + 1)))
        highs.append(np.where(hits == total, 1.0, beta.ppf(1 - _TAIL, hits + 1, np.maximum(total - hits, 1))))
    return np.min(lows, axis=0), np.max(highs, axis=0)
