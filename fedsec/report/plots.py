"""Figures as inline SVG, and the strip of an aggregation rule's weights.

An SVG holds numbers and shapes only. Names, which may be hostile, stand in the HTML around it, where they are escaped;
the numbers in a figure refer to the legend there. Colours are CSS variables, so that figures follow dark mode.
"""

import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from fedsec.comparison.harm import drawn
from fedsec.comparison.rows import NONE, RANKED, correct
from fedsec.metrics.robustness import LEAST_SHARE
from fedsec.report.controls import control_rows, place_of
from fedsec.report.scorecard import settings_label

COLOURS, DASHES, MARKERS = 6, ((), (7, 3), (2, 2), (9, 3, 2, 3)), "os^DvPX*"
"""The CSS defines --s0 to --s5; dashes are in points. Lines differ in all three, for those who see no colours."""

_WIDTH, _HEIGHT, _FONT = 340, 230, 12
INK = "#010203"
"""Stands for the text colour until the SVG is in the page."""
_MOST_LABELS = 12
_MOST_ROUNDS, _MOST_CLIENTS = 30, 40
_MOST_PANELS, _MOST_NAMES = 48, 12
_LAST_ROUND = 1e9
"""No training has more rounds; files that somebody made may say otherwise, and figures have no room for it."""
_SHARES = (LEAST_SHARE, 0.75, 1.5, 4.0)
"""Of an equal share of a round's weight: where a shade of trust ends and the next begins."""
_ROUNDING = 1e-6
"""By which a sum of weights may miss 1."""

_NEAR = 16
"""Points from a dot to its number beyond which a thin line joins them."""
_AROUND = tuple(
    (distance * math.cos(turn * math.pi / 6), distance * math.sin(turn * math.pi / 6))
    for distance in (14, 24, 36, 50)
    for turn in (1, 2, 3, 4, 5, 0, 6, 7, 8, 9, 10, 11)
)
"""Where a number may stand beside its dot."""

Row = Mapping[str, Any]
Curve = tuple[tuple[float, float], ...]
"""(round, accuracy), from the untrained model in round 0 on."""


class Panel(NamedTuple):
    """One small figure."""

    title: str
    subtitle: str
    svg: str


class Panels(NamedTuple):
    """Small figures of one kind, no more of them than a reader looks at."""

    panels: tuple[Panel, ...]
    more: int
    """Figures that are left out."""


class Reached(NamedTuple):
    """The success of attacks during training: figures, and a legend for all of them."""

    legend: tuple[dict[str, Any], ...]
    panels: tuple[Panel, ...]
    more: int
    """Figures that are left out."""


def style(index: int) -> dict[str, str]:
    """How the legend draws the line of a defense."""
    return {"colour": f"var(--s{index % COLOURS})", "dashes": " ".join(map(str, DASHES[index % len(DASHES)]))}


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
    for attacks, settings, lines in merged[:_MOST_PANELS]:
        figure, axes = canvas("rounds of training", "accuracy")
        for guess in sorted({sum(of) / len(of) for setting in settings if (of := guessed[setting])}):
            axes.axhline(guess, color=INK, linewidth=1, linestyle=(0, (1, 3)), label="guess")
        _draw_curves(axes, lines, heights)
        title = ", ".join("no attack" if attack == NONE else attack for attack in attacks)
        panels.append(Panel(title, "; ".join(s for s in settings if s), svg(figure, f"curve{len(panels)}")))
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
    for (attack, defense, settings), lines in list(found.items())[:_MOST_PANELS]:
        own = {names.index(name): seeds for name, seeds in lines.items() if name in names}
        figure, axes = canvas("rounds of training", "share")
        _draw_curves(axes, own, heights)
        against = "no defense" if defense == NONE else defense
        panels.append(Panel(f"{attack} against {against}", settings, svg(figure, f"reached{len(panels)}")))
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


def scatter(rows: Sequence[Row], defenses: Sequence[str]) -> Panels:
    """Utility against harm: a panel per attack and setting, a dot per defense, if there are two or more.

    A defense whose control did not learn has none: its accuracy is chance.

    Args:
        rows: the scorecard's summary.
        defenses: their labels, in the order that numbers and colours them.
    """
    groups: dict[tuple[str, str], list[tuple[int, Row, Row, bool]]] = {}
    controls = control_rows(rows)
    for row in rows:
        control = None if row.get("learned") is False else controls.get(place_of(row))
        harm, utility = row.get("harm"), None if control is None else correct(control["metrics"])
        if row["attack"] != NONE and row["status"] in RANKED and harm and harm["value"] is not None and utility:
            point = (defenses.index(row["defense"]), _within(harm), utility, bool(row.get("pareto")))
            groups.setdefault((row["attack"], settings_label(row["settings"])), []).append(point)
    panels: list[Panel] = []
    drawable = [(name, points) for name, points in groups.items() if len(points) > 1]
    for (attack, settings), points in drawable[:_MOST_PANELS]:
        figure, axes = canvas("harm of the attack", "accuracy without attack")
        _draw_points(axes, points)
        panels.append(Panel(attack, settings, svg(figure, f"dots{len(panels)}")))
    return Panels(tuple(panels), len(drawable) - len(panels))


def _within(harm: Row) -> dict[str, float | None]:
    """A harm and its interval between 0 and 1, where it is drawn."""
    ends = {end: None if harm[end] is None else drawn({"value": harm[end]}) for end in ("ci_low", "ci_high")}
    return {"value": drawn(harm), **ends}


def trust(content: Row) -> dict[str, Any] | None:
    """Who the rule trusted: a row per client, the weight that it got in each round; None if all weighed the same.

    `coordinates` says that the rule decided coordinate by coordinate in every round that it decided, so that nobody has
    a weight; `sums` holds each round's sum of weights where one of them is not 1.

    Args:
        content: a cell file.
    """
    malicious, shares = set(content.get("malicious") or ()), {}
    rounds = content.get("rounds") or ()
    for entry in rounds:
        rejected = {r["client"] for r in entry["rejected"]}
        received = [c for c in entry["clients"] if c not in rejected]
        if entry["weights"] is not None and len(entry["weights"]) == len(received):
            shares[entry["round"]] = dict(zip(received, entry["weights"], strict=True))
    if any(e["weights"] is None and not e["skipped"] for e in rounds) and all(e["weights"] is None for e in rounds):
        return {"coordinates": True}
    if all(max(w.values(), default=0) - min(w.values(), default=0) < 1e-9 for w in shares.values()):
        return None
    total = sum(abs(w) for weights in shares.values() for w in weights.values())
    to_malicious = sum(abs(w) for weights in shares.values() for c, w in weights.items() if c in malicious)
    # Malicious clients first: they are what a reader looks for, and they must not fall to the cut.
    clients = sorted({c for weights in shares.values() for c in weights}, key=lambda c: (c not in malicious, c))
    known = sorted(shares)
    shown = known[:_MOST_ROUNDS]
    equal = {r: sum(map(abs, weights.values())) / max(1, len(weights)) for r, weights in shares.items()}
    lines = [(c, c in malicious, [_weight(shares[r].get(c), equal[r]) for r in shown]) for c in clients[:_MOST_CLIENTS]]
    sums = [sum(shares[r].values()) for r in shown]
    return {
        "coordinates": False,
        "rounds": shown,
        "lines": lines,
        "sums": [_digits(value) for value in sums] if any(abs(value - 1) > _ROUNDING for value in sums) else [],
        "negative": any(w < 0 for weights in shares.values() for w in weights.values()),
        "to_malicious": to_malicious / total if total and malicious else None,
        "more_rounds": len(known) - len(shown),
        "more_clients": len(clients) - len(lines),
    }


def _weight(weight: float | None, equal: float) -> tuple[str, int]:
    """A weight in two digits and its shade: 0 for a flagged sender, 1 and 2 below and about an equal share, to 4."""
    if weight is None:
        return "·", 0
    return _digits(weight), sum(weight > 0 and weight >= level * equal for level in _SHARES)


def _digits(weight: float) -> str:
    """Two digits behind the point, none for a whole number; what is nearly nothing is not written as nothing."""
    if weight % 1 == 0 or abs(weight) >= 1000:
        return f"{weight:.4g}"
    return f"{weight:.2f}" if abs(weight) >= 0.005 else f"{'−' if weight < 0 else ''}<0.01"  # noqa: RUF001


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


def canvas(across: str, up: str) -> tuple[Figure, Axes]:
    """An empty figure whose heights are fractions.

    Args:
        across: what its width means; no name that a plug-in or a file chose.
        up: what its height means; likewise, and empty where that stands beside the figure.
    """
    with mpl.rc_context({"font.size": _FONT}):
        figure = Figure(figsize=(_WIDTH / 72, _HEIGHT / 72), dpi=72, facecolor="none")
        axes = figure.add_axes((0.185, 0.215, 0.735, 0.74), facecolor="none")
        axes.set_xlabel(across, color=INK)
        axes.set_ylabel(up, color=INK)
    axes.tick_params(colors=INK, length=3)
    axes.grid(color=INK, alpha=0.15, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(INK)
    return figure, axes


def stand_in(index: int) -> str:
    """A colour that is replaced by the CSS variable of this index once the SVG is text."""
    return f"#0a0b{index % COLOURS:02x}"


def _draw_curves(axes: Axes, lines: Mapping[int, Sequence[Curve]], heights: Sequence[float]) -> None:
    for index, seeds in sorted(lines.items()):
        rounds = sorted({x for curve in seeds for x, _ in curve})
        at = [[y for curve in seeds for x, y in curve if x == point] for point in rounds]
        colour = stand_in(index)
        (line,) = axes.plot(rounds, [sum(ys) / len(ys) for ys in at], color=colour, linewidth=1.8)
        line.set_marker(MARKERS[index % len(MARKERS)])
        line.set_markersize(4)
        if DASHES[index % len(DASHES)]:
            line.set_dashes([d / 1.8 for d in DASHES[index % len(DASHES)]])
        if len(seeds) > 1:
            low, high = [min(ys) for ys in at], [max(ys) for ys in at]
            axes.fill_between(rounds, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.set_ylim(max(0.0, min(heights) - 0.06), min(1.0, max(heights) + 0.06))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    if len(lines) <= _MOST_LABELS:
        _label_ends(axes, lines)


def _label_ends(axes: Axes, lines: Mapping[int, Sequence[Curve]]) -> None:
    """The defense's number to the right of its line's end, pushed apart where lines end together."""
    low, high = axes.get_ylim()
    ends = sorted((sum(curve[-1][1] for curve in seeds) / len(seeds), index) for index, seeds in lines.items())
    gap = (high - low) * _FONT * 1.05 / (0.74 * _HEIGHT)
    floor = low
    for place, (height, index) in enumerate(ends):
        # Never so high that the labels still to come would leave the axes.
        at = min(max(height, floor), high - gap * (len(ends) - 1 - place))
        floor = at + gap
        axes.annotate(
            str(index + 1),
            (1.02, at),
            xycoords=("axes fraction", "data"),
            color=stand_in(index),
            va="center",
            fontsize=_FONT,
            annotation_clip=False,
        )


def _draw_points(axes: Axes, points: Sequence[tuple[int, Row, Row, bool]]) -> None:
    labels: dict[tuple[float, float], list[int]] = {}
    for index, harm, utility, pareto in points:
        x, y = float(harm["value"]), float(utility["value"])
        colour = stand_in(index)
        for low, high, across in (
            (harm["ci_low"], harm["ci_high"], True),
            (utility["ci_low"], utility["ci_high"], False),
        ):
            if low is not None and high is not None:
                xs, ys = ([low, high], [y, y]) if across else ([x, x], [low, high])
                axes.plot(xs, ys, color=colour, linewidth=1, alpha=0.6)
        axes.plot(x, y, MARKERS[index % len(MARKERS)], color=colour, markersize=7, clip_on=False)
        if pareto:
            ring: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": INK, "markeredgewidth": 1.2}
            axes.plot(x, y, "o", markersize=15, clip_on=False, **ring)
        labels.setdefault((round(x, 2), round(y, 2)), []).append(index + 1)
    low, high = axes.get_xlim()
    axes.set_xlim(max(min(low, -0.06), -0.4), min(max(high + 0.04, 0.12), 1.06))  # few seeds' bars leave every scale
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom - 0.03, top + 0.03)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    _label_points(axes, labels)


def _label_points(axes: Axes, labels: Mapping[tuple[float, float], Sequence[int]]) -> None:
    """The defenses' numbers beside their dots: as near as they stand free of other numbers, dots and the edges."""
    frame = axes.figure.bbox
    scale = 72 / axes.figure.dpi
    dots = {point: axes.transData.transform(point) * scale for point in labels}
    taken: list[tuple[float, float, float]] = []  # middle and half the width of each number, in points
    for (x, y), numbers in sorted(labels.items()):
        text = ", ".join(map(str, numbers))
        half = 0.3 * _FONT * len(text) + 2
        at_x, at_y = dots[x, y]

        def cost(offset: tuple[float, float], mine: Any = dots[x, y], half: float = half) -> float:
            left, up = mine[0] + offset[0], mine[1] + offset[1]
            numbers_hit = sum(abs(left - ox) < half + w and abs(up - oy) < _FONT for ox, oy, w in taken)
            dots_hit = sum(abs(left - dx) < half + 4 and abs(up - dy) < _FONT / 2 + 4 for dx, dy in dots.values())
            outside = not (half < left < frame.width * scale - half and _FONT < up < frame.height * scale - _FONT / 2)
            return float(30 * numbers_hit + 12 * dots_hit + 100 * outside + 0.3 * math.hypot(*offset))

        dx, dy = min(_AROUND, key=cost)
        taken.append((at_x + dx, at_y + dy, half))
        away = math.hypot(dx, dy) > _NEAR
        axes.annotate(
            text,
            (x, y),
            (dx, dy),
            textcoords="offset points",
            ha="center",
            va="center",
            color=INK,
            fontsize=_FONT,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": INK, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3}
            if away
            else None,
        )


def svg(figure: Figure, salt: str) -> str:
    """The figure as an SVG element that scales, follows the page's colours and is the same every time.

    Args:
        figure: what to draw.
        salt: unlike that of the page's other figures, so that their ids differ.
    """
    stream = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        FigureCanvasSVG(figure).print_svg(stream, metadata={"Date": None, "Creator": None})  # type: ignore[no-untyped-call, unused-ignore]
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r' id="[A-Za-z.0-9]+_\d+"', "", text)
    text = re.sub(r' width="[^"]*pt" height="[^"]*pt"', ' class="figure" role="presentation"', text, count=1)
    text = re.sub(r"font(-family)?: [^;\"]*sans-serif", f"font: {_FONT}px system-ui, sans-serif", text)
    text = text.replace(INK, "currentColor")
    for index in range(COLOURS):
        text = text.replace(stand_in(index), f"var(--s{index})")
    return re.sub(r"\n\s*", " ", text).strip()
