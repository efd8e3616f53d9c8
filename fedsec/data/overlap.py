"""Overlap of texts: a shared run of words, letter case and punctuation aside."""

import re
from collections.abc import Iterable, Iterator

RUN = 8
"""Words in a row that two texts may not share."""
SHORTEST = 4
"""Words of a text from which on it may not stand within another one, where it is shorter than a run."""
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])\w)+")
"""A run of letters and digits; a single character in scripts that set no spaces between words."""
_SHORTENED = (
    (re.compile(r"\s*\bn\s*['\u2019]\s*t\b"), "nt"),
    (re.compile(r"\s*['\u2019]\s*(s|re|ve|ll|d|m)\b"), r"\1"),
    (re.compile(r"(?<=\w)['\u2019](?=\w)"), ""),
)
"""Treebanks write `does n't` and `it 's`: the same text as `doesn't` and `it's`. Other apostrophes are quotes."""
Words = tuple[str, ...]


class Resemblance:
    """Texts that others are compared with.

    Two texts resemble each other if they share `RUN` words in a row; if the shorter one has fewer words, at least
    `SHORTEST`, and stands within the other; or, below that, if they are the same words.
    """

    def __init__(self) -> None:
        self._runs: dict[int, set[int]] = {size: set() for size in range(SHORTEST, RUN + 1)}  # hashes by length
        self._short: dict[int, set[int]] = {size: set() for size in range(SHORTEST, RUN)}
        self._whole: set[Words] = set()

    def add(self, text: str) -> None:
        """One more text to compare with."""
        words = words_of(text)
        if len(words) < SHORTEST:
            self._whole.add(words)
            return
        if len(words) < RUN:
            self._short[len(words)].add(hash(words))
        for size in range(SHORTEST, min(RUN, len(words)) + 1):
            self._runs[size].update(map(hash, runs(words, size)))

    def __contains__(self, text: str) -> bool:
        """Return whether the text resembles one of those that were added."""
        words = words_of(text)
        if len(words) < SHORTEST:
            return words in self._whole
        size = min(RUN, len(words))
        if any(hash(run) in self._runs[size] for run in runs(words, size)):
            return True
        return any(hash(run) in short for length, short in self._short.items() if short for run in runs(words, length))


def sift(rows: Iterable[str], held: Iterable[str], wanted: int | None = None) -> tuple[tuple[str, ...], int]:
    """Return the first rows that share no text with what is held, and how many were left out before them.

    Args:
        rows: texts in order.
        held: texts that no row may share `RUN` words in a row with, letter case and signs aside. One that is shorter
            counts as a whole: a row may not hold it or, below `SHORTEST` words, be it.
        wanted: how many rows are enough; all that pass if absent.

    Source: DESIGN section 4. Deviations: shorter texts, of which it does not speak.
    """
    shared, lengths, whole = set[Words](), {RUN}, set[Words]()
    for text in held:
        words = words_of(text)
        if len(words) < SHORTEST:
            whole.add(words)
            continue
        size = min(RUN, len(words))
        lengths.add(size)
        shared.update(runs(words, size))
    kept: list[str] = []
    dropped = 0
    for text in rows:
        words = words_of(text)
        if not words or words in whole or any(run in shared for size in lengths for run in runs(words, size)):
            dropped += 1
            continue
        kept.append(text)
        if len(kept) == wanted:
            break
    return tuple(kept), dropped


def words_of(text: str) -> Words:
    """The words of a text as they are compared."""
    text = text.casefold()
    for pattern, joined in _SHORTENED:
        text = pattern.sub(joined, text)
    return tuple(_WORD.findall(text))


def runs(words: Words, size: int) -> Iterator[Words]:
    """Every run of so many words."""
    return (words[start : start + size] for start in range(len(words) - size + 1))
