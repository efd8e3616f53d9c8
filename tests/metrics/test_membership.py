"""AUC and rates at low false positive rates, against slow references and published statistics."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec.metrics.blind import SPREAD, blind_scores
from fedsec.metrics.membership import auc, auc_interval, membership, of_updates
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
    assert (
        auc_interval(nothing, members, spread=SPREAD).low <= 0.5 <= auc_interval(nothing, members, spread=SPREAD).high
    )


def test_the_blind_attacks_interval_holds_what_other_members_would_have_given() -> None:
    missed = 0
    for seed in range(40):
        draw = np.random.default_rng(seed)
        members = draw.random(120) < 0.5
        blind = blind_scores(_texts(120, np.zeros(120, dtype=bool), draw), members, draw)
        metrics = membership(blind, blind, members)
        found = metrics["membership/blind-auc"]
        assert metrics["membership/auc"].ci_low == found.ci_low  # a blocked attack's
        missed += not found.ci_low <= 0.5 <= found.ci_high
    assert missed <= 4  # without regard to what folds learn of each other: 8


def test_the_blind_attack_says_nothing_where_there_is_nothing_to_learn() -> None:
    assert blind_scores(["a b"] * 4, np.ones(4, dtype=bool), np.random.default_rng(0)).tolist() == [0.0] * 4
    assert len(blind_scores([], np.zeros(0, dtype=bool), np.random.default_rng(0))) == 0


def _about_clients(draw: np.random.Generator, clients: int, spread: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of 40 records about each client, of which it holds 5, and how well they tell differs by client."""
    held = np.zeros((40 + 5 * clients, clients), dtype=bool)
    for client in range(clients):
        held[5 * client : 5 * client + 5, client] = True
    gain = 1.0 + spread * draw.standard_normal(clients)
    return draw.standard_normal(held.shape) + gain * held, held, np.arange(len(held)) >= 5 * clients


def test_scores_about_clients_are_held_against_records_that_nobody_holds() -> None:
    scores, held, withheld = _about_clients(np.random.default_rng(0), 4, 0.0)
    drawn = held & (np.arange(60) % 5 > 0)[:, None]
    found = of_updates(scores, np.zeros(60), drawn, held, withheld)
    own, others = scores[drawn], scores[withheld].ravel()
    slow = (own[:, None] > others).mean()
    value = found["membership/auc"]
    assert value.value == pytest.approx(slow)
    assert value.detail == {"members": 16.0, "others": 160.0, "clients": 4.0}
    assert value.n == 56
    assert found["membership/holdings-auc"].value == pytest.approx((scores[held][:, None] > others).mean())
    assert found["membership/holdings-auc"].chance is None
    assert found["membership/blind-auc"].value == 0.5


def test_intervals_of_scores_about_clients_allow_for_clients_that_differ() -> None:
    """One threshold for clients that are told apart by more and by less: records of one client say less each."""
    from scipy.stats import norm

    draw, covered, rates, tries = np.random.default_rng(3), 0, 0, 100
    area = float(norm.cdf(1.0 / np.sqrt(2 + 0.6**2)))  # of a difference of two scores and of what clients differ by
    for _ in range(tries):
        scores, held, withheld = _about_clients(draw, 8, 0.6)
        found = of_updates(scores, np.zeros(len(scores)), held, held, withheld)
        value, rate = found["membership/auc"], found["membership/tpr@fpr=0.05"]
        assert value.ci_low is not None
        assert value.ci_high is not None
        assert rate.ci_low is not None
        covered += value.ci_low <= area <= value.ci_high
        rates += rate.ci_low <= float(rate.value or 0.0)
    assert covered >= 0.9 * tries
    assert rates == tries
    scores, held, withheld = _about_clients(draw, 8, 0.0)
    narrow = of_updates(scores, np.zeros(len(scores)), held, held, withheld)["membership/auc"]
    plain = auc_interval(scores[held | withheld[:, None]], held[held | withheld[:, None]])
    assert (narrow.ci_high or 0) - (narrow.ci_low or 0) >= 0.9 * (plain.high - plain.low)
