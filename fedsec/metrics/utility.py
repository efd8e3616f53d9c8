"""Utility: what the model is still good for."""

from fedsec.api import BetterFor, MetricValue
from fedsec.federation.evaluation import Evaluation
from fedsec.metrics.stats.intervals import wilson


def accuracy(evaluation: Evaluation) -> MetricValue:
    """Accuracy after the last round with Wilson's interval over the test rows."""
    rows = len(evaluation.correct)
    interval = wilson(int(evaluation.correct.sum()), rows)
    return MetricValue(
        value=evaluation.accuracy,
        unit="fraction",
        better_for=BetterFor.DEFENDER,
        n=rows,
        ci_low=interval.low,
        ci_high=interval.high,
        method=interval.method,
    )
