"""Divide and conquer (DnC): rows that reach far along the rows' main direction are left out."""

from dataclasses import dataclass

import torch

from fedsec.api import Measured, Mixed, RoundContext
from fedsec.maths.rows import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class DivideAndConquer:
    """Keeps the rows that are good in every iteration: among the n - c f nearest to the mean along the main direction.

    An iteration looks at coordinates drawn at random. The main direction is the top right singular vector of these
    coordinates of the rows less their mean. Where no row is good in all iterations, those stay that are in most of
    them.

    Args:
        iterations: how often coordinates are drawn.
        coordinates: how many are drawn, at most all.
        filtered: c: rows left out in an iteration, as a multiple of f; rounded up.

    Source: Shejwalkar and Houmansadr, "Manipulating the Byzantine", NDSS 2021, algorithm 2; niters = 1, b = 10,000, and
        c = 1 as in the official code.
    Deviations: what stays where the intersection is empty is ours; rows above 100 times the median norm are scaled down
        to that first, so that one of 1e30 does not hide the others.
    """

    iterations: int = 1
    coordinates: int = 10_000
    filtered: float = 1.0

    def mix(self, rows: Rows, context: RoundContext) -> Measured:
        """Return the rows that are left, in their order."""
        n = len(rows)
        out = min(n - 1, -int(-self.filtered * context.declared_malicious // 1))
        good = torch.zeros(n, dtype=torch.int64)
        for _ in range(self.iterations):
            scores = outlier_scores(drawn(rows, self.coordinates, context.generator))
            good[scores.argsort(stable=True)[: n - out]] += 1
        kept = (good == good.max()).nonzero()[:, 0]
        left = max(0, context.declared_malicious - (n - len(kept)))
        return Measured(Mixed(torch.eye(n, dtype=torch.float64)[kept], left), {"kept": len(kept) / n})


def drawn(rows: Rows, count: int, generator: torch.Generator) -> torch.Tensor:
    """Return `count` of the rows' columns, drawn without replacement [kept, count], fp64; all if there are fewer."""
    size = sum(chunk.shape[1] for chunk in rows.chunks())
    chosen = torch.randperm(size, generator=generator)[:count].sort().values
    pieces, width = [], 1 << 13
    for start in range(0, size, width):
        stop = min(start + width, size)
        inside = chosen[(chosen >= start) & (chosen < stop)] - start
        if len(inside):
            pieces.append(rows.part(start, stop)[:, inside])
    return torch.cat(pieces, dim=1)


def outlier_scores(block: torch.Tensor) -> torch.Tensor:
    """Return <x_i - mu, v>^2 for the top right singular vector v of the centred rows [n], fp64.

    It is the top eigenvalue of the centred rows' Gram matrix times the square of that eigenvector's entry i.

    Args:
        block: rows x_i, fp64 [n, columns].
    """
    centred = block - block.mean(dim=0)
    values, vectors = torch.linalg.eigh(centred @ centred.T)
    scores: torch.Tensor = values[-1].clamp_min(0.0) * vectors[:, -1].square()
    return scores
