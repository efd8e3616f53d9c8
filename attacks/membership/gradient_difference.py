"""Gradient difference: taking a record's gradient away from an update that holds it makes the update shorter."""

from dataclasses import dataclass

import torch

from fedsec.api import Candidate, Evidence, RoundView

from .updates import Updates, gradients, over_rounds, per_client, products, squares


@dataclass(frozen=True, slots=True)
class GradientDifference:
    """Scores a record by how much shorter a client's update becomes without the record's own gradient.

    The score is |D|^2 - |D - g|^2 = 2 <D, g> - |g|^2 for the update D and the record's gradient g at the broadcast
    model. A difference of weights is first divided by minus the learning rate and the number of local steps, which
    makes it a mean gradient under SGD.

    Args:
        over: how several rounds count: `max` or `mean`.

    Source: Li, Li and Ribeiro, "Effective passive membership inference attacks in federated learning against
        overparameterized models", ICLR 2023, section 4 (gradient difference attack).
    Deviations: scores of a client are centred on their median and divided by their spread, so that clients share one
        threshold; several rounds are combined; an update of AdamW is scaled as one of SGD, though its steps have
        another length.
    """

    over: str = "max"

    def score(self, candidates: tuple[Candidate, ...], evidence: Evidence) -> torch.Tensor:
        """Return the differences, normalised per client [candidates, clients], fp64."""

        def read(view: RoundView, seen: Updates) -> torch.Tensor:
            return differences(view, seen, candidates)

        return per_client(over_rounds(evidence, read, self.over, len(candidates)))


def differences(view: RoundView, seen: Updates, candidates: tuple[Candidate, ...]) -> torch.Tensor:
    """2 <D, g> - |g|^2 for each candidate and update of a round, fp64 [candidates, updates]."""
    training = view.training
    scale = 1.0 if training.update == "gradient" else 1.0 / (training.learning_rate * training.local_steps)
    found = torch.empty(len(candidates), len(seen.clients), dtype=torch.float64)
    for places, own in gradients(view, candidates):
        found[places] = 2 * seen.sign * scale * products(own, seen.rows) - squares(own)[:, None]
    return found
