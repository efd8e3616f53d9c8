"""ReCaLL: how much less probable a text becomes behind texts that nobody trained on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from fedsec.api import Candidate, Evidence, Knowledge, Tokens

from .losses import filled, released_losses

_LEAST = 1e-12


@dataclass(frozen=True, slots=True)
class Recall:
    """Scores a text by its log likelihood behind a prefix of non-members over that without a prefix.

    A prefix that the model was not trained on draws its expectations away from what it was trained on, so that the
    likelihood of a member falls more. Where a defense refuses to answer, the score is the others' mean.

    Args:
        shots: texts in the prefix, as far as they fit into the model's positions.

    Source: Xie et al., "ReCaLL: Membership Inference via Relative Conditional Log-Likelihoods", EMNLP 2024, section 3.
    Deviations: the prefix is of records of the clients' kind that nobody holds, each with its end token.
    """

    shots: int = 7

    def score(self, candidates: tuple[Candidate, ...], evidence: Evidence) -> torch.Tensor:
        """Return the ratios [candidates], fp64.

        Raises:
            ValueError: there is no record to make a prefix of that fits.
        """
        if evidence.released is None:
            raise ValueError("it needs the released model, which its position does not get")
        config = evidence.released().model.module.config
        longest = max(len(one.tokens) for one in candidates)
        room = getattr(config, "max_position_embeddings", 1024) - longest
        prefix = prefix_of(evidence.granted[Knowledge.CLIENT_TEXTS_DISTRIBUTION], self.shots, room)
        if not prefix:
            raise ValueError(
                f"no text for a prefix fits into {room} positions; lower data.max_tokens or, if there are no rows "
                "beside those of the scenario, data.train"
            )
        behind = tuple(_behind(prefix, one) for one in candidates)
        conditional, alone = released_losses(behind, evidence), released_losses(candidates, evidence)
        return filled(conditional / alone.clamp_min(_LEAST))


def prefix_of(texts: Sequence[Candidate], shots: int, room: int) -> Tokens:
    """The first texts one after another, as many as fit.

    Args:
        texts: records that nobody trained on.
        shots: texts at most.
        room: tokens at most.
    """
    found: Tokens = ()
    for one in texts[:shots]:
        if len(found) + len(one.tokens) > room:
            break
        found += one.tokens
    return found


def _behind(prefix: Tokens, one: Candidate) -> Candidate:
    """The candidate behind a prefix, of which the same tokens count."""
    return replace(one, tokens=(*prefix, *one.tokens), learned_from=len(prefix) + max(1, one.learned_from or 0))
