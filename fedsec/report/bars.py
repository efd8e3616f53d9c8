"""Bars in the rows of a table: accuracy without an attack, under the worst one, and its interval.

As in every figure, an SVG holds numbers and shapes only; the name stands in the row that it belongs to.
"""

from collections.abc import Mapping, Sequence
from math import ceil, floor
from typing import Any, NamedTuple

WIDTH, HEIGHT = 240, 28
_MARGIN, _FEWEST_TICKS = 14, 3
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.25)

Metric = Mapping[str, Any]


class Scale(NamedTuple):
    """Which accuracies a table's bars reach over, in 0..1, and where lines stand."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def x(self, value: float) -> float:
        """Where a value stands, in the figure's units; at the edge for one outside."""
        inside = min(self.high, max(self.low, value))
        return round(_MARGIN + (WIDTH - 2 * _MARGIN) * (inside - self.low) / (self.high - self.low), 1)


def scale_of(values: Sequence[float]) -> Scale:
    """The scale that holds these values, widened to round numbers."""
    low, high = (min(1.0, max(0.0, end)) for end in (min(values), max(values)))
    step = next((s for s in _STEPS if (high - low) / s <= _FEWEST_TICKS + 1), _STEPS[-1])
    first = min(floor(low / step + 1e-9), round(1 / step) - 1)
    last = max(ceil(high / step - 1e-9), first + 1)
    ticks = tuple(round(step * place, 4) for place in range(first, last + 1))
    return Scale(ticks[0], ticks[-1], ticks)


def axis(scale: Scale) -> str:
    """The numbers above the bars."""
    labels = "".join(
        f'<text x="{scale.x(tick)}" y="20" text-anchor="middle">{100 * tick:.0f} %</text>' for tick in scale.ticks
    )
    return _svg(labels)


def bar(scale: Scale, before: float | None, after: Metric, guess: float | None = None) -> str:
    """A row's figure.

    Args:
        scale: of the table.
        before: accuracy without an attack, if it is known.
        after: accuracy under the worst attack.
        guess: what always the same answer gets, if it is known.
    """
    middle, value = HEIGHT / 2, scale.x(after["value"])
    parts = [_line(scale.x(tick), 0, scale.x(tick), HEIGHT, "rule") for tick in scale.ticks]
    if guess is not None:
        parts.append(_line(scale.x(guess), 0, scale.x(guess), HEIGHT, "guess"))
    if before is not None:
        parts += [
            _line(scale.x(before), middle, value, middle, "way"),
            f'<circle class="before" cx="{scale.x(before)}" cy="{middle}" r="5"/>',
        ]
    if after["ci_low"] is not None and after["ci_high"] is not None:
        low, high = scale.x(after["ci_low"]), scale.x(after["ci_high"])
        parts += [_line(low, middle, high, middle, "span")]
        parts += [_line(end, middle - 5, end, middle + 5, "span") for end in (low, high)]
    parts.append(f'<circle class="after" cx="{value}" cy="{middle}" r="5"/>')
    return _svg("".join(parts))


def _line(x1: float, y1: float, x2: float, y2: float, look: str) -> str:
    return f'<line class="{look}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'


def _svg(inside: str) -> str:
    return f'<svg class="bar" viewBox="0 0 {WIDTH} {HEIGHT}" role="presentation">{inside}</svg>'
