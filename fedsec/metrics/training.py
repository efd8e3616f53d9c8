"""Whether training went as it was meant to: what of honest clients' work reached the model."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from fedsec.api import BetterFor, MetricValue

if TYPE_CHECKING:
    from fedsec.federation.transcript import RoundSummary


def training(rounds: Sequence["RoundSummary"], malicious: Collection[int]) -> dict[str, MetricValue]:
    """The shares of honest updates that the server dropped and of rounds that left the model as it was, by name.

    Args:
        rounds: of the whole training.
        malicious: clients whose messages do not count.
    """
    updates = sum(len(set(one.clients) - set(malicious)) for one in rounds)
    dropped = sum(one.client not in malicious for summary in rounds for one in summary.rejected)
    skipped = sum(one.skipped is not None for one in rounds)
    return {
        "utility/dropped-updates": _share(dropped, updates),
        "utility/skipped-rounds": _share(skipped, len(rounds)),
    }


def _share(count: int, n: int) -> MetricValue:
    """A share that was counted and not sampled."""
    value = count / n if n else None
    return MetricValue(value=value, unit="fraction", better_for=BetterFor.ATTACKER, n=n)
