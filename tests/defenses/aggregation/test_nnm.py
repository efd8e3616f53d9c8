"""Nearest neighbour mixing against plain lists, before a rule and alone."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec import registry
from fedsec.defenses.aggregation.nnm import NearestNeighbourMixing
from fedsec.defenses.aggregation.trimmed_mean import TrimmedMean
from fedsec.maths.rows import Rows

from ...bounds import off, within
from .instances import HOSTILE, SIZES, matrix, mixed, refusal, vector

NNM = NearestNeighbourMixing()


def _slow(rows: torch.Tensor, f: int) -> list[list[int]]:
    """Whom each row is mixed with: itself, then by distance and number."""
    points = rows.double().tolist()
    nearest = []
    for i, one in enumerate(points):
        squares = [math.fsum((a - b) ** 2 for a, b in zip(one, two, strict=True)) for two in points]
        order = sorted(range(len(points)), key=lambda j: (j != i, squares[j], j))
        nearest.append(sorted(order[: len(points) - f]))
    return nearest


def _partners(mixing: torch.Tensor) -> list[list[int]]:
    return [line.nonzero()[:, 0].tolist() for line in mixing]


@pytest.mark.numeric
@pytest.mark.parametrize(("n", "f"), SIZES)
def test_each_row_becomes_the_mean_of_its_nearest(n: int, f: int) -> None:
    rows = matrix(n, 20, seed=n)
    found = mixed(NNM, rows, f)
    expected = _slow(rows, f)
    assert _partners(found.mixing) == expected
    slow = torch.stack([rows[own].double().mean(dim=0) for own in expected])
    within("nnm", off(torch.cat(list(Rows(rows).mixed(found.mixing).chunks()), dim=1), slow), 1e-5)


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.lists(st.integers(-2, 2).map(float), min_size=2, max_size=2), min_size=1, max_size=9),
    data=st.data(),
)
def test_ties_go_to_the_earlier_row_and_itself_is_always_among_them(
    rows: list[list[float]], data: st.DataObject
) -> None:
    if sorted(math.hypot(*row) for row in rows)[(len(rows) - 1) // 2] == 0:
        rows = [[one + 10, other] for one, other in rows]  # a median norm of 0 makes outliers of the others
    f = data.draw(st.integers(0, (len(rows) - 1) // 2))
    found = mixed(NNM, rows, f)
    assert _partners(found.mixing) == _slow(torch.tensor(rows), f)
    np.testing.assert_allclose(found.mixing.sum(dim=1), 1.0, rtol=1e-12)
    assert found.declared_malicious == f


@pytest.mark.parametrize("size", HOSTILE)
def test_honest_rows_are_mixed_with_honest_rows_whatever_hostile_ones_do(size: float) -> None:
    honest = 0.1 + 1e-3 * matrix(8, 30)
    found = mixed(NNM, torch.cat([size * torch.ones(3, 30), honest]), 3)
    assert found.mixing[3:, :3].abs().max() == 0
    assert torch.equal(found.mixing[3:, 3:], mixed(NNM, honest, 0).mixing)


def test_alone_it_lets_a_share_of_each_hostile_row_through() -> None:
    """As the card says: its own mixture holds 1/(n-f) of it, and the plain mean takes that."""
    n, f = 9, 2
    found = mixed(NNM, torch.cat([1e3 * torch.ones(f, 4), matrix(n - f, 4)]), f)
    assert float(found.mixing.mean(dim=0)[:f].sum()) == pytest.approx(f * f / (n - f) / n)


@pytest.mark.parametrize(("n", "f"), [(10, 3), (11, 4), (20, 6)])
def test_before_a_rule_the_error_keeps_within_the_bound_of_the_two(n: int, f: int) -> None:
    rng, worst = np.random.default_rng(n), 0.0
    share = f / (n - 2 * f)
    bound = 8 * f / (n - f) * (6 * share * (1 + share) + 1)
    for _ in range(40):
        honest = rng.standard_normal((n - f, 3)) * rng.exponential(size=3)
        middle = honest.mean(axis=0)
        for size in (-1.0, 0.5, 1.0, 3.0, 1e3):
            rows = np.vstack([np.tile(middle + size * (honest[0] - middle), (f, 1)), honest]).astype(np.float32)
            exact = rows[f:].astype(np.float64)
            variance = ((exact - exact.mean(axis=0)) ** 2).sum(axis=1).mean()
            torched = torch.from_numpy(rows)
            result = vector(TrimmedMean(), Rows(torched).mixed(mixed(NNM, torched, f).mixing), f).double().numpy()
            worst = max(worst, ((result - exact.mean(axis=0)) ** 2).sum() / variance)
    assert 0.02 < worst <= bound


def test_equal_rows_stay_what_they_are() -> None:
    rows = matrix(1, 5).repeat(6, 1)
    again = Rows(rows).mixed(mixed(NNM, rows, 2).mixing).weighted_sum(torch.eye(6, dtype=torch.float64)[0])
    np.testing.assert_allclose(again.numpy(), rows[0].numpy(), rtol=1e-6)


def test_the_rows_stay_as_they_were() -> None:
    rows = matrix(7, 5)
    before = rows.clone()
    mixed(NNM, rows, 2)
    assert torch.equal(rows, before)


def test_the_precondition_and_the_card() -> None:
    assert refusal("nnm", 5, 2) is None
    assert refusal("nnm", 4, 2) == "nnm needs n > 2f = 4, has 4"
    card = registry.defenses().get("nnm")
    assert registry.load_target(card)(**card.resolve({"geometry": "product"})).geometry == "product"
    assert card.needs_rows
    assert not card.is_rule
