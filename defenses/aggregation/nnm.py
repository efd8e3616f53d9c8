"""Nearest neighbour mixing: before a rule, each row becomes the mean of the rows nearest to it."""

from dataclasses import dataclass

import torch

from fedsec.api import Mixed, RoundContext
from fedsec.maths import geometry
from fedsec.maths.rows import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class NearestNeighbourMixing:
    """Replaces each row by the mean of its n-f nearest rows, itself among them; ties go to the earlier row.

    Args:
        geometry: of the distances: `raw` between the rows, `product` between the products of LoRA pairs.

    Source: Allouah et al., "Fixing by Mixing", AISTATS 2023, algorithm 2 (NNM).
    Deviations: none.
    """

    geometry: str = "raw"

    def mix(self, rows: Rows, context: RoundContext) -> Mixed:
        """Return as many rows as before, and as many declared malicious: mixing does not remove a malicious row."""
        distances = geometry.squared_distances(rows, context, self.geometry).clone()  # [kept, kept]
        distances.fill_diagonal_(-1.0)  # itself comes before any row equal to it
        count = len(rows) - context.declared_malicious
        nearest = distances.argsort(dim=1, stable=True)[:, :count]
        mixing = torch.zeros_like(distances).scatter_(1, nearest, 1.0 / count)
        return Mixed(mixing, context.declared_malicious)
