"""Min-K%++: whether a text's tokens lie at modes of what the model expects."""

from dataclasses import dataclass

import torch

from fedsec.api import Candidate, Evidence

from .losses import filled, learned, released_measures
from .min_k import lowest


@dataclass(frozen=True, slots=True)
class MinKPlusPlus:
    """Scores a text by the mean of its lowest token scores, each a log probability in units of what was expected.

    A token's log probability is centred on its mean over the vocabulary under the model's own distribution, and divided
    by its standard deviation there. Only tokens that are learned count; at least one does. Where a defense refuses to
    answer, or the answer is not a number, the score is the others' mean.

    Args:
        share: of the tokens.

    Source: Zhang et al., "Min-K%++: Improved Baseline for Detecting Pre-Training Data from Large Language Models", ICLR
        2025, section 4, equation 3.
    Deviations: a token whose distribution has no spread scores 0.
    """

    share: float = 0.2

    def score(self, candidates: tuple[Candidate, ...], evidence: Evidence) -> torch.Tensor:
        """Return the means [candidates], fp64."""

        def measure(candidate: Candidate, logits: torch.Tensor) -> torch.Tensor:
            known = learned(candidate, logits)
            return _UNKNOWN if known is None else lowest(normalised(*known), self.share)

        return filled(released_measures(candidates, evidence, measure))


_UNKNOWN = torch.tensor(torch.nan, dtype=torch.float64)
_LEAST = 1e-12
"""Variance below which a distribution has no spread: fp64's rounding."""


def normalised(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Each token's log probability, centred and scaled under the model's own distribution [tokens].

    Args:
        logits: fp64 [tokens, vocabulary].
        targets: [tokens].
    """
    logs = logits.log_softmax(dim=1)
    sure = logs.exp()
    expected = sure * torch.where(sure > 0, logs, 0.0)  # what has no probability counts nothing
    middle = expected.sum(dim=1)
    variance = (expected * torch.where(sure > 0, logs, 0.0)).sum(dim=1) - middle.square()
    off = logs.gather(1, targets[:, None])[:, 0] - middle
    return torch.where(variance > _LEAST, off / variance.clamp_min(_LEAST).sqrt(), torch.where(off.isnan(), off, 0.0))
