"""Bucketing: every row in one bucket, drawn from the round's generator."""

import numpy as np
import pytest
import torch

from fedsec import registry
from fedsec.defenses.aggregation.bucketing import Bucketing
from fedsec.maths.rows import Rows

from .instances import matrix, mixed, refusal


@pytest.mark.parametrize("n", range(1, 14))
@pytest.mark.parametrize("s", [1, 2, 3, 5])
def test_no_row_is_duplicated_or_lost(n: int, s: int) -> None:
    """Shuffling the rows of a matrix in place by swapping views of them would keep half of them, some twice."""
    for seed in range(5):
        mixing = mixed(Bucketing(s=s), matrix(n, 4), 0, seed).mixing
        assert (mixing > 0).sum(dim=0).tolist() == [1] * n
        sizes = (mixing > 0).sum(dim=1).tolist()
        assert sizes == [s] * (n // s) + [n % s] * (n % s > 0)
        np.testing.assert_allclose(mixing.sum(dim=1), 1.0, rtol=1e-12)
        for line, size in zip(mixing, sizes, strict=True):
            assert set(line.tolist()) <= {0.0, 1 / size}


def test_the_buckets_are_the_means_of_their_rows() -> None:
    rows = matrix(7, 30)
    mixing = mixed(Bucketing(s=3), rows, 1).mixing
    slow = torch.stack([rows[line > 0].double().mean(dim=0) for line in mixing])
    np.testing.assert_allclose(torch.cat(list(Rows(rows).mixed(mixing).chunks()), dim=1), slow, rtol=1e-5, atol=1e-6)


def test_as_many_are_declared_malicious_as_before() -> None:
    assert mixed(Bucketing(s=2), matrix(12, 4), 2).declared_malicious == 2


def test_one_seed_gives_the_same_buckets_and_another_gives_others() -> None:
    rows, before = matrix(12, 4), torch.get_rng_state()
    first, again, other = (mixed(Bucketing(), rows, 1, seed).mixing for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_any_two_rows_meet_as_often_as_any_other_two() -> None:
    """In pairs of six rows, each two meet once in five draws."""
    generator, met = torch.Generator().manual_seed(0), torch.zeros(6, 6)
    rows = matrix(6, 2)
    for _ in range(1000):
        together = (mixed(Bucketing(), rows, 0, int(torch.randint(2**31, (), generator=generator))).mixing > 0).double()
        met += together.T @ together
    pairs = met[~torch.eye(6, dtype=torch.bool)]
    assert (pairs - 200).abs().max() < 5 * (1000 * 0.2 * 0.8) ** 0.5


@pytest.mark.parametrize(
    ("n", "f", "s", "buckets"),
    [(7, 1, 2, None), (7, 1, 3, None), (6, 1, 3, 2), (7, 1, 4, 2), (11, 2, 2, None), (8, 2, 2, 4)],
)
def test_the_precondition_counts_buckets(n: int, f: int, s: int, buckets: int | None) -> None:
    told = None if buckets is None else f"bucketing needs ceil(n/s) > 2f = {2 * f}, has {buckets}"
    assert refusal("bucketing", n, f, s=s) == told


@pytest.mark.parametrize("f", range(1, 5))
@pytest.mark.parametrize("n", range(3, 30))
def test_the_papers_bound_on_s_is_allowed(n: int, f: int) -> None:
    """At most n/(2f+1); a ragged last bucket may allow more."""
    for s in range(1, n // (2 * f + 1) + 1):
        assert refusal("bucketing", n, f, s=s) is None


def test_the_card_builds_the_filter() -> None:
    card = registry.defenses().get("bucketing")
    assert registry.load_target(card)(**card.resolve({})) == Bucketing(s=2)
    assert card.parameters[0].problem(0) is not None
