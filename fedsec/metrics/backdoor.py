"""Backdoors: how often triggered texts are sent to the target, and how often the same texts are without the trigger."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from fedsec.api import BetterFor, MetricValue
from fedsec.metrics.rates import rate


def rates(
    triggered: Sequence[int | None], plain: Sequence[int | None], targets: np.ndarray, labels: np.ndarray
) -> dict[str, MetricValue]:
    """Success with the trigger, the rate without it, and how often the model is right in spite of the trigger.

    Beside success stands the rate without the trigger, beside what is right what the probes' largest class gets.

    Args:
        triggered: the model's class of each probe with its trigger; None where a defense refused to answer.
        plain: the same without the trigger.
        targets: the class that each trigger is to bring out [probes].
        labels: the probes' own classes [probes].

    Source: Chen et al., BadNL, ACSAC 2021 (attack success rate). Deviations: a refusal is no success.
    """
    count, base, right = len(targets), sum(hits(plain, targets)), sum(hits(triggered, labels))
    untriggered = base / count if count else None
    largest = Counter(labels.tolist()).most_common(1)[0][1] / count if count else None
    success = rate(sum(hits(triggered, targets)), count, BetterFor.ATTACKER, baseline=untriggered)
    found = {
        "robustness/attack-success-rate": success,
        "robustness/untriggered-rate": rate(base, count, BetterFor.NEITHER),
        "robustness/r-accuracy": rate(right, count, BetterFor.DEFENDER, baseline=largest),
    }
    refused = [one is None for one in triggered]
    if any(refused) or any(one is None for one in plain):
        found["defense/refusal-rate"] = rate(sum(refused), count, BetterFor.DEFENDER)
    return found


def hits(predicted: Sequence[int | None], wanted: np.ndarray) -> list[int]:
    """1 where the model says what is wanted, else 0."""
    return [int(one is not None and one == int(want)) for one, want in zip(predicted, wanted, strict=True)]
