"""Backdoors: how often a trigger brings out its target, beside how often the same texts go there without it."""

from collections.abc import Sequence

import numpy as np

from fedsec.api import BetterFor, MetricValue
from fedsec.metrics.stats.intervals import wilson


def rates(
    triggered: Sequence[int | None], plain: Sequence[int | None], targets: np.ndarray, labels: np.ndarray
) -> dict[str, MetricValue]:
    """Success with the trigger, the rate without it, and how often the model is right in spite of the trigger.

    Args:
        triggered: the model's class of each probe with its trigger; None where a defense refused to answer.
        plain: the same without the trigger.
        targets: the class that each trigger is to bring out [probes].
        labels: the probes' own classes [probes].

    Source: Chen et al., BadNL, ACSAC 2021 (attack success rate). Deviations: a refusal is no success.
    """
    found = {
        "robustness/attack-success-rate": _rate(hits(triggered, targets), BetterFor.ATTACKER),
        "robustness/untriggered-rate": _rate(hits(plain, targets), BetterFor.NEITHER),
        "robustness/r-accuracy": _rate(hits(triggered, labels), BetterFor.DEFENDER),
    }
    refused = [int(one is None) for one in triggered]
    if any(refused) or any(one is None for one in plain):
        found["defense/refusal-rate"] = _rate(refused, BetterFor.DEFENDER)
    return found


def hits(predicted: Sequence[int | None], wanted: np.ndarray) -> list[int]:
    """1 where the model says what is wanted, else 0."""
    return [int(one is not None and one == int(want)) for one, want in zip(predicted, wanted, strict=True)]


def _rate(outcomes: Sequence[int], better_for: BetterFor) -> MetricValue:
    interval = wilson(sum(outcomes), len(outcomes))
    return MetricValue(
        value=sum(outcomes) / len(outcomes) if outcomes else None,
        unit="fraction",
        better_for=better_for,
        n=len(outcomes),
        ci_low=interval.low if outcomes else None,
        ci_high=interval.high if outcomes else None,
        method=interval.method,
    )
