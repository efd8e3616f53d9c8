"""zlib: a text's loss against how far a compressor shrinks it."""

import zlib
from dataclasses import dataclass
from typing import Any

import torch

from fedsec.api import Candidate, Evidence

from .losses import filled, released_losses


@dataclass(frozen=True, slots=True)
class ZlibRatio:
    """Scores a text by minus its mean loss over the number of bytes that zlib makes of it.

    The text is what the model saw and learned: its tokens behind the prompt, cut to `data.max_tokens`, as words. Where
    a defense refuses to answer, the score is the others' mean.

    Source: Carlini et al., "Extracting Training Data from Large Language Models", USENIX Security 2021, section 5
        (ratio of log perplexity and zlib entropy).
    Deviations: none.
    """

    def score(self, candidates: tuple[Candidate, ...], evidence: Evidence) -> torch.Tensor:
        """Return the ratios [candidates], fp64."""
        sizes = [len(zlib.compress(seen(one, evidence.tokenizer))) for one in candidates]
        return filled(-released_losses(candidates, evidence) / torch.tensor(sizes, dtype=torch.float64))


def seen(candidate: Candidate, tokenizer: Any) -> bytes:
    """The text of a candidate that the model learned, in UTF-8.

    Args:
        candidate: the candidate.
        tokenizer: of the model.
    """
    tokens = list(candidate.tokens[candidate.learned_from or 0 :])
    text: str = tokenizer.decode(tokens, skip_special_tokens=True)
    return text.encode("utf-8", "replace")
