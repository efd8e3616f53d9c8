"""Bulyan with all rows selected in a single pass of Multi-Krum."""

from dataclasses import dataclass

import torch

from fedsec.api import RoundContext
from fedsec.maths import geometry
from fedsec.maths.rows import Rows

from .bulyan import mean_of_selected
from .krum_scores import best, krum_scores


@dataclass(frozen=True, slots=True, kw_only=True)
class BulyanOnePass:
    """Takes the n-2f rows of the lowest Krum scores; per coordinate, averages the n-4f values nearest their median.

    Scores are computed once, over all rows: another rule than Bulyan, which selects other rows at times. Ties go to
    the earlier row, and of two equally near values to the lower.

    Args:
        geometry: of the distances: `raw` between the rows, `product` between the products of LoRA pairs.

    Source: Flower 1.41, `flwr.serverapp.strategy.Bulyan` with its default selection rule.
    Deviations: from Flower: distances are centred and in fp64, where Flower's lose their digits beside large norms;
        from El Mhamdi et al., ICML 2018: one pass instead of n-2f.
    """

    geometry: str = "raw"

    def vector(self, rows: Rows, context: RoundContext) -> torch.Tensor:
        """Return the mean around the selected rows' median [parameters], fp32."""
        distances = geometry.squared_distances(rows, context, self.geometry)
        f = context.declared_malicious
        return mean_of_selected(rows, best(krum_scores(distances, f, "blanchard"), len(rows) - 2 * f), f)
