"""Bucketing: before a rule, rows are averaged in random groups."""

from dataclasses import dataclass

import torch

from fedsec.api import Mixed, RoundContext
from fedsec.maths.rows import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucketing:
    """Averages the rows, in random order, in buckets of s; the last one holds what is left and averages that.

    Each row is in exactly one bucket. f malicious rows spoil up to f buckets, so that f stays what it was.

    Args:
        s: rows in a bucket, at least 1.

    Source: Karimireddy et al., "Byzantine-Robust Learning on Heterogeneous Datasets via Bucketing", ICLR 2022,
        algorithm 1.
    Deviations: none.
    """

    s: int = 2

    def mix(self, rows: Rows, context: RoundContext) -> Mixed:
        """Return the buckets, ceil(n/s) of them."""
        n = len(rows)
        order = torch.randperm(n, generator=context.generator)
        mixing = torch.zeros(-(-n // self.s), n, dtype=torch.float64)
        mixing[torch.arange(n) // self.s, order] = 1.0
        return Mixed(mixing / mixing.sum(dim=1, keepdim=True), context.declared_malicious)
