"""Words of any script, as texts are compared by them."""

import unicodedata

import regex

_UNSPACED = r"[[\p{LB=SA}\p{scx=Han}\p{scx=Hira}\p{scx=Kana}\p{scx=Yiii}]&&\p{L}]"
"""Letters of scripts that set no spaces between words: Thai, Lao, Khmer, Burmese and others that Unicode calls complex
in line breaking, Chinese, Japanese, Yi."""
_WORD = rf"(?:{_UNSPACED}\p{{M}}*|[[\p{{L}}\p{{N}}]--{_UNSPACED}][[\p{{L}}\p{{N}}\p{{M}}]--{_UNSPACED}]*)"
_PICTURE = r"(?:\p{RI}\p{RI}?|\p{ExtPict})"
_WORDS = regex.compile(rf"(?V1){_WORD}|{_PICTURE}")
_PIECES = regex.compile(rf"(?V1){_WORD}|{_PICTURE}|\S")
_SHOWN = regex.compile(rf"(?V1)(?:{_UNSPACED}\p{{M}}*|(?:(?!{_UNSPACED})\S)+)\s*")
_INVISIBLE = regex.compile(r"(?V1)[\p{Cf}--\u200b]+")
"""Joiners, marks of direction, soft hyphens: part of no word and between no words. A space of no width is between."""


def words_of(text: str) -> list[str]:
    """The words of a text in its order, with letter case and ways to write the same character made alike.

    A word is a run of letters, digits and the marks that combine with them; a letter by itself in scripts that set no
    spaces between words; a pictogram (an emoji, a flag). Signs are no words.

    Source: Lin, ACL workshop 2004, as rouge-score's default tokenizer splits, whose words these are in every ASCII
    text. Deviations: that tokenizer knows no letters but a to z, and drops or cuts all other words.
    """
    return list(_WORDS.findall(_alike(text)))


def pieces_of(text: str) -> list[str]:
    """The same with every other visible character as a piece of its own."""
    return list(_PIECES.findall(_alike(text)))


def shown_words(text: str) -> list[str]:
    """A text as it stands, cut where a reader may see one word differ from another; spaces go with the word before."""
    return list(_SHOWN.findall(text.strip()))


class WordTokenizer:
    """`words_of` in the form that `rouge_score.rouge_scorer.RougeScorer` takes."""

    def tokenize(self, text: str) -> list[str]:
        """The words of a text."""
        return words_of(text)


def _alike(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return str(_INVISIBLE.sub("", unicodedata.normalize("NFKC", folded)))
