"""The trimmed mean against sorted lists, and the ways in which others get it wrong."""

import math
from functools import partial

import pytest
import torch

from fedsec.defenses.aggregation.trimmed_mean import TrimmedMean

from ...bounds import off, within
from .instances import HOSTILE, SIZES, by_column, matrix, vector

pytestmark = pytest.mark.numeric


def _slow(values: list[float], f: int) -> float:
    kept = sorted(values)[f : len(values) - f]
    return math.fsum(kept) / len(kept)


@pytest.mark.parametrize(("n", "f"), SIZES)
def test_it_is_the_mean_without_f_values_on_each_side(n: int, f: int) -> None:
    rows = matrix(n, 50, seed=n)
    expected = by_column(rows, partial(_slow, f=f))
    within("trimmed-mean", off(vector(TrimmedMean(), rows, f), expected), 1e-6)


@pytest.mark.parametrize("size", [1e8, 1e10, *HOSTILE])
def test_it_does_not_subtract_extremes_from_a_sum(size: float) -> None:
    """Beside 1e10, a sum less its extremes has lost the honest values."""
    honest = matrix(5, 20) * 0.01
    rows = torch.cat([honest, torch.full((1, 20), size), torch.full((1, 20), -size)])
    expected = by_column(honest, partial(_slow, f=0))
    within("trimmed-mean: beside huge rows", off(vector(TrimmedMean(), rows, 1), expected), 1e-6)


def test_it_trims_coordinates_and_not_clients() -> None:
    """One client is extreme here, another there: sorting whole clients by a score would keep one of them."""
    rows = torch.zeros(5, 2)
    rows[0, 0], rows[1, 1] = 100.0, 100.0
    assert vector(TrimmedMean(), rows, 1).tolist() == [0.0, 0.0]


def test_it_trims_as_many_as_are_declared_and_no_fixed_share() -> None:
    rows = [[0.0], [0.0], [0.0], [0.0], [0.0], [0.0], [9.0], [9.0], [9.0]]
    found = [round(vector(TrimmedMean(), rows, f).item(), 4) for f in range(4)]
    assert found == [3.0, round(18 / 7, 4), 1.8, 0.0]
