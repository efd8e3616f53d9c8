"""Lifespan of a backdoor: rounds after the last hostile one, on lift."""

import pytest

from fedsec.metrics.backdoor import lifespan


@pytest.mark.parametrize(
    ("lifts", "first", "good", "outlives"),
    [
        ([(3, 0.9), (4, 0.8), (5, 0.4), (6, 0.1)], 2, 2, 0),
        ([(3, 0.9), (4, 0.4), (5, 0.6), (6, 0.1)], 1, 3, 0),  # it comes back once
        ([(3, 0.9), (4, 0.4), (5, 0.6), (6, 0.6)], 1, 3, 1),
        ([(3, 0.9), (4, 0.8), (5, 0.8), (6, 0.5)], 3, 3, 1),  # half is not below half
        ([(3, 0.4), (4, 0.3), (5, 0.3)], 0, 0, 0),  # never planted
        ([(3, 0.4), (4, 0.6), (5, 0.3)], 2, 2, 0),  # late
        ([(2, 0.9), (6, 0.1)], 3, 3, 0),  # evaluated every fourth round
        ([(3, 0.1), (4, 0.1)], 0, 0, 0),
        ([(2, 0.1), (4, 0.6), (5, 0.1)], 2, 2, 0),  # it was there, whatever round 3 had shown
    ],
)
def test_it_ends_where_the_lift_falls_below_half_and_stays_there(
    lifts: list[tuple[int, float]], first: int, good: int, outlives: int
) -> None:
    found = lifespan(lifts, 3)
    assert found is not None
    assert found.value == good
    assert found.detail == {"first-below-half": first, "outlives": outlives, "last-hostile-round": 3}


@pytest.mark.parametrize("lifts", [[], [(1, 0.9)], [(2, 0.9), (3, 0.9)]])
def test_without_a_round_after_the_last_hostile_one_there_is_none(lifts: list[tuple[int, float]]) -> None:
    assert lifespan(lifts, 3) is None


@pytest.mark.parametrize("lifts", [[(0, 0.0), (5, 0.3), (10, 0.2)], [(4, 0.1)]])
def test_without_an_evaluation_of_the_last_hostile_round_a_backdoor_that_none_saw_is_not_called_dead(
    lifts: list[tuple[int, float]],
) -> None:
    assert lifespan(lifts, 3) is None
