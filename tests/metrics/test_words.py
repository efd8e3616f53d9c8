"""Words of any script: the same as rouge-score's in ASCII, and none lost elsewhere."""
# ruff: noqa: RUF001 - letters of other scripts look like Latin ones

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import DefaultTokenizer

from fedsec.api import Reconstruction
from fedsec.federation.transcript import Secret
from fedsec.metrics.blind import blind_scores
from fedsec.metrics.leakage import leakage, match
from fedsec.metrics.words import WordTokenizer, pieces_of, shown_words, words_of

_ASCII = st.text(st.characters(max_codepoint=127), max_size=60)
_ENGLISH = (
    "The cat's on the mat; it doesn't mind -- does it?",
    "She paid $2.50 (or 3,000!) for 4x4_wheels @ e-mail: ann.lee@example.org #1",
    "a\ttab, a\nline and 1e-5 of C++ & C#.",
)


@settings(max_examples=60, deadline=None)
@given(_ASCII)
def test_in_ascii_the_words_are_those_of_rouge_score(text: str) -> None:
    assert words_of(text) == DefaultTokenizer().tokenize(text)


@pytest.mark.parametrize("truth", _ENGLISH)
@pytest.mark.parametrize("guess", [*_ENGLISH, "the mat's on a cat", ""])
def test_published_figures_of_english_texts_stay_comparable(truth: str, guess: str) -> None:
    kinds = ["rouge1", "rouge2", "rougeL"]
    assert RougeScorer(kinds, tokenizer=WordTokenizer()).score(truth, guess) == RougeScorer(kinds).score(truth, guess)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("هذا نصٌّ عربي رقم ١٢", "هذا نصٌّ عربي رقم ١٢"),
        ("שָׁלוֹם, עולם!", "שָׁלוֹם עולם"),
        ("Съешь ещё этих булок", "съешь ещё этих булок"),
        ("Größe, STRASSE und café", "grösse strasse und café"),
        ("नमस्ते, राम क्या", "नमस्ते राम क्या"),
        ("한국어 문장", "한국어 문장"),
        ("我叫山田。", "我 叫 山 田"),
        ("これはデータです", "こ れ は デ ー タ で す"),
        ("กินข้าว ๑๒", "กิ น ข้ า ว ๑๒"),
        ("😀😀, 🇩🇪🇫🇷 ok", "😀 😀 🇩🇪 🇫🇷 ok"),
        ("GPT模型v2", "gpt 模 型 v2"),
        ("ＡＢＣ １２", "abc 12"),
        ("می\u200cخواهم\u200e", "میخواهم"),
        ("soft\u00adhyphen zero\u200bwidth", "softhyphen zero width"),
        ("… — « » 。 $ + _ ' ’", ""),
        ("", ""),
    ],
)
def test_words_of_every_script(text: str, words: str) -> None:
    expected = [unicodedata.normalize("NFKC", word) for word in words.split()]
    assert words_of(text) == expected
    assert words_of(unicodedata.normalize("NFD", text)) == expected, "however a character is written"


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=30))
def test_no_letter_and_no_digit_is_lost(text: str) -> None:
    found = "".join(words_of(text))
    alike = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    assert found == "".join(c for c in alike if unicodedata.category(c)[0] in "LN" or c in found)
    assert found or not any(unicodedata.category(c)[0] in "LN" for c in alike)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40))
def test_a_shown_text_is_the_text(text: str) -> None:
    assert "".join(shown_words(text)) == text.strip()


def test_pieces_keep_signs() -> None:
    assert pieces_of("Ann a@b.c राम 山") == ["ann", "a", "@", "b", ".", "c", "राम", "山"]


class ByCharacter:
    """An id for each character, as byte-level vocabularies have."""

    all_special_ids = (0,)

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        return "".join(map(chr, ids))

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": [ord(character) for character in text]}


def _leakage(truth: str, guess: str, planted: tuple[str, ...] = ()) -> dict[str, Any]:
    ids = tuple(map(ord, truth))
    claims = [Reconstruction(client=0, tokens=tuple(map(ord, guess)), score=0.0)]
    scored = match({0: Secret((ids,), (len(ids),), (0,), (planted,))}, claims)
    found = leakage(scored, ByCharacter(), np.random.default_rng(0))
    return {name.partition("/")[2]: value for name, value in found.items()}


@pytest.mark.parametrize("kind", ["rouge-1", "rouge-l", "best-rouge-l", "rouge-1-lamp", "rouge-l-lamp"])
@pytest.mark.parametrize(
    ("truth", "guess", "share"),
    [
        ("هذا نص عربي رقم 7", "7", 2 / 6),
        ("هذا نص عربي رقم 7", "رقم 8", 2 / 7),
        ("שלום עולם", "שלום", 2 / 3),
        ("我叫山田", "山田", 2 / 3),
        ("мама мыла раму", "папа мыл раму", 1 / 3),
        ("😀 😡", "😀", 2 / 3),
    ],
)
def test_overlap_counts_every_word_and_not_digits_alone(kind: str, truth: str, guess: str, share: float) -> None:
    assert _leakage(truth, guess)[kind].value == pytest.approx(share)


def test_a_text_without_a_word_has_no_overlap_in_place_of_none() -> None:
    found = _leakage("?!…", "?!…")
    assert (found["rouge-l"].value, found["rouge-l"].n, found["rouge-l"].left_out) == (None, 0, 1)
    assert (found["best-rouge-l"].value, found["best-rouge-l"].n) == (None, 0)
    assert found["exact-match"].value == 1.0


@pytest.mark.parametrize(
    ("planted", "truth", "guess", "found"),
    [
        ("山田太郎", "我叫山田太郎。", "他叫山田太郎", 1.0),
        ("山田太郎", "我叫山田太郎。", "我叫山田", 0.0),
        ("राम", "राम आया", "रामायण", 0.0),
        ("राम", "राम आया", "घर में राम", 1.0),
        ("José", "señor José", "jose", 0.0),
        ("José", "señor José", "JOSE\u0301", 1.0),
    ],
)
def test_planted_names_of_every_script(planted: str, truth: str, guess: str, found: float) -> None:
    measured = _leakage(truth, guess, (planted,))["pii-recall"]
    assert (measured.value, measured.n) == (found, 1)


def test_the_blind_attack_reads_scripts_without_spaces() -> None:
    """Members speak of one thing and others of another: whole sentences taken for one word would tell nothing."""
    draws = np.random.default_rng(0)
    filler = "的一是在不了有和人这中大为上个国"

    def sentence(word: str) -> str:
        return "".join(draws.choice(list(filler), 6)) + word + "".join(draws.choice(list(filler), 6))

    texts = [sentence("猫" if place % 2 else "狗") for place in range(60)]
    members = np.array([bool(place % 2) for place in range(60)])
    scores = blind_scores(texts, members, draws)
    assert scores[members].min() > scores[~members].max()
