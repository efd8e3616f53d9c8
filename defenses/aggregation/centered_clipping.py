"""Centered clipping: steps from the previous aggregate towards the rows, each bounded in length."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from fedsec.api import RoundContext, Weighted
from fedsec.maths.geometry import squared_distances
from fedsec.maths.rows import Rows

from .gram_space import squared_distances_to


@dataclass(slots=True, kw_only=True)
class CenteredClipping:
    """v <- v + mean_i (x_i - v) min(1, tau / |x_i - v|), starting from the previous aggregate.

    tau is `radius` times the median of |x_i - v| (the mean of the two middle ones for even n), taken anew in every
    iteration: the radius shrinks as v comes nearer to the rows. v starts at 0 in the first round, and in later ones at
    what the last round that was not skipped came to. All steps are in the coordinates of the rows and v.

    Args:
        radius: in median distances from v; at 1, half of the rows are clipped.
        iterations: L of the paper.
        geometry: `raw` or `product`, see `fedsec.maths.geometry`; under `product` the clipping factors are those of
            the iteration among the products, and act on the rows.

    Source: Karimireddy, He and Jaggi, "Learning from History for Byzantine Robust Optimization", ICML 2021,
        algorithm 2 and equation (CC).
    Deviations: tau is relative, so that no radius has to be guessed for LoRA updates; the previous aggregate is that of
        the clients' updates, which need not hold momentum; distances between LoRA products are ours.
    """

    radius: float = 1.0
    iterations: int = 1
    geometry: str = "raw"
    _previous: torch.Tensor | None = field(default=None, init=False)
    """fp32 [parameters]."""

    def weights(self, rows: Rows, context: RoundContext) -> Weighted:
        """Return the weights of the rows [kept], fp64, and the remaining share of the previous aggregate."""
        start, n = self._start(context), len(rows)
        distances = self._distances(rows, start, context)  # [kept + 1, kept + 1]
        place = torch.zeros(n + 1, dtype=torch.float64)  # of v; its own coordinate is the last
        place[n] = 1.0
        for _ in range(self.iterations):
            lengths = squared_distances_to(place, distances)[:n].sqrt_()
            tau = self.radius * lengths.quantile(0.5)
            factors = torch.where(lengths > tau, tau / lengths.clamp_min(1e-300), 1.0) / n
            place = place * (1.0 - factors.sum())
            place[:n] += factors
        return Weighted(place[:n], float(place[n]) * start)

    def _distances(self, rows: Rows, start: torch.Tensor, context: RoundContext) -> torch.Tensor:
        """Squared distances between the rows and v [kept + 1, kept + 1]; one step needs those from v only."""
        n = len(rows)
        if self.iterations > 1 or self.geometry != "raw":
            return squared_distances(rows.beside(start[None]), context, self.geometry)
        along = rows.along(start)  # takes the norms in the same pass
        from_start = rows.squared_norms() - 2 * along + torch.linalg.vector_norm(start, dtype=torch.float64).square()
        distances = torch.zeros(n + 1, n + 1, dtype=torch.float64)
        distances[n, :n] = distances[:n, n] = from_start.clamp_min(0.0)
        return distances

    def on_aggregate(self, vector: torch.Tensor, context: RoundContext) -> torch.Tensor:
        """Keep the update, from which the next round starts, and return it."""
        self._previous = vector.clone()
        return vector

    def state(self) -> Mapping[str, Any]:
        """Return the previous aggregate, if there is one."""
        return {} if self._previous is None else {"previous": self._previous}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore the previous aggregate."""
        self._previous = state["previous"].clone() if "previous" in state else None

    def _start(self, context: RoundContext) -> torch.Tensor:
        return torch.zeros(context.layout.size) if self._previous is None else self._previous
