"""Curves over the rounds of training: accuracy, and what attacks reached."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fedsec.comparison.rows import NONE, correct
from fedsec.report.chart import MOST_PANELS, Chart, Panel, Panels, in_percent, linear, plain, style
from fedsec.report.scorecard import settings_label

_MOST_LABELS, _MOST_NAMES = 12, 12
_LAST_ROUND = 1e9
"""No training has more rounds; files that somebody made may say otherwise, and figures have no room for it."""

Row = Mapping[str, Any]
Curve = tuple[tuple[float, float], ...]
"""(round, accuracy), from the untrained model in round 0 on."""


class Reached(NamedTuple):
    """The success of attacks during training: figures, and a legend for all of them."""

    legend: tuple[dict[str, Any], ...]
    panels: tuple[Panel, ...]
    more: int
    """Figures that are left out."""


def curves(contents: Sequence[Row], defenses: Sequence[str]) -> Panels:
    """Accuracy over rounds: a panel per attack and setting, a line per defense.

    Panels with the same lines are drawn once and named after all of them: an attack that only watches changes nothing.
    A dotted line is what always the same answer gets, where that is known.

    Args:
        contents: cell files.
        defenses: their labels, in the order that numbers and colours them.
    """
    found: dict[tuple[str, str], dict[int, list[Curve]]] = {}
    guessed: dict[str, list[float]] = {}  # by settings, which decide what is tested
    for content in contents:
        points = tuple((float(p[0]), float(p[1])) for p in content.get("curve") or () if p[1] is not None)
        if points:
            cell, setting = content["cell"], settings_label(content["cell"]["settings"])
            lines = found.setdefault((setting, cell["attack"]), {})
            lines.setdefault(defenses.index(cell["defense"]), []).append(points)
            guess = (correct(cell["metrics"]) or {}).get("baseline")
            guessed.setdefault(setting, []).extend([] if guess is None else [float(guess)])
    panels: list[Panel] = []
    heights = [y for lines in found.values() for seeds in lines.values() for curve in seeds for _, y in curve]
    heights += [guess for several in guessed.values() for guess in several]
    merged = _merged(found)
    for attacks, settings, lines in merged[:MOST_PANELS]:
        guesses = sorted({sum(of) / len(of) for setting in settings if (of := guessed[setting])})
        svg = _drawn(lines, heights, "accuracy", guesses)
        title = ", ".join("no attack" if attack == NONE else attack for attack in attacks)
        panels.append(Panel(title, "; ".join(s for s in settings if s), svg))
    return Panels(tuple(panels), len(merged) - len(panels))


def reached(contents: Sequence[Row]) -> Reached | None:
    """What goals saw their attacks reach at every evaluation: a panel per attack, defense and settings.

    Lines are the `curves` of a cell's notes, which plug-ins wrote: what is no (round, share) is passed over.

    Args:
        contents: cell files.

    Returns:
        None if no cell has such a line.
    """
    found: dict[tuple[str, str, str], dict[str, list[Curve]]] = {}
    for content in contents:
        cell = content["cell"]
        for name, points in _noted(content).items():
            key = (cell["attack"], cell["defense"], settings_label(cell["settings"]))
            found.setdefault(key, {}).setdefault(name, []).append(points)
    names = list(dict.fromkeys(name for lines in found.values() for name in lines))[:_MOST_NAMES]
    heights = [y for lines in found.values() for seeds in lines.values() for curve in seeds for _, y in curve]
    panels: list[Panel] = []
    for (attack, defense, settings), lines in list(found.items())[:MOST_PANELS]:
        own = {names.index(name): seeds for name, seeds in lines.items() if name in names}
        against = "no defense" if defense == NONE else defense
        panels.append(Panel(f"{attack} against {against}", settings, _drawn(own, heights, "share", ())))
    legend = tuple({"number": index + 1, "name": name, **style(index)} for index, name in enumerate(names))
    return Reached(legend, tuple(panels), len(found) - len(panels)) if panels else None


def _noted(content: Row) -> dict[str, Curve]:
    """The lines in a cell's notes, without what cannot be drawn."""
    notes = content.get("notes")
    lines = notes.get("curves") if isinstance(notes, Mapping) else None
    if not isinstance(lines, Mapping):
        return {}
    found = {}
    for name, points in lines.items():
        usable = [tuple(map(float, p)) for p in points if _is_point(p)] if isinstance(points, (list, tuple)) else []
        if usable:
            found[str(name)] = tuple((x, y) for x, y in usable)
    return found


def _is_point(point: object) -> bool:
    """Whether it is a round and a share."""
    if not isinstance(point, (list, tuple)) or len(point) != 2:
        return False
    numbers = all(isinstance(number, (int, float)) and not isinstance(number, bool) for number in point)
    return numbers and 0 <= point[0] <= _LAST_ROUND and 0 <= point[1] <= 1


def _merged(
    found: Mapping[tuple[str, str], dict[int, list[Curve]]],
) -> list[tuple[list[str], list[str], dict[int, list[Curve]]]]:
    """(attacks, settings, lines), first joining attacks with the same lines, then settings."""
    by_setting: list[tuple[str, list[str], dict[int, list[Curve]]]] = []
    for (setting, attack), lines in found.items():
        same = next((entry for entry in by_setting if entry[0] == setting and entry[2] == lines), None)
        if same:
            same[1].append(attack)
        else:
            by_setting.append((setting, [attack], lines))
    merged: list[tuple[list[str], list[str], dict[int, list[Curve]]]] = []
    for setting, attacks, lines in by_setting:
        like = next((entry for entry in merged if entry[0] == attacks and entry[2] == lines), None)
        if like:
            like[1].append(setting)
        else:
            merged.append((attacks, [setting], lines))
    return merged


def _drawn(lines: Mapping[int, Sequence[Curve]], heights: Sequence[float], up: str, guesses: Sequence[float]) -> str:
    """A figure of lines and their numbers.

    Args:
        lines: the curves of all seeds, by the number of their line.
        heights: what all figures of this kind reach over.
        up: what the height means.
        guesses: heights of dotted lines.
    """
    last = max(x for seeds in lines.values() for curve in seeds for x, _ in curve)
    first = min(x for seeds in lines.values() for curve in seeds for x, _ in curve)
    scale = linear(max(0.0, min(heights) - 0.06), min(1.0, max(heights) + 0.06), in_percent)
    chart = Chart(linear(first, last, plain, whole=True), scale, ("rounds of training", up))
    for guess in guesses:
        chart.plain([(first, guess), (last, guess)], "guess")
    ends = {}
    for index, seeds in sorted(lines.items()):
        rounds = sorted({x for curve in seeds for x, _ in curve})
        at = [[y for curve in seeds for x, y in curve if x == point] for point in rounds]
        mean = [sum(ys) / len(ys) for ys in at]
        if len(seeds) > 1:
            chart.band(rounds, [min(ys) for ys in at], [max(ys) for ys in at], index)
        chart.line(zip(rounds, mean, strict=True), index)
        chart.marks(zip(rounds, mean, strict=True), index)
        ends[index] = mean[-1]
    if len(lines) <= _MOST_LABELS:
        chart.ends(ends)
    return chart.svg()
