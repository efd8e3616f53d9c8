"""Reference: how much better a model fits a record than the model that its training started from."""

from dataclasses import dataclass

import torch

from fedsec.api import Candidate, Evidence, Knowledge

from .losses import filled, losses_under, released_losses


@dataclass(frozen=True, slots=True)
class Reference:
    """Scores a text by its loss under the base model less its loss under the released one.

    A text that is easy for every model has a low loss though nobody trained on it; the base model's loss says how easy
    it is. Losses are means over the learned tokens, in nats: the score is the logarithm of a likelihood ratio, per
    token. Where a defense refuses to answer, or the answer is not a number, the score is the others' mean.

    Source: Carlini et al., "Extracting Training Data from Large Language Models", USENIX Security 2021, section 5
        (comparison with another model); Mireshghallah et al., "Quantifying Privacy Risks of Masked Language Models
        Using Membership Inference Attacks", EMNLP 2022, section 3 (likelihood ratio against a reference model).
    Deviations: the reference is the very model that training began with, not another one of the same kind; the first
        paper compares zlib entropies and smaller models by ratios, here it is a difference as in the second.
    """

    def score(self, candidates: tuple[Candidate, ...], evidence: Evidence) -> torch.Tensor:
        """Return the base model's loss less the released model's for each candidate [candidates], fp64."""
        base = losses_under(evidence.granted[Knowledge.BASE_MODEL], candidates, evidence)
        return filled(base - released_losses(candidates, evidence))
