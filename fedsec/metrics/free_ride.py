"""Free-riding: the share of the aggregation's weight that free-riders get."""

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import numpy as np

from fedsec.api import BetterFor, MetricValue
from fedsec.metrics.stats.intervals import of_mean

if TYPE_CHECKING:
    from fedsec.federation.transcript import RoundSummary


def free_ride_weight(
    rounds: Iterable["RoundSummary"], free_riders: Collection[int], generator: np.random.Generator
) -> MetricValue:
    """The share of the rounds' weight that free-riders got; no value where no round was decided by weights.

    Weights count by their size: one below 0 takes an update away, and is no less attention. A free-rider that is
    counted like everybody else has its share of the round's senders, which is the best that it can want.

    Args:
        rounds: in which free-riders took none of the work.
        free_riders: who they are.
        generator: resamples rounds for the interval.

    Source: none. Deviations: none. The interval takes rounds as what is independent.
    """
    got: list[float] = []
    fair: list[float] = []
    for one in rounds:
        refused = {rejection.client for rejection in one.rejected}
        senders = [client for client in one.clients if client not in refused]
        riders = [client in free_riders for client in senders]
        if one.weights is None or len(one.weights) != len(senders) or not any(c in free_riders for c in one.clients):
            continue
        total = sum(map(abs, one.weights))
        theirs = sum(abs(weight) for weight, rides in zip(one.weights, riders, strict=True) if rides)
        got.append(theirs / total if total else 0.0)
        fair.append(sum(client in free_riders for client in one.clients) / len(one.clients))
    interval = of_mean([[share] for share in got], generator) if got else None
    return MetricValue(
        value=float(np.mean(got)) if got else None,
        unit="fraction",
        better_for=BetterFor.ATTACKER,
        n=len(got),
        ci_low=interval.low if interval else None,
        ci_high=interval.high if interval else None,
        method=interval.method.replace("batches", "rounds") if interval else "none",
        chance=0.0 if got else None,
        best=float(np.mean(fair)) if got else None,
    )
