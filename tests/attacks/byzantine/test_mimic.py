"""Mimic: whom it copies, when the choice is final, and that it survives a restart."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from fedsec import registry
from fedsec.api import Knowledge
from fedsec.attacks.byzantine.mimic import Mimic

from .colluders import honest, sent, update, view

OWN = honest(2, seed=9)


def _rounds(attack: Mimic, rounds: Sequence[torch.Tensor], board: dict[str, Any] | None = None) -> list[int]:
    """Which honest client is copied in each round; each round's rows are given."""
    board, copied = {} if board is None else board, []
    for number, rows in enumerate(rounds):
        crafted = sent(attack, view(OWN, rows, round=number + 1, blackboard=board))
        copied.append(next(place for place, row in enumerate(rows) if torch.equal(row, crafted)))
    return copied


def _slow(rounds: Sequence[torch.Tensor], warmup: int) -> list[int]:
    """The official code's updates in plain numpy, from the exact first direction; the last warm-up choice stays."""
    copied: list[int] = []
    z = mu = np.zeros(0)
    for t, given in enumerate(rounds):
        rows = given.double().numpy()
        if t == 0:
            mu = rows.mean(axis=0)
            z = np.linalg.svd(rows - mu)[2][0]
            along = (rows - mu) @ z
            z = z * np.sign(along[np.abs(along).argmax()])
        elif t < warmup:
            mu = t / (1 + t) * mu + rows.mean(axis=0) / (1 + t)
            turned = sum(((row - mu) @ z) * (row - mu) for row in rows)
            z = t / (1 + t) * z + turned / np.linalg.norm(turned) / (1 + t)
            z = z / np.linalg.norm(z)
        copied.append(int((rows @ z).argmax()) if t < warmup else copied[-1])
    return copied


@pytest.mark.parametrize("warmup", [1, 3, 10])
def test_it_copies_whom_the_plain_reference_copies(warmup: int) -> None:
    for seed in range(10):
        rounds = [honest(6, seed=100 * seed + number) for number in range(6)]
        assert _rounds(Mimic(warmup=warmup), rounds) == _slow(rounds, warmup)


def test_it_finds_the_client_that_differs_most_under_noise() -> None:
    """Client 3's data pull along one direction in every round; in single rounds noise hides it."""
    outlier = torch.zeros(6, 50)
    outlier[3, 0] = 4.0
    rounds = [honest(6, 50, seed, shift=0.0, spread=0.7) + outlier for seed in range(8)]
    assert _rounds(Mimic(warmup=5), rounds)[5:] == [3, 3, 3]


def test_after_the_warm_up_it_stays_with_its_client_whatever_that_sends() -> None:
    rounds = [honest(5, seed=seed) for seed in range(9)]
    copied = _rounds(Mimic(warmup=2), rounds)
    assert set(copied[2:]) == {copied[1]}
    longer = _rounds(Mimic(warmup=9), rounds)
    assert len(set(longer)) > 1  # while it learns, it may change its mind


def test_another_number_of_honest_updates_is_decided_by_projection_for_that_round_only() -> None:
    rounds = [honest(5, seed=1), honest(5, seed=2)[[4, 3]], honest(5, seed=3)]
    board: dict[str, Any] = {}
    copied = _rounds(Mimic(warmup=1), rounds, board)
    direction = board["mimic"]["direction"]
    assert copied[1] == int((rounds[1] @ direction).argmax())
    assert copied[2] == copied[0]


def test_a_blackboard_through_json_and_tensors_goes_on_the_same() -> None:
    rounds = [honest(5, seed=seed) for seed in range(5)]
    board: dict[str, Any] = {}
    _rounds(Mimic(), rounds[:2], board)
    plain = {key: value for key, value in board["mimic"].items() if not isinstance(value, torch.Tensor)}
    kept = {key: value.clone() for key, value in board["mimic"].items() if isinstance(value, torch.Tensor)}
    resumed = {"mimic": {**json.loads(json.dumps(plain)), **kept}}
    for number in (3, 4, 5):
        first = sent(Mimic(), view(OWN, rounds[number - 1], round=number, blackboard=board))
        again = sent(Mimic(), view(OWN, rounds[number - 1], round=number, blackboard=resumed))
        assert torch.equal(first, again)


def test_colluders_learn_once_a_round() -> None:
    rows = honest(5, seed=4)
    seen = view(OWN, rows)
    vectors = [Mimic().on_update(update(own), seen).vector for own in OWN]
    assert torch.equal(vectors[0], vectors[1])
    assert seen.blackboard["mimic"]["seen"] == 1


def test_inputs_stay_and_equal_or_absent_rows_do_no_harm() -> None:
    rows = honest(4)
    kept = rows.clone()
    sent(Mimic(), view(OWN, rows))
    assert torch.equal(rows, kept)
    same = honest(1).repeat(4, 1)
    assert _rounds(Mimic(), [same, same]) == [0, 0]
    assert torch.equal(sent(Mimic(), view(OWN, rows[:0])), OWN[0])
    assert torch.equal(sent(Mimic(), view(OWN, rows[:1])), rows[0])


def test_the_card_asks_for_what_it_needs() -> None:
    card = registry.attacks().get("mimic")
    assert card.threat.knowledge == {Knowledge.BENIGN_UPDATES}
    assert registry.load_target(card)(**card.resolve({"warmup": 5})) == Mimic(warmup=5)
    for value in (0, -1, 1.5, None):
        assert card.parameters[0].problem(value) is not None
