"""The pool of candidates: unlike each other and everybody else, before a coin that nothing else depends on."""

from typing import Any

import numpy as np
import pytest

from fedsec.cell.pool import Pool, pool_of
from fedsec.cell.resources import deal
from fedsec.config.load import load_scenario
from fedsec.config.schema import Scenario
from fedsec.data.corpus import Example
from fedsec.data.overlap import Resemblance
from fedsec.errors import FedsecError
from fedsec.seeds import SeedTree

WORDS = [f"w{i}" for i in range(500)]


def _texts(count: int, seed: int = 0) -> list[Example]:
    draw = np.random.default_rng(seed)
    return [Example(" ".join(draw.choice(WORDS, size=10)), i % 2) for i in range(count)]


def _scenario(count: int, inclusion: str = "half", **data: Any) -> Scenario:
    return load_scenario(
        {
            "schema": 1,
            "name": "test/pool",
            "summary": "Who is a member?",
            "model": {"name": "tiny-bert"},
            "data": {"name": "sst2", "candidates": {"count": count, "inclusion": inclusion}, **data},
            "federation": {"clients": 4, "rounds": 1, "learning_rate": 0.1},
            "matrix": {"attack": ["none"], "defense": ["none"]},
        }
    )


def _pool(scenario: Scenario, train: list[Example], seed: int = 0) -> Pool:
    found = pool_of(scenario, train, SeedTree(seed))
    assert found is not None
    return found


def test_half_of_the_candidates_are_members_and_each_row_has_one_place() -> None:
    train = _texts(100)
    pool = _pool(_scenario(40), train)
    assert pool.members.sum() == 20
    assert len({*pool.rows.tolist(), *pool.others.tolist()}) == 100
    withheld = set(pool.rows[~pool.members].tolist())
    assert withheld.isdisjoint(pool.dealt.tolist())
    assert {*pool.dealt.tolist()} | withheld == set(range(100))


def test_coins_are_independent() -> None:
    sizes = [int(_pool(_scenario(40, "coin"), _texts(60), seed).members.sum()) for seed in range(40)]
    assert len(set(sizes)) > 5
    assert 15 < np.mean(sizes) < 25


def test_the_order_of_the_candidates_does_not_depend_on_the_coin() -> None:
    train = _texts(100)
    half, coin = (_pool(_scenario(40, inclusion), train) for inclusion in ("half", "coin"))
    assert half.rows.tolist() == coin.rows.tolist()
    assert half.members.tolist() != coin.members.tolist()


def test_near_duplicates_are_out_on_both_sides() -> None:
    train = _texts(30)
    twins = [Example(f"{row.text.upper()}!", row.label) for row in train]
    pool = _pool(_scenario(30), [*train, *twins])
    chosen = {int(row) % 30 for row in pool.rows}
    assert len(chosen) == 30, "a text and its twin were both chosen"
    assert len(pool.others) == 0, "a candidate's twin was dealt as another row"


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("a b c d e f g h i", "x a b c d e f g h y", True),
        ("a b c d e f g x i", "a b c d e f g h i", False),
        ("a b c d e", "x a b c d e y z", True),
        ("x a b c d e y z", "A, b c d e", True),
        ("a b c", "a b c d", False),
        ("a b c", "A b, c", True),
        ("does n't it hold up", "doesn't it hold up", True),
    ],
)
def test_resemblance_is_symmetric(one: str, other: str, alike: bool) -> None:
    for known, asked in ((one, other), (other, one)):
        found = Resemblance()
        found.add(known)
        assert (asked in found) == alike


def test_too_few_different_rows_are_an_error_with_the_numbers() -> None:
    same = [Example("one two three four five six seven eight", 0)] * 50
    with pytest.raises(FedsecError, match=r"of 50 training rows only 1 do not resemble each other.*count is 10"):
        pool_of(_scenario(10), same, SeedTree(0))


def test_clients_hold_members_and_other_rows_and_the_server_no_candidate() -> None:
    train, scenario = _texts(100), _scenario(40, trusted=10)
    pool = _pool(scenario, train)
    rows, trusted = deal(scenario, train, pool, SeedTree(0))
    held = sorted(int(row) for client in rows for row in client)
    assert len(trusted) == 10
    assert set(trusted.tolist()) <= set(pool.others.tolist())
    assert held == sorted(set(pool.dealt.tolist()) - set(trusted.tolist()))


def test_the_pool_leaves_scenarios_without_one_as_they_were() -> None:
    scenario = _scenario(40)
    bare = scenario.model_copy(update={"data": scenario.data.model_copy(update={"candidates": None})})
    assert pool_of(bare, _texts(10), SeedTree(0)) is None
