"""Texts as token ids, and batches of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from fedsec.data.corpus import Example


class Tokenised(NamedTuple):
    """A split as token ids."""

    ids: list[list[int]]
    """Special tokens included."""
    labels: np.ndarray
    """int64 [rows]."""


class Batch(NamedTuple):
    """Right-padded rows."""

    input_ids: torch.Tensor
    """[rows, length]"""
    attention_mask: torch.Tensor
    """[rows, length], 1 for a token, 0 for padding."""
    labels: torch.Tensor
    """[rows]"""


def tokenise(rows: Sequence[Example], tokenizer: Any, max_tokens: int) -> Tokenised:
    """Token ids of every text, cut to `max_tokens`, special tokens included."""
    labels = np.array([row.label for row in rows], dtype=np.int64)
    if not rows:
        return Tokenised([], labels)
    encoded = tokenizer([row.text for row in rows], truncation=True, max_length=max_tokens)
    return Tokenised(encoded["input_ids"], labels)


def collate(data: Tokenised, chosen: Sequence[int] | np.ndarray, pad_id: int) -> Batch:
    """The chosen rows as one batch, padded on the right to the longest of them."""
    picked = [data.ids[i] for i in chosen]
    length = max(len(ids) for ids in picked)
    input_ids = torch.full((len(picked), length), pad_id, dtype=torch.long)
    mask = torch.zeros((len(picked), length), dtype=torch.long)
    for row, ids in enumerate(picked):
        input_ids[row, : len(ids)] = torch.tensor(ids)
        mask[row, : len(ids)] = 1
    return Batch(input_ids, mask, torch.from_numpy(data.labels[np.asarray(chosen)]))


def content_ids(ids: Sequence[int], tokenizer: Any) -> tuple[int, ...]:
    """The ids without special tokens and padding; unknown tokens stay, since they stand for text."""
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    return tuple(i for i in ids if i not in special)
