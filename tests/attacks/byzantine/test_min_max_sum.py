"""Min-Max and Min-Sum: closed forms against bisection, and the constraint on the very vector that is sent."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec import registry
from fedsec.attacks.byzantine import min_max, min_sum
from fedsec.attacks.byzantine.known_rows import CHUNK
from fedsec.attacks.byzantine.min_max import MinMax
from fedsec.attacks.byzantine.min_sum import MinSum
from fedsec.attacks.byzantine.perturbation import DIRECTIONS, spread

from .colluders import honest, sent, update, view

METHODS = [(MinMax, min_max.gamma, np.max), (MinSum, min_sum.gamma, np.sum)]
rows_of = st.builds(
    honest,
    known=st.integers(2, 7),
    parameters=st.integers(1, 12),
    seed=st.integers(0, 10_000),
    spread=st.sampled_from([1e-4, 1.0, 1e3]),
    shift=st.sampled_from([0.0, 1.0, 30.0]),
)


def _between(rows: np.ndarray, vector: np.ndarray) -> np.ndarray:
    return np.array([((row - vector) ** 2).sum() for row in rows])


def _bound(rows: np.ndarray, measure: Callable[[np.ndarray], float]) -> float:
    return max(float(measure(_between(rows, row))) for row in rows)


def _direction(rows: np.ndarray, name: str) -> np.ndarray:
    mean = rows.mean(axis=0)
    return {"unit-vec": -mean / np.linalg.norm(mean), "std": -rows.std(axis=0), "sign": -np.sign(mean)}[name]


def _bisected(rows: np.ndarray, push: np.ndarray, measure: Callable[[np.ndarray], float]) -> float:
    """As the paper searches: the largest gamma within the constraint, to the last bit."""
    mean, bound, low, high = rows.mean(axis=0), _bound(rows, measure), 0.0, 1.0
    while measure(_between(rows, mean + high * push)) <= bound:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if measure(_between(rows, mean + middle * push)) <= bound else (low, middle)
    return low


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(("_", "gamma", "measure"), METHODS)
@settings(deadline=None, max_examples=25)
@given(rows=rows_of)
def test_the_closed_form_is_where_bisection_ends(
    _: Any, gamma: Callable[..., float], measure: Callable[[np.ndarray], float], direction: str, rows: torch.Tensor
) -> None:
    plain = rows.double().numpy()
    push = _direction(plain, direction)
    found = spread(rows, direction)
    length = gamma(found, _bound(plain, measure))  # along p of length 1
    # Bisection can tell a distance only to the last digit of what it is compared with.
    scale = np.sqrt(_bound(plain, measure))
    assert length == pytest.approx(_bisected(plain, push, measure) * np.linalg.norm(push), rel=1e-9, abs=1e-7 * scale)


def test_the_closed_form_is_bisections_to_ten_digits_where_digits_are_to_be_had() -> None:
    for seed in range(20):
        rows = honest(8, 40, seed)
        plain = rows.double().numpy()
        for direction in DIRECTIONS:
            push = _direction(plain, direction)
            for _, gamma, measure in METHODS:
                length = gamma(spread(rows, direction), _bound(plain, measure))
                assert length == pytest.approx(_bisected(plain, push, measure) * np.linalg.norm(push), rel=1e-10)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(("attack", "_", "measure"), METHODS)
@settings(deadline=None, max_examples=50)
@given(rows=rows_of)
def test_the_constraint_holds_for_what_is_sent(
    attack: Any, _: Any, measure: Callable[[np.ndarray], float], direction: str, rows: torch.Tensor
) -> None:
    crafted = sent(attack(direction=direction), view(rows[:1], rows)).double().numpy()
    plain = rows.double().numpy()
    assert measure(_between(plain, crafted)) <= _bound(plain, measure)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(("attack", "_", "measure"), METHODS)
def test_and_there_is_nothing_to_be_had_beyond_it(
    attack: Any, _: Any, measure: Callable[[np.ndarray], float], direction: str
) -> None:
    rows = honest(6)
    plain = rows.double().numpy()
    mean = plain.mean(axis=0)
    crafted = sent(attack(direction=direction), view(rows[:1], rows)).double().numpy()
    assert measure(_between(plain, mean + 1.0001 * (crafted - mean))) > _bound(plain, measure)
    along = (crafted - mean) @ _direction(plain, direction)
    assert along == pytest.approx(np.linalg.norm(crafted - mean) * np.linalg.norm(_direction(plain, direction)))


@pytest.mark.parametrize("attack", [MinMax, MinSum])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_where_rows_do_not_differ_they_are_sent_as_they_are(attack: Any, direction: str) -> None:
    row = honest(1)
    assert torch.equal(sent(attack(direction=direction), view(row)), row[0])
    assert torch.equal(sent(attack(direction=direction), view(row.repeat(3, 1))), row[0])
    zero = torch.zeros(3, 5)
    assert torch.equal(sent(attack(direction=direction), view(zero)), zero[0])


@pytest.mark.parametrize("attack", [MinMax, MinSum])
def test_rows_one_rounding_apart_keep_the_bound(attack: Any) -> None:
    rows = honest(1).repeat(3, 1)
    rows[1] = torch.nextafter(rows[1], torch.tensor(torch.inf))
    crafted = sent(attack(), view(rows[:1], rows)).double().numpy()
    plain, measure = rows.double().numpy(), np.max if attack is MinMax else np.sum
    assert measure(_between(plain, crafted)) <= _bound(plain, measure)


@pytest.mark.parametrize("attack", [MinMax, MinSum])
def test_chunks_inputs_and_knowledge(attack: Any) -> None:
    own, benign = honest(2, CHUNK + 3, seed=1), honest(4, CHUNK + 3, seed=2)
    kept = own.clone(), benign.clone()
    crafted = sent(attack(), view(own, benign))
    assert torch.equal(own, kept[0])
    assert torch.equal(benign, kept[1])
    assert torch.equal(crafted, sent(attack(), view(own, benign)))
    assert not torch.equal(crafted, sent(attack(), view(own)))
    whole = spread(benign, "std")
    torch.testing.assert_close(whole.between, torch.cdist(benign.double(), benign.double()).square())


@pytest.mark.parametrize("name", ["min-max", "min-sum"])
def test_the_card_knows_the_directions(name: str) -> None:
    card = registry.attacks().get(name)
    (parameter,) = card.parameters
    assert parameter.choices == DIRECTIONS
    made = registry.load_target(card)(**card.resolve({"direction": "sign"}))
    assert made in (MinMax(direction="sign"), MinSum(direction="sign"))
    assert made.on_update(update(honest(2)[0]), view(honest(2))).examples == 7
