"""Differences between two measurements: intervals, p values, Holm's correction."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import inf, isinf, sqrt
from typing import Any, NamedTuple, Self

import numpy as np

from fedsec.metrics.stats.accounts import Account, Added, Ends, Mean, Student

_ROUNDING = 1e-12
"""Standard errors that are smaller are 0."""
_DRAWS = 4000
"""Quantiles that stand for a distribution."""


class Measured(NamedTuple):
    """One metric of one seed."""

    value: float
    low: float | None
    """Lower end of its 95 % interval; None where it has none."""
    high: float | None
    n: int
    """Samples behind the value, at least 1."""
    fraction: bool
    """Whether it counts samples, so that it moves in steps of 1 / n."""
    wilson: bool = False
    """Whether the interval is Wilson's, whose ends are known at any confidence."""
    rows: np.ndarray | None = None
    """How right the model was on each test row, 0..1, where the metric is about these rows."""

    @classmethod
    def read(cls, metric: Mapping[str, Any], rows: np.ndarray | None = None) -> Self | None:
        """Read a metric of a cell or a scorecard's row; None if it has no value.

        Args:
            metric: as in `scorecard.json`.
            rows: see above.
        """
        if metric["value"] is None:
            return None
        method = str(metric["method"])
        return cls(
            value=float(metric["value"]),
            low=metric["ci_low"],
            high=metric["ci_high"],
            n=max(1, int(metric["n"])),
            fraction=metric["unit"] == "fraction",
            wilson=method.startswith("wilson"),
            rows=None if rows is None or not len(rows) else rows,
        )


@dataclass(frozen=True, slots=True)
class Difference:
    """New less old, with its 95 % interval and p value; of several accounts of its error the worst counts."""

    value: float
    method: str
    """`t-pairs`, `newcombe-rows`, `welch-seeds`, `newcombe`, or `none` without an interval."""
    n: int
    """Pairs of seeds, pairs of test rows, seeds of both, or samples of the smaller, in the order of the methods."""
    limit: float = inf
    """The largest difference that is possible."""
    accounts: tuple[Account, ...] = ()

    def interval(self, confidence: float = 0.95) -> tuple[float, float] | None:
        """Return both ends of the interval; None where there is none.

        Args:
            confidence: between 0 and 1.
        """
        if not self.accounts:
            return None
        low, high = (max(one.reach((1 - confidence) / 2, side) for one in self.accounts) for side in (-1, 1))
        return max(-self.limit, self.value - low), min(self.limit, self.value + high)

    @property
    def p_value(self) -> float | None:
        """Two-sided: of a difference this large where there is none. Below 0.05 if the interval leaves out 0."""
        if not self.accounts:
            return None
        return min(1.0, 2 * min(self._tail(0.0, 1), self._tail(0.0, -1)))

    def p_above(self, margin: float = 0.0) -> float | None:
        """One-sided p value: how likely so large a difference is where the true one is at most `margin`."""
        return self._tail(margin, 1) if self.accounts else None

    def p_below(self, margin: float = 0.0) -> float | None:
        """One-sided p value: how likely so small a difference is where the true one is at least `margin`."""
        return self._tail(margin, -1) if self.accounts else None

    def resolves(self, power: float = 0.8, confidence: float = 0.95) -> float | None:
        """Return the smallest true difference that as large a sample tells from 0 in a share `power` of all cases."""
        if not self.accounts:
            return None
        return max(smallest_resolved(*one.scale(), power=power, confidence=confidence) for one in self.accounts)

    def as_json(self) -> dict[str, Any]:
        """Return value, ends, method, n and the two-sided p value."""
        low, high = self.interval() or (None, None)
        return {
            "value": self.value,
            "ci_low": low,
            "ci_high": high,
            "method": self.method,
            "n": self.n,
            "p_value": self.p_value,
        }

    def _tail(self, margin: float, side: int) -> float:
        """The p value of a difference that lies on one side of the margin (1: above)."""
        distance = side * (self.value - margin)
        if distance >= 0:
            return max(one.beyond(distance, -side) for one in self.accounts)
        return max(1 - one.beyond(-distance, side) for one in self.accounts)


def difference(new: Mapping[int, Measured], old: Mapping[int, Measured]) -> Difference:
    """The difference of two measurements by seed: paired where seeds agree, unpaired otherwise.

    Args:
        new: at least one, by seed.
        old: likewise.
    """
    pairs = paired_seeds(new, old)
    if pairs:
        return paired([new[seed] for seed in pairs], [old[seed] for seed in pairs])
    return unpaired([new[seed] for seed in sorted(new)], [old[seed] for seed in sorted(old)])


def paired_seeds(new: Iterable[int], old: Iterable[int]) -> list[int]:
    """The seeds that `difference` pairs; none where it leaves them unpaired.

    At least two have to agree, or one that is all that one side has; other seeds are then left out.
    """
    one, other = set(new), set(old)
    both = sorted(one & other)
    return both if len(both) > 1 or min(len(one), len(other)) == 1 else []


def paired(new: Sequence[Measured], old: Sequence[Measured]) -> Difference:
    """Mean of new less old over seeds that both have.

    Several seeds: Student's t over their differences; where both say of every test row how right they were, each end is
    the farther of that and the mean of the seeds' own ends, since seeds may share test rows. One seed: Newcombe's
    interval of a paired difference where test rows are known, and else the unpaired one; neither says anything of other
    seeds.

    Args:
        new: one for each seed, at least one.
        old: of the same seeds in the same order.

    Source: Student, Biometrika 1908; Newcombe, Statistics in Medicine 17:2635, 1998, method 10. Deviations: seeds that
    agree by chance do not claim to know everything: a seed's difference of fractions is known to half a step only and
    that variance is added, and where all differences are equal the values' own intervals count as well. Rows between 0
    and 1 are correlated like those that are 0 or 1.
    """
    pairs = list(zip(new, old, strict=True))
    accounts: list[Account] = []
    shared = [_paired_rows(one, other) for one, other in pairs]
    by_row = [
        Added(_ends(one), _ends(other), tie) for (one, other), tie in zip(pairs, shared, strict=True) if tie is not None
    ]
    apart = np.array([one.value - other.value for one, other in pairs])
    if len(pairs) > 1:
        rounding = float(np.mean([_rounding(one) + _rounding(other) for one, other in pairs]))
        error = sqrt((float(apart.var(ddof=1)) + rounding) / len(pairs))
        accounts.append(Student(error, len(pairs) - 1.0))
        if error < _ROUNDING and all(one.low is not None for one in (*new, *old)):  # agreement by chance proves nothing
            accounts.append(Added(_mean_ends(new), _mean_ends(old), 0.0))
        method, count = "t-pairs", len(pairs)
    elif not by_row:
        return unpaired(new, old)
    else:
        method, count = "newcombe-rows", len(new[0].rows if new[0].rows is not None else ())
    if len(by_row) == len(pairs):
        accounts.append(Mean(tuple(by_row)))
    return Difference(float(apart.mean()), method, count, _limit(*new, *old), tuple(accounts))


def unpaired(new: Sequence[Measured], old: Sequence[Measured]) -> Difference:
    """Mean of new less mean of old, of seeds that have nothing to do with each other.

    Several seeds: Welch's t over seeds; each end is the farther of that and what the seeds' own intervals leave open,
    since seeds may share test rows. One seed on either side is taken to vary as the others do. One on both: the
    values' own intervals squared and added, which say nothing of other seeds.

    Args:
        new: one for each seed, at least one.
        old: likewise.

    Source: Welch, Biometrika 1947; Newcombe, Statistics in Medicine 17:873, 1998, method 10; for intervals of other
    kinds Zou and Donner, Statistics in Medicine 27:1693, 2008 (MOVER). Deviations: as `paired` for steps of fractions.
    """
    value = float(np.mean([one.value for one in new]) - np.mean([one.value for one in old]))
    accounts: list[Account] = []
    if len(new) + len(old) > 2:
        accounts.append(_welch(new, old))
    if all(one.low is not None for one in (*new, *old)):
        accounts.append(Added(_mean_ends(new), _mean_ends(old), 0.0))
    if len(new) + len(old) > 2:
        method, count = "welch-seeds", len(new) + len(old)
    else:
        method, count = "newcombe" if accounts else "none", min(new[0].n, old[0].n)
    return Difference(value, method, count, _limit(*new, *old), tuple(accounts))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values: whoever calls those below 0.05 different errs at all in at most 5 of 100 cases.

    Args:
        p_values: each 0..1, of hypotheses that are tested together, however they depend on each other.

    Source: Holm, Scandinavian Journal of Statistics 1979. Deviations: none.
    """
    adjusted, largest = [1.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda one: p_values[one])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def power_of(effect: float, error: float, freedom: float = inf, *, confidence: float = 0.95, sides: int = 2) -> float:
    """How often a true difference is told from 0 by a t test.

    Args:
        effect: the true difference.
        error: its standard error, above 0.
        freedom: degrees of freedom behind the error; infinite where it is known.
        confidence: of the interval that has to leave out 0; one-sided tests leave 1 - `confidence` on one side.
        sides: 1 or 2.
    """
    from scipy.stats import chi2, norm, t

    if isinf(freedom):
        limits = np.array([norm.isf((1 - confidence) / sides)])
    else:  # mixed over the error's own scatter: scipy's noncentral t has NaN where a tail is small
        scatter = np.sqrt(chi2.ppf((np.arange(_DRAWS) + 0.5) / _DRAWS, freedom) / freedom)
        limits = t.isf((1 - confidence) / sides, freedom) * scatter
    shift = effect / error
    told = norm.sf(limits - shift) + (norm.cdf(-limits - shift) if sides == 2 else 0.0)
    return float(told.mean())


def smallest_resolved(
    error: float, freedom: float = inf, *, power: float = 0.8, confidence: float = 0.95, sides: int = 2
) -> float:
    """The smallest true difference that a t test tells from 0 with that power.

    Args:
        error: the standard error of the difference, at least 0.
        freedom: degrees of freedom behind it, at least 1; to a tenth.
        power: the share of cases, above 1 - `confidence` and below 1.
        confidence: as in `power_of`.
        sides: likewise.
    """
    return error * _resolved_errors(round(freedom, 1), power, confidence, sides) if error else 0.0


@cache
def _resolved_errors(freedom: float, power: float, confidence: float, sides: int) -> float:
    """How many standard errors are resolved."""
    from scipy.optimize import brentq

    def short(effect: float) -> float:
        return power_of(effect, 1.0, freedom, confidence=confidence, sides=sides) - power

    most = 8.0
    while short(most) < 0 and most < 1e9:
        most *= 4
    return float(brentq(short, 0.0, most, xtol=1e-9))


def smallest_resolved_rate(rate: float, trials: int, *, power: float = 0.8, confidence: float = 0.95) -> float | None:
    """The smallest rise of a rate that two samples of so many trials each tell apart; None if not even one to 1.

    Args:
        rate: the lower rate, 0..1; for a fall give 1 less the higher rate.
        trials: of each sample, at least 1.
        power: the share of cases.
        confidence: two-sided.

    Source: Fleiss, Statistical Methods for Rates and Proportions, 1981, equation 3.14, solved for the difference.
    Deviations: none; without the correction for continuity.
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    limit, other = norm.isf((1 - confidence) / 2), norm.ppf(power)

    def short(rise: float) -> float:
        top, middle = rate + rise, rate + rise / 2
        same = sqrt(2 * middle * (1 - middle))
        apart = sqrt(max(0.0, rate * (1 - rate) + top * (1 - top)))
        return float(rise * sqrt(trials) - limit * same - other * apart)

    if short(1 - rate) <= 0:
        return None
    return float(brentq(short, 1e-12, 1 - rate, xtol=1e-9))


def _welch(new: Sequence[Measured], old: Sequence[Measured]) -> Student:
    spreads = [_spread(side) for side in (new, old)]
    known = [spread for spread in spreads if spread is not None]
    if len(known) == 1:
        return Student(sqrt(known[0] * (1 / len(new) + 1 / len(old))), max(len(new), len(old)) - 1.0)
    terms = [spread / len(side) for spread, side in zip(known, (new, old), strict=True)]
    whole = sum(terms)
    if whole == 0:
        return Student(0.0, len(new) + len(old) - 2.0)
    parts = (term**2 / (len(side) - 1) for term, side in zip(terms, (new, old), strict=True))
    return Student(sqrt(whole), whole**2 / sum(parts))


def _spread(seeds: Sequence[Measured]) -> float | None:
    """Variance over seeds; None of one."""
    if len(seeds) == 1:
        return None
    return float(np.var([one.value for one in seeds], ddof=1)) + float(np.mean([_rounding(one) for one in seeds]))


def _rounding(one: Measured) -> float:
    """The variance of a value that is known to half a step."""
    return 1 / (12 * one.n**2) if one.fraction else 0.0


def _paired_rows(new: Measured, old: Measured) -> float | None:
    """The correlation of two measurements on the same test rows; None where they are not known to be the same.

    It is taken to be smaller than it is by half a row, as Newcombe has it, and 0 where one side has no spread.
    """
    if new.rows is None or old.rows is None or len(new.rows) != len(old.rows) or None in (new.low, old.low):
        return None
    count = len(new.rows)
    spread = float(new.rows.std() * old.rows.std())
    if spread == 0:
        return 0.0
    together = float(((new.rows - new.rows.mean()) * (old.rows - old.rows.mean())).mean())
    if together > 0:
        together = max(0.0, together - 1 / (2 * count))
    return max(-1.0, min(1.0, together / spread))


def _ends(one: Measured) -> Ends:
    low, high = (one.value if end is None else end for end in (one.low, one.high))
    return Ends(one.value, low, high, one.wilson)


def _mean_ends(seeds: Sequence[Measured]) -> Ends:
    found = [_ends(one) for one in seeds]
    value, low, high = (float(np.mean(column)) for column in list(zip(*found, strict=True))[:3])
    return Ends(value, low, high, all(one.wilson for one in found))


def _limit(*values: Measured) -> float:
    """The largest difference of fractions, unless they can be negative."""
    inside = all(one.fraction and 0 <= one.value <= 1 and (one.low is None or one.low >= 0) for one in values)
    return 1.0 if inside else inf
