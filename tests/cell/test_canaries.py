"""Canaries: their places and clients, the coin for each step, and that a ledger's promise covers them."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from fedsec.api import Canary
from fedsec.cell.canaries import canaries_of
from fedsec.config.load import load_scenario
from fedsec.data.tokens import Batch
from fedsec.defenses.privacy.dp_sgd import DPSGD
from fedsec.errors import FedsecError
from fedsec.federation.canaries import with_canaries
from fedsec.federation.plugins import Plugin
from fedsec.seeds import SeedTree

from ..federation.support import GRADIENT, federation, final


def _scenario(count: int) -> Any:
    return load_scenario(
        {
            "schema": 1,
            "name": "test/canaries",
            "summary": "Where are they?",
            "model": {"name": "tiny-bert"},
            "data": {"name": "sst2", "canaries": {"count": count, "norm": 3.0}},
            "federation": {"clients": 4, "rounds": 1, "learning_rate": 0.1},
            "matrix": {"attack": ["none"], "defense": ["none"]},
        }
    )


def test_each_has_a_parameter_of_its_own_and_clients_have_equally_many() -> None:
    found = canaries_of(_scenario(100), 500, SeedTree(0))
    assert len({one.place for one in found}) == 100
    assert {one.norm for one in found} == {3.0}
    assert all(0 <= one.place < 500 for one in found)
    assert np.bincount([one.client for one in found]).tolist() == [25] * 4
    assert found == canaries_of(_scenario(100), 500, SeedTree(0)) != canaries_of(_scenario(100), 500, SeedTree(1))


def test_clients_share_parameters_where_these_do_not_suffice() -> None:
    found = canaries_of(_scenario(100), 30, SeedTree(0))
    assert len(found) == 100
    for client in range(4):
        assert len({one.place for one in found if one.client == client}) == 25
    with pytest.raises(FedsecError, match="25 for a client, and only 24 parameters are trained"):
        canaries_of(_scenario(100), 24, SeedTree(0))


def test_each_is_drawn_for_a_step_by_a_coin_of_its_own() -> None:
    canaries = [Canary(0, place, 1.0) for place in range(400)]
    empty = Batch(*(torch.zeros(0, 0, dtype=torch.long),) * 3)
    found = with_canaries([empty] * 50, canaries, 0.25, np.random.default_rng(0))
    counts = np.zeros(400)
    for batch in found:
        assert batch.canaries is not None
        counts[batch.canaries.places.numpy()] += 1
    assert counts.mean() == pytest.approx(12.5, abs=0.5)
    assert counts.std() == pytest.approx((50 * 0.25 * 0.75) ** 0.5, rel=0.15)
    assert with_canaries([empty], canaries[:1], 0.0, np.random.default_rng(0))[0].canaries is None


def test_a_mechanism_clips_them_like_any_record() -> None:
    """Without noise a canary moves its own parameter by the clip over the rows of a batch, however large it is."""
    stack = [Plugin("dp", partial(DPSGD, epsilon=0.0, clip=0.5))]
    training = replace(GRADIENT, sampling="poisson", batch_size=15)
    moved = {}
    for norm in (0.0, 1e3):
        made = federation(training=training, stack=stack, rounds=1, observe=frozenset({1}))
        made.canaries = (Canary(2, 17, norm),) if norm else ()
        made.rows = [rows[:15] for rows in made.rows]
        outcome, _ = final(made)
        moved[norm] = outcome.observed[1].rows[2].clone()
    apart = moved[1e3] - moved[0.0]
    expected = min(15, len(made.rows[2]))
    assert float(apart[17]) == pytest.approx(0.5 / expected, rel=1e-3)
    assert int((apart.abs() > 1e-7).sum()) == 1
