"""LiRA: a likelihood ratio of a model's confidence in a record, between models trained on it and others."""

from dataclasses import dataclass

import torch

from fedsec.api import Candidate, Evidence

from .losses import filled
from .shadows import Shadowed, confidence, shadowed

VARIANCES = ("pooled", "own")
_LEAST = 1e-12


@dataclass(frozen=True, slots=True)
class Lira:
    """Scores a record by how likely the released model's confidence in it is under models trained on it or not.

    The confidence is the logit of the probability of the record's label, or of its learned tokens in the mean; shadows
    with and without the record each give a normal distribution of it. `online` compares both; `offline` takes how far
    above that of shadows without the record it lies. Where a defense refuses to answer, the score is the others' mean.

    Args:
        shadows: models that it trains.
        mode: `offline` or `online`.
        variance: `own`, of each record's shadows, or `pooled`, the mean over the records.

    Source: Carlini et al., "Membership Inference Attacks From First Principles", S&P 2022, algorithm 1 and section
        IV-E.
    Deviations: offline, the distance in standard deviations, where the paper takes the normal distribution's value at
        it; the variance is pooled unless told otherwise, as the paper does for few shadows; the loss of causal models
        is a mean over tokens.
    """

    shadows: int = 8
    mode: str = "offline"
    variance: str = "pooled"

    def score(self, candidates: tuple[Candidate, ...], evidence: Evidence) -> torch.Tensor:
        """Return the distance or the logarithm of the ratio [candidates], fp64."""
        return filled(ratios(shadowed(candidates, evidence, self.shadows), self.mode, self.variance))


def ratios(found: Shadowed, mode: str, variance: str) -> torch.Tensor:
    """The score of each candidate, fp64 [candidates]; NaN where the victim's loss is unknown.

    Args:
        found: losses.
        mode: `offline` or `online`.
        variance: `pooled` or `own`.
    """
    victim, shadows = confidence(found.victim), confidence(found.losses)

    def normal(inside: bool) -> tuple[torch.Tensor, torch.Tensor]:
        spread = found.variance(shadows, inside=inside)
        spread = spread.mean().expand_as(spread) if variance == "pooled" else spread
        return found.mean(shadows, inside=inside), spread.clamp_min(_LEAST).sqrt()

    middle, spread = normal(inside=False)
    out = (victim - middle) / spread
    if mode == "offline":
        return out
    middle, own = normal(inside=True)
    within = (victim - middle) / own
    return 0.5 * (out.square() - within.square()) + (spread / own).log()
