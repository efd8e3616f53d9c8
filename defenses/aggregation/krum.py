"""Krum: the row with the smallest sum of squared distances to its nearest neighbours."""

from dataclasses import dataclass

import torch

from fedsec.api import RoundContext
from fedsec.maths.geometry import squared_distances
from fedsec.maths.rows import Rows

from .krum_scores import best, krum_scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Krum:
    """Selects the row nearest to its neighbours; ties go to the earlier row, that is, the lower client id.

    Args:
        neighbours: `blanchard` sums over the n-f-2 nearest other rows, `allouah` over the n-f nearest including
            the row itself (distance 0).
        geometry: `raw` or `product`, see `fedsec.maths.geometry`.

    Source: Blanchard et al., "Machine Learning with Adversaries", NeurIPS 2017, section 4, Krum;
        Allouah et al., "Fixing by Mixing", AISTATS 2023, for the second convention.
    Deviations: none; distances between LoRA products are ours.
    """

    neighbours: str = "blanchard"
    geometry: str = "raw"

    def weights(self, rows: Rows, context: RoundContext) -> torch.Tensor:
        """Return a one-hot vector [kept], fp64."""
        distances = squared_distances(rows, context, self.geometry)  # [kept, kept]
        scores = krum_scores(distances, context.declared_malicious, self.neighbours)
        chosen = torch.zeros(len(rows), dtype=torch.float64)
        chosen[best(scores, 1)] = 1.0
        return chosen
