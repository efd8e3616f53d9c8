"""Detection: the clients that a rule refused, compared with those that are malicious."""

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fedsec.api import BetterFor, MetricValue
from fedsec.metrics.stats.intervals import of_mean

if TYPE_CHECKING:
    from fedsec.federation.transcript import RoundSummary  # it imports torch, which a report does without

LEAST_SHARE = 0.1
"""Of an equal share of the round's weight: a sender that got less is flagged."""


class _Decided(NamedTuple):
    """A round with weights."""

    flagged: frozenset[int]
    senders: tuple[int, ...]


def detection(
    rounds: Iterable["RoundSummary"], malicious: Collection[int], generator: np.random.Generator
) -> dict[str, MetricValue]:
    """Precision and recall of the refusals that the rule's weights amount to, over all messages of these rounds.

    A sender is flagged in a round if it got less than `LEAST_SHARE` of an equal share of the weight that the rule gave
    in all, and its weight times its row's length is as small a share of these; or a weight that is not positive; or if
    the server refused its message. A rule that scales rows (FLTrust, clipping) gives a long one a small weight, and may
    count it in full all the same. Only rounds count that weights
    decided (not coordinate by coordinate, not skipped) and in which a malicious client's message came. Without any of
    these there is nothing to tell; without a single flag there is no precision (0 of 0), and recall is 0.

    A rule that keeps one row, as Krum does, flags all others by design: `baseline` is what flagging as many senders at
    random gets, the share of malicious senders as precision and the share of flagged ones as recall.

    Args:
        rounds: in which the attack acts; the caller leaves out those in which malicious clients behave.
        malicious: the truth.
        generator: resamples rounds for the intervals.

    Source: none; precision and recall as in any detection task. Deviations: none. The intervals take rounds as what is
    independent: a model that goes astray, or a rule that remembers, ties the rounds of one training together, which
    only more seeds show.
    """
    truth = frozenset(malicious)
    decided = [found for found in map(_decided, rounds) if found is not None and truth & set(found.senders)]
    if not decided:
        return {}
    precise = [[float(client in truth) for client in sorted(one.flagged)] for one in decided]
    recalled = [[float(client in one.flagged) for client in one.senders if client in truth] for one in decided]
    messages = sum(len(one.senders) for one in decided)
    found = {"robustness/detection-recall": _value(recalled, sum(map(len, precise)) / messages, generator)}
    if any(precise):
        found["robustness/detection-precision"] = _value(precise, sum(map(len, recalled)) / messages, generator)
    return found


def _decided(summary: "RoundSummary") -> _Decided | None:
    rejected = {one.client for one in summary.rejected}
    received = [client for client in summary.clients if client not in rejected]
    if summary.weights is None or len(summary.weights) != len(received):
        return None
    norms = summary.norms or (1.0,) * len(received)
    lengths = [abs(weight) * norm for weight, norm in zip(summary.weights, norms, strict=True)]
    small = [_small(values) for values in (summary.weights, lengths)]
    low = {client for client, light, short in zip(received, *small, strict=True) if light and short}
    low |= {client for client, weight in zip(received, summary.weights, strict=True) if weight <= 0}
    return _Decided(frozenset(low | rejected), tuple(summary.clients))


def _small(values: Sequence[float]) -> list[bool]:
    """Which are less than `LEAST_SHARE` of an equal share of all."""
    equal = sum(map(abs, values)) / max(1, len(values))
    return [abs(value) < LEAST_SHARE * equal for value in values]


def _value(batches: Sequence[Sequence[float]], baseline: float, generator: np.random.Generator) -> MetricValue:
    values = [value for batch in batches for value in batch]
    interval = of_mean(batches, generator)
    return MetricValue(
        value=sum(values) / len(values),
        unit="fraction",
        better_for=BetterFor.DEFENDER,
        n=len(values),
        ci_low=interval.low,
        ci_high=interval.high,
        method=interval.method.replace("batches", "rounds"),
        baseline=baseline,
    )
