"""What the cards of secure aggregation promise, and for whom they do not."""

from typing import Any

import numpy as np
import pytest

from fedsec import registry
from fedsec.api import Population
from fedsec.config.load import load_scenario
from fedsec.defenses.secure_aggregation.secagg.terms import Terms
from fedsec.maths.fixed_point import FixedPoint
from fedsec.plan.cells import expand, population

from .support import Round


def _broken(name: str, clients: int, colluding: int, malicious: int = 0, **params: Any) -> str | None:
    card = registry.defenses().get(name)
    assert card.assumption_broken is not None
    people = Population(clients=clients, declared_malicious=0, malicious=malicious, colluding=colluding)
    return card.assumption_broken(people, card.resolve(params))


def test_up_to_a_third_may_collude_with_the_server_and_malicious_clients_alone_break_nothing() -> None:
    for clients in range(3, 40):
        most = max(c for c in range(clients) if _broken("secagg", clients, c) is None)
        assert most >= clients // 3
    assert "up to 5 clients" in str(_broken("secagg", 12, 6))
    assert _broken("secagg", 12, 0, malicious=6) is None


@pytest.mark.parametrize(("clients", "neighbours", "colluding"), [(30, 8, 6), (30, 8, 12), (12, 20, 4), (40, 20, 5)])
def test_colluders_that_may_surround_a_client_void_the_guarantee_of_neighbourhoods(
    clients: int, neighbours: int, colluding: int
) -> None:
    """Circles drawn one by one, with the rule of the whole round in each neighbourhood."""
    terms, drawn = Round(clients, neighbours=neighbours).terms, np.random.default_rng(0)
    needed, hit, trials = terms.shares_needed, 0, 100
    for trial in range(trials):
        one = Terms(
            session=trial.to_bytes(16, "little"),
            invited=terms.invited,
            threshold=terms.threshold,
            neighbours=neighbours,
            words=1,
            directory=terms.directory,
        )
        told = set(drawn.permutation(clients)[:colluding].tolist())
        told = {terms.invited[place] for place in told}
        honest = [client for client in terms.invited if client not in told]
        near = {client: one.neighbours_of(client, terms.invited) for client in honest}
        hit += any(2 * needed <= len(others) + 1 + len(told & set(others)) for others in near.values())
    broken = _broken("secagg-plus", clients, colluding, neighbours=neighbours)
    assert (broken is not None) == (hit > 0)


def test_one_client_moves_a_mean_n_times_as_far_as_its_range_would_let_it() -> None:
    number = FixedPoint(range=8.0, terms=7, modulus=1 << 32)
    kept, chosen = (float(number.decode(number.centred(np.array([n])), 7.0)) for n in (number.levels, 2**31 - 1))
    assert kept == pytest.approx(8 / 7)
    assert chosen == pytest.approx(8.0)


def test_a_sum_that_is_not_flooded_carries_no_guarantee() -> None:
    assert _broken("he-ckks", 5, 0) is None
    assert "without flooding" in str(_broken("he-ckks", 5, 0, flooding=0))


@pytest.mark.parametrize(("attack", "expected"), [("dager", 6), ("sign-flip", 0)])
def test_colluders_are_those_of_an_attack_at_the_server(attack: str, expected: int) -> None:
    scenario: dict[str, Any] = {
        "schema": 1,
        "name": "test/colluding",
        "summary": "Who tells the server?",
        "model": {"name": "tiny-bert", "tuning": {"kind": "full"}, "width": 16, "layers": 1, "dropout": False},
        "data": {"name": "clinic-notes", "train": 40, "test": 10, "max_tokens": 16},
        "federation": {"clients": 12, "rounds": 1, "batch_size": 2, "learning_rate": 0.1, "update": "gradient"},
        "threat": {"malicious": 3, "colluding": 6},
        "matrix": {"attack": [attack], "defense": ["secagg"]},
    }
    cell = next(c for c in expand(load_scenario(scenario)) if c.attack.name == attack and c.defense)
    assert population(cell).colluding == expected
