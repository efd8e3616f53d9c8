"""Small figures as inline SVG, which matplotlib lays out: axes, lines, bands, dots and numbers beside them.

An SVG holds numbers and shapes only. Names, which may be hostile, stand in the HTML around it, where they are escaped;
the numbers in a figure refer to the legend there. Looks come from the page's style sheet, so that figures follow dark
mode and a page of a hundred of them stays small: of matplotlib's SVG the shapes and the places of texts are kept.
"""

import io
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, Locator, MaxNLocator, NullLocator

COLOURS, DASHES = 6, ((), (7, 3), (2, 2), (9, 3, 2, 3))
"""The CSS defines --s0 to --s5; dashes are in units of a figure. Lines differ in both, and every other one's marks are
square, for those who see no colours."""
MOST_PANELS = 48
"""Figures of one kind that a page shows."""

WIDTH, HEIGHT, FONT = 340, 230, 12
LEFT, RIGHT, TOP, BOTTOM = 62, 28, 10, 48
_DOTS = 72
"""Per inch, so that matplotlib's points are units of the figure."""
_GAP = 13
"""Between the middles of two numbers that would else lie on each other."""
_AROUND = tuple(
    (distance * math.cos(turn * math.pi / 6), -distance * math.sin(turn * math.pi / 6))
    for distance in (14, 24, 36, 50)
    for turn in (1, 2, 3, 4, 5, 0, 6, 7, 8, 9, 10, 11)
)
"""Where a number may stand beside its dot."""
_NEAR = 16
"""From a dot to its number; a thin line joins them beyond."""
_LOOK = "look: "
"""What we put before the names of our own groups in matplotlib's SVG."""
_SVG = "{http://www.w3.org/2000/svg}"

Place = tuple[float, float]
Words = Callable[[float], str]


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


class Scale(NamedTuple):
    """What an axis reaches over, where its ticks stand and what they are called."""

    low: float
    high: float
    ticks: Locator
    words: Words
    log: bool = False

    def within(self, values: Iterable[float]) -> np.ndarray:
        """The values, those beyond an end at the end."""
        found: np.ndarray = np.clip(np.array(list(values), dtype=float), self.low, self.high)
        return found


def in_percent(value: float) -> str:
    """A share as a tick."""
    return f"{100 * value:.3g} %"


def plain(value: float) -> str:
    """A number as a tick."""
    return f"{value:.6g}"


def linear(low: float, high: float, words: Words, ticks: int = 5, *, whole: bool = False) -> Scale:
    """A scale between two values with about so many round ticks; of whole numbers alone if asked for."""
    if not high > low:
        low, high = low - 0.5, high + 0.5
    return Scale(low, high, MaxNLocator(ticks, integer=whole, steps=[1, 2, 2.5, 5, 10]), words)


def logarithmic(low: float, high: float, words: Words) -> Scale:
    """A logarithmic scale with a tick at its lower end and at each power of ten."""
    powers = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
    tens = [10.0**power for power in powers]
    every = max(1, -(-len(tens) // 6))
    ticks = (low, *(ten for ten in tens[::-1][::every][::-1] if ten > 1.9 * low))
    return Scale(low, high, FixedLocator(ticks), words, log=True)


def style(index: int) -> dict[str, str]:
    """How the legend draws the line of this index."""
    return {"colour": f"var(--s{index % COLOURS})", "dashes": " ".join(map(str, DASHES[index % len(DASHES)]))}


class Chart:
    """A figure that is drawn piece by piece.

    Args:
        across: the horizontal scale.
        up: the vertical one.
        names: what both mean; no name that a plug-in or a file chose. Empty where that stands beside the figure.
    """

    def __init__(self, across: Scale, up: Scale, names: tuple[str, str]) -> None:
        self.across, self.up = across, up
        with mpl.rc_context({"font.size": FONT}):
            self._figure = Figure(figsize=(WIDTH / _DOTS, HEIGHT / _DOTS), dpi=_DOTS)
            width, height = 1 - (LEFT + RIGHT) / WIDTH, 1 - (TOP + BOTTOM) / HEIGHT
            self._axes = self._figure.add_axes((LEFT / WIDTH, BOTTOM / HEIGHT, width, height))
        self._axes.set_xscale("log" if across.log else "linear")
        self._axes.set_yscale("log" if up.log else "linear")
        self._axes.set(xlim=(across.low, across.high), ylim=(up.low, up.high), xlabel=names[0], ylabel=names[1])
        for axis, scale in ((self._axes.xaxis, across), (self._axes.yaxis, up)):
            axis.set_major_locator(scale.ticks)
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter(FuncFormatter(lambda value, _, words=scale.words: words(value)))
        self._axes.tick_params(length=0)
        self._axes.grid(gid=f"{_LOOK}rule")
        self._figure.patch.set_visible(False)
        self._axes.patch.set_visible(False)
        for side, spine in self._axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_gid(f"{_LOOK}frame")

    def at(self, x: float, y: float) -> Place:
        """Where a point stands in the figure, from its upper left corner."""
        left, height = self._axes.transData.transform((self.across.within([x])[0], self.up.within([y])[0]))
        return float(left), HEIGHT - float(height)

    def line(self, points: Iterable[Place], index: int, look: str = "", *, steps: bool = False) -> None:
        """A line through points, from left to right; with `steps` a height holds until the next point."""
        self.plain(list(points), _look(index, look), steps=steps)

    def plain(self, points: Sequence[Place], look: str, *, steps: bool = False) -> None:
        """A line in the colour of the text, with a look of the style sheet."""
        xs, ys = self._within(points)
        self._axes.plot(*(_stairs(xs, ys) if steps else (xs, ys)), gid=_LOOK + look, clip_on=False)

    def marks(self, points: Iterable[Place], index: int, look: str = "") -> None:
        """A mark at each point: round, and square for every other index."""
        xs, ys = self._within(list(points))
        self._mark(xs, ys, f"m{index % 2} c{index % COLOURS}{look and ' ' + look}")

    def band(
        self, xs: Sequence[float], lows: Sequence[float], highs: Sequence[float], index: int, *, steps: bool = False
    ) -> None:
        """The area between two lines."""
        edges = [self._within(list(zip(xs, ys, strict=True))) for ys in (lows, highs)]
        below, above = (_stairs(*edge) if steps else edge for edge in edges)
        around = [np.concatenate([one, other[::-1]]) for one, other in zip(above, below, strict=True)]
        self._axes.fill(*around, gid=f"{_LOOK}band c{index % COLOURS}", clip_on=False)

    def ring(self, x: float, y: float) -> None:
        """A ring around a point."""
        self._mark(*self._within([(x, y)]), "ring")

    def ends(self, heights: Mapping[int, float]) -> None:
        """The number of each line to the right of its end, pushed apart where lines end together."""
        lowest = HEIGHT - BOTTOM - _GAP * (len(heights) - 1)
        at = float(TOP)
        placed = sorted((self.at(self.across.high, height)[1], index) for index, height in heights.items())
        for place, (top, index) in enumerate(placed):
            # Never so low that the numbers still to come would leave the figure.
            at = max(at, min(top, lowest + _GAP * place))
            self._text(WIDTH - RIGHT + 6, at, index + 1, f"c{index % COLOURS}", "left")
            at += _GAP

    def numbers(self, dots: Mapping[Place, Sequence[int]]) -> None:
        """The numbers of dots: as near as they stand free of other numbers, dots and the edges."""
        places = {point: self.at(*point) for point in dots}
        taken: list[tuple[float, float, float]] = []  # middle and half the width of each number
        for point, indices in sorted(dots.items()):
            text = ", ".join(str(index + 1) for index in indices)
            half, mine = 0.3 * FONT * len(text) + 2, places[point]
            dx, dy = min(_AROUND, key=lambda offset: _cost(offset, mine, half, taken, places.values()))
            left, top = mine[0] + dx, mine[1] + dy
            taken.append((left, top, half))
            if math.hypot(dx, dy) > _NEAR:
                ends = [mine[0], left], [HEIGHT - mine[1], HEIGHT - top]
                self._axes.plot(*ends, transform=None, gid=f"{_LOOK}join", clip_on=False)
            self._text(left, top, text, "number", "center")

    def _within(self, points: Sequence[Place]) -> tuple[np.ndarray, np.ndarray]:
        """Points as two rows of coordinates, those beyond an end of a scale at the end."""
        return self.across.within(x for x, _ in points), self.up.within(y for _, y in points)

    def _mark(self, xs: np.ndarray, ys: np.ndarray, look: str) -> None:
        if len(xs):
            self._axes.plot(xs, ys, linestyle="none", marker="o", gid=_LOOK + look, clip_on=False)

    def _text(self, x: float, y: float, text: object, look: str, side: str) -> None:
        """A text whose middle stands so far below the figure's upper edge."""
        at: dict[str, Any] = {"ha": side, "va": "center", "fontsize": FONT, "gid": _LOOK + look}
        self._figure.text(x / WIDTH, 1 - y / HEIGHT, str(text), **at)

    def svg(self) -> str:
        """The figure as an element that scales."""
        stream = io.StringIO()
        with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": ""}):
            FigureCanvasSVG(self._figure).print_svg(stream)  # type: ignore[no-untyped-call, unused-ignore]
        parts = "".join(_kept(ElementTree.fromstring(stream.getvalue()), ""))  # noqa: S314 - written a line above
        return f'<svg class="figure" viewBox="0 0 {WIDTH} {HEIGHT}" role="presentation">{parts}</svg>'


def _kept(element: ElementTree.Element, look: str) -> Iterator[str]:
    """The shapes and texts below an element of matplotlib's SVG, with our look in place of its styles.

    Args:
        element: a group of it, or the whole.
        look: that of the group around it, as we named it.
    """
    named = element.get("id", "")
    look = named.removeprefix(_LOOK) if named.startswith(_LOOK) else look
    if element.tag == f"{_SVG}path" and look:
        yield f'<path class="{look}" d="{_short(element.get("d", ""))}"/>'
    elif element.tag == f"{_SVG}text":
        yield _text(element, look)
    elif look and (marks := [(_n(one.get("x")), _n(one.get("y"))) for one in element.iterfind(f"{_SVG}use")]):
        yield "".join(f'<circle class="{look}" cx="{x}" cy="{y}" r="8"/>' for x, y in marks if look == "ring")
        steps = "".join(f"M{x} {y}h0" for x, y in marks if look != "ring")
        yield f'<path class="{look}" d="{steps}"/>' if steps else ""
    elif element.tag != f"{_SVG}defs":
        for child in element:
            yield from _kept(child, look)


def _text(element: ElementTree.Element, look: str) -> str:
    """A text: what it says, where it stands, and whether that is its middle or its end."""
    anchor = re.search(r"text-anchor: (middle|end)", element.get("style", ""))
    looks = " ".join(filter(None, (look, anchor and anchor[1])))
    turned = element.get("transform", "")
    turn = f' transform="{_short(turned)}"' if "rotate" in turned and "rotate(-0 " not in turned else ""
    place = f'x="{_n(element.get("x"))}" y="{_n(element.get("y"))}"' if element.get("x") else ""
    return f'<text class="{looks}" {place}{turn}>{element.text}</text>'


def _look(index: int, look: str) -> str:
    dashed = f" d{index % len(DASHES)}" if DASHES[index % len(DASHES)] else ""
    return f"line c{index % COLOURS}{dashed}{look and ' ' + look}"


def _stairs(xs: np.ndarray, ys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The corners of steps, each of which holds its height until the next point."""
    return np.repeat(xs, 2)[1:], np.repeat(ys, 2)[:-1]


def _short(text: str) -> str:
    """A path with one digit behind each point, and no more spaces than it needs."""
    rounded = re.sub(r"-?\d+\.\d+(e-?\d+)?", lambda found: _n(found[0]), text)
    return re.sub(r" ?\n? ?([MLCQzHV]) ?", r"\1", rounded).strip()


def _n(number: str | None) -> str:
    return f"{float(number or 0):.1f}".removesuffix(".0")


def _cost(
    offset: Place, mine: Place, half: float, taken: Sequence[tuple[float, float, float]], dots: Iterable[Place]
) -> float:
    """How bad a place for a number is."""
    left, top = mine[0] + offset[0], mine[1] + offset[1]
    numbers_hit = sum(abs(left - ox) < half + w and abs(top - oy) < FONT for ox, oy, w in taken)
    dots_hit = sum(abs(left - dx) < half + 4 and abs(top - dy) < FONT / 2 + 4 for dx, dy in dots)
    outside = not (LEFT + half < left < WIDTH - half and FONT / 2 < top < HEIGHT - BOTTOM - FONT / 2)
    return 30.0 * numbers_hit + 12 * dots_hit + 100 * outside + 0.3 * math.hypot(*offset)
