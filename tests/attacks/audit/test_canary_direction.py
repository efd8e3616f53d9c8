"""`canary-direction`: what it reads off updates, off weight differences and off sums."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fedsec.api import Canary
from fedsec.attacks.audit.canary_direction import CanaryDirection

CLIENTS, SIZE = (7, 2, 5), 30
CANARIES = tuple(Canary(CLIENTS[i % 3], place, 10.0) for i, place in enumerate((3, 29, 0, 11, 17)))


def _evidence(*rounds: Any, seconds: float = 1.0) -> Any:
    return SimpleNamespace(
        rounds=tuple(range(len(rounds))), at=lambda number: rounds[number], seconds_left=lambda: seconds
    )


def _round(seed: int, update: str = "gradient", clients: tuple[int, ...] = CLIENTS, *, hidden: bool = False) -> Any:
    rows = torch.randn(len(clients), SIZE, generator=torch.Generator().manual_seed(seed))
    return SimpleNamespace(
        training=SimpleNamespace(update=update),
        encrypted=(),
        clients=() if hidden else clients,
        rows=None if hidden else rows,
        aggregate=rows.mean(dim=0),
    )


@pytest.mark.parametrize(("update", "sign"), [("gradient", 1.0), ("delta", -1.0)])
def test_it_adds_up_the_entries_of_the_canarys_own_client(update: str, sign: float) -> None:
    rounds = [_round(0, update), _round(1, update, clients=(5, 7))]
    found = CanaryDirection().score(CANARIES, _evidence(*rounds))
    assert found.dtype == torch.float64
    expected = []
    for canary in CANARIES:
        total = 0.0
        for one in rounds:
            if canary.client in one.clients:
                column = one.rows[:, canary.place].double().tolist()
                own = column.pop(one.clients.index(canary.client))
                total += own - (sum(column) / len(column) if len(column) > 1 else 0.0)  # of two clients nothing is off
        expected.append(sign * total)
    assert np.allclose(found.numpy(), expected, atol=1e-6)


def test_the_sum_stands_in_where_updates_are_hidden() -> None:
    one = _round(2, hidden=True)
    found = CanaryDirection().score(CANARIES, _evidence(one))
    assert torch.equal(found, one.aggregate[[c.place for c in CANARIES]].double())


def test_what_is_encrypted_says_nothing() -> None:
    one = _round(3, hidden=True)
    module = torch.nn.Linear(3, 2)  # 6 weights are encrypted
    shown = SimpleNamespace(
        **{
            **vars(one),
            "encrypted": ("weight",),
            "aggregate": one.aggregate[6:],
            "model": SimpleNamespace(module=module),
        }
    )
    found = CanaryDirection().score(CANARIES, _evidence(shown))
    assert found.tolist() == [0.0 if c.place < 6 else float(one.aggregate[c.place]) for c in CANARIES]


def test_it_needs_updates_or_their_sum_and_stops_when_its_time_is_over() -> None:
    nothing = SimpleNamespace(
        training=SimpleNamespace(update="gradient"), encrypted=(), clients=(), rows=None, aggregate=None
    )
    with pytest.raises(ValueError, match="sees neither"):
        CanaryDirection().score(CANARIES, _evidence(nothing))
    assert not CanaryDirection().score(CANARIES, _evidence(nothing, seconds=0.0)).any()
