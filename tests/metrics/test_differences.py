"""Differences: against published tables, scipy, slow references and simulation, and at their extremes."""

from collections.abc import Sequence
from itertools import combinations
from math import inf, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import nct, t, ttest_ind, ttest_rel

from fedsec.metrics.stats.differences import (
    Difference,
    Measured,
    difference,
    holm,
    paired,
    power_of,
    smallest_resolved,
    smallest_resolved_rate,
    unpaired,
)
from fedsec.metrics.stats.intervals import wilson


def _rate(successes: int, trials: int, rows: np.ndarray | None = None) -> Measured:
    ends = wilson(successes, trials)
    return Measured(successes / trials, ends.low, ends.high, trials, fraction=True, wilson=True, rows=rows)


def _plain(value: float, half: float = 0.0) -> Measured:
    """A quantity that is no fraction."""
    return Measured(value, value - half, value + half, 100, fraction=False)


def _ends(found: Difference, confidence: float = 0.95) -> tuple[float, float]:
    ends = found.interval(confidence)
    assert ends is not None
    return ends


def _of_rows(first: np.ndarray, second: np.ndarray) -> tuple[Measured, Measured]:
    return tuple(_rate(int(rows.sum()), len(rows), rows.astype(float)) for rows in (first, second))  # type: ignore[return-value]


def _table(both: int, first: int, second: int, neither: int) -> tuple[Measured, Measured]:
    """Rows that both got right, the first alone, the second alone, neither."""
    counts = [both, first, second, neither]
    return _of_rows(np.repeat([1, 1, 0, 0], counts), np.repeat([1, 0, 1, 0], counts))


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        ((56, 70), (48, 80), (0.0524, 0.3339)),
        ((9, 10), (3, 10), (0.1705, 0.8090)),
        ((6, 7), (2, 7), (0.0582, 0.8062)),
        ((5, 56), (0, 29), (-0.0381, 0.1926)),
        ((0, 10), (0, 20), (-0.1611, 0.2775)),
        ((0, 10), (0, 10), (-0.2775, 0.2775)),
        ((10, 10), (0, 20), (0.6791, 1.0)),
        ((10, 10), (0, 10), (0.6075, 1.0)),
    ],
)
def test_two_rates_have_newcombes_published_interval(
    new: tuple[int, int], old: tuple[int, int], expected: tuple[float, float]
) -> None:
    """Statistics in Medicine 17:873 (1998), table II, method 10."""
    found = unpaired([_rate(*new)], [_rate(*old)])
    assert found.interval() == pytest.approx(expected, abs=6e-5)
    assert found.method == "newcombe"


@pytest.mark.parametrize(
    ("counts", "expected"),
    [((36, 12, 2, 0), (0.0569, 0.3404)), ((18, 12, 2, 18), (0.0562, 0.3290)), ((53, 0, 0, 1), (-0.0729, 0.0729))],
)
def test_paired_rates_have_newcombes_published_interval(
    counts: tuple[int, int, int, int], expected: tuple[float, float]
) -> None:
    """Statistics in Medicine 17:2635 (1998), method 10."""
    new, old = _table(*counts)
    found = paired([new], [old])
    assert found.interval() == pytest.approx(expected, abs=6e-5)
    assert (found.method, found.n) == ("newcombe-rows", sum(counts))


@pytest.mark.parametrize(("low", "high", "trials"), [(0.25, 0.40, 152), (0.60, 0.70, 356), (0.05, 0.10, 435)])
def test_what_rates_resolve_is_the_textbooks_sample_size(low: float, high: float, trials: int) -> None:
    """Sizes that two-sided tests at 0.05 need for a power of 0.8, from Fleiss' formula computed by hand."""
    assert smallest_resolved_rate(low, trials) == pytest.approx(high - low, abs=2e-4)


def test_rates_that_no_sample_of_that_size_resolves_say_so() -> None:
    assert smallest_resolved_rate(0.5, 3) is None
    assert smallest_resolved_rate(1.0, 1000) is None


PAIRS = st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=2, max_size=8).filter(
    lambda pairs: np.std([new - old for new, old in pairs]) > 1e-3
)


@settings(deadline=None, max_examples=25)
@given(PAIRS)
def test_pairs_of_seeds_are_scipys_paired_test(pairs: list[tuple[float, float]]) -> None:
    new, old = (np.array(values) for values in zip(*pairs, strict=True))
    found = paired([_plain(value) for value in new], [_plain(value) for value in old])
    expected = ttest_rel(new, old)
    assert found.interval() == pytest.approx(tuple(expected.confidence_interval()), abs=1e-9)
    assert found.p_value == pytest.approx(expected.pvalue, abs=1e-9)
    assert found.p_above() == pytest.approx(ttest_rel(new, old, alternative="greater").pvalue, abs=1e-9)
    assert found.p_below(0.5) == pytest.approx(ttest_rel(new - 0.5, old, alternative="less").pvalue, abs=1e-9)


def test_seeds_that_do_not_agree_are_scipys_welch_test() -> None:
    new, old = [1.0, 1.4, 0.7, 1.2], [0.2, 0.9, 0.1]
    found = difference(dict(enumerate(map(_plain, new))), dict(enumerate(map(_plain, old), start=10)))
    expected = ttest_ind(new, old, equal_var=False)
    assert found.interval() == pytest.approx(tuple(expected.confidence_interval()))
    assert found.p_value == pytest.approx(expected.pvalue)
    assert (found.method, found.n) == ("welch-seeds", 7)


def test_one_seed_beside_several_is_taken_to_vary_as_they_do() -> None:
    old = [0.2, 0.9, 0.1]
    half = t.ppf(0.975, 2) * np.std(old, ddof=1) * sqrt(1 + 1 / 3)
    assert unpaired([_plain(1.0)], [_plain(v) for v in old]).interval() == pytest.approx((0.6 - half, 0.6 + half))


def test_seeds_decide_whether_it_is_paired() -> None:
    one, two, three = ({seed: _plain(seed) for seed in seeds} for seeds in ([0], [0, 1], [1, 2, 3]))
    assert difference(one, {0: _plain(2.0, 1.0)}).method == "newcombe"  # one pair without rows says no more
    assert difference(two, {**two, 5: _plain(1.0)}).method == "t-pairs"
    assert difference(two, three).method == "welch-seeds"  # one of several agrees
    assert difference({2: _plain(0.0, 1.0)}, three).value == -2.0


def test_seeds_never_claim_more_than_their_own_intervals_leave_open() -> None:
    """Seeds may share test rows: that they agree says little."""
    new, old = _table(60, 20, 8, 12)
    rows, alone = _ends(paired([new], [old])), _ends(unpaired([new], [old]))
    assert _ends(paired([new, new, new], [old, old, old])) == pytest.approx(rows)
    assert _ends(unpaired([new, new, new], [old, old, old])) == pytest.approx(alone)
    assert rows[1] - rows[0] < alone[1] - alone[0]


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 300), st.integers(2, 6))
def test_seeds_that_agree_by_chance_claim_no_certainty(trials: int, seeds: int) -> None:
    right = trials // 2
    bare = [_rate(right, trials)] * seeds
    ends = _ends(paired(bare, bare))
    assert ends[0] < 0 < ends[1]
    assert paired(bare, bare).p_value == 1.0


def test_equal_differences_of_what_is_no_fraction_have_the_values_own_intervals() -> None:
    """Such as a harm of 1 in every seed without a defense, and of 0 in every seed with it."""
    new, old = [_plain(0.0, 0.3)] * 3, [_plain(1.0, 0.4)] * 3
    assert _ends(paired(new, old)) == pytest.approx((-1.5, -0.5))
    assert _ends(paired([_plain(0.0)] * 2, [_plain(1.0)] * 2)) == (-1.0, -1.0)


COUNTS = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
ANY = st.lists(st.tuples(COUNTS, COUNTS), min_size=1, max_size=4)


@settings(deadline=None, max_examples=40)
@given(ANY, st.booleans(), st.floats(-0.5, 0.5), st.floats(0.5, 0.999))
def test_ends_p_values_and_confidence_tell_one_story(
    pairs: Sequence[tuple[tuple[int, int], tuple[int, int]]], tied: bool, margin: float, confidence: float
) -> None:
    new, old = ([_rate(*pair[side]) for pair in pairs] for side in (0, 1))
    found = (paired if tied else unpaired)(new, old)
    turned = (paired if tied else unpaired)(old, new)
    ends, wider = _ends(found, confidence), _ends(found, 1 - (1 - confidence) / 2)
    above, below = found.p_above(margin), found.p_below(margin)
    assert above is not None
    assert below is not None
    assert -1 <= wider[0] <= ends[0] <= found.value + 1e-12 <= ends[1] + 2e-12 <= wider[1] + 3e-12 <= 1 + 4e-12
    assert turned.interval(confidence) == pytest.approx((-ends[1], -ends[0]), abs=1e-9)
    tail = (1 - confidence) / 2
    if abs(ends[0] - margin) > 1e-9 and ends[0] > -1:
        assert (above < tail) == (ends[0] > margin)
    if abs(ends[1] - margin) > 1e-9 and ends[1] < 1:
        assert (below < tail) == (ends[1] < margin)
    assert 0 <= above <= 1
    assert above + below >= 1 - 1e-9


def test_one_rate_at_another_confidence_is_wilsons_own() -> None:
    """Ends near 0 move with the square of the quantile; in proportion they would come out far too near."""
    new, old, z = _rate(0, 50), _rate(0, 50), 3.290526731491926  # 0.999
    assert _ends(unpaired([new], [old]), 0.999)[1] == pytest.approx(z**2 / (50 + z**2))


def test_what_has_no_interval_has_no_p_value() -> None:
    bytes_ = Measured(5e6, None, None, 1, fraction=False)
    found = unpaired([bytes_], [bytes_])
    assert found.as_json() == {
        "value": 0.0, "ci_low": None, "ci_high": None, "method": "none", "n": 1, "p_value": None
    }  # fmt: skip
    assert (found.p_above(), found.p_below(), found.resolves()) == (None, None, None)
    assert paired([bytes_, bytes_], [bytes_, bytes_]).interval() == (0.0, 0.0)  # two seeds show that it is exact


def test_a_metric_without_a_value_is_not_measured() -> None:
    metric = {"value": None, "unit": "fraction", "n": 0, "ci_low": None, "ci_high": None, "method": "none"}
    assert Measured.read(metric) is None
    read = Measured.read({**metric, "value": 0.5, "n": 4, "ci_low": 0.1, "ci_high": 0.9, "method": "wilson-batches"})
    assert read == Measured(0.5, 0.1, 0.9, 4, fraction=True, wilson=True)


def test_rows_of_another_number_are_not_paired() -> None:
    new, old = _rate(3, 4, np.ones(4)), _rate(3, 5, np.ones(5))
    assert paired([new], [old]).method == "newcombe"


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closed_test(p_values: list[float]) -> None:
    """A hypothesis falls if every set of hypotheses with it falls by Bonferroni's test."""
    places = range(len(p_values))
    sets = [chosen for size in range(1, len(p_values) + 1) for chosen in combinations(places, size)]
    for place, found in enumerate(holm(p_values)):
        slow = max(min(1.0, len(one) * min(p_values[i] for i in one)) for one in sets if place in one)
        assert found == pytest.approx(slow, abs=1e-15)


def test_holm_of_nothing_is_nothing() -> None:
    assert holm([]) == []


@pytest.mark.parametrize("freedom", [2.0, 9.0, inf])
@pytest.mark.parametrize("sides", [1, 2])
def test_the_smallest_difference_resolved_has_that_power(freedom: float, sides: int) -> None:
    effect = smallest_resolved(0.3, freedom, power=0.8, sides=sides)
    assert power_of(effect, 0.3, freedom, sides=sides) == pytest.approx(0.8, abs=1e-6)
    assert power_of(0.0, 0.3, freedom, sides=sides) == pytest.approx(0.05, abs=1e-5)


@pytest.mark.parametrize("effect", [0.1, 0.9, 2.0])
def test_power_is_that_of_the_noncentral_t(effect: float) -> None:
    limit = t.isf(0.025, 4)
    expected = nct.sf(limit, 4, effect / 0.4) + nct.cdf(-limit, 4, effect / 0.4)
    assert power_of(effect, 0.4, 4.0) == pytest.approx(expected, abs=1e-5)


def test_a_known_error_resolves_2_8_of_itself() -> None:
    assert smallest_resolved(1.0) == pytest.approx(1.959964 + 0.841621, abs=1e-3)
    assert smallest_resolved(0.0) == 0.0


def test_a_difference_resolves_what_its_worst_account_resolves() -> None:
    new, old = [_plain(1.0), _plain(1.2)], [_plain(0.0), _plain(0.0)]
    assert paired(new, old).resolves() == pytest.approx(smallest_resolved(0.1, 1.0))


@pytest.mark.slow
@pytest.mark.parametrize("rates", [(0.5, 0.5), (0.02, 0.02), (0.98, 0.9), (0.0, 0.01), (0.8, 0.7)])
@pytest.mark.parametrize("seeds", [1, 2, 3, 10])
@pytest.mark.parametrize("how", ["pairs", "rows", "unpaired"])
def test_intervals_cover_the_true_difference(rates: tuple[float, float], seeds: int, how: str) -> None:
    """Rows are the same in both, half of their answers as well; seeds change the rates by themselves."""
    generator, count, trials = np.random.default_rng(0), 100, 600
    covered = []
    for _ in range(trials):
        new, old = [], []
        for _ in range(seeds):
            own = generator.normal(0, 0.02) if seeds > 1 and min(rates) > 0.1 else 0.0
            level = np.clip(np.array(rates) + own, 0, 1)
            luck = generator.random(count)
            other = np.where(generator.random(count) < 0.5, luck, generator.random(count))
            first, second = (luck < level[0]).astype(float), (other < level[1]).astype(float)
            rows = (first, second) if how == "rows" else (None, None)
            new.append(_rate(int(first.sum()), count, rows[0]))
            old.append(_rate(int(second.sum()), count, rows[1]))
        low, high = _ends((unpaired if how == "unpaired" else paired)(new, old))
        covered.append(low <= rates[0] - rates[1] <= high)
    assert np.mean(covered) > 0.925


@pytest.mark.slow
def test_power_is_as_computed() -> None:
    """The share of simulated pairs of seeds that are told apart, beside `power_of`."""
    generator, seeds, spread, effect = np.random.default_rng(1), 5, 0.05, 0.08
    drawn = generator.normal(effect, spread, size=(4000, seeds))
    told = [paired([_plain(v) for v in one], [_plain(0.0)] * seeds).p_value for one in drawn]
    share = np.mean([p is not None and p < 0.05 for p in told])
    assert share == pytest.approx(power_of(effect, spread / sqrt(seeds), seeds - 1.0), abs=0.03)
