"""The choice of rows that a poisoner alters: the same rows in every round."""

from collections.abc import Sequence

import torch

from fedsec.api import Sample


def by_origin(samples: Sequence[Sample]) -> dict[int, Sample]:
    """Return the client's own samples by their index among them, without invented ones."""
    return {sample.origin: sample for sample in samples if sample.origin is not None}


def drawn(rows: Sequence[int], count: int, generator: torch.Generator) -> list[int]:
    """Return `count` of the rows in random order; no row repeats before all were drawn.

    Args:
        rows: to draw from; none gives none.
        count: how many, at least 0; may be more than there are.
        generator: draws them.
    """
    passes = -(-count // len(rows)) if rows else 0
    orders = [torch.randperm(len(rows), generator=generator).tolist() for _ in range(passes)]
    return [rows[place] for order in orders for place in order][:count]
