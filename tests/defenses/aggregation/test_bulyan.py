"""Bulyan against plain lists, and the ways in which others get it wrong."""

import math
import statistics

import numpy as np
import pytest
import torch

from fedsec.defenses.aggregation.bulyan import Bulyan, select
from fedsec.defenses.aggregation.bulyan_one_pass import BulyanOnePass
from fedsec.maths.rows import Rows

from ...bounds import off, within
from .instances import HOSTILE, matrix, vector

SIZES = [(3, 0), (7, 1), (8, 1), (11, 2), (14, 2), (15, 3)]


def _squares(rows: torch.Tensor) -> list[list[float]]:
    points = rows.double().tolist()
    return [[math.fsum((a - b) ** 2 for a, b in zip(one, two, strict=True)) for two in points] for one in points]


def _scores(squares: list[list[float]], left: list[int], f: int) -> list[float]:
    """Of the rows in `left`: to the m-f-2 nearest others, one at least."""
    count = max(1, len(left) - f - 2)
    return [math.fsum(sorted(squares[i][j] for j in left if j != i)[:count]) for i in left]


def _slow_selection(rows: torch.Tensor, f: int, one_pass: bool = False) -> list[int]:
    squares, left = _squares(rows), list(range(len(rows)))
    count = len(rows) - 2 * f
    if one_pass:
        scores = _scores(squares, left, f)
        return sorted(left, key=lambda row: (scores[row], row))[:count]
    chosen = []
    for _ in range(count):
        scores = _scores(squares, left, f)
        chosen.append(left.pop(scores.index(min(scores))))
    return chosen


def _slow(rows: torch.Tensor, f: int, one_pass: bool = False) -> np.ndarray:
    result = []
    for column in rows[_slow_selection(rows, f, one_pass)].double().T.tolist():
        middle = statistics.median(column)
        nearest = sorted(column, key=lambda value: (abs(value - middle), value))[: len(rows) - 4 * f]
        result.append(math.fsum(nearest) / len(nearest))
    return np.array(result)


@pytest.mark.numeric
@pytest.mark.parametrize(("n", "f"), SIZES)
@pytest.mark.parametrize("one_pass", [False, True])
def test_it_is_that_of_the_plain_reference(n: int, f: int, one_pass: bool) -> None:
    rule = BulyanOnePass() if one_pass else Bulyan()
    for seed in range(8):
        rows = matrix(n, 12, seed)
        within("bulyan", off(vector(rule, rows, f), _slow(rows, f, one_pass)), 1e-6)


@pytest.mark.parametrize(("n", "f"), SIZES)
def test_no_row_is_selected_twice(n: int, f: int) -> None:
    """A place among the rows that are left is not a place among all."""
    for seed in range(20):
        rows = matrix(n, 5, seed)
        found = select(Rows(rows).squared_distances(), f, n - 2 * f).tolist()
        assert len(set(found)) == n - 2 * f
        assert found == _slow_selection(rows, f)


def test_equal_rows_are_selected_in_their_order() -> None:
    assert select(torch.zeros(11, 11, dtype=torch.float64), 2, 7).tolist() == list(range(7))


@pytest.mark.parametrize("f", [1, 2])
def test_the_last_draw_under_one_or_two_is_a_tie_that_the_earlier_row_wins(f: int) -> None:
    """One other row counts, and the closest two of those that are left are each other's: documented on the card."""
    rows = matrix(4 * f + 3, 6)
    squares = Rows(rows).squared_distances()
    found = select(squares, f, len(rows) - 2 * f).tolist()
    left = sorted(set(range(len(rows))) - set(found[:-1]))  # when the last one was drawn
    among = squares[left][:, left].fill_diagonal_(torch.inf)
    closest = [left[place] for place in (among == among.min()).any(dim=1).nonzero()[:, 0].tolist()]
    assert len(closest) == 2
    assert found[-1] == closest[0]


def test_scores_are_computed_anew_and_one_pass_selects_other_rows() -> None:
    rounds = [matrix(11, 4, seed) for seed in range(40)]
    differ = [set(_slow_selection(rows, 2)) != set(_slow_selection(rows, 2, one_pass=True)) for rows in rounds]
    assert any(differ)
    for rows, other in zip(rounds, differ, strict=True):
        assert torch.equal(vector(Bulyan(), rows, 2), vector(BulyanOnePass(), rows, 2)) != other


def test_it_averages_n_less_4f_values_and_not_all_that_are_selected() -> None:
    """With beta = n-2f the second stage would trim nothing: then one coordinate carries a forgery."""
    rows = 0.1 * matrix(7, 400)
    rows[0, 7] = 1.5  # as close to the others as they are to each other, but for one coordinate
    rows[0, :7] = rows[1:, :7].mean(dim=0)
    rows[0, 8:] = rows[1:, 8:].mean(dim=0)
    assert 0 in _slow_selection(rows, 1)
    assert vector(Bulyan(), rows, 1)[7] <= rows[1:, 7].max()


@pytest.mark.parametrize("size", HOSTILE)
def test_colluders_in_one_place_are_bounded_though_the_last_draw_takes_one(size: float) -> None:
    """Over the last 2f+1 rows a score sums f-1 distances, and f equal rows have that many of 0."""
    n, f = 15, 3
    rows = torch.cat([torch.full((f, 6), size), matrix(n - f, 6)])
    selected = select(Rows(rows).squared_distances(), f, n - 2 * f)
    assert int((selected < f).sum()) == 1
    found = vector(Bulyan(), rows, f)
    assert (found <= rows[f:].max(dim=0).values).all()


def test_the_last_draw_under_one_malicious_row_still_looks_at_a_distance() -> None:
    """Three rows are left and 3-1-2 is no neighbour: without any, the first of them would win, be it the forgery."""
    rows = torch.cat([torch.full((1, 6), 1e6), matrix(6, 6)])
    assert 0 not in select(Rows(rows).squared_distances(), 1, 5).tolist()


@pytest.mark.parametrize("rule", [Bulyan, BulyanOnePass])
def test_the_geometry_is_passed_on(rule: type[Bulyan]) -> None:
    with pytest.raises(ValueError, match="geometry"):
        vector(rule(geometry="curved"), matrix(7, 4), 1)
