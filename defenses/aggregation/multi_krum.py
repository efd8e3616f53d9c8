"""Multi-Krum: the mean of the rows with the best Krum scores."""

from dataclasses import dataclass

import torch

from fedsec.api import RoundContext
from fedsec.maths.geometry import squared_distances
from fedsec.maths.rows import Rows

from .krum_scores import best, krum_scores


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiKrum:
    """Averages the m rows nearest to their neighbours, scored once; ties go to the earlier row.

    Args:
        neighbours: `blanchard` sums over the n-f-2 nearest other rows, `allouah` over the n-f nearest including
            the row itself (distance 0).
        m: how many rows are averaged; Blanchard et al. have 1 <= m <= n-f-2, Allouah et al. m = n-f. 0: the most,
            n-f-2 or n-f. At least one row is kept, at most all.
        geometry: `raw` or `product`, see `fedsec.maths.geometry`.

    Source: Blanchard et al., "Machine Learning with Adversaries", NeurIPS 2017, section 4, Multi-Krum;
        Allouah et al., "Fixing by Mixing", AISTATS 2023, for the second convention.
    Deviations: none; distances between LoRA products are ours.
    """

    neighbours: str = "blanchard"
    m: int = 0
    geometry: str = "raw"

    def weights(self, rows: Rows, context: RoundContext) -> torch.Tensor:
        """Return 1/m for the chosen rows, 0 for the others [kept], fp64."""
        n, f = len(rows), context.declared_malicious
        scores = krum_scores(squared_distances(rows, context, self.geometry), f, self.neighbours)
        count = self.m or (n - f - 2 if self.neighbours == "blanchard" else n - f)
        count = min(max(count, 1), n)
        chosen = torch.zeros(n, dtype=torch.float64)
        chosen[best(scores, count)] = 1.0 / count
        return chosen
