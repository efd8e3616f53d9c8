"""FLTrust: rows count by their angle to an update that the server makes from rows of its own."""

from dataclasses import dataclass

import torch

from fedsec.api import RoundContext
from fedsec.maths.geometry import gram
from fedsec.maths.rows import Rows

SHORTEST = 1e-4
"""Rows shorter than this, relative to the trusted update, count as zero: rounding would decide their angle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FLTrust:
    """The mean of the rows scaled to the trusted update's length, weighted by the cosine to it where that is positive.

    If no row points the trusted way, all weights are 0 and the global model is kept.

    Args:
        geometry: `raw` or `product`, see `fedsec.maths.geometry`; under `product` angles and lengths are those of the
            products, and the weights act on the rows.

    Source: Cao et al., "FLTrust: Byzantine-robust Federated Learning via Trust Bootstrapping", NDSS 2021, equations
        (2) to (4), algorithm 2.
    Deviations: rows shorter than 1e-4 of the trusted update have weight 0; products of LoRA factors are ours.
    """

    geometry: str = "raw"

    def weights(self, rows: Rows, context: RoundContext) -> torch.Tensor:
        """TS_i |g_0| / (|g_i| sum TS) [kept], fp64; all 0 if the sum is.

        Raises:
            ValueError: the server holds no rows of its own.
        """
        if context.trusted is None:
            raise ValueError("FLTrust needs rows that the server holds: set data.trusted")
        own = context.trusted()  # g_0 [parameters]
        squares, along, square = self._measured(rows, own, context)
        counted = squares.sqrt() > SHORTEST * square.sqrt()
        cosines = along / (squares.sqrt() * square.sqrt()).clamp_min(1e-300)
        scores = torch.where(counted, cosines.clamp(0.0, 1.0), 0.0)  # TS
        if scores.sum() == 0:
            return torch.zeros(len(rows), dtype=torch.float64)
        return scores * square.sqrt() / squares.sqrt().clamp_min(1e-300) / scores.sum()

    def _measured(
        self, rows: Rows, own: torch.Tensor, context: RoundContext
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """|g_i|^2 [kept], <g_i, g_0> [kept], |g_0|^2; fp64."""
        if self.geometry == "raw":
            along = rows.along(own)  # takes the norms in the same pass
            return rows.squared_norms(), along, torch.linalg.vector_norm(own, dtype=torch.float64).square()
        found, n = gram(rows.beside(own[None]), context, self.geometry), len(rows)
        return found.diagonal()[:n].clamp_min(0.0), found[:n, n], found[n, n]
