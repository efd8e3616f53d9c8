"""Which rows are trained on is known before a federation begins: the very ones that its rounds draw."""

from dataclasses import replace

import numpy as np
import pytest

from fedsec.api import TrainingSettings
from fedsec.federation.draws import SERVER, batch_rows, cohort_of, drawn_rows
from fedsec.seeds import SeedTree

TRAINING = TrainingSettings(
    update="delta", optimizer="sgd", learning_rate=0.1, local_steps=3, batch_size=4, cohort=3, rounds=4
)


@pytest.mark.parametrize("sampling", ["fixed", "poisson"])
@pytest.mark.parametrize("pinned", [frozenset(), frozenset({5})])
def test_drawn_rows_are_those_of_all_rounds_and_the_servers(sampling: str, pinned: frozenset[int]) -> None:
    rows, seeds = np.array_split(np.arange(200), 8), SeedTree(3)
    trusted, training = np.array([200, 207]), replace(TRAINING, sampling=sampling)
    expected = {200, 207}
    for number in range(1, 5):
        cohort = cohort_of(number, seeds, clients=8, size=3, pinned=pinned, sampling=sampling)
        assert pinned <= set(cohort)
        for client in cohort:
            for batch in batch_rows(number, client, rows[client], training, seeds):
                assert set(batch) <= set(rows[client])
                expected |= set(batch.tolist())
    found = drawn_rows(4, 3, rows, trusted, training, seeds, pinned)
    assert found.tolist() == sorted(expected)
    assert len(found) < 202


def test_clients_and_the_server_draw_apart() -> None:
    rows = np.arange(40)
    first, second = (batch_rows(1, who, rows, TRAINING, SeedTree(0)) for who in (SERVER, 0))
    assert any(not np.array_equal(one, two) for one, two in zip(first, second, strict=True))


def test_a_client_without_rows_draws_none() -> None:
    rows = [np.arange(0), np.arange(10), np.arange(10, 20)]
    found = drawn_rows(4, 3, rows, np.arange(0), TRAINING, SeedTree(0), frozenset())
    assert set(found) <= set(range(20))
