"""Loss: a model fits its training records better than others."""

from dataclasses import dataclass

import torch

from fedsec.api import Candidate, Evidence

from .losses import filled, released_losses


@dataclass(frozen=True, slots=True)
class Loss:
    """Scores a record by minus its loss under the released model.

    The loss is the cross-entropy of the record's own label or, of a causal language model, its mean over the learned
    tokens in nats. Where a defense refuses to answer, or the answer is not a number, the score is the others' mean.

    Source: Yeom et al., "Privacy Risk in Machine Learning: Analyzing the Connection to Overfitting", CSF 2018, section
        3, threshold adversary.
    Deviations: the loss itself is the score, and every threshold is tried when it is scored; the paper sets one from
        the distribution of errors, which an adversary would have to know.
    """

    def score(self, candidates: tuple[Candidate, ...], evidence: Evidence) -> torch.Tensor:
        """Return minus the loss of each candidate [candidates], fp64."""
        return filled(-released_losses(candidates, evidence))
