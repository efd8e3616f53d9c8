"""IPM and ALIE: exact vectors in plain numpy, whom they fool, and what colluders may know."""

from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec import registry
from fedsec.attacks.byzantine.alie import ALittleIsEnough, unsuspicious
from fedsec.attacks.byzantine.ipm import InnerProductManipulation
from fedsec.attacks.byzantine.known_rows import CHUNK, mean_and_deviation
from fedsec.defenses.aggregation.krum import Krum
from fedsec.maths.rows import Rows

from .colluders import by_weights, honest, sent, update, view

OWN, BENIGN = honest(3, seed=1), honest(7, seed=2)
ATTACKS = [InnerProductManipulation(epsilon=0.5), ALittleIsEnough(z=1.5), ALittleIsEnough()]


def _slow(attack: Any, known: torch.Tensor, n: int, f: int) -> np.ndarray:
    rows = known.double().numpy()
    mean = rows.sum(axis=0) / len(rows)
    if isinstance(attack, InnerProductManipulation):
        return -attack.epsilon * mean
    deviation = np.sqrt(((rows - mean) ** 2).sum(axis=0) / len(rows))  # divided by the number of rows
    s = n // 2 + 1 - f
    return mean - (attack.z or NormalDist().inv_cdf((n - f - s) / (n - f))) * deviation


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("granted", [True, False])
def test_the_vector_is_the_papers_of_what_the_colluders_know(attack: Any, granted: bool) -> None:
    known = BENIGN if granted else OWN
    found = sent(attack, view(OWN, BENIGN if granted else None))
    torch.testing.assert_close(found.double().numpy(), _slow(attack, known, 10, 3), rtol=1e-6, atol=1e-7)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 6), st.integers(1, 9), st.floats(1e-3, 10), st.integers(0, 10_000))
def test_ipm_stands_against_the_mean_of_what_is_known(known: int, parameters: int, epsilon: float, seed: int) -> None:
    rows = honest(known, parameters, seed)
    mean = rows.double().mean(dim=0)
    found = sent(InnerProductManipulation(epsilon=epsilon), view(rows[:1], rows)).double()
    assert float(found @ mean) < 0
    torch.testing.assert_close(found.norm(), epsilon * mean.norm(), rtol=1e-6, atol=0.0)


def test_krum_keeps_a_small_ipm_and_refuses_a_large_one() -> None:
    """7 honest rows at a distance of about 6 from each other; the negated mean at 0.1 lies between them all."""
    for epsilon, fooled in ((0.1, True), (100.0, False)):
        crafted = sent(InnerProductManipulation(epsilon=epsilon), view(OWN, BENIGN))
        rows = Rows(torch.cat([BENIGN, crafted.repeat(2, 1)]))
        weights = by_weights(Krum(), 2)(rows).weights
        assert weights is not None
        assert (int(weights.argmax()) >= 7) is fooled


@pytest.mark.parametrize(
    ("n", "f", "z"),
    [
        (50, 24, 1.4261),  # s = 2: 24/26
        (51, 24, 1.4461),  # s = 2: 25/27
        (50, 10, 0.2533),  # s = 16: 24/40
        (51, 12, 0.3612),  # s = 14: 25/39
        (25, 5, 0.2533),  # s = 8: 12/20
        (20, 4, 0.1573),  # s = 7: 9/16
        (10, 3, 0.1800),  # s = 3: 4/7
        (7, 3, 0.6745),  # s = 1: 3/4
        (7, 1, 0.0),  # s = 3: 3/6
        (20, 2, 0.0),  # s = 9: 9/18
        (10, 1, 0.0),  # s = 5: 4/9, below the mean
        (10, 6, 0.6745),  # s = 0 is infinite: as if one supporter were needed, 3/4
        (10, 9, 0.0),  # a single honest row
        (1, 1, 0.0),
        (3, 3, 0.0),
    ],
)
def test_z_is_the_papers_to_the_normal_table(n: int, f: int, z: float) -> None:
    assert unsuspicious(n, f) == pytest.approx(z, abs=5e-5)


def test_alie_lies_within_the_honest_spread_where_sign_and_size_are_ordinary() -> None:
    z = unsuspicious(10, 3)
    off = (sent(ALittleIsEnough(), view(OWN, BENIGN)).double() - BENIGN.double().mean(dim=0)).abs()
    _, deviation = mean_and_deviation(BENIGN)
    assert bool((off <= z * deviation * (1 + 1e-6) + 1e-6).all())
    assert bool((off > 0).all())


def test_alie_without_the_number_of_clients_needs_a_z() -> None:
    with pytest.raises(ValueError, match="number of clients"):
        ALittleIsEnough().on_update(update(OWN[0]), view(OWN, cohort=0))
    assert sent(ALittleIsEnough(z=1.0), view(OWN, cohort=0)).isfinite().all()


def test_with_one_known_row_alie_is_that_row() -> None:
    assert torch.equal(sent(ALittleIsEnough(z=3.0), view(OWN[:1])), OWN[0])


def test_mean_and_deviation_do_not_depend_on_chunks() -> None:
    rows = honest(3, 2 * CHUNK + 5)
    mean, deviation = mean_and_deviation(rows)
    assert torch.equal(mean, rows.double().mean(dim=0))
    torch.testing.assert_close(deviation, rows.double().std(dim=0, correction=0), rtol=1e-12, atol=0.0)


@pytest.mark.parametrize("attack", ATTACKS)
def test_all_colluders_send_one_vector_and_the_next_round_has_its_own(attack: Any) -> None:
    seen = view(OWN, BENIGN)
    first = attack.on_update(update(OWN[0]), seen)
    second = attack.on_update(update(OWN[1]), seen)
    assert torch.equal(first.vector, second.vector)
    assert first.vector.data_ptr() != second.vector.data_ptr()
    later = view(OWN, BENIGN * 2, round=2, blackboard=seen.blackboard)
    assert not torch.equal(attack.on_update(update(OWN[0]), later).vector, first.vector)
    fresh = view(OWN, BENIGN * 2, round=2)  # resumed, or the first colluder of that round
    assert torch.equal(attack.on_update(update(OWN[0]), later).vector, attack.on_update(update(OWN[0]), fresh).vector)


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_that_is_handed_over_changes(attack: Any) -> None:
    own, benign = OWN.clone(), BENIGN.clone()
    seen, given_update = view(own, benign), update(OWN[0])
    attack.on_update(given_update, seen)
    assert torch.equal(own, OWN)
    assert torch.equal(benign, BENIGN)
    assert torch.equal(given_update.vector, OWN[0])


@pytest.mark.parametrize("attack", ATTACKS)
def test_rows_that_no_server_takes_are_left_out(attack: Any) -> None:
    spoilt = OWN.clone()
    spoilt[1, 3] = float("nan")
    assert torch.equal(sent(attack, view(spoilt)), sent(attack, view(OWN[[0, 2]], colluders=(0, 1, 2))))
    nothing = torch.full_like(OWN, float("inf"))
    assert torch.equal(sent(attack, view(nothing)), nothing[0])  # it sends what it has
    assert torch.equal(sent(attack, view(OWN, BENIGN[:0])), sent(attack, view(OWN)))


@pytest.mark.parametrize(("name", "values"), [("ipm", {"epsilon": 10}), ("alie", {"z": 1})])
def test_the_card_builds_it_and_refuses_nonsense(name: str, values: dict[str, Any]) -> None:
    card = registry.attacks().get(name)
    made = registry.load_target(card)(**card.resolve(values))
    assert made in (InnerProductManipulation(epsilon=10.0), ALittleIsEnough(z=1.0))
    (parameter,) = card.parameters
    for value in (-0.1, 2e6, float("nan"), "1", None):
        assert parameter.problem(value) is not None
