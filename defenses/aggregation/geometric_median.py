"""Geometric median: the point with the smallest sum of distances to the rows."""

from dataclasses import dataclass

import torch

from fedsec.api import RoundContext
from fedsec.maths.geometry import squared_distances
from fedsec.maths.rows import Rows

from .gram_space import squared_distances_to


@dataclass(frozen=True, slots=True, kw_only=True)
class GeometricMedian:
    """Smoothed Weiszfeld from the mean of the rows until the gradient is at its floor.

    The objective is the sum of |x_i - z|, each rounded off below nu. Every step lowers it, so that the last weights are
    the best seen; where `max_iterations` end before `tolerance` is reached (rows almost on a line, say), they are the
    result all the same. All steps are in the rows' coordinates: two products of size n x n each.

    Args:
        tolerance: of the gradient's length per row, which is 1 far from all rows and 0 at the minimum.
        max_iterations: steps at most.
        nu: distance below which the objective is smooth, in typical distances: the median over rows of the median of a
            row's distances to the others, which fewer than half of the rows cannot drive up.
        geometry: `raw` or `product`, see `fedsec.maths.geometry`.

    Source: Pillutla et al., "Robust Aggregation for Federated Learning", IEEE TSP 2022, algorithm 2 (smoothed
        Weiszfeld).
    Deviations: the rows count equally, whatever their examples; nu is relative, so that scaled rows give a scaled
        median; iterated to a tolerance in place of 3 steps; distances between LoRA products are ours.
    """

    tolerance: float = 1e-7
    max_iterations: int = 1000
    nu: float = 1e-6
    geometry: str = "raw"

    def weights(self, rows: Rows, context: RoundContext) -> torch.Tensor:
        """Return weights that sum to 1, larger for rows nearer to the median [kept], fp64."""
        distances = squared_distances(rows, context, self.geometry)  # [kept, kept]
        n = len(rows)
        weights = torch.full((n,), 1.0 / n, dtype=torch.float64)
        scale = _typical(distances)
        if scale == 0:
            return weights  # all rows are equal
        distances = distances / scale.square()
        for _ in range(self.max_iterations):
            nearness = squared_distances_to(weights, distances).sqrt_().clamp_min_(self.nu).reciprocal_()
            total = nearness.sum()
            following = nearness / total
            step = following - weights
            # The gradient is the step times the sum of nearnesses; |sum_i s_i x_i|^2 = -s' D s / 2 where s sums to 0.
            gradient = (-step.dot(distances @ step) / 2).clamp_min(0.0).sqrt() * total
            weights = following
            if gradient <= self.tolerance * n:
                break
        return weights


def _typical(distances: torch.Tensor) -> torch.Tensor:
    """The lower median over rows of the lower median of a row's distances to the others; 0 if all rows are equal.

    Where most rows are equal, the smallest distance that is not 0.
    """
    n = len(distances)
    others = distances[~torch.eye(n, dtype=torch.bool)].view(n, n - 1) if n > 1 else distances
    found = others.median(dim=1).values.median().sqrt()
    if found > 0 or not bool((distances > 0).any()):
        return found
    return distances[distances > 0].min().sqrt()
