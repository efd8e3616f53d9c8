"""Gradient cosine: an update points along the gradients of the records that it was made from."""

from dataclasses import dataclass

import torch

from fedsec.api import Candidate, Evidence, RoundView

from .updates import Updates, gradients, over_rounds, per_client, products, squares


@dataclass(frozen=True, slots=True)
class GradientCosine:
    """Scores a record by the cosine between its own gradient at the broadcast model and a client's update.

    In models with many parameters the gradients of different records are nearly orthogonal, so that an update has a
    larger cosine with those that are part of it. A difference of weights is turned around first.

    Args:
        over: how several rounds count: `max`, the largest cosine, or `mean`.

    Source: Li, Li and Ribeiro, "Effective passive membership inference attacks in federated learning against
        overparameterized models", ICLR 2023, section 4 (cosine attack).
    Deviations: scores of a client are centred on their median and divided by their spread, so that clients share one
        threshold; rounds are combined by their largest cosine or their mean; where only the sum of updates is seen, it
        stands in their place.
    """

    over: str = "max"

    def score(self, candidates: tuple[Candidate, ...], evidence: Evidence) -> torch.Tensor:
        """Return the cosines, normalised per client [candidates, clients], fp64; one column where sums are seen."""

        def read(view: RoundView, seen: Updates) -> torch.Tensor:
            return cosines(view, seen, candidates)

        return per_client(over_rounds(evidence, read, self.over, len(candidates)))


def cosines(view: RoundView, seen: Updates, candidates: tuple[Candidate, ...]) -> torch.Tensor:
    """Cosine of each candidate's gradient with each update of a round, fp64 [candidates, updates]; 0 for a zero."""
    norms = squares(seen.rows).sqrt()  # [updates]
    found = torch.empty(len(candidates), len(norms), dtype=torch.float64)
    for places, own in gradients(view, candidates):
        lengths = squares(own).sqrt()[:, None] * norms  # [places, updates]
        found[places] = seen.sign * torch.where(lengths > 0, products(own, seen.rows) / lengths.clamp_min(1e-300), 0.0)
    return found
