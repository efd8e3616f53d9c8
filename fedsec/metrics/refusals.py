"""Refusals: queries that a defense before the released model does not answer."""

from fedsec.api import BetterFor, MetricValue
from fedsec.federation.evaluation import Evaluation
from fedsec.metrics.stats.intervals import wilson


def refusals(evaluation: Evaluation, *, guarded: bool) -> dict[str, MetricValue]:
    """`defense/false-refusal-rate`: the test rows that were refused; none where no defense guards the model.

    Args:
        evaluation: of the released model on the test set.
        guarded: whether a defense stands before it.
    """
    rows = len(evaluation.correct) if evaluation.texts is None else len(evaluation.texts.right)
    if not guarded or not rows:
        return {}
    interval = wilson(evaluation.refused, rows)
    value = MetricValue(
        value=evaluation.refused / rows,
        unit="fraction",
        better_for=BetterFor.ATTACKER,
        n=rows,
        ci_low=interval.low,
        ci_high=interval.high,
        method=interval.method,
    )
    return {"defense/false-refusal-rate": value}
