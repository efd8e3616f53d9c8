"""Krum's scores, which several rules select by."""

import torch


def krum_scores(distances: torch.Tensor, f: int, neighbours: str) -> torch.Tensor:
    """Return each row's sum of squared distances to its nearest neighbours [n], fp64.

    Args:
        distances: squared distances between the rows [n, n], fp64, zero on the diagonal.
        f: how many of the rows are taken to be malicious; where it leaves none to sum over, only the row itself counts.
        neighbours: `blanchard` sums over the n-f-2 nearest other rows, `allouah` over the n-f nearest including the
            row itself (distance 0).

    Source: Blanchard et al., "Machine Learning with Adversaries", NeurIPS 2017, section 4;
        Allouah et al., "Fixing by Mixing", AISTATS 2023, for the second convention.
    Deviations: none.
    """
    n = distances.shape[0]
    # Itself is among the nearest, at distance 0: Blanchard's n-f-2 others are the n-f-1 nearest with itself.
    count = n - f - 1 if neighbours == "blanchard" else n - f
    return distances.topk(max(count, 1), dim=1, largest=False).values.sum(dim=1)


def best(scores: torch.Tensor, count: int) -> torch.Tensor:
    """Return the rows with the `count` lowest scores, best first; of equal scores the earlier row comes first."""
    return scores.argsort(stable=True)[:count]
