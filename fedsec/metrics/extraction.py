"""Extraction: which training texts an adversary obtains from the released model."""

from collections.abc import Sequence

from fedsec.api import BetterFor, MetricValue, Reconstruction
from fedsec.metrics.rates import rate


def extraction_recall(texts: Sequence[tuple[int, ...]], claims: Sequence[Reconstruction]) -> MetricValue:
    """The different texts that clients hold for training which are among the claims, token by token.

    Of more different claims than there are texts only the surest count: the truth must not pick among them.

    Args:
        texts: content tokens of every training text.
        claims: what the attack says.
    """
    different = set(texts)
    surest = sorted(claims, key=lambda claim: (claim.score != claim.score, claim.score, claim.tokens))
    claimed = list(dict.fromkeys(claim.tokens for claim in surest))[: len(different)]
    found = len(different.intersection(claimed))
    return rate(found, len(different), BetterFor.ATTACKER)
