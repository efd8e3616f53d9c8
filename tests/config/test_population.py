"""f in a sampled round against sums in whole numbers."""

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec.config.population import declared_in_round


def exact(clients: int, cohort: int, declared: int, quantile: Fraction) -> int:
    """The smallest f with P(malicious in the cohort <= f) >= quantile."""
    total, below = comb(clients, cohort), 0
    for f in range(declared + 1):
        below += comb(declared, f) * comb(clients - declared, cohort - f) if f <= cohort else 0
        if Fraction(below, total) >= quantile:
            return f
    raise AssertionError("the whole distribution is below the quantile")


@given(st.data(), st.integers(1, 200))
@settings(deadline=None)
def test_is_the_quantile(data: st.DataObject, clients: int) -> None:
    cohort, declared = data.draw(st.integers(1, clients)), data.draw(st.integers(0, clients))
    expected = declared if cohort == clients else exact(clients, cohort, declared, Fraction(999, 1000))
    assert declared_in_round(clients, cohort, declared) == expected


@pytest.mark.parametrize(
    ("clients", "cohort", "declared", "f"), [(100, 10, 10, 4), (10, 10, 3, 3), (50, 5, 0, 0), (9, 3, 9, 3)]
)
def test_known_rounds(clients: int, cohort: int, declared: int, f: int) -> None:
    assert declared_in_round(clients, cohort, declared) == f


def test_a_large_federation_is_quick() -> None:
    # mean 1,000, standard deviation 30, and 3.09 of those to the quantile
    assert declared_in_round(10_000_000, 10_000, 1_000_000) == pytest.approx(1093, abs=2)


@pytest.mark.parametrize("wrong", [(5, 6, 1), (5, 2, 6), (5, -1, 1), (5, 2, -1), (5, 2, 1, 1.0), (5, 2, 1, 0.0)])
def test_no_such_population(wrong: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="no population"):
        declared_in_round(*wrong)
