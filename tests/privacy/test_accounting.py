"""Accountants against the exact Gaussian, against each other, and against another library."""

from math import inf

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import norm

from fedsec.privacy import accounting
from fedsec.privacy.accounting import PRV_ERROR, Spent, epsilon_of, noise_for

DELTA = 1e-5
GRID = [(0.01, 1.0, 1000), (0.004, 0.6, 2000), (0.2, 2.0, 40), (0.05, 0.8, 100), (0.5, 4.0, 200), (1.0, 5.0, 10)]


def _exact(noise: float, steps: int, delta: float) -> float:
    """Epsilon of the Gaussian mechanism without sampling (Balle and Wang, ICML 2018, theorem 8)."""
    mu = steps**0.5 / noise

    def excess(epsilon: float) -> float:
        # exp(epsilon) Phi(x), in logarithms: epsilon can be large
        return (
            norm.cdf(mu / 2 - epsilon / mu)
            - float(norm.logcdf(-mu / 2 - epsilon / mu) + epsilon > -700)
            * (2.718281828459045 ** (norm.logcdf(-mu / 2 - epsilon / mu) + epsilon))
            - delta
        )

    return float(brentq(excess, 0.0, 1e4)) if excess(0.0) > 0 else 0.0


@pytest.mark.parametrize(("rate", "noise", "steps"), GRID)
def test_prv_is_within_a_hundredth_of_another_librarys_pld(rate: float, noise: float, steps: int) -> None:
    dp = pytest.importorskip("dp_accounting")
    pld = pytest.importorskip("dp_accounting.pld").PLDAccountant()
    event = dp.PoissonSampledDpEvent(rate, dp.GaussianDpEvent(noise)) if rate < 1 else dp.GaussianDpEvent(noise)
    pld.compose(event, steps)
    assert abs(epsilon_of([Spent(noise, rate, steps)], DELTA) - pld.get_epsilon(DELTA)) <= 0.011


@pytest.mark.numeric
@pytest.mark.parametrize(
    ("rate", "noise", "steps", "rdp", "prv"), [(0.01, 1.0, 1000, 2.101, 1.838), (0.004, 0.6, 2000, 5.408, 4.466)]
)
def test_published_values(rate: float, noise: float, steps: int, rdp: float, prv: float) -> None:
    history = [Spent(noise, rate, steps)]
    assert epsilon_of(history, DELTA, "rdp") == pytest.approx(rdp, abs=2e-3)
    assert epsilon_of(history, DELTA) == pytest.approx(prv, abs=2e-3)


@pytest.mark.parametrize(("noise", "steps"), [(1.0, 1), (2.0, 4), (5.0, 10), (0.7, 1), (20.0, 100)])
def test_without_sampling_exact_is_below_prv_is_below_rdp(noise: float, steps: int) -> None:
    history = [Spent(noise, 1.0, steps)]
    exact, prv, rdp = _exact(noise, steps, DELTA), epsilon_of(history, DELTA), epsilon_of(history, DELTA, "rdp")
    assert exact <= prv <= exact + 1.1 * PRV_ERROR
    assert prv <= rdp


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rate=st.sampled_from([0.01, 0.1, 0.5]), noise=st.floats(0.7, 5.0), steps=st.integers(1, 200))
def test_epsilon_moves_as_it_should(rate: float, noise: float, steps: int) -> None:
    def epsilon(noise: float = noise, rate: float = rate, steps: int = steps, delta: float = DELTA) -> float:
        return epsilon_of([Spent(noise, rate, steps)], delta, "rdp")

    here = epsilon()
    assert epsilon(steps=2 * steps) >= here
    assert epsilon(rate=min(1.0, 1.5 * rate)) >= here
    assert epsilon(noise=1.5 * noise) <= here
    assert epsilon(delta=1e-3) <= here
    parts = [Spent(noise, rate, steps // 2), Spent(noise, rate, steps - steps // 2)]
    assert epsilon_of(parts, DELTA, "rdp") == here, "a history in two parts is that history"


def test_nothing_spent_is_nothing_lost_and_no_noise_is_no_bound() -> None:
    assert epsilon_of([], DELTA) == 0
    assert epsilon_of([Spent(1.0, 0.1, 0)], DELTA) == 0
    assert epsilon_of([Spent(0.0, 0.1, 1)], DELTA) == inf
    assert epsilon_of([Spent(1e-3, 0.1, 5), Spent(10.0, 0.1, 5)], DELTA) == inf


@pytest.mark.parametrize("call", [
    lambda: epsilon_of([Spent(1.0, 0.1, 1)], 0.0), lambda: epsilon_of([Spent(1.0, 0.0, 1)], DELTA),
    lambda: epsilon_of([Spent(1.0, 1.1, 1)], DELTA), lambda: epsilon_of([], DELTA, "gdp"),
    lambda: noise_for(0.0, DELTA, 0.1, 1), lambda: noise_for(0.001, DELTA, 0.1, 10),
])  # fmt: skip
def test_what_is_out_of_range_is_refused(call: object) -> None:
    with pytest.raises(ValueError, match=r"delta|rate|accountants|epsilon|noise"):
        call()  # type: ignore[operator]


@pytest.mark.parametrize("epsilon", [1.0, 8.0])
def test_the_noise_for_a_target_meets_it_and_less_would_not(epsilon: float) -> None:
    rate, steps = 64 / 300, 40
    noise = noise_for(epsilon, DELTA, rate, steps)
    assert 0.98 * epsilon <= epsilon_of([Spent(noise, rate, steps)], DELTA) <= epsilon
    assert epsilon_of([Spent(noise / 1.01, rate, steps)], DELTA) > epsilon


def test_noise_is_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = noise_for(8.0, DELTA, 64 / 300, 40)
    monkeypatch.setattr(accounting, "_epsilon", lambda *_: pytest.fail("computed again"))
    assert noise_for(8.0, DELTA, 64 / 300, 40) == first
