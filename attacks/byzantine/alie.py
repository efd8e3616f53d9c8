"""ALIE: slightly less than the honest mean in every coordinate, within the honest spread."""

from dataclasses import dataclass
from statistics import NormalDist

import torch

from fedsec.api import ColluderView, Update

from .known_rows import collude, mean_and_deviation


@dataclass(frozen=True, slots=True, kw_only=True)
class ALittleIsEnough:
    """All colluders send the honest mean less z standard deviations, coordinate by coordinate.

    Mean and deviation are those of what honest clients send if `benign-updates` is granted, else of the colluders'
    own honest updates, as in the paper. The deviation divides by the number of rows.

    Args:
        z: standard deviations; 0 takes the largest that the paper finds unsuspicious for the round's n clients and f
            colluders (`unsuspicious`).

    Raises:
        ValueError: z is 0 and the number of clients in a round is unknown.

    Source: Baruch, Baruch and Goldberg, "A Little Is Enough", NeurIPS 2019, the attack that prevents
        convergence.
    Deviations: where the formula's z is below 0 it is 0, and where it is infinite, because the colluders are a
        majority by themselves, it is that of one supporter needed.
    """

    z: float = 0.0

    def on_update(self, update: Update, view: ColluderView) -> Update:
        """Return the crafted update; the claimed number of examples stays honest."""
        z = self.z
        if z == 0.0:
            if view.training.cohort == 0:
                raise ValueError("alie needs a z, or the number of clients in a round")
            z = unsuspicious(view.training.cohort, len(view.colluders))

        def craft(rows: torch.Tensor) -> torch.Tensor:
            mean, deviation = mean_and_deviation(rows)
            return (mean - z * deviation).float()

        return collude(update, view, "alie", craft)


def unsuspicious(n: int, f: int) -> float:
    """Return the largest z for which enough honest updates are farther from the mean than the crafted one; at least 0.

    With f colluders, s = floor(n/2 + 1) - f honest rows make a majority, and the share (n - f - s) / (n - f) of a
    normal distribution lies below z.

    Args:
        n: clients in a round.
        f: colluders among them.
    """
    honest, supporters = n - f, max(n // 2 + 1 - f, 1)
    if 2 * supporters >= honest:  # at most half of the honest rows may lie below: no z above 0
        return 0.0
    return NormalDist().inv_cdf((honest - supporters) / honest)
