"""The loss of candidates under the models that clients had after their local training."""

import torch

from fedsec.api import Candidate, Evidence, RoundView

from .losses import filled, losses_under
from .updates import Updates, broadcast


def local_losses(view: RoundView, seen: Updates, candidates: tuple[Candidate, ...], evidence: Evidence) -> torch.Tensor:
    """Loss of each candidate under each client's own model of a round, fp64 [candidates, updates].

    A client's model is the broadcast one plus its difference of weights, or one step of the learning rate along its
    gradient.

    Args:
        view: the round.
        seen: its updates.
        candidates: at least one.
        evidence: of a position that sees models.
    """
    start = broadcast(view)
    rate = view.training.learning_rate if view.training.update == "gradient" else 1.0
    found = []
    for place, row in enumerate(seen.rows):
        own = start if view.started is None else view.started[place]
        found.append(filled(losses_under(own - seen.sign * rate * row, candidates, evidence)))
    return torch.stack(found, dim=1)
