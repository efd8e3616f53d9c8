"""Intervals: against scipy, against simulation, and at their extremes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, t, ttest_1samp

from fedsec.metrics.stats.intervals import Interval, of_mean, over_seeds, paired_difference, wilson


def _generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@settings(deadline=None)
@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys(counts: tuple[int, int]) -> None:
    successes, trials = counts
    expected = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    found = wilson(successes, trials)
    assert found.low == pytest.approx(expected.low, abs=1e-12)
    assert found.high == pytest.approx(expected.high, abs=1e-12)


@settings(deadline=None)
@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.floats(0, n), st.just(n))))
def test_wilson_holds_the_rate_lies_in_the_unit_interval_and_mirrors(counts: tuple[float, int]) -> None:
    successes, trials = counts
    found, mirrored = wilson(successes, trials), wilson(trials - successes, trials)
    assert 0.0 <= found.low <= successes / trials + 1e-12
    assert successes / trials - 1e-12 <= found.high <= 1.0
    assert found.low < found.high
    assert found.low == pytest.approx(1 - mirrored.high, abs=1e-9)


def test_wilson_at_the_ends_is_exact_and_never_empty() -> None:
    assert wilson(0, 50).low == 0.0
    assert wilson(50, 50).high == 1.0
    assert wilson(0, 50).high > 0.05
    assert wilson(0, 0) == Interval(0.0, 1.0, "wilson")


def test_wilson_narrows_with_more_trials() -> None:
    widths = [wilson(n // 4, n).high - wilson(n // 4, n).low for n in (4, 40, 400, 4000)]
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("trials", [20, 100])
def test_wilson_covers_the_true_rate_about_as_often_as_it_says(rate: float, trials: int) -> None:
    drawn = _generator().binomial(trials, rate, size=4000)
    intervals = {int(successes): wilson(int(successes), trials) for successes in set(drawn.tolist())}
    covered = np.mean([intervals[int(s)].low <= rate <= intervals[int(s)].high for s in drawn])
    assert 0.92 < covered < 0.99


@pytest.mark.parametrize("batches", [2, 4, 8, 15, 60])
@pytest.mark.parametrize("within", [1, 4])
def test_the_interval_of_a_mean_covers_it_where_batches_differ(batches: int, within: int) -> None:
    """Each batch has a level of its own, so its values are not independent: the hard case."""
    generator, covered = _generator(), []
    for _ in range(400):
        levels = generator.beta(2, 3, size=batches)  # mean 0.4
        values = [np.clip(generator.normal(level, 0.05, size=within), 0, 1) for level in levels]
        interval = of_mean([v.tolist() for v in values], generator)
        covered.append(interval.low <= 0.4 <= interval.high)
    assert np.mean(covered) > 0.9


def test_the_interval_of_a_mean_of_equal_batches_of_one_is_students() -> None:
    values = _generator().beta(2, 3, size=9)
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    found = of_mean([[value] for value in values], _generator())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.method == "t-batches"


def test_few_and_many_batches_agree_where_the_methods_meet() -> None:
    levels = _generator(1).beta(2, 3, size=20)
    few, many = ([[v, v] for v in levels[:count]] for count in (19, 20))
    student, bootstrap = of_mean(few, _generator()), of_mean(many, _generator())
    assert (student.method, bootstrap.method) == ("t-batches", "bootstrap-batches")
    assert student.high - student.low == pytest.approx(bootstrap.high - bootstrap.low, rel=0.25)


def test_treating_values_within_a_batch_as_independent_would_be_too_narrow() -> None:
    generator = _generator()
    levels = generator.beta(2, 3, size=12)
    together = of_mean([[level] * 20 for level in levels], _generator())
    apart = of_mean([[level] for level in np.repeat(levels, 20)], _generator())
    assert together.high - together.low > 2 * (apart.high - apart.low)


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("batches", [1, 2, 30])
def test_values_that_are_all_0_or_all_1_still_leave_doubt(value: float, batches: int) -> None:
    interval = of_mean([[value] * 5] * batches, _generator())
    expected = wilson(value * batches, batches)
    assert (interval.low, interval.high) == (expected.low, expected.high)
    assert interval.method == "wilson-batches"
    assert interval.high - interval.low > 0.05


@pytest.mark.parametrize("values", [[0.4], [0.2, 0.6], [0.0, 0.0, 1.0]])
def test_one_batch_alone_says_very_little(values: list[float]) -> None:
    interval = of_mean([values], _generator())
    assert interval.high - interval.low > 0.7
    assert interval.low <= np.mean(values) <= interval.high


def test_no_values_say_nothing() -> None:
    for batches in ([], [[]], [[], []]):
        assert of_mean(batches, _generator())[:2] == (0.0, 1.0)


def test_empty_batches_are_passed_over() -> None:
    filled = [[0.1, 0.3], [0.7], [0.2]]
    assert of_mean([[], *filled, []], _generator()) == of_mean(filled, _generator())


def test_single_yes_or_no_values_are_wilsons() -> None:
    assert of_mean([[1.0], [0.0], [0.0], [1.0]], _generator()) == wilson(2, 4)


def test_batches_weigh_by_their_size() -> None:
    """The mean is over values: nine zeros in one batch outweigh one 1 in another."""
    interval = of_mean([[0.0] * 9] * 20 + [[1.0]] * 20, _generator())
    assert interval.low < 0.1 < interval.high
    assert interval.high < 0.3


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.floats(0, 1), max_size=4), max_size=6),
    st.integers(0, 1000),
)
def test_any_interval_lies_in_the_unit_interval_and_is_repeatable(batches: list[list[float]], seed: int) -> None:
    interval = of_mean(batches, _generator(seed))
    assert 0.0 <= interval.low <= interval.high <= 1.0
    assert interval == of_mean(batches, _generator(seed))


def test_one_seeds_paired_difference_is_the_normal_interval_over_its_rows() -> None:
    rows = _generator().choice([-1.0, 0.0, 1.0], size=400)
    mean, interval = paired_difference([rows])
    half = 1.959963984540054 * rows.std(ddof=1) / 20
    assert mean == pytest.approx(rows.mean())
    assert interval.low == pytest.approx(mean - half)
    assert interval.high == pytest.approx(mean + half)
    assert interval.method == "normal-rows"


def test_several_seeds_that_differ_are_students_over_their_means() -> None:
    seeds = [_generator(s).choice([-1.0, 0.0, 1.0], p=[0.2, 0.8 - s / 5, s / 5], size=500 + s) for s in range(4)]
    mean, interval = paired_difference(seeds)
    means = [rows.mean() for rows in seeds]
    expected = ttest_1samp(means, 0).confidence_interval(0.95)
    assert mean == pytest.approx(np.mean(means))
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
    assert interval.method == "t-seeds"


def test_two_seeds_say_much_less_than_ten() -> None:
    generator = _generator()
    means = generator.normal(0.1, 0.02, size=10)
    seeds = [np.full(2000, value) for value in means]
    few, many = paired_difference(seeds[:2])[1], paired_difference(seeds)[1]
    assert t.ppf(0.975, 1) > 12
    assert many.high - many.low < few.high - few.low


def test_seeds_that_agree_by_chance_are_no_surer_than_one_of_them() -> None:
    rows = _generator().choice([-1.0, 0.0, 1.0], size=200)
    alone, agreed = paired_difference([rows])[1], paired_difference([rows, rows, rows])[1]
    assert agreed[:2] == pytest.approx(alone[:2])
    assert agreed.method == "t-seeds"


def test_over_seeds_is_students_or_the_mean_of_their_own_whichever_is_farther() -> None:
    values, within = [0.4, 0.5, 0.9], [Interval(v - 0.01, v + 0.02, "x") for v in (0.4, 0.5, 0.9)]
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert over_seeds(values, within, -9.0, 9.0)[:2] == pytest.approx((expected.low, expected.high))
    assert over_seeds(values, within) == (0.0, 1.0, "t-seeds")
    zeros = [wilson(0, 10), wilson(0, 20)]
    assert over_seeds([0.0, 0.0], zeros)[:2] == pytest.approx((0.0, (zeros[0].high + zeros[1].high) / 2))
    assert over_seeds([], []) == (0.0, 1.0, "t-seeds")


@pytest.mark.parametrize("seeds", [1, 3])
def test_rows_that_all_agree_still_leave_doubt(seeds: int) -> None:
    mean, interval = paired_difference([np.zeros(100)] * seeds)
    assert mean == 0.0
    assert interval.low < 0.0 < interval.high


def test_a_difference_stays_within_its_bounds() -> None:
    for value in (-1.0, 1.0):
        _, interval = paired_difference([np.full(5, value)])
        assert -1.0 <= interval.low <= value <= interval.high <= 1.0


def test_one_row_alone_says_nothing() -> None:
    _, interval = paired_difference([np.array([1.0])])
    assert interval.low <= 0.0


def test_one_seeds_paired_interval_covers_the_true_difference() -> None:
    generator, covered = _generator(1), []
    for _ in range(600):
        _, interval = paired_difference([generator.choice([1.0, 0.0, -1.0], p=[0.35, 0.4, 0.25], size=200)])
        covered.append(interval.low <= 0.1 <= interval.high)
    assert 0.92 < np.mean(covered) < 0.985


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("spread", [0.01, 0.05])
def test_the_interval_over_seeds_covers_the_true_difference_where_they_share_test_rows(
    seeds: int, spread: float
) -> None:
    """Rows have effects of their own in every seed, so averaging over seeds does not take away the chance in them."""
    generator, covered, students = _generator(1), [], []
    for _ in range(400):
        rows = generator.choice([1.0, 0.0, -1.0], p=[0.35, 0.4, 0.25], size=200)  # mean 0.1
        own = [rows + level for level in generator.normal(0.0, spread, size=seeds)]
        _, interval = paired_difference(own)
        covered.append(interval.low <= 0.1 <= interval.high)
        alone = ttest_1samp([d.mean() for d in own], 0).confidence_interval(0.95)
        students.append(bool(alone.low <= 0.1 <= alone.high))
    assert np.mean(covered) > 0.9
    assert np.mean(covered) >= np.mean(students)


def test_pairing_narrows_the_interval_where_the_same_rows_are_hard() -> None:
    generator = _generator()
    control = generator.random(500) < 0.7
    attacked = control & (generator.random(500) < 0.95)
    paired = paired_difference([control.astype(float) - attacked.astype(float)])[1]
    apart = wilson(int(attacked.sum()), 500)
    assert paired.low > 0
    assert paired.high - paired.low < apart.high - apart.low


# --- nothing that JSON cannot hold ----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "differences", [[], [np.zeros(0)], [np.zeros(0), np.zeros(0)], [np.zeros(1)], [np.ones(1), np.ones(1)]]
)
def test_a_paired_difference_of_next_to_nothing_says_nothing(differences: list[np.ndarray]) -> None:
    mean, interval = paired_difference(differences)
    assert mean in (0.0, 1.0)
    assert np.isfinite(interval[:2]).all()
    assert interval.high - interval.low >= 1.0


@pytest.mark.filterwarnings("error")
def test_seeds_without_rows_are_passed_over() -> None:
    rows = _generator().choice([-1.0, 0.0, 1.0], size=50)
    assert paired_difference([np.zeros(0), rows]) == paired_difference([rows])


@pytest.mark.filterwarnings("error")
@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.floats(-1, 1), max_size=4), max_size=4))
def test_a_paired_difference_is_always_finite_and_within_its_interval(rows: list[list[float]]) -> None:
    mean, interval = paired_difference([np.array(own) for own in rows])
    assert -1.0 <= interval.low <= mean + 1e-12
    assert mean - 1e-12 <= interval.high <= 1.0
    assert interval.low < interval.high


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("successes", "trials"), [(5, 3), (-5, 3), (0, 0), (1, 1), (0, 1), (3 + 1e-12, 3)])
def test_wilson_is_finite_for_any_counts(successes: float, trials: int) -> None:
    interval = wilson(successes, trials)
    assert 0.0 <= interval.low < interval.high <= 1.0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("batches", [2, 25])
def test_batches_that_differ_by_rounding_alone_still_leave_doubt(batches: int) -> None:
    values = [[0.1, 0.2, 0.3], *[[0.3, 0.2, 0.1]] * (batches - 1)]
    assert 0 < sum(values[0]) - sum(values[1]) < 1e-15
    interval = of_mean(values, _generator())
    assert interval.high - interval.low > 0.2
    assert interval.method == "wilson-batches"
