"""A small BERT-architecture encoder with random weights and a vocabulary of its own; needs nothing but this project."""

import hashlib
import re
from collections import Counter
from functools import cache

import torch

from fedsec.data.kept_notes import kept_notes
from fedsec.models.base import BaseModel
from fedsec.seeds import scoped_torch_rng

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_VOCABULARY_SEED = 1_000_003
"""Not a seed that any scenario's clients draw from: the vocabulary holds words, never a client's text."""
_NOTES, _WORDS, _MAX_POSITIONS = 4_000, 4_000, 512


def load(*, labels: int, generator: torch.Generator, layers: int = 2, width: int = 64) -> BaseModel:
    """A random encoder with a classification head of `labels` classes.

    Args:
        labels: number of classes.
        generator: source of every weight.
        layers: transformer layers.
        width: hidden size, a multiple of 16 (attention heads are 16 wide).

    Raises:
        ValueError: width is no multiple of 16.
    """
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    if width % 16:
        raise ValueError(f"width is a multiple of 16, not {width}")
    words = vocabulary()
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 16,
        intermediate_size=4 * width,
        max_position_embeddings=_MAX_POSITIONS,
        num_labels=labels,
    )
    with scoped_torch_rng(generator):
        module = BertForSequenceClassification(config)
    tokenizer = BertTokenizer(vocab={word: i for i, word in enumerate(words)}, do_lower_case=True)
    tokenizer.model_max_length = _MAX_POSITIONS
    digest = hashlib.sha256(f"tiny-bert {layers} {width} ".encode() + "\n".join(words).encode()).hexdigest()
    return BaseModel(module, tokenizer, digest)


@cache
def vocabulary() -> tuple[str, ...]:
    """WordPiece entries: special tokens, printable characters, and the commonest words of generated notes."""
    characters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    counts: Counter[str] = Counter()
    for note in kept_notes(_NOTES, seed=_VOCABULARY_SEED):
        counts.update(re.findall(r"[a-z]{2,}", note.text.lower()))
    common = sorted(counts, key=lambda word: (-counts[word], word))[:_WORDS]
    return (*SPECIAL, *characters, *(f"##{c}" for c in characters if c.isalnum()), *common)
