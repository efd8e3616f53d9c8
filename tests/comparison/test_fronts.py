"""Pareto front and hypervolume, against slow references: every pair, and a grid of unit squares."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsec.comparison.fronts import Point, hypervolume, on_front

tenths = st.integers(-2, 12).map(lambda one: one / 10)
points = st.lists(st.builds(Point, tenths, tenths), max_size=8)


@given(points)
def test_the_front_holds_whom_nobody_dominates(some: list[Point]) -> None:
    def dominates(other: Point, one: Point) -> bool:
        no_worse = other.utility >= one.utility and other.harm <= one.harm
        return no_worse and (other.utility > one.utility or other.harm < one.harm)

    assert on_front(some) == [not any(dominates(other, one) for other in some) for one in some]


@given(points, tenths, tenths)
def test_the_hypervolume_is_the_area_of_the_covered_squares(some: list[Point], utility: float, harm: float) -> None:
    ups = sorted({utility, *(one.utility for one in some if one.utility > utility)})
    downs = sorted({harm, *(one.harm for one in some if one.harm < harm)})
    area = 0.0
    for left, right in pairwise(ups):
        for low, high in pairwise(downs):
            if any(one.utility >= right and one.harm <= low for one in some):
                area += (right - left) * (high - low)
    assert hypervolume(some, Point(utility, harm)) == pytest.approx(area)


@given(points, st.builds(Point, tenths, tenths))
def test_a_further_point_never_takes_area_away_and_adds_some_only_on_the_front(some: list[Point], one: Point) -> None:
    before, after = (hypervolume(of, Point(0.0, 1.0)) for of in (some, [*some, one]))
    assert after >= before - 1e-12
    if after > before + 1e-12:
        assert on_front([*some, one])[-1]


def test_the_perfect_defense_encloses_everything() -> None:
    assert hypervolume([Point(1.0, 0.0)], Point(0.25, 1.0)) == pytest.approx(0.75)
    assert hypervolume([], Point(0.0, 1.0)) == 0.0
