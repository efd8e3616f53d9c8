"""95 % intervals."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Z95 = 1.959963984540054
RESAMPLES = 2000
FEW = 20
"""Batches from which on resampling them is sound."""
_ROUNDING = 1e-12
"""Means of batches that differ by less are equal: an interval of no width would claim to know everything."""


class Interval(NamedTuple):
    """Both ends of an interval, and its method."""

    low: float
    high: float
    method: str


def wilson(successes: float, trials: int) -> Interval:
    """Wilson's score interval of a rate.

    Args:
        successes: between 0 and `trials` (what lies beyond is taken for the nearer of the two); may be fractional where
            trials are clusters.
        trials: independent trials; without any the interval is [0, 1].

    Source: Wilson, JASA 1927, equation for p0 at confidence 1.96. Deviations: none.
    """
    if trials == 0:
        return Interval(0.0, 1.0, "wilson")
    rate, z2 = min(1.0, max(0.0, successes / trials)), Z95**2
    centre = (rate + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z95 / (1 + z2 / trials) * np.sqrt(rate * (1 - rate) / trials + z2 / (4 * trials**2))
    low = 0.0 if successes <= 0 else max(0.0, float(centre - half))
    high = 1.0 if successes >= trials else min(1.0, float(centre + half))
    return Interval(low, high, "wilson")


def clopper_pearson(successes: float, trials: float) -> Interval:
    """The exact interval of a rate, which covers it in at least 95 of 100 cases however few trials there are.

    Args:
        successes: between 0 and `trials`; may be fractional where trials are clusters.
        trials: independent trials; without any the interval is [0, 1].

    Source: Clopper and Pearson, Biometrika 1934, through quantiles of the beta distribution. Deviations: none.
    """
    from scipy.stats import beta

    low = 0.0 if successes <= 0 else float(beta.ppf(0.025, successes, trials - successes + 1))
    high = 1.0 if successes >= trials else float(beta.ppf(0.975, successes + 1, trials - successes))
    return Interval(low, high, "clopper-pearson")


def of_mean(batches: Sequence[Sequence[float]], generator: np.random.Generator) -> Interval:
    """Interval of the mean of values in 0..1 that come in batches, which are what is independent.

    The batches are resampled. Fewer than `FEW` of them give intervals that way that are far too narrow (measured: 50 %
    coverage at 2 batches, 80 % at 4), so Student's t over the batches is used there. Where neither can show any spread
    (all values 0, or all 1, or one batch), Wilson's interval over the batches stands in, which is wider and honest
    about how few there are.

    Args:
        batches: the values of each batch.
        generator: resamples.
    """
    filled = [np.asarray(b, dtype=float) for b in batches if len(b)]
    if not filled:
        return Interval(0.0, 1.0, "wilson")
    sums = np.array([b.sum() for b in filled])
    sizes = np.array([len(b) for b in filled])
    mean = sums.sum() / sizes.sum()
    if len(filled) == 1 or np.ptp(sums / sizes) < _ROUNDING:
        return wilson(mean * len(filled), len(filled))._replace(method="wilson-batches")
    if sizes.max() == 1 and set(np.unique(sums)) <= {0.0, 1.0}:
        return wilson(float(sums.sum()), len(filled))
    if len(filled) < FEW:
        return _student(sums, sizes)
    picks = generator.integers(len(filled), size=(RESAMPLES, len(filled)))
    means = sums[picks].sum(axis=1) / sizes[picks].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(low), float(high), "bootstrap-batches")


def _student(sums: np.ndarray, sizes: np.ndarray) -> Interval:
    """Student's t for a ratio of sums: each batch deviates by its sum less its size times the mean."""
    from scipy.stats import t

    count, mean = len(sums), sums.sum() / sizes.sum()
    variance = count / (count - 1) * ((sums - mean * sizes) ** 2).sum()
    half = float(t.ppf(0.975, count - 1) * np.sqrt(variance) / sizes.sum())
    return Interval(max(0.0, float(mean) - half), min(1.0, float(mean) + half), "t-batches")


def over_seeds(values: Sequence[float], within: Sequence[Interval], bottom: float = 0.0, top: float = 1.0) -> Interval:
    """Interval of the mean of one value per seed.

    Seeds may share test rows, so that what a seed's own interval leaves open does not average out, and few seeds may
    agree by chance: each end is the farther of Student's t over the seeds and the mean of the seeds' own ends.

    Args:
        values: of each seed; without any the interval is all that is possible.
        within: the interval of each.
        bottom: least possible value.
        top: largest possible value.

    Source: Student, Biometrika 1908, for the mean of k normal values with k - 1 degrees of freedom. Deviations: never
    narrower than the seeds' own intervals are on average, and cut to what is possible.
    """
    if not len(values):
        return Interval(bottom, top, "t-seeds")
    mean, half = float(np.mean(values)), 0.0
    if len(values) > 1:
        from scipy.stats import t

        half = float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    low = min(mean - half, float(np.mean([interval.low for interval in within])))
    high = max(mean + half, float(np.mean([interval.high for interval in within])))
    return Interval(max(bottom, low), min(top, high), "t-seeds")


def paired_difference(differences: Sequence[np.ndarray]) -> tuple[float, Interval]:
    """Mean of per-row differences and its interval, over one or more seeds.

    One seed's interval is the normal one over its rows; several are put together by `over_seeds`. Without any row it
    is [-1, 1].

    Args:
        differences: for each seed, one value per test row, in -1..1; seeds without rows are passed over.

    Source: for one seed, the central limit theorem over paired rows; over seeds as `over_seeds`. Deviations: a seed's
    interval is at least 3 / rows to either side.
    """
    filled = [rows for rows in differences if len(rows)]
    if not filled:
        return 0.0, Interval(-1.0, 1.0, "normal-rows")
    means = [float(rows.mean()) for rows in filled]
    within = [_normal(rows) for rows in filled]
    interval = within[0] if len(within) == 1 else over_seeds(means, within, bottom=-1.0)
    return float(np.mean(means)), interval


def _normal(rows: np.ndarray) -> Interval:
    spread = float(Z95 * rows.std(ddof=1) / np.sqrt(len(rows))) if len(rows) > 1 else 1.0
    # Rule of three: rows that all agree still leave room for a difference that was not drawn.
    mean, half = float(rows.mean()), max(spread, 3.0 / len(rows))
    return Interval(max(-1.0, mean - half), min(1.0, mean + half), "normal-rows")
