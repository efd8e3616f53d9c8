"""Perplexity and next-token accuracy: their values, their intervals, and models driven to ruin."""

from math import exp, log

import numpy as np
import pytest
from scipy.stats import t as student

from fedsec.api import BetterFor
from fedsec.data.tokens import Tokenised
from fedsec.federation.evaluation import Evaluation, TokenCounts
from fedsec.metrics.utility import LARGEST_LOSS, next_token_accuracy, perplexity, utility


def _counts(nll: list[float], learned: list[int], right: list[int] | None = None) -> TokenCounts:
    return TokenCounts(np.array(nll), np.array(learned), np.array(right or [0] * len(nll)))


def _generator() -> np.random.Generator:
    return np.random.default_rng(0)


def test_perplexity_weighs_tokens_and_not_texts() -> None:
    found = perplexity(_counts([10 * log(2), 2 * log(50)], [10, 2]), _generator())
    assert found.value == pytest.approx((2**10 * 50**2) ** (1 / 12))
    assert (found.unit, found.better_for, found.n) == ("perplexity", BetterFor.ATTACKER, 2)


def test_guessing_among_all_words_has_their_number_as_perplexity() -> None:
    found = perplexity(_counts([5 * log(2000), 9 * log(2000)] * 20, [5, 9] * 20), _generator())
    assert (found.value, found.ci_low, found.ci_high) == pytest.approx((2000, 2000, 2000))


def test_few_texts_take_students_t_of_the_ratio() -> None:
    sums, sizes = np.array([4.0, 9.0, 5.0, 7.0]), np.array([2, 3, 2, 4])
    found = perplexity(TokenCounts(sums, sizes, sizes), _generator())
    mean = sums.sum() / sizes.sum()
    half = student.ppf(0.975, 3) * np.sqrt(4 / 3 * ((sums - mean * sizes) ** 2).sum()) / sizes.sum()
    assert (found.ci_low, found.ci_high) == pytest.approx((exp(mean - half), exp(mean + half)))
    assert found.method == "t-texts"


def test_many_texts_are_resampled_by_the_generator_given() -> None:
    draws = np.random.default_rng(5)
    sizes = draws.integers(5, 60, size=100)
    nll = sizes * draws.normal(3.0, 0.5, size=100)
    counts = TokenCounts(nll, sizes, sizes // 2)
    first, again = perplexity(counts, _generator()), perplexity(counts, _generator())
    assert first == again
    assert first.method == "bootstrap-texts"
    other = perplexity(counts, np.random.default_rng(1))
    assert (other.ci_low, other.ci_high) != (first.ci_low, first.ci_high)
    assert first.ci_low is not None
    assert first.ci_high is not None
    assert 1.0 <= first.ci_low < first.value < first.ci_high
    # The delta method's width for a ratio over independent texts.
    mean = nll.sum() / sizes.sum()
    spread = 1.96 * np.sqrt(((nll - mean * sizes) ** 2).sum()) / sizes.sum()
    assert log(first.ci_high / first.ci_low) == pytest.approx(2 * spread, rel=0.1)


@pytest.mark.parametrize("texts", [8, 60])
def test_the_interval_holds_the_truth_as_often_as_it_says(texts: int) -> None:
    """Token likelihoods vary by text, so that intervals over tokens would be far too narrow."""
    hits, trials = 0, 200
    for trial in range(trials):
        draws = np.random.default_rng(trial)
        sizes = draws.integers(20, 40, size=texts)
        nll = sizes * draws.normal(3.0, 0.5, size=texts)
        found = perplexity(TokenCounts(nll, sizes, sizes), draws)
        assert found.ci_low is not None
        assert found.ci_high is not None
        hits += found.ci_low <= exp(3.0) <= found.ci_high
    assert 0.88 <= hits / trials <= 0.99


def test_one_text_says_nothing_of_others() -> None:
    counts = _counts([6.0], [3], [1])
    found, share = perplexity(counts, _generator()), next_token_accuracy(counts, _generator())
    assert (found.value, found.ci_low, found.ci_high) == (exp(2.0), 1.0, exp(LARGEST_LOSS))
    assert (share.value, share.ci_low, share.ci_high) == (1 / 3, 0.0, 1.0)


@pytest.mark.parametrize("nll", [np.inf, 1e30, 3 * LARGEST_LOSS])
@pytest.mark.parametrize("texts", [1, 5, 40])
def test_a_ruined_model_has_the_largest_perplexity_that_can_be_written(nll: float, texts: int) -> None:
    found = perplexity(_counts([nll] * texts, [3] * texts), _generator())
    assert found.value == pytest.approx(exp(LARGEST_LOSS))
    assert found.as_json()["ci_high"] <= exp(LARGEST_LOSS)


@pytest.mark.parametrize("right", [0, 3])
def test_texts_that_all_agree_leave_room_for_others(right: int) -> None:
    found = next_token_accuracy(_counts([1.0] * 30, [3] * 30, [right] * 30), _generator())
    assert found.method == "wilson-texts"
    assert found.ci_low is not None
    assert found.ci_high is not None
    assert found.ci_high - found.ci_low > 0.05
    assert found.ci_low <= found.value <= found.ci_high


def test_each_task_has_its_own_metrics() -> None:
    classified = Evaluation(np.array([True, False, True]), 0.5)
    rows = Tokenised([[1], [1], [1]], np.array([1, 0, 1]))
    known = utility(classified, rows, _generator())
    assert set(known) == {"utility/accuracy"}
    assert known["utility/accuracy"].baseline == pytest.approx(2 / 3), "two of three rows are of class 1"
    assert classified.accuracy == pytest.approx(2 / 3)
    written = Evaluation(np.zeros(0, dtype=bool), 2.0, _counts([4.0, 2.0], [2, 1], [1, 0]))
    texts = Tokenised([[9, 5, 5], [9, 5]], np.array([0, 0]), np.array([1, 1]))
    found = utility(written, texts, _generator())
    assert found["utility/next-token-accuracy"].baseline == 1.0, "the only learned token is the commonest"
    assert set(found) == {"utility/perplexity", "utility/next-token-accuracy"}
    assert written.accuracy == pytest.approx(1 / 3)
