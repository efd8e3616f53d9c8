"""RMIA: how many records of the population a record's likelihood ratio beats."""

from dataclasses import dataclass

import torch

from fedsec.api import Candidate, Evidence, Knowledge

from .losses import filled, released_losses
from .shadows import losses_of, shadowed


@dataclass(frozen=True, slots=True)
class Rmia:
    """Scores a record by the share of population records whose likelihood ratio its own beats by a factor.

    The likelihood ratio of a record is its probability under the released model over its mean probability under
    shadows. Where a defense refuses to answer, the score is the others' mean.

    Args:
        shadows: models that it trains.
        mode: `offline` takes shadows without the record alone, and makes up for those with it by `a`; `online` both.
        a: offline, the mean probability is ((1 + a) p + 1 - a) / 2 of that of shadows without the record, p.
        gamma: the factor.

    Source: Zarifzadeh, Liu and Shokri, "Low-Cost High-Power Membership Inference Attacks", ICML 2024, algorithm 1 and
        appendix B.2.
    Deviations: the probability of a causal model is that of a learned token in the geometric mean; records of the
        population that a defense refuses do not count.
    """

    shadows: int = 8
    mode: str = "offline"
    a: float = 0.3
    gamma: float = 1.0

    def score(self, candidates: tuple[Candidate, ...], evidence: Evidence) -> torch.Tensor:
        """Return the shares [candidates], fp64, in 0..1.

        Raises:
            ValueError: there is no record of the population.
        """
        population = evidence.granted[Knowledge.CLIENT_TEXTS_DISTRIBUTION]
        if not population:
            raise ValueError("the data set has no records beside those of the scenario; lower data.train")
        found = shadowed(candidates, evidence, self.shadows)
        inside = found.losses.neg().exp()  # probabilities [shadows, candidates]
        out = found.mean(inside, inside=False)
        online = 0.5 * (out + found.mean(inside, inside=True))
        beside = losses_of(found.vectors, population, evidence).neg().exp().mean(dim=0)  # [population]
        theirs = released_losses(population, evidence)
        if self.mode == "offline":
            own, other = self._both(out), self._both(beside)
        else:
            own, other = online, beside
        known = ~theirs.isnan()
        return filled(shares(-found.victim - own.log(), -theirs[known] - other[known].log(), self.gamma))

    def _both(self, out: torch.Tensor) -> torch.Tensor:
        """The mean probability under all shadows, told from that under those without the record."""
        return 0.5 * ((1 + self.a) * out + 1 - self.a)


def shares(own: torch.Tensor, population: torch.Tensor, gamma: float) -> torch.Tensor:
    """Share of the population that each log ratio beats by log gamma, fp64 [candidates]; NaN for NaN.

    Args:
        own: log likelihood ratios [candidates].
        population: those of the population [population].
        gamma: the factor, above 0.
    """
    beaten = (own[:, None] - population[None] >= torch.tensor(gamma, dtype=torch.float64).log()).double().mean(dim=1)
    return torch.where(own.isnan(), own, beaten)
