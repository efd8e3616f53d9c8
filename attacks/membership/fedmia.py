"""FedMIA: what one client's update says of a record, against what the other clients' updates say."""

from dataclasses import dataclass

import torch

from fedsec.api import Candidate, Evidence, RoundView

from .gradient_cosine import cosines
from .local_losses import local_losses
from .updates import Updates, over_rounds

MEASURES = ("cosine", "loss")
_FAR = 3.0
"""Standard deviations above the others' mean beyond which a client's measurement does not count among the others."""


@dataclass(frozen=True, slots=True)
class FedMia:
    """Scores a record by how far a client's measurement of it lies above those of the other clients.

    The other clients do not hold the record, if clients' data are disjoint: their measurements are draws of what a
    non-member has, of which each round gives a normal distribution. The score is the mean over the rounds of the
    client's distance from its mean, in standard deviations.

    Args:
        measure: `cosine` of the record's gradient with the update (FedMIA-II), or `loss`, minus that under the client's
            own model (FedMIA-I).

    Source: Zhu et al., "FedMIA: An Effective Membership Inference Attack Exploiting the 'All for One' Principle in
        Federated Learning", CVPR 2025, section 4.
    Deviations: the distance itself, where the paper takes the normal distribution's value at it, which is 1 for every
        distance beyond 8.
    """

    measure: str = "cosine"

    def score(self, candidates: tuple[Candidate, ...], evidence: Evidence) -> torch.Tensor:
        """Return the mean distances [candidates, clients], fp64.

        Raises:
            ValueError: a round has fewer than 3 clients, so that the others have no spread.
        """

        def read(view: RoundView, seen: Updates) -> torch.Tensor:
            if len(seen.clients) < 3:
                raise ValueError(
                    f"it compares a client with at least 2 others, and round {view.round} shows the updates of "
                    f"{len(seen.clients)}; raise federation.clients_per_round"
                )
            if self.measure == "loss":
                return against_others(-local_losses(view, seen, candidates, evidence))
            return against_others(cosines(view, seen, candidates))

        return over_rounds(evidence, read, "mean", len(candidates))


def against_others(measured: torch.Tensor) -> torch.Tensor:
    """Distance of each measurement from the mean of the other clients', in their standard deviations.

    Args:
        measured: fp64 [candidates, clients]; at least 3 clients.

    Returns:
        fp64 [candidates, clients]; 0 where the others do not differ.
    """
    clients = measured.shape[1]
    found = torch.zeros_like(measured)
    for place in range(clients):
        others = torch.cat([measured[:, :place], measured[:, place + 1 :]], dim=1)  # [candidates, others]
        kept = others <= others.mean(dim=1, keepdim=True) + _FAR * others.std(dim=1, keepdim=True)
        count = kept.sum(dim=1)
        middle = (others * kept).sum(dim=1) / count
        squared = ((others - middle[:, None]).square() * kept).sum(dim=1) / (count - 1).clamp_min(1)
        spread = squared.sqrt()
        found[:, place] = torch.where(spread > 0, (measured[:, place] - middle) / spread.clamp_min(1e-300), 0.0)
    return found
