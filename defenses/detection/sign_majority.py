"""Sign majority (RLR): where too few updates agree on a coordinate's direction, the server steps the other way."""

from dataclasses import dataclass

import torch

from fedsec.api import RoundContext
from fedsec.maths.rows import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class SignMajority:
    """Takes the mean of the updates, with its sign turned in every coordinate in which too few of them agree.

    Agreement is |sum of the signs of the updates|: n where all move one way, 0 where they cancel out.

    Args:
        threshold: agreement from which on a coordinate keeps its sign; 0: f + 1, for f declared malicious.

    Source: Ozdayi, Kantarcioglu and Gel, "Defending against Backdoors in Federated Learning with Robust Learning Rate",
        AAAI 2021, section 4 (theta).
    Deviations: the updates are averaged with equal weights.
    """

    threshold: int = 0

    def vector(self, rows: Rows, context: RoundContext) -> torch.Tensor:
        """Return the mean with its turned coordinates [parameters], fp32."""
        least = self.threshold or context.declared_malicious + 1
        parts = []
        for chunk in rows.chunks():  # [kept, columns]
            agreement = chunk.sign().sum(dim=0).abs()
            mean = chunk.double().mean(dim=0)
            parts.append(torch.where(agreement >= least, mean, -mean).float())
        return torch.cat(parts)
