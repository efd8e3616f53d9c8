"""Fixed-point numbers: sums that no field overflows, and errors of at most half a step."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec.maths.fixed_point import FixedPoint

FIELDS = st.builds(
    dict,
    range=st.floats(1e-3, 1e4),
    terms=st.integers(1, 100),
    modulus=st.sampled_from([2**32, 2**31 - 1, 1_073_692_673, 2**44 - 3, 2**62]),
    bits=st.integers(1, 40),
)


@settings(max_examples=80, deadline=None)
@given(field=FIELDS, seed=st.integers(0, 2**32 - 1))
def test_sums_at_the_limit_are_exact_in_residues(field: dict[str, float], seed: int) -> None:
    one = FixedPoint(**field)  # type: ignore[arg-type]
    drawn = np.random.default_rng(seed)
    # Everybody at the limit in one entry, random values beyond the range elsewhere.
    rows = torch.from_numpy(drawn.normal(0, 2 * one.range, (one.terms, 6)).astype(np.float32))
    rows[:, 0], rows[:, 1] = 3e38, -float("inf")
    numbers = [one.encode(row, float(drawn.random())).values for row in rows]
    whole = [sum(int(values[place]) for values in numbers) for place in range(6)]
    residues = np.array([value % one.modulus for value in whole])
    assert one.centred(residues).tolist() == whole


@settings(max_examples=60, deadline=None)
@given(field=FIELDS, weight=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_the_error_is_at_most_half_a_step_whatever_the_weight(
    field: dict[str, float], weight: float, seed: int
) -> None:
    """Flower multiplies by the weight before it rounds on a grid for the largest weight, and loses that factor."""
    one = FixedPoint(**field)  # type: ignore[arg-type]
    row = torch.from_numpy(np.random.default_rng(seed).uniform(-one.range, one.range, 30).astype(np.float32))
    row.clamp_(-one.range, one.range)
    found = one.encode(row, weight)
    meant = np.clip(row.double().numpy(), -one.range, one.range) * weight
    assert np.abs(found.values * one.step - meant).max() <= one.step * (0.5 + 1e-6)


def test_what_is_outside_the_range_saturates_and_is_counted() -> None:
    one = FixedPoint(range=1.0, terms=4, modulus=2**32)
    row = torch.tensor([0.5, 1.0, -1.0, 1.5, float("nan"), float("inf"), -float("inf"), -7.0])
    found = one.encode(row)
    assert found.saturated == 5
    assert (found.values / one.levels).tolist()[1:] == [1, -1, 1, 0, 1, -1, -1]
    assert one.decode(found.values * 4, 4.0).tolist()[:3] == [pytest.approx(0.5, abs=one.step), 1.0, -1.0]


@pytest.mark.parametrize(
    ("field", "what"),
    [
        ({"terms": 10, "modulus": 20}, "overflow"),
        ({"terms": 0}, "at least 1"),
        ({"range": float("inf")}, "range is above 0"),
        ({"modulus": 2**63}, "modulus"),
    ],
)
def test_fields_that_would_overflow_are_refused_before_anything_is_encoded(field: dict[str, float], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        FixedPoint(**{"range": 1.0, "terms": 2, "modulus": 2**32, **field})  # type: ignore[arg-type]


def test_a_weight_above_one_is_no_way_around_the_range() -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        FixedPoint(range=1.0, terms=2, modulus=2**32).encode(torch.ones(2), 1000.0)
