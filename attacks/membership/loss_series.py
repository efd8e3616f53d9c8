"""Loss series: the loss of a record under a client's own models, round after round."""

from dataclasses import dataclass

import torch

from fedsec.api import Candidate, Evidence, RoundView

from .local_losses import local_losses
from .updates import Updates, over_rounds, per_client


@dataclass(frozen=True, slots=True)
class LossSeries:
    """Scores a record by minus its mean loss under a client's models after local training, over the rounds.

    Source: Gu, Bai and Xu, "CS-MIA: Membership inference attack based on prediction confidence series in federated
        learning", JISA 2022, section 4; Zhu et al., FedMIA, CVPR 2025, baseline Loss-Series.
    Deviations: the mean of the series, as in FedMIA's baseline, where the first paper trains a classifier on it; scores
        of a client are centred on their median and divided by their spread.
    """

    def score(self, candidates: tuple[Candidate, ...], evidence: Evidence) -> torch.Tensor:
        """Return minus the mean losses, normalised per client [candidates, clients], fp64."""

        def read(view: RoundView, seen: Updates) -> torch.Tensor:
            return -local_losses(view, seen, candidates, evidence)

        return per_client(over_rounds(evidence, read, "mean", len(candidates)))
