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
which few canaries cannot refute that way, against the bound for Gaussian noise."""


class Promise(NamedTuple):
    """What a ledger promises."""

    epsilon: float
    delta: float


def audited(
    scores: np.ndarray, included: np.ndarray, promise: Promise | None, generator: np.random.Generator
) -> tuple[dict[str, MetricValue], list[float]]:
    """Return bounds with their ceilings and the verdict, and the counts at a threshold that seeds are pooled by.

    Args:
        scores: of each canary fp64 [canaries], higher for one that was trained on.
        included: whether it was, by an independent coin of its own, bool [canaries].
        promise: of the ledger, for one record; None where there is none.
        generator: halves the canaries: one half chooses a threshold, the other is counted at it.
    """
    delta = DELTA if promise is None else promise.delta
    metrics = one_run(scores, included, promise)
    inside, outside = scores[included], scores[~included]
    detail = {"delta": delta, "included": float(len(inside)), "withheld": float(len(outside))}
    bound = audits.gaussian(inside, outside, delta)
    most = audits.gaussian_ceiling(len(inside), len(outside), delta)
    metrics |= {
        "audit/epsilon-lower-bound-gdp": _epsilon(bound, len(scores), promise, "mu-gdp", detail),
        "audit/ceiling-gdp": _ceiling(most, len(scores), "mu-gdp", detail),
        "audit/refuted": _verdict(metrics["audit/epsilon-lower-bound"], bound, promise),
    }
    return metrics, _counts(scores, included, delta, generator)


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


def pooled(counts: Sequence[Sequence[float]], promises: Sequence[Promise | None]) -> dict[str, MetricValue]:
    """Return the bound of several runs' counts together, and its ceiling.

    Args:
        counts: of each run, as `audited` gives them.
        promises: of each run's ledger, None where there is none; the weakest is told.
    """
    hits, members, alarms, others = (int(sum(run[place] for run in counts)) for place in range(4))
    delta = max(run[4] for run in counts)
    known = [one for one in promises if one is not None]
    promise = max(known) if len(known) == len(counts) else None
    detail = {"true-positives": float(hits), "false-positives": float(alarms)}
    detail |= {"delta": delta, "included": float(members), "withheld": float(others)}
    bound = audits.several_runs(hits, members, alarms, others, delta)
    most = audits.several_runs(members, members, 0, others, delta)
    count = members + others
    return {
        "audit/epsilon-lower-bound-pooled": _epsilon(bound, count, promise, "clopper-pearson", detail),
        "audit/ceiling-pooled": _ceiling(most, count, "clopper-pearson", detail),
    }


def _counts(scores: np.ndarray, included: np.ndarray, delta: float, generator: np.random.Generator) -> list[float]:
    """Hits, members, alarms and others of one half at the threshold that the other half chose, and delta."""
    order = generator.permutation(len(scores))
    chooses, counted = order[: len(order) // 2], order[len(order) // 2 :]
    above = scores[counted] >= audits.threshold(scores[chooses], included[chooses], delta)
    inside = included[counted]
    return [*(float(n.sum()) for n in (above & inside, inside, above & ~inside, ~inside)), delta]


def _verdict(one: MetricValue, normal: float, promise: Promise | None) -> MetricValue:
    """Whether the bound that a promise of this size is held against exceeds it; nothing without a promise."""
    shared: dict[str, Any] = {"unit": "fraction", "better_for": BetterFor.ATTACKER}
    if promise is None:
        return MetricValue(value=None, n=0, **shared)
    decides = one.value if promise.epsilon <= TIGHT_UP_TO else normal
    assert decides is not None  # noqa: S101 - a bound is at least 0
    detail = {"promised": promise.epsilon, "bound": decides, "delta": promise.delta}
    return MetricValue(value=float(decides > promise.epsilon), n=1, chance=0.0, best=1.0, detail=detail, **shared)


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
