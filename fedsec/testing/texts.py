"""Texts of the canned federations: small data sets that are registered for the time of a test."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from fedsec import registry
from fedsec.api import DatasetCard
from fedsec.data.corpus import Corpus, Example
from fedsec.data.kept_notes import kept_notes
from fedsec.seeds import SeedTree

WORDS = ("chest", "knee", "head")
CLASSES = tuple("abcdefgh")
_TRAIN, _TEST, _NOTES = 420, 120, 60
_PUBLIC, _PUBLIC_SEED = 300, 1_000_037
_RECORDS, _UNSEEN, _LEXICON, _SHORTEST, _LONGEST, _RECORDS_SEED = 160, 24, 500, 8, 12, 41
DATASETS = (
    DatasetCard(
        name="canned-words",
        summary="Complaints whose class is the word that they repeat; learned in a few steps.",
        target="fedsec.testing.texts:load_words",
        labels=WORDS,
    ),
    DatasetCard(
        name="canned-notes",
        summary="The first notes of clinic-notes, planted data included.",
        target="fedsec.testing.texts:load_notes",
        labels=tuple(str(label) for label in range(6)),
    ),
    DatasetCard(
        name="canned-public",
        summary="Notes of another seed, as public text.",
        target="fedsec.testing.texts:load_public",
        labels=tuple(str(label) for label in range(6)),
    ),
    DatasetCard(
        name="canned-orders",
        summary="Complaints as prompts, each answered by its word.",
        target="fedsec.testing.texts:load_orders",
        labels=WORDS,
    ),
    DatasetCard(
        name="canned-records",
        summary="Random words with a random class each: nothing to learn, and everything to remember.",
        target="fedsec.testing.texts:load_records",
        labels=CLASSES,
    ),
)


def load_words(card: DatasetCard) -> Corpus:
    """Three classes in turn; only the day differs between two texts of a class."""
    rows = tuple(
        Example(f"{WORDS[i % 3]} pain since day {i // 3}, {WORDS[i % 3]}", i % 3) for i in range(_TRAIN + _TEST)
    )
    return Corpus(rows[:_TRAIN], rows[_TRAIN:], card.labels)


def load_orders(card: DatasetCard) -> Corpus:
    """Complaints with prompts, to be answered."""
    words = load_words(card)
    train, test = (
        tuple(Example(WORDS[row.label], row.label, prompt=f"{row.text}: ") for row in part)
        for part in (words.train, words.test)
    )
    return Corpus(train, test, card.labels)


def load_notes(card: DatasetCard) -> Corpus:
    """Notes with planted personal data: 40 to train on, 20 to test on."""
    notes = kept_notes(_NOTES)
    rows = tuple(Example(note.text, note.label, tuple(item.value for item in note.planted)) for note in notes)
    return Corpus(rows[:40], rows[40:], card.labels)


def load_public(card: DatasetCard) -> Corpus:
    """Notes that no canned federation holds, for who is granted auxiliary text."""
    rows = tuple(Example(note.text, note.label) for note in kept_notes(_PUBLIC, seed=_PUBLIC_SEED))
    return Corpus(rows, rows[:1], card.labels)


@cache
def load_records(card: DatasetCard) -> Corpus:
    """Texts of 8 to 12 words, each drawn for itself, so that no two resemble each other; classes likewise."""
    from fedsec.models.tiny_bert import vocabulary

    draws = SeedTree(_RECORDS_SEED).numpy("canned records")
    words = [word for word in vocabulary() if word.isalpha() and len(word) >= 4][:_LEXICON]
    rows = tuple(
        Example(
            " ".join(words[i] for i in draws.integers(len(words), size=draws.integers(_SHORTEST, _LONGEST + 1))),
            int(draws.integers(len(card.labels))),
        )
        for _ in range(_RECORDS + _UNSEEN)
    )
    return Corpus(rows[:_RECORDS], rows[_RECORDS:], card.labels)


@contextmanager
def registered() -> Iterator[None]:
    """The data sets among the registered ones, for as long as the block lasts; blocks may be nested."""
    added = [card for card in DATASETS if card.name not in registry.datasets()]
    for card in added:
        registry.datasets().register(card)
    try:
        yield
    finally:
        for card in added:
            registry.datasets().remove(card.name)
