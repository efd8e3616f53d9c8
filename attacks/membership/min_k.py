"""Min-K%: of a text that nobody trained on, some tokens surprise a model."""

from dataclasses import dataclass

import torch

from fedsec.api import Candidate, Evidence

from .losses import filled, learned, released_measures


@dataclass(frozen=True, slots=True)
class MinK:
    """Scores a text by the mean log probability of its least probable tokens.

    Only tokens that are learned count; at least one does. Where a defense refuses to answer, or the answer is not a
    number, the score is the others' mean.

    Args:
        share: of the tokens.

    Source: Shi et al., "Detecting Pretraining Data from Large Language Models", ICLR 2024, section 4, equation 1.
    Deviations: none.
    """

    share: float = 0.2

    def score(self, candidates: tuple[Candidate, ...], evidence: Evidence) -> torch.Tensor:
        """Return the means in nats [candidates], fp64."""

        def measure(candidate: Candidate, logits: torch.Tensor) -> torch.Tensor:
            known = learned(candidate, logits)
            return _UNKNOWN if known is None else lowest(_of_tokens(*known), self.share)

        return filled(released_measures(candidates, evidence, measure))


_UNKNOWN = torch.tensor(torch.nan, dtype=torch.float64)


def _of_tokens(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Log probability of each token [tokens], from logits [tokens, vocabulary]."""
    return logits.log_softmax(dim=1).gather(1, targets[:, None])[:, 0]


def lowest(values: torch.Tensor, share: float) -> torch.Tensor:
    """The mean of the lowest values, a share of them and at least one [].

    Args:
        values: [values], at least one.
        share: in 0..1.
    """
    return values.sort().values[: max(1, int(len(values) * share))].mean()
