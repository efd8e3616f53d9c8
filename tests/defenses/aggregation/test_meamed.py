"""The mean around the median against sorted lists."""

import math
import statistics
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec.defenses.aggregation.meamed import Meamed

from ...bounds import off, within
from .instances import SIZES, by_column, matrix, vector

pytestmark = pytest.mark.numeric


def _slow(values: list[float], f: int) -> float:
    middle = statistics.median(values)
    nearest = sorted(values, key=lambda value: (abs(value - middle), value))[: len(values) - f]
    return math.fsum(nearest) / len(nearest)


@pytest.mark.parametrize(("n", "f"), SIZES)
def test_it_is_the_mean_of_the_values_nearest_to_the_median(n: int, f: int) -> None:
    rows = matrix(n, 50, seed=n)
    expected = by_column(rows, partial(_slow, f=f))
    within("meamed", off(vector(Meamed(), rows, f), expected), 1e-6)


@settings(max_examples=100, deadline=None)
@given(values=st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=12), data=st.data())
def test_ties_keep_the_lower_value(values: list[float], data: st.DataObject) -> None:
    f = data.draw(st.integers(0, (len(values) - 1) // 2))
    found = vector(Meamed(), [[value] for value in values], f).item()
    assert found == pytest.approx(_slow(values, f), rel=1e-6, abs=1e-7)


def test_it_drops_f_values_and_not_f_on_each_side() -> None:
    rows = [[0.0], [1.0], [2.0], [3.0], [50.0]]
    assert vector(Meamed(), rows, 1).item() == 1.5
