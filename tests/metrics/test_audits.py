"""Bounds on epsilon: published sizes, a slow reference, and audits of mechanisms whose epsilon is known."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import brentq

from fedsec.metrics.stats import audits

DELTA = 1e-5
CANARIES, TRIALS = 1000, 200


@pytest.mark.parametrize(
    ("sizes", "known"),
    [((1000, 200, 200), 4.17), ((1000, 200, 180), 1.80), ((1000, 200, 140), 0.58), ((200, 40, 36), 1.30)],
)
def test_one_run_has_the_known_sizes(sizes: tuple[int, int, int], known: float) -> None:
    assert audits.one_run(*sizes, DELTA) == pytest.approx(known, abs=0.006)


@pytest.mark.parametrize(("each", "ceiling"), [(50, 2.57), (100, 3.28), (200, 3.98), (500, 4.91), (1000, 5.60)])
def test_the_ceiling_of_counts(each: int, ceiling: float) -> None:
    assert audits.several_runs(each, each, 0, each, DELTA) == pytest.approx(ceiling, abs=0.006)


def _chance(m: int, r: int, v: int, epsilon: float, delta: float) -> float:
    """The p-value as the paper's appendix D writes it, one term after the other."""
    q = 1 / (1 + math.exp(-epsilon))
    alpha = total = 0.0
    for i in range(1, v + 1):
        total += stats.binom.pmf(v - i, r, q)
        alpha = max(alpha, total / i)
    return float(min(1.0, stats.binom.sf(v - 1, r, q) + alpha * delta * 2 * m))


@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 200), st.sampled_from([0.0, 1e-5, 1e-3]))
def test_one_run_solves_the_papers_inequality(r: int, v: int, more: int, delta: float) -> None:
    v = min(v, r)
    found = audits.one_run(r + more, r, v, delta)
    if found == 0.0:
        assert _chance(r + more, r, v, 0.0, delta) >= 0.05 - 1e-9
    else:
        assert _chance(r + more, r, v, found, delta) == pytest.approx(0.05, abs=1e-9)
    assert found <= audits.one_run(r + more, r, r, delta)


def test_refuses_counts_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="have to ascend"):
        audits.one_run(10, 12, 3, DELTA)


@pytest.mark.parametrize("mu", [0.1, 1.0, 3.0])
def test_epsilon_of_mu_is_where_the_gaussian_mechanism_has_delta(mu: float) -> None:
    found = audits.epsilon_of_mu(mu, DELTA)
    delta = stats.norm.cdf(mu / 2 - found / mu) - math.exp(found) * stats.norm.cdf(-mu / 2 - found / mu)
    assert delta == pytest.approx(DELTA, rel=1e-6)
    assert mu != 1.0 or found == pytest.approx(4.3772, abs=1e-4)


def test_the_bound_of_mu_is_the_papers() -> None:
    found = audits.gaussian(45, 50, 5, 50, DELTA)
    most = stats.binomtest(5, 50).proportion_ci(0.95).high  # of misses as of alarms
    assert found == pytest.approx(audits.epsilon_of_mu(-2 * stats.norm.ppf(most), DELTA))
    assert audits.gaussian(50, 50, 0, 50, DELTA) > found > audits.gaussian(45, 50, 5, 50, DELTA, 0.01)
    assert audits.gaussian(5, 50, 45, 50, DELTA) == audits.gaussian(0, 0, 0, 50, DELTA) == 0.0


def _half(scores: np.ndarray, included: np.ndarray, generator: np.random.Generator) -> audits.Counts:
    order = generator.permutation(len(scores))
    return audits.counted(scores, included, order[::2], order[1::2], audits.mu_of)


def test_counts_are_of_others_than_chose_the_threshold() -> None:
    scores, included = np.arange(8.0), np.array([0, 0, 0, 0, 1, 1, 1, 1], dtype=bool)
    found = audits.counted(scores, included, np.array([0, 1, 6, 7]), np.array([2, 3, 4, 5]), audits.mu_of)
    assert found == audits.Counts(hits=0, members=2, alarms=0, others=2)  # the threshold is 6


@pytest.mark.parametrize("made", [lambda draw: np.full(CANARIES, 0.1), lambda draw: np.sign(draw)])
def test_scores_that_are_equal_or_rounded_show_no_more_than_there_is(made: Callable[[Any], Any]) -> None:
    above, true = 0, audits.epsilon_of_mu(3.0, DELTA)
    for seed in range(40):
        generator = np.random.default_rng(seed)
        included = generator.random(CANARIES) < 0.5
        scores = made(generator.normal(size=CANARIES) + 3.0 * (included - 0.5))
        above += audits.gaussian(*_half(scores, included, generator), DELTA) > true
    assert above <= 4


def _mu(epsilon: float) -> float:
    return float(brentq(lambda mu: audits.epsilon_of_mu(mu, DELTA) - epsilon, 1e-3, 20.0)) if epsilon else 0.0


@pytest.mark.parametrize(("epsilon", "median"), [(0, 0.0), (1, 0.23), (2, 0.63), (4, 1.36), (8, 2.78)])
def test_bounds_of_a_gaussian_mechanism(epsilon: float, median: float) -> None:
    generator, mu = np.random.default_rng(epsilon), _mu(epsilon)
    one, normal = [], []
    for _ in range(TRIALS):
        included = generator.random(CANARIES) < 0.5
        scores = generator.normal(size=CANARIES) + mu * included
        one.append(audits.one_run(CANARIES, *audits.guesses_of(scores, included), DELTA))
        normal.append(audits.gaussian(*_half(scores, included, generator), DELTA))
    assert np.mean(np.array(one) > epsilon) <= 0.09
    assert np.mean(np.array(normal) > epsilon) <= 0.10
    assert np.median(one) == pytest.approx(median, abs=0.2)
    assert np.median(normal) >= 0.5 * max(0, epsilon - 2)  # it decides above 4


def test_guesses_take_a_tenth_at_each_end() -> None:
    scores = np.arange(40.0)
    included = scores >= 20
    assert audits.guesses_of(scores, included) == (8, 8)
    assert audits.guesses_of(-scores, included) == (8, 0)
    assert audits.guesses_of(np.zeros(40), included) == (8, 8)  # of equal scores the first count as lower
