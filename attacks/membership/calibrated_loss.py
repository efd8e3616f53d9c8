"""Calibrated loss: how much better a model knows a record than models that were not trained on it."""

from dataclasses import dataclass

import torch

from fedsec.api import Candidate, Evidence

from .losses import filled
from .shadows import shadowed


@dataclass(frozen=True, slots=True)
class CalibratedLoss:
    """Scores a record by the mean loss of shadows that were not trained on it, less the released model's loss.

    Records that are hard for every model have a high loss though nobody left them out; shadows say how hard a record
    is. Where a defense refuses to answer, the score is the others' mean.

    Args:
        shadows: models that it trains.

    Source: Watson et al., "On the Importance of Difficulty Calibration in Membership Inference Attacks", ICLR 2022,
        section 3, equation 2.
    Deviations: shadows are trained on random halves of the candidates, of which those count that left the record out;
        the paper's are trained on other data of the same kind.
    """

    shadows: int = 8

    def score(self, candidates: tuple[Candidate, ...], evidence: Evidence) -> torch.Tensor:
        """Return the differences of losses in nats [candidates], fp64."""
        found = shadowed(candidates, evidence, self.shadows)
        return filled(found.mean(found.losses, inside=False) - found.victim)
