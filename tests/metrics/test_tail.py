"""Tail accuracy: which evaluations it averages, and an interval that shared test rows do not narrow."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsec.federation.evaluation import Evaluation, TokenCounts
from fedsec.metrics.tail import tail_accuracy

NAME = "utility/tail-accuracy"


def _rows(count: int) -> Evaluation:
    return Evaluation(np.ones(count, dtype=bool), 0.5)


@pytest.mark.parametrize(
    ("rounds", "every", "expected"),
    [
        (20, 1, [17, 18, 19, 20]),
        (12, 1, [10, 11, 12]),
        (10, 1, [9, 10]),
        (3, 1, [3]),
        (1, 1, [1]),
        (20, 5, [20]),
        (20, 6, [18, 20]),
        (10, 10, [10]),
    ],
)
def test_the_last_fifth_and_at_least_the_last(rounds: int, every: int, expected: list[int]) -> None:
    curve = [(r, r / 100, 1.0) for r in range(rounds + 1) if r % every == 0 or r == rounds]
    found = tail_accuracy(curve, rounds, _rows(50), 0.5)[NAME]
    assert found.value == pytest.approx(sum(expected) / len(expected) / 100)


def test_a_peak_before_the_tail_and_one_within_it_are_not_picked() -> None:
    heights = [0.1, 0.99, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.9, 0.3]
    found = tail_accuracy([(r, y, 1.0) for r, y in enumerate(heights)], 10, _rows(50), 0.5)[NAME]
    assert found.value == pytest.approx(0.6)


def test_an_untrained_model_is_no_tail_where_others_were_evaluated() -> None:
    assert tail_accuracy([(0, 0.9, 1.0), (1, 0.1, 1.0)], 1, _rows(4), 0.5)[NAME].value == pytest.approx(0.1)
    assert tail_accuracy([], 3, _rows(4), 0.5) == {}


def test_more_evaluations_of_the_same_rows_do_not_narrow_the_interval() -> None:
    one = tail_accuracy([(10, 0.7, 1.0)], 10, _rows(200), 0.5)[NAME]
    many = tail_accuracy([(r, 0.7, 1.0) for r in range(101)], 100, _rows(200), 0.5)[NAME]
    assert (one.ci_low, one.ci_high, one.n) == (pytest.approx(many.ci_low), pytest.approx(many.ci_high), many.n)
    assert one.n == 200
    # Wilson, written out.
    z, p, n = 1.959963984540054, 0.7, 200
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert (one.ci_low, one.ci_high) == (pytest.approx(centre - half), pytest.approx(centre + half))


def test_a_causal_model_counts_texts() -> None:
    texts = TokenCounts(np.ones(30), np.full(30, 9), np.full(30, 3))
    found = tail_accuracy([(1, 1 / 3, 1.0)], 1, Evaluation(np.zeros(0, dtype=bool), 1.0, texts), 0.5)[NAME]
    assert (found.n, found.method) == (30, "wilson-texts")


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(1, 300))
def test_the_interval_holds_the_value(heights: list[float], rows: int) -> None:
    found = tail_accuracy([(r, y, 1.0) for r, y in enumerate(heights)], len(heights), _rows(rows), 0.5)[NAME]
    assert found.ci_low is not None
    assert found.ci_high is not None
    assert 0 <= found.ci_low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.ci_high <= 1
