"""Guesses that never look at an update: drawn from word frequencies, or from a language model.

The prior-only baseline has an attack's side knowledge: where auxiliary text is granted it draws from the language model
that learnt from it (`sampled`), and without it from Zipf's law (`guess`), which is the random guess.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from fedsec.api import Auxiliary, Reconstruction
from fedsec.metrics.words import words_of

TYPICAL_LENGTH = 20
"""Content tokens guessed where lengths are not granted."""
_SPACES = ("\u0120", "\u2581")
"""What stands for the space before a word in byte-level BPE and in SentencePiece."""
_COMMONER = 4
"""Words that are commoner in English than `a`: the, of, and, to."""
_AT_ONCE = 128
"""Texts that are drawn from a language model side by side."""


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


def sampled(
    texts: Mapping[int, int],
    lengths: Mapping[int, Sequence[int]] | None,
    tokenizer: Any,
    auxiliary: Auxiliary,
    generator: torch.Generator,
) -> list[Reconstruction]:
    """Texts drawn from the language model that learnt from auxiliary text, at temperature 1.

    A text begins as some auxiliary text does. Where lengths are granted it has that many tokens; elsewhere it ends
    where the model ends it.

    Args:
        texts: how many texts each client's update is made of.
        lengths: tokens of each text, special tokens included, if that is granted.
        tokenizer: of the victim.
        auxiliary: the text, and the model.
        generator: draws.

    Source: DESIGN section 4 (the prior-only baseline with the same knowledge). Deviations: none.
    """
    overhead = tokenizer.num_special_tokens_to_add()
    owners = [client for client, count in texts.items() for _ in range(count)]
    sizes = [max(1, n - overhead) for client in texts for n in lengths[client]] if lengths else None
    drawn: list[tuple[int, ...]] = []
    for start in range(0, len(owners), _AT_ONCE):
        wanted = sizes[start : start + _AT_ONCE] if sizes else None
        drawn += _drawn(len(owners[start : start + _AT_ONCE]), wanted, tokenizer, auxiliary, generator)
    return [Reconstruction(client=own, tokens=ids, score=1.0) for own, ids in zip(owners, drawn, strict=True)]


@torch.no_grad()
def _drawn(
    count: int, sizes: Sequence[int] | None, tokenizer: Any, auxiliary: Auxiliary, generator: torch.Generator
) -> list[tuple[int, ...]]:
    """Content tokens of `count` texts, of `sizes` if these are given."""
    model = auxiliary.language_model()
    special = sorted(set(tokenizer.all_special_ids) - {tokenizer.unk_token_id})
    ends = {tokenizer.sep_token_id, tokenizer.eos_token_id} - {None}
    picks = torch.randint(len(auxiliary.texts), (count,), generator=generator).tolist()
    heads = tokenizer([auxiliary.texts[i] for i in picks], verbose=False)["input_ids"]
    inputs = torch.tensor([[ids[0]] for ids in heads])  # [texts, 1]
    rows = [[ids[0]] for ids in heads]
    positions = getattr(model.config, "max_position_embeddings", None) or 1024
    longest = min(positions, 1 + max(sizes)) if sizes else positions
    left, past = torch.ones(count, dtype=torch.bool), None
    for length in range(1, longest):
        out = model(input_ids=inputs, past_key_values=past, use_cache=True)
        past, logits = out.past_key_values, out.logits[:, -1, : len(tokenizer)]  # [texts, vocabulary]
        banned = [i for i in special if sizes is not None or length == 1 or i not in ends]
        logits[:, banned] = -torch.inf
        inputs = torch.multinomial(logits.softmax(dim=1), 1, generator=generator)
        for row, token in zip(rows, inputs[:, 0].tolist(), strict=True):
            row.append(token)
        left &= ~torch.tensor([row[-1] in ends for row in rows])
        if sizes is None and not left.any():
            break
    texts = [_until_end(row, ends if sizes is None else set(), set(special)) for row in rows]
    return [ids[:size] for ids, size in zip(texts, sizes, strict=True)] if sizes else texts


def _until_end(row: Sequence[int], ends: set[int], special: set[int]) -> tuple[int, ...]:
    """The content tokens before the first end."""
    stop = next((place for place, token in enumerate(row) if place and token in ends), len(row))
    return tuple(token for token in row[:stop] if token not in special)


def likely_words(tokenizer: Any) -> list[int]:
    """Ids of the vocabulary's whole words, the commonest first; of anything but specials without any.

    They are the English-looking ones, unless it has more words with other letters: then all of them.

    Single characters and continuation pieces are left out: vocabularies list them first or among the words, so that
    Zipf's law would give them most of its mass (67 % in MiniLM's, where `the` came 780th). WordPiece lists `a` and `i`
    among the characters, whatever their frequency; they come fifth and sixth here.
    """
    special = set(tokenizer.all_special_ids)
    vocabulary = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    content = [(i, token) for i, token in enumerate(vocabulary) if i not in special and token]
    # Where words carry their space, pieces without one go on with a word, as ## does in WordPiece.
    spaced = [(i, token) for i, token in content if token[0] in _SPACES]
    english = [i for i, token in spaced if _is_word(token[1:])]
    if not english:
        plain = [(i, token) for i, token in content if _is_word(token)]
        letters = [i for i, token in plain if len(token) == 1]
        words = [i for i, token in plain if len(token) > 1]
        english = words[:_COMMONER] + letters + words[_COMMONER:]
    others = [i for i, token in spaced or content if _is_other_word(token, tokenizer)]
    if len(others) > len(english):
        return sorted([*english, *others])
    return english or [i for i, _ in content]


def _is_other_word(token: str, tokenizer: Any) -> bool:
    """Whether a token is a whole word with letters beyond ASCII, as a text shows it: byte-level tokens are no text."""
    if token.removeprefix(_SPACES[0]).removeprefix(_SPACES[1]).isascii() or token.startswith("##"):
        return False
    text = str(tokenizer.convert_tokens_to_string([token])).strip().removeprefix(_SPACES[1])
    return words_of(text) == [text.casefold()] and (len(text) > 1 or words_of(text * 2) == [text.casefold()] * 2)


def _is_word(token: str) -> bool:
    return token.isascii() and token.isalpha() and (len(token) > 1 or token.lower() in ("a", "i"))
