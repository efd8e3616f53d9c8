"""The prior-only guess: as many texts as there are, as long as they are known to be, and blind to everything else."""

from typing import Any

import numpy as np
import pytest

from fedsec.metrics.prior import TYPICAL_LENGTH, guess
from fedsec.models import tiny_bert
from fedsec.seeds import SeedTree


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """The tiny model's."""
    return tiny_bert.load(labels=2, generator=SeedTree(0).torch("m"), layers=1, width=16).tokenizer


def _generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_each_client_gets_as_many_guesses_as_it_has_texts(tokenizer: Any) -> None:
    guesses = guess({4: 3, 1: 0, 2: 1}, None, tokenizer, _generator())
    assert [g.client for g in guesses] == [4, 4, 4, 2]
    assert {len(g.tokens) for g in guesses} == {TYPICAL_LENGTH}


def test_granted_lengths_are_those_of_the_guesses_less_special_tokens(tokenizer: Any) -> None:
    lengths = {0: (5, 9), 3: (30,)}
    guesses = guess({0: 2, 3: 1}, lengths, tokenizer, _generator())
    assert [(g.client, len(g.tokens)) for g in guesses] == [(0, 3), (0, 7), (3, 28)]


@pytest.mark.parametrize("length", [0, 1, 2, 3])
def test_a_guess_holds_at_least_one_token(length: int, tokenizer: Any) -> None:
    (only,) = guess({0: 1}, {0: (length,)}, tokenizer, _generator())
    assert len(only.tokens) == 1


def test_nothing_is_claimed_to_be_verified(tokenizer: Any) -> None:
    assert not any(g.verified for g in guess({0: 5}, None, tokenizer, _generator()))


def test_guesses_are_words_and_commoner_ones_more_often(tokenizer: Any) -> None:
    (long,) = guess({0: 1}, {0: (5002,)}, tokenizer, _generator())
    words = tokenizer.convert_ids_to_tokens(list(long.tokens))
    assert all(any(c.isalpha() for c in word) for word in words)
    assert not set(long.tokens) & set(tokenizer.all_special_ids)
    ids, counts = np.unique(long.tokens, return_counts=True)
    frequent = ids[counts.argsort()[::-1][:10]]
    assert frequent.mean() < np.mean(long.tokens)
    assert len(ids) > 300


def test_the_generator_alone_decides(tokenizer: Any) -> None:
    first = guess({0: 3}, None, tokenizer, _generator(1))
    assert guess({0: 3}, None, tokenizer, _generator(1)) == first
    assert guess({0: 3}, None, tokenizer, _generator(2)) != first


def test_a_byte_pair_vocabulary_works_as_well() -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    pieces = ["<|endoftext|>", "Ġthe", "Ġof", "ing", "Ġ42", "!", "Ċ"]
    plain = Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[]))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="<|endoftext|>")  # noqa: S106
    (long,) = guess({0: 1}, {0: (300,)}, tokenizer, _generator())
    assert len(long.tokens) == 300
    used = {pieces[i] for i in long.tokens}
    assert used - {"Ġ42", "!", "Ċ"} >= {"Ġthe", "Ġof", "ing"}
    assert "<|endoftext|>" not in used
    assert "!" not in used
