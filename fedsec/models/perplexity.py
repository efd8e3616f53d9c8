"""Perplexity of texts under a causal language model, each text scored once."""

from collections.abc import Iterator, Sequence
from math import exp
from typing import Any

import torch
from torch.nn import functional

LOGITS_PER_BATCH = 1 << 23
"""32 MB in fp32: larger batches are no faster on a CPU."""
DIGITS = 5
"""Of a perplexity that count: below, it depends on which texts were scored together."""
_LARGEST = 700.0
"""Nats per token, of which exp is a number."""


class Perplexities:
    """Scores texts by a language model, and keeps every text's score.

    Args:
        module: a transformers causal language model, in evaluation mode.
        tokenizer: its own.
        longest: tokens of a text that are looked at.
    """

    def __init__(self, module: Any, tokenizer: Any, longest: int) -> None:
        self._module, self._tokenizer, self._longest = module, tokenizer, longest
        self._known: dict[str, float] = {}

    def __call__(self, texts: Sequence[str]) -> list[float]:
        """Return exp of the mean negative log likelihood of each text's tokens; 1 for one with nothing to predict.

        A begin token, if the model has one, stands before the text, so that its first token is predicted too.
        """
        new = list(dict.fromkeys(text for text in texts if text not in self._known))
        self._known.update(zip(new, self._scored(new), strict=True))
        return [self._known[text] for text in texts]

    @torch.inference_mode()
    def _scored(self, texts: Sequence[str]) -> list[float]:
        rows = self._framed(texts)
        found = [1.0] * len(rows)
        for batch in self._batches(rows):
            ids = torch.tensor([rows[place] for place in batch])  # [rows, length]
            logits = self._module(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[:, :-1]
            losses = functional.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten(), reduction="none")
            for place, one in zip(batch, losses.view(len(batch), -1).double().mean(dim=1).tolist(), strict=True):
                found[place] = float(f"{exp(min(one, _LARGEST)):.{DIGITS}g}")
        return found

    def _framed(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        begin = self._tokenizer.bos_token_id
        rows: list[list[int]] = self._tokenizer(list(texts), verbose=False)["input_ids"]
        special = set(self._tokenizer.all_special_ids)
        bare = begin is not None and not all(row and row[0] in special for row in rows)
        return [([begin, *row] if bare else row)[: self._longest] for row in rows]

    def _batches(self, rows: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """Yield places of rows with something to predict, of one length each, so that nothing is padded."""
        words = int(self._module.config.vocab_size)
        for length in sorted({len(row) for row in rows if len(row) > 1}):
            own = [place for place, row in enumerate(rows) if len(row) == length]
            size = max(1, LOGITS_PER_BATCH // (length * words))
            yield from (own[start : start + size] for start in range(0, len(own), size))
