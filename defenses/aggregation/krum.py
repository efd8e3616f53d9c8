"""Krum: the row with the smallest sum of squared distances to its nearest neighbours."""

from dataclasses import dataclass

import torch

from fedsec.api import RoundContext
from fedsec.maths.rows import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Krum:
    """Selects the row nearest to its neighbours; ties go to the earlier row, that is, the lower client id.

    Args:
        neighbours: `blanchard` sums over the n-f-2 nearest other rows, `allouah` over the n-f nearest including
            the row itself (distance 0).

    Source: Blanchard et al., "Machine Learning with Adversaries", NeurIPS 2017, section 4, Krum;
        Allouah et al., "Fixing by Mixing", AISTATS 2023, for the second convention.
    Deviations: none.
    """

    neighbours: str = "blanchard"

    def weights(self, rows: Rows, context: RoundContext) -> torch.Tensor:
        """A one-hot vector [kept], fp64."""
        distances = rows.squared_distances()  # [kept, kept]
        n, f = distances.shape[0], context.declared_malicious
        # Itself is among the nearest, at distance 0: Blanchard's n-f-2 others are the n-f-1 nearest with itself.
        count = n - f - 1 if self.neighbours == "blanchard" else n - f
        nearest = distances.topk(max(count, 1), dim=1, largest=False).values  # [kept, count]
        chosen = torch.zeros(n, dtype=torch.float64)
        chosen[_first_minimum(nearest.sum(dim=1))] = 1.0
        return chosen


def _first_minimum(scores: torch.Tensor) -> int:
    return int((scores == scores.min()).nonzero()[0])
