"""Audits: what the scores of canaries show of epsilon at least, beside what a ledger promises."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fedsec.api import BetterFor, MetricValue
from fedsec.metrics.stats import audits

DELTA = 1e-5
"""At which epsilon is stated where nobody promises one."""
TIGHT_UP_TO = 4.0
"""Promises up to this epsilon are held against the one-run bound, which assumes nothing of the mechanism; larger ones,
which few canaries cannot refute that way, against it and against the bound for Gaussian noise."""


class Promise(NamedTuple):
    """What a ledger promises."""

    epsilon: float
    delta: float


class Counted(NamedTuple):
    """What an audit counted: all that its bounds depend on."""

    canaries: int
    guesses: int
    right: int
    at_epsilon: audits.Counts
    """Of one half of the canaries, at the threshold at which the other half shows the largest epsilon."""
    at_mu: audits.Counts
    """The same at the threshold at which it shows the largest mu."""
    delta: float


def audited(
    scores: np.ndarray, included: np.ndarray, promise: Promise | None, generator: np.random.Generator
) -> tuple[dict[str, MetricValue], Counted]:
    """Return bounds with their ceilings and the verdict, and what was counted.

    Args:
        scores: of each canary fp64 [canaries], higher for one that was trained on.
        included: whether it was, by an independent coin of its own, bool [canaries].
        promise: of the ledger, for one record; None where there is none.
        generator: halves the canaries: one half chooses a threshold, the other is counted at it.
    """
    delta = DELTA if promise is None else promise.delta
    metrics = one_run(scores, included, promise)
    found = _counted(scores, included, delta, generator)
    detail = {name: float(count) for name, count in found.at_mu._asdict().items()} | {"delta": delta}
    bound, most = audits.gaussian(*found.at_mu, delta), audits.gaussian(*_told_apart(found.at_mu), delta)
    metrics |= {
        "audit/epsilon-lower-bound-gdp": _epsilon(bound, len(scores), promise, "mu-gdp", detail),
        "audit/ceiling-gdp": _ceiling(most, len(scores), "mu-gdp", detail),
        "audit/refuted": verdict([found], [promise]),
    }
    return metrics, found


def one_run(
    scores: np.ndarray, included: np.ndarray, promise: Promise | None = None, prefix: str = "audit"
) -> dict[str, MetricValue]:
    """Return the bound of a one-run audit and its ceiling.

    Args:
        scores: of each canary fp64 [canaries], higher for one that was trained on.
        included: whether it was, by an independent coin of its own, bool [canaries].
        promise: of the ledger, for one record; None where there is none.
        prefix: of the metrics' names.

    Source: Steinke, Nasr and Jagielski, NeurIPS 2023. Deviations: the tenth of the canaries at each end is guessed,
        where the paper tries several numbers of guesses.
    """
    delta = DELTA if promise is None else promise.delta
    guesses, right = audits.guesses_of(scores, included)
    bound, most = (audits.one_run(len(scores), guesses, count, delta) for count in (right, guesses))
    detail = {"delta": delta, "guesses": float(guesses), "right": float(right)}
    return {
        f"{prefix}/epsilon-lower-bound": _epsilon(bound, len(scores), promise, "one-run", detail),
        f"{prefix}/ceiling": _ceiling(most, len(scores), "one-run", detail),
    }


def pooled(found: Sequence[Counted], promises: Sequence[Promise | None]) -> dict[str, MetricValue]:
    """Return the bound of several runs' counts together, and its ceiling.

    Args:
        found: of each run, as `audited` gives it.
        promises: of each run's ledger, None where there is none; the weakest is told.
    """
    sums = audits.Counts(*(sum(one.at_epsilon[place] for one in found) for place in range(4)))
    delta = max(one.delta for one in found)
    known = [one for one in promises if one is not None]
    promise = max(known) if len(known) == len(found) else None
    detail = {name: float(count) for name, count in sums._asdict().items()} | {"delta": delta}
    bound, most = audits.several_runs(*sums, delta), audits.several_runs(*_told_apart(sums), delta)
    count = sums.members + sums.others
    return {
        "audit/epsilon-lower-bound-pooled": _epsilon(bound, count, promise, "clopper-pearson", detail),
        "audit/ceiling-pooled": _ceiling(most, count, "clopper-pearson", detail),
    }


def verdict(found: Sequence[Counted], promises: Sequence[Promise | None]) -> MetricValue:
    """Return the share of runs that refute what their ledgers promise; no value without a promise.

    Where promises are kept, in at most 5 % of cases any run refutes one: runs share the error, and so do the two bounds
    that a promise above 4 is held against.

    Args:
        found: of each run, as `audited` gives it.
        promises: of each run's ledger, None where there is none.
    """
    shared: dict[str, Any] = {"unit": "fraction", "better_for": BetterFor.ATTACKER}
    pairs = [(one, promise) for one, promise in zip(found, promises, strict=True) if promise is not None]
    if not pairs:
        return MetricValue(value=None, n=0, **shared)
    shown = [(_decides(one, promise, audits.ERROR / len(pairs)), promise) for one, promise in pairs]
    bound, worst = max(shown, key=lambda one: one[0] - one[1].epsilon)
    refuted = sum(found > promise.epsilon for found, promise in shown) / len(shown)
    detail = {"promised": worst.epsilon, "bound": bound, "delta": worst.delta}
    return MetricValue(value=refuted, n=len(pairs), chance=0.0, best=1.0, detail=detail, **shared)


def _decides(one: Counted, promise: Promise, error: float) -> float:
    """Return the bound that a promise of this size is held against."""
    if promise.epsilon <= TIGHT_UP_TO:
        return audits.one_run(one.canaries, one.guesses, one.right, promise.delta, error)
    plain = audits.one_run(one.canaries, one.guesses, one.right, promise.delta, error / 2)
    return max(plain, audits.gaussian(*one.at_mu, promise.delta, error / 2))


def _counted(scores: np.ndarray, included: np.ndarray, delta: float, generator: np.random.Generator) -> Counted:
    order = generator.permutation(len(scores))
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    guesses, right = audits.guesses_of(scores, included)

    def shown(hits: int, members: int, alarms: int, others: int) -> float:
        return audits.apart(hits, members, alarms, others, delta)

    at_epsilon, at_mu = (audits.counted(scores, included, *halves, shows) for shows in (shown, audits.mu_of))
    return Counted(len(scores), guesses, right, at_epsilon, at_mu, delta)


def _told_apart(counts: audits.Counts) -> audits.Counts:
    """Return the counts of a threshold without a mistake."""
    return counts._replace(hits=counts.members, alarms=0)


def _epsilon(
    value: float, count: int, promise: Promise | None, method: str, detail: Mapping[str, float]
) -> MetricValue:
    return MetricValue(
        value=value,
        unit="epsilon",
        better_for=BetterFor.ATTACKER,
        n=count,
        method=method,
        baseline=None if promise is None else promise.epsilon,
        detail=detail,
    )


def _ceiling(value: float, count: int, method: str, detail: Mapping[str, float]) -> MetricValue:
    return MetricValue(value=value, unit="epsilon", better_for=BetterFor.NEITHER, n=count, method=method, detail=detail)
