"""A threshold below which few clean texts score, so that few clean queries are refused."""

from collections.abc import Sequence
from math import inf


def bar(scores: Sequence[float], refused: float) -> float:
    """Return the largest score such that at most a share of the scores lie below it; minus infinity without any.

    Args:
        scores: of clean texts.
        refused: that share, from 0 to 1 (false refusals, FRR).
    """
    ordered = sorted(scores)
    return ordered[min(int(refused * len(ordered)), len(ordered) - 1)] if ordered else -inf
