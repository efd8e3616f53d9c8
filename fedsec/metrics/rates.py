"""Rates: so many of so many, with their interval; of nothing there is no rate."""

from typing import Any

from fedsec.api import BetterFor, MetricValue
from fedsec.metrics.stats.intervals import wilson


def rate(successes: float, trials: int, better_for: BetterFor, **more: Any) -> MetricValue:
    """A rate with Wilson's interval; its value is None where there is no trial.

    Args:
        successes: between 0 and `trials`; may be fractional where trials are clusters.
        trials: independent trials.
        better_for: who gains when it grows.
        more: other fields of the value: a baseline, another name for the method.
    """
    interval = wilson(successes, trials)
    fields: dict[str, Any] = {"value": None, "n": 0}
    if trials:
        ends = {"ci_low": interval.low, "ci_high": interval.high, "method": interval.method}
        fields = {"value": successes / trials, "n": trials, **ends, **more}
    return MetricValue(unit="fraction", better_for=better_for, **fields)
