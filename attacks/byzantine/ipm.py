"""IPM: the honest mean turned around."""

from dataclasses import dataclass

import torch

from fedsec.api import ColluderView, Update

from .known_rows import collude, mean_and_deviation


@dataclass(frozen=True, slots=True, kw_only=True)
class InnerProductManipulation:
    """All colluders send `-epsilon` times the mean of the honest updates that they know.

    The mean is that of what honest clients send if `benign-updates` is granted, else of the colluders' own honest
    updates.

    Args:
        epsilon: factor, at least 0. A small one lies close to the others and is what distance rules choose; the mean
            of n rows turns around from (n - f) / f on.

    Source: Xie, Koyejo and Gupta, "Fall of Empires: Breaking Byzantine-tolerant SGD by Inner Product Manipulation",
        UAI 2019, section 3.
    Deviations: none.
    """

    epsilon: float = 0.1

    def on_update(self, update: Update, view: ColluderView) -> Update:
        """Return the crafted update; the claimed number of examples stays honest."""
        return collude(update, view, "ipm", self._forge)

    def _forge(self, rows: torch.Tensor) -> torch.Tensor:
        mean, _ = mean_and_deviation(rows)
        return (-self.epsilon * mean).float()
