"""Min-Max: as far from the mean as possible without exceeding the largest distance between honest updates."""

from dataclasses import dataclass

import torch

from fedsec.api import ColluderView, Update

from .known_rows import collude
from .perturbation import Spread, pushed


@dataclass(frozen=True, slots=True, kw_only=True)
class MinMax:
    """All colluders send mu + gamma p with the largest gamma for which max |x - x_i| <= max |x_i - x_j|.

    The x_i with mean mu are what honest clients send if `benign-updates` is granted, else the colluders' own honest
    updates. Of a single known row nothing can be learned: the row itself is sent.

    Args:
        direction: p: `unit-vec` is minus the mean, `std` minus the standard deviation of every coordinate, `sign`
            minus the sign of the mean.

    Source: Shejwalkar and Houmansadr, "Manipulating the Byzantine", NDSS 2021, AGR-agnostic attack Min-Max.
    Deviations: gamma is the exact solution, not a search's; p has length 1, which gamma makes up for.
    """

    direction: str = "unit-vec"

    def on_update(self, update: Update, view: ColluderView) -> Update:
        """Return the crafted update; the claimed number of examples stays honest."""
        return collude(update, view, "min-max", self._forge)

    def _forge(self, rows: torch.Tensor) -> torch.Tensor:
        return pushed(rows, self.direction, lambda distances: distances.amax(dim=-1), gamma)


def gamma(spread: Spread, bound: float) -> float:
    """Return the smallest over the rows of the positive root of |p|^2 g^2 + 2 <p, mu - x_i> g + |mu - x_i|^2 - D^2 = 0.

    Args:
        spread: of the known rows.
        bound: D^2, the largest squared distance between two of them.
    """
    if spread.square == 0:
        return 0.0
    left = (bound - spread.to_mean).clamp_min(0.0)  # never below 0: the mean is no farther off than some row
    root = (spread.along.square() + spread.square * left).sqrt()
    # The form without a difference of near numbers, on either side of <p, mu - x_i> = 0.
    ahead = left / (spread.along + root).clamp_min(1e-300)
    return float(torch.where(spread.along > 0, ahead, (root - spread.along) / spread.square).min())
