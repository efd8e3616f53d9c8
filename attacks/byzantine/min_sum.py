"""Min-Sum: as far from the mean as an honest update is from all others in sum."""

import math
from dataclasses import dataclass

import torch

from fedsec.api import ColluderView, Update

from .known_rows import collude
from .perturbation import Spread, pushed


@dataclass(frozen=True, slots=True, kw_only=True)
class MinSum:
    """All colluders send mu + gamma p with the largest gamma for which sum |x - x_i|^2 <= max_i sum_j |x_i - x_j|^2.

    The x_i with mean mu are what honest clients send if `benign-updates` is granted, else the colluders' own honest
    updates. Of a single known row nothing can be learned: the row itself is sent.

    Args:
        direction: p: `unit-vec` is minus the mean, `std` minus the standard deviation of every coordinate, `sign`
            minus the sign of the mean.

    Source: Shejwalkar and Houmansadr, "Manipulating the Byzantine", NDSS 2021, AGR-agnostic attack Min-Sum.
    Deviations: gamma is the exact solution, not a search's; p has length 1, which gamma makes up for.
    """

    direction: str = "unit-vec"

    def on_update(self, update: Update, view: ColluderView) -> Update:
        """Return the crafted update; the claimed number of examples stays honest."""
        return collude(update, view, "min-sum", self._forge)

    def _forge(self, rows: torch.Tensor) -> torch.Tensor:
        return pushed(rows, self.direction, lambda distances: distances.sum(dim=-1), gamma)


def gamma(spread: Spread, bound: float) -> float:
    """Return the square root of (bound - sum |mu - x_i|^2) / (m |p|^2), with m known rows.

    Args:
        spread: of the known rows.
        bound: the largest sum of squared distances from one of them to all.
    """
    if spread.square == 0:
        return 0.0
    left = bound - float(spread.to_mean.sum())
    return math.sqrt(max(left, 0.0) / (len(spread.to_mean) * spread.square))
