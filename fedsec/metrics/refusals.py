"""Refusals: queries that a defense before the released model does not answer."""

from fedsec.api import BetterFor, MetricValue
from fedsec.federation.evaluation import Evaluation
from fedsec.metrics.rates import rate


def refusals(evaluation: Evaluation, *, guarded: bool) -> dict[str, MetricValue]:
    """`defense/false-refusal-rate`: the test rows that were refused; none where no defense guards the model.

    Args:
        evaluation: of the released model on the test set.
        guarded: whether a defense stands before it.
    """
    rows = len(evaluation.correct) if evaluation.texts is None else len(evaluation.texts.right)
    if not guarded:
        return {}
    return {"defense/false-refusal-rate": rate(evaluation.refused, rows, BetterFor.ATTACKER)}
