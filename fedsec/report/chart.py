"""Small figures as inline SVG: axes, lines, bands, dots and numbers beside them.

An SVG holds numbers and shapes only. Names, which may be hostile, stand in the HTML around it, where they are escaped;
the numbers in a figure refer to the legend there. Looks come from the page's style sheet, so that figures follow dark
mode and a page of a hundred of them stays small. Matplotlib lays out the axes, once for all figures that share them: of
its SVG the shapes and the places of texts are kept. What lies between them are plain paths, which it would take most of
a report's time to draw.
"""

import io
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple
from xml.etree import ElementTree

import matplotlib as mpl
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
    """What an axis reaches over and how its ticks are chosen and written; equal ones share their axes."""

    low: float
    high: float
    words: Words
    ticks: tuple[float, ...] | None = None
    """Where they stand; at round numbers if absent."""
    whole: bool = False
    """Whether round numbers have to be whole."""
    log: bool = False

    def share(self, value: float) -> float:
        """Where a value stands between both ends, 0 to 1; at the end for one beyond it."""
        ends = (self.low, self.high, min(max(value, self.low), self.high))
        low, high, at = map(math.log, ends) if self.log else ends
        return (at - low) / (high - low)

    def locator(self) -> Locator:
        """Matplotlib's way to place the ticks."""
        if self.ticks is not None:
            return FixedLocator(self.ticks)
        return MaxNLocator(5, integer=self.whole, steps=[1, 2, 2.5, 5, 10])


def in_percent(value: float) -> str:
    """A share as a tick."""
    return f"{100 * value:.3g} %"


def plain(value: float) -> str:
    """A number as a tick."""
    return f"{value:.6g}"


def linear(low: float, high: float, words: Words, *, whole: bool = False) -> Scale:
    """A scale between two values with a few round ticks; of whole numbers alone if asked for."""
    if not high > low:
        low, high = low - 0.5, high + 0.5
    return Scale(low, high, words, whole=whole)


def logarithmic(low: float, high: float, words: Words) -> Scale:
    """A logarithmic scale with a tick at its lower end and at each power of ten."""
    powers = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
    tens = [10.0**power for power in powers]
    every = max(1, -(-len(tens) // 6))
    ticks = (low, *(ten for ten in tens[::-1][::every][::-1] if ten > 2.5 * low))
    return Scale(low, high, words, ticks, log=True)


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
        self._parts = [_axes(across, up, names)]

    def at(self, x: float, y: float) -> Place:
        """Where a point stands in the figure."""
        width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
        return LEFT + width * self.across.share(x), TOP + height * (1 - self.up.share(y))

    def line(self, points: Iterable[Place], index: int, look: str = "", *, steps: bool = False) -> None:
        """A line through points, from left to right; with `steps` a height holds until the next point."""
        at = [self.at(*point) for point in points]
        self._parts.append(f'<path class="{_look(index, look)}" d="{_path(_stairs(at) if steps else at)}"/>')

    def plain(self, points: Sequence[Place], look: str, *, steps: bool = False) -> None:
        """A line in the colour of the text, with a look of the style sheet."""
        at = [self.at(*point) for point in points]
        self._parts.append(f'<path class="{look}" d="{_path(_stairs(at) if steps else at)}"/>')

    def marks(self, points: Iterable[Place], index: int, look: str = "") -> None:
        """A mark at each point: round, and square for every other index."""
        steps = "".join(f"M{_n(x)} {_n(y)}h0" for x, y in (self.at(*point) for point in points))
        if steps:
            self._parts.append(f'<path class="m{index % 2} c{index % COLOURS}{look and " " + look}" d="{steps}"/>')

    def band(
        self, xs: Sequence[float], lows: Sequence[float], highs: Sequence[float], index: int, *, steps: bool = False
    ) -> None:
        """The area between two lines."""
        edges = [[self.at(x, y) for x, y in zip(xs, ys, strict=True)] for ys in (lows, highs)]
        below, above = (_stairs(edge) if steps else edge for edge in edges)
        self._parts.append(f'<path class="band c{index % COLOURS}" d="{_path([*above, *below[::-1]])}z"/>')

    def ring(self, x: float, y: float) -> None:
        """A ring around a point."""
        left, top = self.at(x, y)
        self._parts.append(f'<circle class="ring" cx="{_n(left)}" cy="{_n(top)}" r="8"/>')

    def ends(self, heights: Mapping[int, float]) -> None:
        """The number of each line to the right of its end, pushed apart where lines end together."""
        lowest = HEIGHT - BOTTOM - _GAP * (len(heights) - 1)
        at = float(TOP)
        placed = sorted((self.at(self.across.high, height)[1], index) for index, height in heights.items())
        for place, (top, index) in enumerate(placed):
            # Never so low that the numbers still to come would leave the figure.
            at = max(at, min(top, lowest + _GAP * place))
            self._text(WIDTH - RIGHT + 6, at + 4, index + 1, f"c{index % COLOURS}")
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
                self._parts.append(f'<path class="join" d="{_path([mine, (left, top)])}"/>')
            self._text(left, top + 4, text, "middle")

    def _text(self, x: float, y: float, text: object, look: str) -> None:
        self._parts.append(f'<text class="{look}" x="{_n(x)}" y="{_n(y)}">{text}</text>')

    def svg(self) -> str:
        """The figure as an element that scales."""
        return f'<svg class="figure" viewBox="0 0 {WIDTH} {HEIGHT}" role="presentation">{"".join(self._parts)}</svg>'


@lru_cache(maxsize=256)
def _axes(across: Scale, up: Scale, names: tuple[str, str]) -> str:
    """The axes between two scales: lines, ticks and what stands beside them."""
    with mpl.rc_context({"font.size": FONT, "svg.fonttype": "none", "svg.hashsalt": ""}):
        figure = Figure(figsize=(WIDTH / _DOTS, HEIGHT / _DOTS), dpi=_DOTS)
        width, height = 1 - (LEFT + RIGHT) / WIDTH, 1 - (TOP + BOTTOM) / HEIGHT
        axes = figure.add_axes((LEFT / WIDTH, BOTTOM / HEIGHT, width, height))
        axes.set_xscale("log" if across.log else "linear")
        axes.set_yscale("log" if up.log else "linear")
        axes.set(xlim=(across.low, across.high), ylim=(up.low, up.high), xlabel=names[0], ylabel=names[1])
        for axis, scale in ((axes.xaxis, across), (axes.yaxis, up)):
            axis.set_major_locator(scale.locator())
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter(FuncFormatter(lambda value, _, words=scale.words: words(value)))
        axes.tick_params(length=0)
        axes.grid(gid=f"{_LOOK}rule")
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_gid(f"{_LOOK}frame")
        stream = io.StringIO()
        FigureCanvasSVG(figure).print_svg(stream)  # type: ignore[no-untyped-call, unused-ignore]
    return "".join(_kept(ElementTree.fromstring(stream.getvalue()), ""))  # noqa: S314 - written a line above


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
    elif element.tag != f"{_SVG}defs":
        for child in element:
            yield from _kept(child, look)


def _text(element: ElementTree.Element, look: str) -> str:
    """A text: what it says, where it stands, and whether that is its middle or its end."""
    anchor = re.search(r"text-anchor: (middle|end)", element.get("style", ""))
    looks = " ".join(filter(None, (look, anchor and anchor[1])))
    turned = element.get("transform", "")
    turn = f' transform="{_short(turned)}"' if "rotate" in turned and "rotate(-0 " not in turned else ""
    place = f'x="{_n(float(element.get("x", 0)))}" y="{_n(float(element.get("y", 0)))}"' if element.get("x") else ""
    return f'<text class="{looks}" {place}{turn}>{element.text}</text>'


def _look(index: int, look: str) -> str:
    dashed = f" d{index % len(DASHES)}" if DASHES[index % len(DASHES)] else ""
    return f"line c{index % COLOURS}{dashed}{look and ' ' + look}"


def _path(points: Sequence[Place]) -> str:
    return "".join(f"{'L' if place else 'M'}{_n(x)} {_n(y)}" for place, (x, y) in enumerate(points))


def _stairs(points: Sequence[Place]) -> list[Place]:
    """The corners of the steps between points, without those that change nothing."""
    found: list[Place] = list(points[:1])
    for x, y in points[1:]:
        if round(y, 1) != round(found[-1][1], 1):
            found += [(x, found[-1][1]), (x, y)]
    return [*found, (points[-1][0], found[-1][1])] if points else []


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def _short(text: str) -> str:
    """A path with one digit behind each point, and no more spaces than it needs."""
    rounded = re.sub(r"-?\d+\.\d+(e-?\d+)?", lambda found: _n(float(found[0])), text)
    return re.sub(r" ?\n? ?([MLCQzHV]) ?", r"\1", rounded).strip()


def _cost(
    offset: Place, mine: Place, half: float, taken: Sequence[tuple[float, float, float]], dots: Iterable[Place]
) -> float:
    """How bad a place for a number is."""
    left, top = mine[0] + offset[0], mine[1] + offset[1]
    numbers_hit = sum(abs(left - ox) < half + w and abs(top - oy) < FONT for ox, oy, w in taken)
    dots_hit = sum(abs(left - dx) < half + 4 and abs(top - dy) < FONT / 2 + 4 for dx, dy in dots)
    outside = not (LEFT + half < left < WIDTH - half and FONT / 2 < top < HEIGHT - BOTTOM - FONT / 2)
    return 30.0 * numbers_hit + 12 * dots_hit + 100 * outside + 0.3 * math.hypot(*offset)
