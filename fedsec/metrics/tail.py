"""Accuracy over the last rounds, since the last round alone may be an outlier."""

from collections.abc import Sequence

from fedsec.api import BetterFor, MetricValue
from fedsec.federation.evaluation import Evaluation
from fedsec.metrics.rates import rate

PARTS = 5
"""The tail is the last of so many equal parts of the rounds."""


def tail_accuracy(
    curve: Sequence[tuple[int, float | None, float]], rounds: int, final: Evaluation, constant: float | None
) -> dict[str, MetricValue]:
    """`utility/tail-accuracy`: the mean of what was evaluated in the last fifth of the rounds, at least the last.

    The best value over time is never taken: it would be picked on the test set.

    Args:
        curve: (round, accuracy, loss) of the global model; round 0 is the untrained one.
        rounds: that were trained, >= 1.
        final: the last evaluation; only its number of test rows, or of a causal language model's texts, counts.
        constant: what a constant answer gets right of the test set.

    Source: Wilson's interval at the mean rate with n = test rows. Deviations: the evaluations share their test rows, so
    that more of them make n no larger; the mean of rates over the same rows varies no more than a rate over independent
    rows does, so that the interval is rather too wide. For next tokens n is the number of texts: tokens within a text
    are not independent, and a text's share of right tokens varies less than a text that is all right or all wrong.
    """
    known = [(number, accuracy) for number, accuracy, _ in curve if accuracy is not None]
    if not known:
        return {}
    tail = [accuracy for number, accuracy in known if PARTS * number > (PARTS - 1) * rounds] or [known[-1][1]]
    mean = sum(tail) / len(tail)
    rows = len(final.correct) if final.texts is None else len(final.texts.right)
    method = "wilson" if final.texts is None else "wilson-texts"
    return {"utility/tail-accuracy": rate(mean * rows, rows, BetterFor.DEFENDER, method=method, baseline=constant)}
