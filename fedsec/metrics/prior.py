"""The prior-only baseline: what a guess is worth that never looks at an update."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedsec.api import Reconstruction

TYPICAL_LENGTH = 20
"""Content tokens guessed where lengths are not granted."""


def guess(
    texts: Mapping[int, int],
    lengths: Mapping[int, Sequence[int]] | None,
    tokenizer: Any,
    generator: np.random.Generator,
) -> list[Reconstruction]:
    """Texts drawn word by word from the tokenizer's vocabulary, commoner words more often.

    WordPiece and BPE vocabularies are ordered by frequency, so Zipf's law over the rank is a public prior that needs
    no auxiliary text.

    Args:
        texts: how many texts each client's update is made of.
        lengths: tokens of each text, special tokens included, if that is granted.
        tokenizer: of the model.
        generator: draws.
    """
    special = set(tokenizer.all_special_ids)
    vocabulary = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    words = np.array([i for i, token in enumerate(vocabulary) if i not in special and _is_word(token)])
    weights = 1.0 / np.arange(1, len(words) + 1)
    weights /= weights.sum()
    overhead = tokenizer.num_special_tokens_to_add()
    guesses = []
    for client, count in texts.items():
        sizes = [n - overhead for n in lengths[client]] if lengths else [TYPICAL_LENGTH] * count
        for size in sizes:
            tokens = generator.choice(words, size=max(1, size), p=weights)
            guesses.append(Reconstruction(client=client, tokens=tuple(int(t) for t in tokens), score=1.0))
    return guesses


def _is_word(token: str) -> bool:
    return any(character.isalpha() for character in token) and not token.startswith("[")
