"""Canary direction: how far updates went along the one direction in which each canary's gradient lies."""

from dataclasses import dataclass

import torch

from fedsec.api import Canary, Evidence, RoundView


@dataclass(frozen=True, slots=True)
class CanaryDirection:
    """Scores a canary by the sum over all rounds of its client's updates, at the parameter where its gradient lies.

    What the other clients' updates hold there in the mean is taken off, since their texts pull like this client's.
    Weight differences count with a minus sign, since a step goes against the gradient. Where only the sum of updates is
    seen, it stands in their place: the noise of all clients is then in it.

    Source: Nasr et al., "Tight Auditing of Differentially Private Machine Learning", USENIX Security 2023, section 4.2
        (Dirac canaries, scores by inner products); Steinke, Nasr and Jagielski, NeurIPS 2023, section 6 (many in one
        run).
    Deviations: each canary is one client's, and only that client's updates count for it, less the others' mean; the
        inner products of all steps are added up, where the papers also look at steps one by one.
    """

    def score(self, canaries: tuple[Canary, ...], evidence: Evidence) -> torch.Tensor:
        """Return the sum for each canary [canaries], fp64; higher for one that was trained on."""
        total = torch.zeros(len(canaries), dtype=torch.float64)
        for number in evidence.rounds:
            if evidence.seconds_left() <= 0.0:
                break
            total += _seen(evidence.at(number), canaries)
        return total


_FEW = 2
"""Clients up to which the mean of the others is one client's update, whose noise is as large as what it explains."""


def _seen(view: RoundView, canaries: tuple[Canary, ...]) -> torch.Tensor:
    """What one round shows of each canary [canaries], fp64; 0 where its client sent nothing."""
    sign = 1.0 if view.training.update == "gradient" else -1.0
    places = torch.tensor([one.place for one in canaries]) - _encrypted(view)  # [canaries]
    clear, places = places >= 0, places.clamp_min(0)
    if view.rows is None:
        if view.aggregate is None:
            raise ValueError("it reads updates or their sum, and its position sees neither")
        return torch.where(clear, sign * view.aggregate[places].double(), 0.0)
    row_of = {client: row for row, client in enumerate(view.clients)}
    rows = torch.tensor([row_of.get(one.client, -1) for one in canaries])  # [canaries]
    own, count = view.rows[rows, places].double(), len(view.rows)
    if count > _FEW:
        own = own - (view.rows[:, places].double().sum(dim=0) - own) / (count - 1)
    return torch.where(clear & (rows >= 0), sign * own, 0.0)


def _encrypted(view: RoundView) -> int:
    """How many entries at the beginning of the vector are encrypted; updates are seen from there on."""
    if not view.encrypted:
        return 0
    named = dict(view.model.module.named_parameters())
    return sum(named[name].numel() for name in view.encrypted)
