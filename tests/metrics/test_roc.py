"""ROC curves in counts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from fedsec.metrics.membership import curves, membership
from fedsec.metrics.roc import roc


def found_by(points: list[list[int]], wrong: int) -> int:
    """The members that a curve finds at no more false positives than these."""
    return max((hits for false, hits in points if false <= wrong), default=0)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=2, max_size=40).filter(
        lambda rows: {member for _, member in rows} == {True, False}
    )
)
def test_it_finds_what_every_threshold_finds(rows: list[tuple[int, bool]]) -> None:
    scores, members = np.array([float(score) for score, _ in rows]), np.array([member for _, member in rows])
    points = roc(scores, members)
    rates, hits, _ = roc_curve(members, scores, drop_intermediate=False)  # independent, ties and all
    others, own = int((~members).sum()), int(members.sum())
    for wrong in range(others + 1):
        best = max(hit for rate, hit in zip(rates, hits, strict=True) if rate * others <= wrong + 1e-9)
        assert found_by(points, wrong) == round(best * own)


def test_a_large_pool_stays_short_and_is_never_raised() -> None:
    generator = np.random.default_rng(0)
    members = np.arange(20_000) % 2 == 0
    scores = generator.normal(size=20_000) + 0.5 * members
    points = roc(scores, members)
    assert len(points) < 200
    assert [wrong for wrong, _ in points] == sorted({wrong for wrong, _ in points})
    exact = np.cumsum(~members[np.argsort(-scores)])
    hits = np.cumsum(members[np.argsort(-scores)])
    for wrong in (0, 7, 20, 100, 1000, 9999):
        best = int(hits[exact <= wrong].max())
        assert found_by(points, wrong) <= best
        assert found_by(points, wrong) >= 0.9 * best
    assert points[-1][1] == 10_000


def test_the_marks_are_those_that_tables_tell() -> None:
    generator = np.random.default_rng(1)
    members = np.arange(400) % 2 == 0
    scores, blind = generator.normal(size=400) + 2.0 * members, generator.normal(size=400)
    found, told = curves(scores, blind, members), membership(scores, blind, members)
    assert (found["members"], found["others"]) == (200, 200)
    for rate, wrong, hits in found["marks"]:
        value = told[f"membership/tpr@fpr={rate:g}"]
        assert value.detail is not None
        assert hits / 200 == pytest.approx(value.value)
        assert wrong / 200 == value.detail["realised-fpr"]
        assert found_by(found["points"], wrong) == hits
    assert found["blind"] == roc(blind, members)
