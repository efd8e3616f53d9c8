"""AUC and rates at low false positive rates, against slow references and published statistics."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec.metrics.blind import blind_scores
from fedsec.metrics.membership import auc, auc_interval, membership
from fedsec.metrics.stats.intervals import clopper_pearson


def _slow_auc(scores: np.ndarray, members: np.ndarray) -> float:
    pairs = [(a, b) for a in scores[members] for b in scores[~members]]
    return sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs) / len(pairs)


_LABELLED = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=4, max_size=40).filter(
    lambda rows: 0 < sum(own for _, own in rows) < len(rows)
)


@given(_LABELLED)
@settings(deadline=None, max_examples=60)
def test_the_auc_is_the_share_of_pairs_in_order(rows: list[tuple[int, bool]]) -> None:
    scores, members = np.array([float(s) for s, _ in rows]), np.array([m for _, m in rows])
    assert auc(scores, members) == pytest.approx(_slow_auc(scores, members))
    assert auc(-scores, members) == pytest.approx(1 - auc(scores, members))
    interval = auc_interval(scores, members)
    assert 0 <= interval.low <= auc(scores, members) <= interval.high <= 1


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    draw, shift = np.random.default_rng(0), 0.8
    from scipy.stats import norm

    truth = float(norm.cdf(shift / np.sqrt(2)))
    members = np.arange(200) < 100
    covered = 0
    for _ in range(400):
        scores = draw.standard_normal(200) + shift * members
        interval = auc_interval(scores, members)
        covered += interval.low <= truth <= interval.high
    assert 370 <= covered <= 396, "95 % of 400, give or take three standard deviations"


def test_delongs_variance_is_that_of_a_bootstrap() -> None:
    draw = np.random.default_rng(1)
    members = np.arange(300) < 150
    scores = draw.standard_normal(300) + 0.7 * members
    own, other = scores[members], scores[~members]
    again = [_fast(draw.choice(own, len(own)), draw.choice(other, len(other))) for _ in range(2000)]
    interval = auc_interval(scores, members)
    assert (interval.high - interval.low) / 2 == pytest.approx(1.96 * np.std(again), rel=0.08)


def _fast(own: np.ndarray, other: np.ndarray) -> float:
    return float((own[:, None] > other).mean() + 0.5 * (own[:, None] == other).mean())


def test_a_perfect_separation_leaves_room_for_what_was_not_drawn() -> None:
    members = np.arange(20) < 10
    interval = auc_interval(members.astype(float), members)
    assert interval.high == 1.0
    assert interval.low == pytest.approx(0.85)


def test_rates_say_what_false_positive_rate_they_realise() -> None:
    members = np.arange(300) < 100
    scores = np.where(members, np.linspace(0, 2, 300)[::-1], np.linspace(0, 1, 300))
    value = membership(scores, np.zeros(300), members)["membership/tpr@fpr=0.01"]
    detail = value.detail
    assert detail is not None
    others, own = scores[~members], scores[members]
    assert detail["realised-fpr"] == np.mean(others >= detail["threshold"]) <= 0.01
    assert value.value == np.mean(own >= detail["threshold"])
    exact = clopper_pearson(int(detail["true-positives"]), 100)
    assert (value.ci_low, value.ci_high) == (exact.low, exact.high)


@given(_LABELLED, st.sampled_from([0.01, 0.05]))
@settings(deadline=None, max_examples=60)
def test_no_threshold_gives_more_at_that_false_positive_rate(rows: list[tuple[int, bool]], rate: float) -> None:
    scores, members = np.array([float(s) for s, _ in rows]), np.array([m for _, m in rows])
    value = membership(scores, scores, members)[f"membership/tpr@fpr={rate:g}"]
    best = 0.0
    for cut in [*np.unique(scores), np.inf]:
        if np.mean(scores[~members] >= cut) <= rate:
            best = max(best, float(np.mean(scores[members] >= cut)))
    assert value.value == pytest.approx(best)


def test_one_kind_alone_gives_no_value() -> None:
    found = membership(np.zeros(5), np.zeros(5), np.ones(5, dtype=bool))
    assert {value.value for value in found.values()} == {None}


def test_chance_is_what_the_blind_attack_gets_where_that_is_more() -> None:
    members = np.arange(40) < 20
    seeing, blind = members + 0.0, np.where(np.arange(40) < 30, members + 0.0, 0.5)
    value = membership(seeing, blind, members)["membership/auc"]
    assert value.chance == value.baseline == pytest.approx(auc(blind, members))
    assert value.chance > 0.5
    assert membership(seeing, -blind, members)["membership/auc"].chance == 0.5


WORDS = [f"w{i}" for i in range(300)]


def _texts(count: int, marked: np.ndarray, draw: np.random.Generator) -> list[str]:
    return [" ".join([*draw.choice(WORDS, 8), "tell" if mark else ""]) for mark in marked[:count]]


def test_the_blind_attack_finds_what_words_give_away_and_nothing_else() -> None:
    draw, members = np.random.default_rng(0), np.arange(200) % 2 == 0
    telling = blind_scores(_texts(200, members, draw), members, np.random.default_rng(1))
    assert auc(telling, members) > 0.95
    nothing = blind_scores(_texts(200, np.zeros(200, dtype=bool), draw), members, np.random.default_rng(1))
    assert auc_interval(nothing, members).low <= 0.5 <= auc_interval(nothing, members).high


def test_the_blind_attack_says_nothing_where_there_is_nothing_to_learn() -> None:
    assert blind_scores(["a b"] * 4, np.ones(4, dtype=bool), np.random.default_rng(0)).tolist() == [0.0] * 4
    assert len(blind_scores([], np.zeros(0, dtype=bool), np.random.default_rng(0))) == 0
