"""The prior-only baseline: what a guess is worth that never looks at an update."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedsec.api import Reconstruction

TYPICAL_LENGTH = 20
"""Content tokens guessed where lengths are not granted."""
_SPACES = ("\u0120", "\u2581")
"""What stands for the space before a word in byte-level BPE and in SentencePiece."""
_COMMONER = 4
"""Words that are commoner in English than `a`: the, of, and, to."""


def guess(
    texts: Mapping[int, int],
    lengths: Mapping[int, Sequence[int]] | None,
    tokenizer: Any,
    generator: np.random.Generator,
) -> list[Reconstruction]:
    """Texts drawn word by word from the tokenizer's vocabulary, commoner words more often.

    The words of WordPiece and BPE vocabularies are ordered by frequency, so Zipf's law over their rank is a public
    prior that needs no auxiliary text.

    Args:
        texts: how many texts each client's update is made of.
        lengths: tokens of each text, special tokens included, if that is granted.
        tokenizer: of the model.
        generator: draws.

    Source: Zipf, Human Behavior and the Principle of Least Effort, 1949: frequency = constant / rank. Deviations: rank
    is the place in the vocabulary among its whole words; `likely_words` says which exceptions it makes. A vocabulary
    that spells most of a text in pieces (tiny-bert's on other texts than clinic-notes) is guessed badly this way.
    """
    words = likely_words(tokenizer)
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


def likely_words(tokenizer: Any) -> list[int]:
    """Ids of the vocabulary's whole English-looking words, the commonest first; of anything but specials without any.

    Single characters and continuation pieces are left out: vocabularies list them first or among the words, so that
    Zipf's law would give them most of its mass (67 % in MiniLM's, where `the` came 780th). WordPiece lists `a` and `i`
    among the characters, whatever their frequency; they come fifth and sixth here.
    """
    special = set(tokenizer.all_special_ids)
    vocabulary = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    content = [(i, token) for i, token in enumerate(vocabulary) if i not in special and token]
    # Where words carry their space, pieces without one go on with a word, as ## does in WordPiece.
    spaced = [i for i, token in content if token[0] in _SPACES and _is_word(token[1:])]
    if spaced:
        return spaced
    plain = [(i, token) for i, token in content if _is_word(token)]
    letters = [i for i, token in plain if len(token) == 1]
    words = [i for i, token in plain if len(token) > 1]
    return words[:_COMMONER] + letters + words[_COMMONER:] or [i for i, _ in content]


def _is_word(token: str) -> bool:
    return token.isascii() and token.isalpha() and (len(token) > 1 or token.lower() in ("a", "i"))
