"""Weak differential privacy: updates are cut to a bound, and noise is added to their mean."""

from dataclasses import dataclass

import torch

from fedsec.api import Mixed, RoundContext
from fedsec.maths.rows import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class WeakDp:
    """Scales each row that is longer than `bound` down to that, and adds N(0, sigma^2) to each coordinate of the mean.

    Args:
        bound: the largest norm of an update, in its own units.
        sigma: standard deviation of the noise on the aggregate, in the same units.

    Source: Sun et al., "Can You Really Backdoor Federated Learning?", arXiv 1911.07963 (2019), section 4 (norm
        thresholding and weak differential privacy).
    Deviations: rows above 100 times the median norm are scaled down to that even if the bound lies higher. It is a
        heuristic: this much noise gives no epsilon worth the name, and none is stated.
    """

    bound: float = 3.0
    sigma: float = 0.025

    def mix(self, rows: Rows, context: RoundContext) -> Mixed:
        """Return the rows, none longer than the bound."""
        norms = rows.squared_norms().sqrt()
        scale = torch.where(norms > self.bound, self.bound / norms, torch.ones_like(norms))
        return Mixed(scale.diag(), context.declared_malicious)

    def on_aggregate(self, vector: torch.Tensor, context: RoundContext) -> torch.Tensor:
        """Return the aggregate with noise [parameters]."""
        return vector + self.sigma * torch.randn(vector.shape, generator=context.generator)
