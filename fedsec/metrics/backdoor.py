"""Backdoors: how often triggered texts are sent to the target, and how often the same texts are without the trigger."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from fedsec.api import BetterFor, MetricValue
from fedsec.metrics.rates import rate


def rates(
    triggered: Sequence[int | None],
    plain: Sequence[int | None],
    targets: np.ndarray,
    labels: np.ndarray | None,
    *,
    guarded: bool = False,
) -> dict[str, MetricValue]:
    """Success with the trigger, the rate without it, and how often the model is right in spite of the trigger.

    Beside success stands the rate without the trigger, beside what is right what the probes' largest class gets.

    Args:
        triggered: the model's class of each probe with its trigger; None where a defense refused to answer.
        plain: the same without the trigger.
        targets: the class that each trigger is to bring out [probes].
        labels: the probes' own classes [probes]; None where they have none, as texts of a language model.
        guarded: whether a defense stands before the model that may refuse; then the share of triggered probes that it
            refuses is given: 1 less the false acceptances (FAR).

    Source: Chen et al., BadNL, ACSAC 2021 (attack success rate). Deviations: a refusal is no success.
    """
    count, base = len(targets), sum(hits(plain, targets))
    untriggered = base / count if count else None
    success = rate(sum(hits(triggered, targets)), count, BetterFor.ATTACKER, baseline=untriggered)
    found = {
        "robustness/attack-success-rate": success,
        "robustness/untriggered-rate": rate(base, count, BetterFor.NEITHER),
    }
    if labels is not None:
        right = sum(hits(triggered, labels))
        largest = Counter(labels.tolist()).most_common(1)[0][1] / count if count else None
        found["robustness/r-accuracy"] = rate(right, count, BetterFor.DEFENDER, baseline=largest)
    if guarded:
        found["defense/refusal-rate"] = rate(sum(one is None for one in triggered), count, BetterFor.DEFENDER)
    return found


HALF = 0.5
"""The lift below which a backdoor counts as gone."""


def lifespan(lifts: Sequence[tuple[int, float]], last: int) -> MetricValue | None:
    """How long a backdoor outlives the last hostile round, by its lift; None where the evaluations do not tell.

    The value is for good: rounds from the last hostile one to the first evaluation from which on the lift is below
    half. `detail` has the rounds to the first evaluation below half, after which it may rise again. It is 0 where the
    lift is below half after the last hostile round itself, and ever after. Without an evaluation after that round there
    is no value, and neither where the lift is below half in all evaluations around it and that round itself was not
    evaluated: the backdoor may have lived in between.

    Args:
        lifts: (round, lift) of every evaluation, in their order.
        last: the last hostile round.

    Source: Zhang et al., "Neurotoxin", ICML 2022, definition 1 (lifespan: rounds until accuracy on the backdoor falls
        below a threshold, 50 %). Deviations: of the lift, so that label bias is no backdoor that lives on.
    """
    before, after = [one for one in lifts if one[0] <= last], [one for one in lifts if one[0] > last]
    if not after:
        return None
    alive, dead = [n for n, lift in after if lift >= HALF], [n for n, lift in after if lift < HALF]
    end, outlives = after[-1][0], after[-1][1] >= HALF
    first = dead[0] if dead else end
    good = end if outlives else min(number for number in dead if number > max(alive, default=0))
    planted = bool(alive) or (bool(before) and before[-1][1] >= HALF)
    if not planted and (not before or before[-1][0] < last):
        return None
    first, good = (first - last, good - last) if planted else (0, 0)
    return MetricValue(
        value=float(good),
        unit="rounds",
        better_for=BetterFor.ATTACKER,
        n=len(after),
        detail={"first-below-half": float(first), "outlives": float(outlives), "last-hostile-round": float(last)},
    )


def hits(predicted: Sequence[int | None], wanted: np.ndarray) -> list[int]:
    """1 where the model says what is wanted, else 0."""
    return [int(one is not None and one == int(want)) for one, want in zip(predicted, wanted, strict=True)]
