"""Dealing rows: every row to exactly one client, whatever the skew."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec.data import partition
from fedsec.data.partition import dirichlet, iid
from fedsec.errors import FedsecError


def _generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def _assert_each_row_once(parts: Sequence[np.ndarray], count: int) -> None:
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(count))


_seeds = st.integers(0, 2**32)
_minima = st.integers(0, 4)


@settings(max_examples=150, deadline=None)
@given(clients=st.integers(1, 20), minimum=_minima, extra=st.integers(0, 60), seed=_seeds)
def test_iid_deals_every_row_once_and_evenly(clients: int, minimum: int, extra: int, seed: int) -> None:
    count = clients * minimum + extra
    parts = iid(count, clients, minimum, _generator(seed))
    _assert_each_row_once(parts, count)
    sizes = [len(part) for part in parts]
    assert len(sizes) == clients
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= minimum


@settings(max_examples=150, deadline=None)
@given(
    clients=st.integers(1, 8),
    minimum=_minima,
    extra=st.integers(0, 60),
    classes=st.integers(1, 5),
    alpha=st.sampled_from((1e-6, 1e-3, 0.05, 0.5, 5.0, 1e6)),
    seed=_seeds,
)
def test_dirichlet_deals_every_row_once_and_keeps_the_minimum(
    clients: int, minimum: int, extra: int, classes: int, alpha: float, seed: int
) -> None:
    count = clients * minimum + extra
    labels = _generator(seed).integers(classes, size=count)
    if count == 0:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partition, "MAX_TRIES", 5)  # so that topping up happens often
        parts = dirichlet(labels, clients, alpha, minimum, _generator(seed))
    _assert_each_row_once(parts, count)
    assert len(parts) == clients
    assert min(len(part) for part in parts) >= minimum


@pytest.mark.parametrize("seed", range(5))
def test_the_same_seed_deals_the_same_and_another_deals_otherwise(seed: int) -> None:
    labels = np.arange(300) % 3

    def deal(s: int) -> list[list[int]]:
        return [part.tolist() for part in dirichlet(labels, 5, 0.5, 1, _generator(s))]

    assert deal(seed) == deal(seed)
    assert deal(seed) != deal(seed + 100)
    first, other = iid(300, 5, 1, _generator(seed)), iid(300, 5, 1, _generator(seed + 100))
    assert [p.tolist() for p in first] == [p.tolist() for p in iid(300, 5, 1, _generator(seed))]
    assert [p.tolist() for p in first] != [p.tolist() for p in other]


def _skew(alpha: float) -> float:
    """Mean distance between a client's label frequencies and all rows', over seeds."""
    labels = np.arange(3000) % 6
    distances = []
    for seed in range(8):
        for part in dirichlet(labels, 10, alpha, 1, _generator(seed)):
            frequencies = np.bincount(labels[part], minlength=6) / len(part)
            distances.append(np.abs(frequencies - 1 / 6).sum() / 2)
    return float(np.mean(distances))


def test_skew_falls_with_alpha_from_one_label_per_client_to_nearly_none() -> None:
    skews = [_skew(alpha) for alpha in (0.03, 0.3, 3.0, 1000.0)]
    assert skews == sorted(skews, reverse=True)
    assert skews[0] > 0.55
    assert skews[-1] < 0.05


def test_without_skew_every_client_gets_the_same_share_of_each_label() -> None:
    labels = np.repeat(np.arange(3), 100)
    for part in dirichlet(labels, 10, 1e10, 1, _generator()):
        assert np.bincount(labels[part], minlength=3).tolist() == [10, 10, 10]


def test_iid_splits_hold_all_labels() -> None:
    labels = np.arange(3000) % 6
    for part in iid(3000, 10, 1, _generator()):
        assert np.abs(np.bincount(labels[part], minlength=6) / len(part) - 1 / 6).max() < 0.1


def test_a_clients_rows_are_not_sorted_by_label() -> None:
    """Batches are cut from this order: rows in blocks of one label would be batches of one label."""
    labels = np.repeat(np.arange(4), 100)
    for part in dirichlet(labels, 3, 10.0, 1, _generator()):
        assert (np.diff(labels[part]) < 0).any()


def test_poor_clients_are_topped_up_from_the_richest_where_no_draw_gives_enough() -> None:
    parts = dirichlet(np.zeros(40, dtype=int), 10, 1e-6, 4, _generator())
    assert [len(part) for part in parts] == [4] * 10
    _assert_each_row_once(parts, 40)


@pytest.mark.parametrize(("count", "clients", "minimum"), [(9, 5, 2), (0, 1, 1), (3, 4, 1)])
def test_too_few_rows_are_refused_with_what_to_change(count: int, clients: int, minimum: int) -> None:
    message = f"{count} training rows cannot give {clients} clients at least {minimum}.*data.train"
    with pytest.raises(FedsecError, match=message):
        iid(count, clients, minimum, _generator())
    with pytest.raises(FedsecError, match=message):
        dirichlet(np.zeros(count, dtype=int), clients, 1.0, minimum, _generator())


def test_labels_stay_as_they_were() -> None:
    labels = np.arange(50) % 3
    before = labels.copy()
    dirichlet(labels, 4, 0.5, 2, _generator())
    assert np.array_equal(labels, before)
