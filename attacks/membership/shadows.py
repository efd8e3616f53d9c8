"""What attacks by shadow models share: shadows on random halves of the candidates, and what each knows of each."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from fedsec.api import Candidate, Evidence

from .losses import losses_under, released_losses

MODES = ("offline", "online")


@dataclass(frozen=True, slots=True)
class Shadowed:
    """The victim's and its shadows' losses of candidates."""

    included: torch.Tensor
    """Which candidates each shadow was trained on, bool [shadows, candidates]."""
    vectors: torch.Tensor
    """The shadows' trainables [shadows, parameters]."""
    victim: torch.Tensor
    """fp64 [candidates]; NaN where a defense refused to answer."""
    losses: torch.Tensor
    """fp64 [shadows, candidates]"""

    def mean(self, values: torch.Tensor, *, inside: bool) -> torch.Tensor:
        """Mean over the shadows that were trained on a candidate, or over those that were not, fp64 [candidates].

        Args:
            values: fp64 [shadows, candidates].
            inside: which shadows.
        """
        kept = self.included if inside else ~self.included
        return (values * kept).sum(dim=0) / kept.sum(dim=0)

    def variance(self, values: torch.Tensor, *, inside: bool) -> torch.Tensor:
        """Variance over these shadows, fp64 [candidates]; 0 where there is only one of them."""
        kept = self.included if inside else ~self.included
        off = (values - self.mean(values, inside=inside)).square() * kept
        return off.sum(dim=0) / (kept.sum(dim=0) - 1).clamp_min(1)


def shadowed(candidates: tuple[Candidate, ...], evidence: Evidence, count: int) -> Shadowed:
    """Train shadows, each on a random half of the candidates, and take everybody's losses.

    Every candidate is in half of the shadows. They are trained until they know candidates as well as the victim does.

    Args:
        candidates: at least 2.
        evidence: of a position that may train shadows.
        count: shadows, at least 2.
    """
    if evidence.shadows is None:
        raise ValueError("it trains models of its own, which needs base-model and the candidates")
    included = halves(len(candidates), count, evidence.generator)
    victim = released_losses(candidates, evidence)
    known = victim[~victim.isnan()]
    like = float(known.neg().exp().mean()) if len(known) else 0.0
    vectors = evidence.shadows(included, like)
    return Shadowed(included, vectors, victim, losses_of(vectors, candidates, evidence))


def losses_of(vectors: torch.Tensor, candidates: Sequence[Candidate], evidence: Evidence) -> torch.Tensor:
    """Losses of candidates under each of several models, fp64 [models, candidates].

    Where no time was left, a loss is the mean of that model's others.
    """
    losses = torch.stack([losses_under(vector, candidates, evidence) for vector in vectors])
    return torch.where(losses.isnan(), losses.nanmean(dim=1, keepdim=True).nan_to_num(), losses)


def halves(candidates: int, count: int, generator: torch.Generator) -> torch.Tensor:
    """Which candidates each shadow includes, bool [shadows, candidates]: each candidate is in count // 2 of them.

    Args:
        candidates: their number.
        count: shadows.
        generator: draws; its first draws are the same for every attack, so that they share their shadows.
    """
    places = torch.rand(count, candidates, generator=generator).argsort(dim=0).argsort(dim=0)
    included = places < count // 2
    empty = ~included.any(dim=1)
    included[empty, 0] = True  # of very few candidates; nobody trains on nothing
    return included


def confidence(losses: torch.Tensor) -> torch.Tensor:
    """The logit of the probability exp(-loss) of a label, or of learned tokens in the mean: log(p / (1 - p)).

    Args:
        losses: in nats, any shape, fp64.
    """
    least = torch.finfo(torch.float64).tiny
    return -torch.expm1(losses.clamp(least, 700.0)).log()
