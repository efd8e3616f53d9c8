"""Lower bounds on epsilon from an audit: what nobody could have told apart if the promise had been kept.

A bound is one-sided: at most a share `error` of audits shows one above the mechanism's epsilon. Beside each stands its
ceiling, the bound of an audit without a single mistake: a claim above it cannot be refuted by so few canaries.
"""

from collections.abc import Callable
from functools import lru_cache
from math import exp, inf, log
from typing import NamedTuple

import numpy as np
from scipy import special

ERROR = 0.05
"""Of every bound that is shown: the chance at most that it is above the truth."""
GUESSED = 0.1
"""Share of the canaries that are guessed to be in, and the same to be out: fixed before anything is seen."""
_STEPS = 60
"""Bisections: beyond fp64's accuracy."""


def guesses_of(scores: np.ndarray, included: np.ndarray) -> tuple[int, int]:
    """Return how many guesses a one-run audit makes, and how many are right.

    The tenth of the canaries that score highest are guessed to be in and the tenth that score lowest to be out; about
    the others nothing is said. Of equal scores those that come first count as lower.

    Args:
        scores: of each canary fp64 [canaries], higher for one that was trained on.
        included: the truth, bool [canaries].
    """
    each = max(1, round(GUESSED * len(scores)))
    order = np.argsort(scores, kind="stable")
    right = int((~included[order[:each]]).sum() + included[order[-each:]].sum())
    return 2 * each, right


@lru_cache(maxsize=65536)
def one_run(canaries: int, guesses: int, right: int, delta: float, error: float = ERROR) -> float:
    """Return the epsilon that a one-run audit shows a mechanism to have at least; 0 where it shows nothing.

    Args:
        canaries: each of which was included by an independent coin, at least as many as guesses.
        guesses: how many of them were guessed; the number was fixed beforehand.
        right: how many guesses are right.
        delta: at which epsilon is stated, at least 0.
        error: chance at most of a bound above the truth.

    Raises:
        ValueError: there are more right guesses than guesses, or more guesses than canaries.

    Source: Steinke, Nasr and Jagielski, "Privacy Auditing with One (1) Training Run", NeurIPS 2023, theorem 5.2 and
        appendix D. Deviations: none.
    """
    if not 0 <= right <= guesses <= canaries:
        raise ValueError(f"right guesses, guesses and canaries have to ascend, not {right}, {guesses}, {canaries}")
    if guesses == 0 or _chance(canaries, guesses, right, 0.0, delta) > error:
        return 0.0
    low, high = 0.0, 1.0
    while _chance(canaries, guesses, right, high, delta) <= error:
        low, high = high, 2 * high
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _chance(canaries, guesses, right, middle, delta) <= error:
            low = middle
        else:
            high = middle
    return low


def _chance(canaries: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """Return the most that the chance of so many right guesses can be under (epsilon, delta)."""
    each = 1 / (1 + exp(-epsilon))
    found = 1.0 if right == 0 else float(special.bdtrc(right - 1, guesses, each))
    if right and delta:
        counts = np.arange(right - 1, -1, -1)  # [right]
        ways = special.gammaln(guesses + 1) - special.gammaln(counts + 1) - special.gammaln(guesses - counts + 1)
        exact = np.exp(ways + counts * log(each) + (guesses - counts) * log(1 / (1 + exp(epsilon))))
        fewer = np.cumsum(exact)  # [right]: the chance of 1, 2, .. right fewer ones at most
        found += 2 * canaries * delta * float((fewer / np.arange(1, right + 1)).max())
    return min(1.0, found)


def several_runs(hits: int, members: int, alarms: int, others: int, delta: float) -> float:
    """Return the epsilon that counts at one threshold show at least, canaries of one run or of several pooled.

    Args:
        hits: canaries above the threshold that were in; the threshold was fixed without these canaries.
        members: all that were in.
        alarms: canaries above it that were not in.
        others: all that were not in.
        delta: at which epsilon is stated.

    Source: Jagielski, Ullman and Oprea, "Auditing Differentially Private Machine Learning", NeurIPS 2020, section 3;
        limits by Clopper and Pearson, half of the error for each rate. Deviations: both directions of the inequality
        are tried, on the same limits; canaries of one run count as independent, as if they did not touch each other.
    """
    return max(0.0, apart(hits, members, alarms, others, delta))


def apart(hits: int, members: int, alarms: int, others: int, delta: float) -> float:
    """Return the same before it is cut at 0; minus infinity where the counts say nothing.

    Args:
        hits: as `several_runs` takes them.
        members: the same.
        alarms: the same.
        others: the same.
        delta: at which epsilon is stated.
    """
    if not members or not others:
        return -inf
    half = ERROR / 2
    pairs = (
        (_at_least(hits, members, half), _at_most(alarms, others, half)),
        (_at_least(others - alarms, others, half), _at_most(members - hits, members, half)),
    )
    return max((log((found - delta) / false) for found, false in pairs if found > delta), default=-inf)


class Counts(NamedTuple):
    """What lies above a threshold that was fixed without these canaries."""

    hits: int
    """Canaries above it that were in."""
    members: int
    """All that were in."""
    alarms: int
    """Canaries above it that were not in."""
    others: int
    """All that were not in."""


Shows = Callable[[int, int, int, int], float]
"""What hits, members, alarms and others at one threshold show."""


def counted(scores: np.ndarray, included: np.ndarray, chooses: np.ndarray, counts: np.ndarray, shows: Shows) -> Counts:
    """Return the counts of some canaries at the threshold at which others show most.

    Args:
        scores: of each canary fp64 [canaries], higher for one that was trained on.
        included: the truth, bool [canaries].
        chooses: the canaries that choose the threshold, int [some], at least one.
        counts: those that are counted, int [others].
        shows: what counts at one threshold show.
    """
    order = chooses[np.argsort(-scores[chooses], kind="stable")]
    hits = np.cumsum(included[order])
    alarms = np.arange(1, len(order) + 1) - hits
    of = int(hits[-1]), int(alarms[-1])
    shown = [shows(int(hit), of[0], int(alarm), of[1]) for hit, alarm in zip(hits, alarms, strict=True)]
    above = scores[counts] >= scores[order[int(np.argmax(shown))]]
    inside = included[counts]
    return Counts(*(int(n.sum()) for n in (above & inside, inside, above & ~inside, ~inside)))


@lru_cache(maxsize=65536)
def _at_least(count: int, of: int, error: float) -> float:
    return float(special.betaincinv(count, of - count + 1, error)) if count else 0.0


@lru_cache(maxsize=65536)
def _at_most(count: int, of: int, error: float) -> float:
    return float(special.betaincinv(count + 1, of - count, 1 - error)) if count < of else 1.0


def gaussian(hits: int, members: int, alarms: int, others: int, delta: float, error: float = ERROR) -> float:
    """Return the epsilon that counts at one threshold show at least of a mechanism that is mu-GDP for some mu.

    Whatever is done to scores afterwards, as rounding them, makes the bound smaller and never wrong.

    Args:
        hits: canaries above the threshold that were in; the threshold was fixed without these canaries.
        members: all that were in.
        alarms: canaries above it that were not in.
        others: all that were not in.
        delta: at which epsilon is stated, above 0.
        error: chance at most of a bound above the truth.

    Source: Nasr et al., "Tight Auditing of Differentially Private Machine Learning", USENIX Security 2023, section 5
        (mu-GDP; limits by Clopper and Pearson, half of the error for each rate); Dong, Roth and Su, "Gaussian
        Differential Privacy", JRSS-B 2022, corollary 2.13 (epsilon of mu).
    Deviations: canaries of one run count as independent, as if they did not touch each other.
    """
    return epsilon_of_mu(mu_of(hits, members, alarms, others, error), delta)


def mu_of(hits: int, members: int, alarms: int, others: int, error: float = ERROR) -> float:
    """Return the mu that counts at one threshold show at least; below 0 where they show nothing.

    Args:
        hits: as `gaussian` takes them.
        members: the same.
        alarms: the same.
        others: the same.
        error: chance at most of a bound above the truth.
    """
    missed, false = _at_most(members - hits, members, error / 2), _at_most(alarms, others, error / 2)
    return -float(special.ndtri(missed) + special.ndtri(false)) if max(missed, false) < 1.0 else -inf


@lru_cache(maxsize=65536)
def epsilon_of_mu(mu: float, delta: float) -> float:
    """Return the least epsilon at which a mu-GDP mechanism is (epsilon, delta)-private.

    Args:
        mu: distance of the two normal distributions in units of their spread; below 0 counts as 0.
        delta: above 0 and below 1.

    Source: Dong, Roth and Su, JRSS-B 2022, corollary 2.13. Deviations: none.
    """

    def short(epsilon: float) -> float:
        tail = epsilon + float(special.log_ndtr(-epsilon / mu - mu / 2))
        return float(special.ndtr(mu / 2 - epsilon / mu)) - exp(min(0.0, tail))

    if mu <= 0 or short(0.0) <= delta:
        return 0.0
    low, high = 0.0, mu**2 / 2 + mu * -float(special.ndtri(delta))  # there the first term alone is delta
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if short(middle) > delta else (low, middle)
    return low
