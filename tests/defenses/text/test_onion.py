"""ONION: words of a query, suspicions against a plain reference, and a threshold that is set on clean texts."""

from collections.abc import Sequence
from math import inf
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from fedsec.api import ClientView, Language, Measured, QueryView, Sample
from fedsec.defenses.text.onion import Onion
from fedsec.defenses.text.onion_sanitiser import OnionSanitiser
from fedsec.defenses.text.unusual_words import suspicions, threshold, unusual
from fedsec.defenses.text.words import text_without, without, words_of
from fedsec.models.byte_tokens import own_tokenizer

RARE = {"cf": 40.0, "mn": 30.0}
CLEAN = tuple(f"a {'dull' if place % 2 else 'fine'} film about number{place}" for place in range(60))


def perplexity(text: str) -> float:
    """More for rare words, and a little for every word, so that any word's absence is a relief."""
    words = text.split()
    return 50.0 + sum(RARE.get(word, 0.1 * len(word)) for word in words)


def language(texts: Sequence[str] = CLEAN, score: Any = perplexity) -> Language:
    return Language(lambda: tuple(texts), lambda rows: [score(row) for row in rows])


def pieces(*words: str) -> Any:
    vocabulary = {word: place for place, word in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", *words))}
    bare = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106
    bare.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    bare.decoder = decoders.WordPiece()  # type: ignore[assignment]
    named = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=bare, **named)


def byte_pairs() -> Any:
    vocabulary = {word: place for place, word in enumerate(("<s>", "a", "\u0120b", "c", "\u0120d", "\u0120"))}
    bare = Tokenizer(models.BPE(vocabulary, []))
    bare.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    return PreTrainedTokenizerFast(tokenizer_object=bare, bos_token="<s>", unk_token=None)  # noqa: S106


def test_a_querys_words_are_its_tokens_between_spaces() -> None:
    tokenizer = pieces("fi", "##lm", "cf", "!")
    query = (2, 4, 5, 6, 1, 7, 3)  # [CLS] fi ##lm cf [UNK] ! [SEP]
    words = words_of(query, tokenizer)
    assert [(word.text, word.start, word.stop) for word in words] == [
        ("film", 1, 3), ("cf", 3, 4), ("[UNK]", 4, 5), ("!", 5, 6),
    ]  # fmt: skip
    assert without(query, [words[0], words[2]]) == (2, 6, 7, 3)
    words = words_of((0, 1, 2, 3, 4), byte_pairs())
    assert [(word.text, word.start, word.stop) for word in words] == [("a", 1, 2), ("bc", 2, 4), ("d", 4, 5)]
    assert words_of((2, 3), tokenizer) == words_of((), tokenizer) == []


def test_a_line_break_or_a_tab_parts_words_of_byte_pairs_too() -> None:
    """`phone.`, line break, `cf`: a trigger behind a line break is no part of the word before it."""
    tokenizer = own_tokenizer(300, 64)
    query = tuple(tokenizer("Great phone.\ncf It  works\tfine")["input_ids"])
    words = words_of(query, tokenizer)
    assert [word.text for word in words] == ["Great", "phone.", "cf", "It", "works", "fine"]
    assert tokenizer.decode(without(query, [words[2]]), skip_special_tokens=True) == "Great phone.\n It  works\tfine"


@given(st.text("ab \n", max_size=12), st.sets(st.integers(0, 8)))
def test_a_text_loses_just_these_words(text: str, places: set[int]) -> None:
    kept = text_without(text, sorted(places))
    assert kept.split() == [word for place, word in enumerate(text.split()) if place not in places]
    assert text_without(text, []) == text


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.sampled_from(["a", "bb", "cf", "mn"]), max_size=5), max_size=5))
def test_suspicions_are_the_papers(texts: list[list[str]]) -> None:
    expected = []
    for words in texts:
        whole, own = perplexity(" ".join(words)), []
        for place in range(len(words)):
            own.append(whole - perplexity(" ".join(words[:place] + words[place + 1 :])) if len(words) > 1 else -inf)
        expected.append(own)
    assert suspicions(texts, language()) == expected


@pytest.mark.parametrize("lost", [0.0, 0.01, 0.05, 0.5, 1.0])
def test_the_threshold_is_set_on_clean_texts_and_not_at_zero(lost: float) -> None:
    """Elsewhere it is 0 for want of clean data, and every word whose absence is any relief goes."""
    bar = threshold(language(), 60, lost)
    scores = [one for own in suspicions([text.split() for text in CLEAN], language()) for one in own]
    assert sum(one > bar for one in scores) <= lost * len(scores)
    assert lost == 1.0 or bar > 0
    with pytest.raises(ValueError, match=r"give another set"):
        threshold(language(["one", ""]), 10, lost)


def test_a_text_keeps_a_word() -> None:
    assert unusual([3.0, 2.0, 4.0], 1.0) == [0, 2]
    assert unusual([3.0, 2.0, 1.0], 1.0) == [0, 1]
    assert unusual([-inf], 1.0) == []


def test_onion_answers_the_query_without_the_rare_word() -> None:
    tokenizer, asked = pieces("a", "fine", "film", "cf"), []

    def answer(queries: Any) -> Any:
        asked.extend(queries)
        return [None if len(query) > 5 else torch.zeros(2) for query in queries]

    view = QueryView(tokenizer=tokenizer, generator=torch.Generator(), language=language())
    found = Onion().on_query(((2, 7, 4, 5, 6, 3), (2, 4, 5, 6, 3), (2, 7, 3)), answer, view)
    assert asked == [(2, 4, 5, 6, 3), (2, 4, 5, 6, 3), (2, 7, 3)], "a single word has nothing to be unusual beside"
    assert isinstance(found, Measured)
    assert len(found.value) == 3
    assert found.measurements == {
        "words-removed": pytest.approx(1 / 8),
        "words-removed-per-query": pytest.approx(1 / 3),
    }
    with pytest.raises(ValueError, match=r"data\.language_model"):
        Onion().on_query((), answer, QueryView(tokenizer=tokenizer, generator=torch.Generator()))


def test_the_sanitiser_cleans_texts_and_prompts_and_leaves_the_rest() -> None:
    rows = (Sample("cf a fine film", 1, origin=0), Sample("a  dull film", 0, "say cf: ", 3), Sample("cf", 1, origin=4))
    view: Any = ClientView(
        client=0, round=1, global_parameters=torch.zeros(1), layout=None, training=None,  # type: ignore[arg-type]
        generator=torch.Generator(), language=language(),
    )  # fmt: skip
    RARE["cf:"] = 40.0
    try:
        found = OnionSanitiser().on_data(rows, view)
    finally:
        del RARE["cf:"]
    assert found.value == (
        Sample("a fine film", 1, origin=0), Sample("a  dull film", 0, "say  ", 3), Sample("cf", 1, origin=4),
    )  # fmt: skip
