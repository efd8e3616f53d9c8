"""Pareto fronts of utility against harm, and the area that they enclose."""

from collections.abc import Sequence
from typing import NamedTuple


class Point(NamedTuple):
    """What a defense keeps, of which more is better, and what an attack gets, of which less is."""

    utility: float
    harm: float


def on_front(points: Sequence[Point]) -> list[bool]:
    """Whether each point is one that no other equals or exceeds in both and exceeds in one; equal points stay together.

    Source: Pareto dominance, as in Zitzler and Thiele, IEEE Transactions on Evolutionary Computation 1999, section 2.
    Deviations: none.
    """
    best: dict[Point, bool] = {}
    least = float("inf")
    for point in sorted(set(points), key=lambda one: (-one.utility, one.harm)):
        best[point] = point.harm < least
        least = min(least, point.harm)
    return [best[point] for point in points]


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """The area of what is no better than some point and no worse than the reference: 0 without a point beyond it.

    Args:
        points: whether they are on the front or not; the others add nothing.
        reference: the worst utility and harm that count.

    Source: Zitzler and Thiele, PPSN 1998 (size of the dominated space), for two objectives. Deviations: none.
    """
    area, least = 0.0, reference.harm
    for point in sorted(points, key=lambda one: (-one.utility, one.harm)):
        width = point.utility - reference.utility
        if width > 0 and point.harm < least:
            area += width * (least - point.harm)
            least = point.harm
    return area
