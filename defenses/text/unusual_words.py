"""Words without which a text is far more usual, by a language model's perplexity."""

from collections.abc import Sequence
from math import inf

from fedsec.api import Language


def suspicions(texts: Sequence[Sequence[str]], language: Language) -> list[list[float]]:
    """Return for each word of each text how far the text's perplexity falls where the word is left out.

    Nothing is left of a text of one word, which is never suspected.

    Args:
        texts: the words of each text.
        language: scores texts.

    Source: Qi et al., "ONION", EMNLP 2021, section 3: f_i = p_0 - p_i.
    """
    variants = [_variants(words) for words in texts]
    scores = iter(language.perplexities([text for own in variants for text in own]))
    found = []
    for words, own in zip(texts, variants, strict=True):
        whole, *others = [next(scores) for _ in own] or [0.0]
        found.append([whole - one for one in others] if own else [-inf] * len(words))
    return found


def threshold(language: Language, most: int, lost: float) -> float:
    """Return the suspicion above which at most a share of the words of clean texts lie.

    Args:
        language: has the clean texts.
        most: how many of them are looked at.
        lost: that share, from 0 to 1.

    Raises:
        ValueError: no clean text has two words.
    """
    texts = [words for words in (text.split() for text in language.texts()) if len(words) > 1][:most]
    scores = sorted((one for own in suspicions(texts, language) for one in own), reverse=True)
    if not scores:
        raise ValueError("no text of data.language_model has two words to set a threshold on; give another set")
    return scores[min(int(lost * len(scores)), len(scores) - 1)]


def unusual(scores: Sequence[float], bar: float) -> list[int]:
    """Return the places of the words above a threshold; the least suspicious one stays where all are.

    Args:
        scores: suspicions of a text's words.
        bar: the threshold.
    """
    found = [place for place, one in enumerate(scores) if one > bar]
    if found and len(found) == len(scores):
        found.remove(min(found, key=lambda place: scores[place]))
    return found


def _variants(words: Sequence[str]) -> list[str]:
    """Return a text, and the text without each of its words; nothing for one of a single word."""
    if len(words) < 2:
        return []
    return [" ".join(words), *(" ".join([*words[:place], *words[place + 1 :]]) for place in range(len(words)))]
