"""What a language model says of candidate texts."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

_TOKENS = 512
"""Tokens per pass: their logits over a vocabulary of 30,000 are 60 MB."""


class Prior:
    """A causal language model over the victim's tokenizer.

    Args:
        module: its `logits` [rows, tokens, vocabulary] at a position predict the next token. Of texts longer than its
            positions only the beginning is judged.
    """

    def __init__(self, module: Any) -> None:
        self._module = module

    def surprise(self, ids: "Tensor", mask: "Tensor") -> "Tensor":
        """Mean negative log-likelihood per token of each text [texts], padding aside, for ids and mask [texts, tokens].

        A text of one token has none to predict: 0.
        """
        means = []
        for part, kept, logits in self._passes(ids, mask):
            losses = functional.cross_entropy(logits[:, :-1].transpose(1, 2), part[:, 1:], reduction="none")
            learned = kept[:, 1:].to(losses.dtype)  # [rows, tokens - 1]
            means.append((losses * learned).sum(dim=1) / learned.sum(dim=1).clamp_min(1))
        return torch.cat(means)

    def likely(self, ids: "Tensor", mask: "Tensor", count: int, allowed: "Tensor") -> "Tensor":
        """The likeliest allowed tokens at each place after what stands before it [texts, tokens, count].

        At the first place there is nothing to go by: the second place's stand there too.
        """
        found = [
            logits[:, :-1].masked_fill(~allowed, -torch.inf).topk(count, dim=-1).indices
            for _, _, logits in self._passes(ids, mask)
        ]
        after = torch.cat(found)  # [texts, tokens - 1, count]
        beyond = after[:, -1:].expand(-1, ids.shape[1] - 1 - after.shape[1], -1)
        return torch.cat([after[:, :1], after, beyond], dim=1)

    @torch.no_grad()
    def _passes(self, ids: "Tensor", mask: "Tensor") -> Iterator[tuple["Tensor", "Tensor", "Tensor"]]:
        config = getattr(self._module, "config", None)
        room = getattr(config, "max_position_embeddings", None) or ids.shape[1]
        ids, mask = ids[:, :room], mask[:, :room]
        size = max(1, _TOKENS // ids.shape[1])
        for part, kept in zip(ids.split(size), mask.split(size), strict=True):
            yield part, kept, self._module(input_ids=part, attention_mask=kept).logits
