"""The ledger adds up what was spent, over rounds and interruptions, and promises nothing where something voids it."""

from math import inf, nan
from typing import Any

import pytest

from fedsec.api import Calibrated, GaussianMechanism, Position, PrivacyTerms, Unit
from fedsec.privacy.accounting import Spent, epsilon_of
from fedsec.privacy.ledger import Ledger

TERMS = PrivacyTerms(sampling_rate=0.2, steps=10, expected_rows=8)
NOISY = GaussianMechanism(noise_multiplier=2.0)


def _ledger(*clients: int, sampling: str = "poisson", noise: float = 2.0, **rest: Any) -> Ledger:
    ledger = Ledger(sampling, **rest)
    for client in clients:
        mechanism = GaussianMechanism(noise_multiplier=noise)
        ledger.open(client, "dp", TERMS, Calibrated(mechanism=mechanism, delta=1e-5))
    return ledger


def _spent(ledger: Ledger, client: int, times: int, noise: float = 2.0) -> Ledger:
    for _ in range(times):
        ledger.spend(client, "dp", GaussianMechanism(noise_multiplier=noise))
    return ledger


def test_disjoint_clients_cost_what_the_one_that_spent_most_did() -> None:
    ledger = _spent(_spent(_ledger(0, 1, 2), 0, 3), 1, 7)
    found = ledger.guarantee({0, 1, 2})
    assert found is not None
    assert found.epsilon == epsilon_of([Spent(2.0, 0.2, 7)], 1e-5)
    assert found.rdp == epsilon_of([Spent(2.0, 0.2, 7)], 1e-5, "rdp")
    assert (found.unit, found.delta, found.sampling, found.void) == (Unit.RECORD, 1e-5, "poisson", ())
    assert {Position.SERVER, Position.WIRE, Position.CLIENT, Position.RELEASED_MODEL} <= set(found.against)
    without = ledger.guarantee({0, 2})
    assert without is not None
    assert without.epsilon == epsilon_of([Spent(2.0, 0.2, 3)], 1e-5), "a client that is not covered counts for nothing"


def test_what_was_spent_over_rounds_adds_up_and_survives_an_interruption() -> None:
    whole = _spent(_ledger(0), 0, 10)
    first = _spent(_ledger(0), 0, 4)
    second = _ledger(0)
    second.load_state(first.state())
    assert _spent(second, 0, 6).guarantee({0}) == whole.guarantee({0})
    assert whole.guarantee({0}) != first.guarantee({0}), "an accountant that forgets rounds would say so"


def test_a_mechanism_that_runs_twice_in_a_step_spends_twice() -> None:
    once, twice = _spent(_ledger(0), 0, 5).guarantee({0}), _spent(_ledger(0), 0, 10).guarantee({0})
    assert once is not None
    assert twice is not None
    assert twice.epsilon > once.epsilon  # type: ignore[operator]


@pytest.mark.parametrize(
    ("ledger", "reason"),
    [
        (lambda: _spent(_ledger(0, sampling="fixed"), 0, 3), "set federation.sampling to poisson"),
        (lambda: _spent(_ledger(0, noise=0.0), 0, 3, noise=0.0), "no noise was added"),
        (lambda: _spent(_spent(_ledger(0), 0, 3), 0, 1, noise=0.0), "no noise was added"),
        (lambda: _spent(_ledger(0, void=["pinned"]), 0, 3), "pinned"),
        (lambda: _spent(_ledger(0, noise=1e-4), 0, 3, noise=1e-4), "too small"),
    ],
    ids=["fixed", "no noise", "no noise once", "scenario", "tiny noise"],
)
def test_what_voids_a_guarantee_is_said(ledger: Any, reason: str) -> None:
    found = ledger().guarantee({0})
    assert found.epsilon is None
    assert found.rdp is None
    assert found.against == ()
    assert reason in "; ".join(found.void)
    assert found.as_json()["epsilon"] is None


def test_fixed_batches_of_all_rows_are_what_poisson_batches_of_rate_1_are() -> None:
    ledger = Ledger("fixed")
    terms = PrivacyTerms(sampling_rate=1.0, steps=3, expected_rows=8)
    ledger.open(0, "dp", terms, Calibrated(mechanism=NOISY, delta=1e-5))
    found = _spent(ledger, 0, 3).guarantee({0})
    assert found is not None
    assert found.epsilon == epsilon_of([Spent(2.0, 1.0, 3)], 1e-5)


def test_two_mechanisms_of_a_client_compose() -> None:
    ledger = _ledger(0)
    ledger.open(0, "more", TERMS, Calibrated(mechanism=NOISY, delta=1e-5))
    _spent(ledger, 0, 3)
    ledger.spend(0, "more", NOISY)
    found = ledger.guarantee({0})
    assert found is not None
    assert found.epsilon == epsilon_of([Spent(2.0, 0.2, 4)], 1e-5)


def test_records_and_clients_are_never_mixed() -> None:
    ledger = _ledger(0)
    mechanism = GaussianMechanism(noise_multiplier=2.0, unit=Unit.CLIENT)
    ledger.open(0, "server", TERMS, Calibrated(mechanism=mechanism, delta=1e-5))
    found = _spent(ledger, 0, 1).guarantee({0})
    assert found is not None
    assert "not composed" in found.void[0]


def test_no_mechanism_no_promise() -> None:
    assert Ledger("poisson").guarantee({0, 1}) is None
    assert _ledger(3).guarantee({0}) is None
    assert Ledger("poisson").noise_over_signal(100, 10, 5) is None


def test_spending_that_nobody_announced_is_refused() -> None:
    ledger = _ledger(0)
    with pytest.raises(ValueError, match="before training"):
        ledger.spend(1, "dp", NOISY)
    with pytest.raises(ValueError, match="before training it said a record"):
        ledger.spend(0, "dp", GaussianMechanism(noise_multiplier=2.0, unit=Unit.CLIENT))
    for noise in (nan, inf, -1.0):
        with pytest.raises(ValueError, match="at least 0"):
            ledger.spend(0, "dp", GaussianMechanism(noise_multiplier=noise))
    with pytest.raises(ValueError, match="delta"):
        ledger.open(0, "dp", TERMS, Calibrated(mechanism=NOISY, delta=0.0))


@pytest.mark.parametrize(
    "spent", [[[7, "dp", 2.0, 1]], [[0, "other", 2.0, 1]], [[0, "dp", 2.0, 0]], [[0, "dp", 2.0, True]]]
)
def test_a_state_of_other_mechanisms_is_refused(spent: Any) -> None:
    with pytest.raises(ValueError, match="other mechanisms"):
        _ledger(0).load_state({"spent": spent})


def test_the_ratio_of_noise_to_signal() -> None:
    """A step: z C sqrt(d) / B against C; a round of K clients and T steps averages noise by sqrt(K T)."""
    assert _ledger(0).noise_over_signal(10_000, 1, 1) == pytest.approx(2.0 * 100 / 8)
    assert _ledger(0).noise_over_signal(10_000, 10, 5) == pytest.approx(2.0 * 100 / 8 / 50**0.5)
