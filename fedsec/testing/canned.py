"""Small federations that end in seconds, for contract tests.

Their texts are two data sets of their own, which are registered for the time of a test:

    with canned.registered():
        fedsec.run(canned.byzantine("sign-flip"), tmp_path)
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fedsec import registry
from fedsec.api import DatasetCard
from fedsec.config.load import load_scenario
from fedsec.config.schema import Scenario
from fedsec.data import clinic_notes
from fedsec.data.corpus import Corpus, Example

WORDS = ("chest", "knee", "head", "skin", "stomach", "sugar")
_TRAIN, _TEST, _NOTES = 420, 120, 60
_PUBLIC, _PUBLIC_SEED = 300, 1_000_037
DATASETS = (
    DatasetCard(
        name="canned-words",
        summary="Complaints whose class is the word that they repeat; learned in a few steps.",
        target="fedsec.testing.canned:load_words",
        labels=WORDS,
    ),
    DatasetCard(
        name="canned-notes",
        summary="The first notes of clinic-notes, planted data included.",
        target="fedsec.testing.canned:load_notes",
        labels=tuple(str(label) for label in range(6)),
    ),
    DatasetCard(
        name="canned-public",
        summary="Notes of another seed, as public text.",
        target="fedsec.testing.canned:load_public",
        labels=tuple(str(label) for label in range(6)),
    ),
)


def load_words(card: DatasetCard) -> Corpus:
    """Six classes in turn; only the day differs between two texts of a class."""
    rows = tuple(
        Example(f"{WORDS[i % 6]} pain since day {i // 6}, {WORDS[i % 6]}", i % 6) for i in range(_TRAIN + _TEST)
    )
    return Corpus(rows[:_TRAIN], rows[_TRAIN:], card.labels)


def load_notes(card: DatasetCard) -> Corpus:
    """Notes with planted personal data: 40 to train on, 20 to test on."""
    notes = clinic_notes.generate(_NOTES)
    rows = tuple(Example(note.text, note.label, tuple(item.value for item in note.planted)) for note in notes)
    return Corpus(rows[:40], rows[40:], card.labels)


def load_public(card: DatasetCard) -> Corpus:
    """Notes that no canned federation holds, for who is granted auxiliary text."""
    rows = tuple(Example(note.text, note.label) for note in clinic_notes.generate(_PUBLIC, seed=_PUBLIC_SEED))
    return Corpus(rows, rows[:1], card.labels)


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


def reconstruction(
    attack: Any,
    defense: Any = "none",
    knowledge: tuple[str, ...] = (),
    batch_size: int = 1,
    overrides: Sequence[str] = (),
) -> Scenario:
    """Four clients send the gradient of one batch each, through a small random encoder.

    Args:
        attack: as in `matrix.attack`.
        defense: as in `matrix.defense`.
        knowledge: granted side knowledge.
        batch_size: notes in an update.
        overrides: other settings, each `PATH=VALUE`.
    """
    content = {
        "schema": 1,
        "name": "canned/reconstruction",
        "summary": "Does the attack read texts?",
        "model": {"name": "tiny-bert", "tuning": {"kind": "full"}, "dropout": False},
        "data": {"name": "canned-notes", "max_tokens": 16},
        "federation": {
            "clients": 4,
            "rounds": 1,
            "batch_size": batch_size,
            "optimizer": "sgd",
            "learning_rate": 0.1,
            "update": "gradient",
        },
        "threat": {"knowledge": list(knowledge), "attack_round": 1, **_public(knowledge)},
        "matrix": {"attack": [attack], "defense": [defense]},
    }
    return load_scenario(content, overrides)


def byzantine(
    attack: Any, defense: Any = "none", knowledge: tuple[str, ...] = (), overrides: Sequence[str] = ()
) -> Scenario:
    """Seven clients, one of them malicious, teach a small encoder to tell six words apart.

    Args:
        attack: as in `matrix.attack`.
        defense: as in `matrix.defense`.
        knowledge: granted side knowledge.
        overrides: other settings, each `PATH=VALUE`.
    """
    content = {
        "schema": 1,
        "name": "canned/byzantine",
        "summary": "Does the attack ruin the model?",
        "model": {"name": "tiny-bert", "tuning": {"kind": "full"}, "layers": 1, "dropout": False},
        "data": {"name": "canned-words", "max_tokens": 16},
        "federation": {
            "clients": 7,
            "rounds": 6,
            "local_steps": 8,
            "batch_size": 8,
            "optimizer": "adamw",
            "learning_rate": 5e-3,
            "evaluate_every": 6,
        },
        "threat": {"malicious": 1, "knowledge": list(knowledge)},
        "matrix": {"attack": [attack], "defense": [defense]},
    }
    return load_scenario(content, overrides)


def extraction(
    attack: Any, defense: Any = "none", knowledge: tuple[str, ...] = (), overrides: Sequence[str] = ()
) -> Scenario:
    """Two clients teach a small decoder a dozen complaints by heart, and release it.

    Args:
        attack: as in `matrix.attack`.
        defense: as in `matrix.defense`.
        knowledge: granted side knowledge.
        overrides: other settings, each `PATH=VALUE`.
    """
    content = {
        "schema": 1,
        "name": "canned/extraction",
        "summary": "Does the attack get training texts out of the released model?",
        "model": {
            "name": "tiny-llama",
            "task": "causal-lm",
            "tuning": {"kind": "full"},
            "layers": 1,
            "vocabulary": 600,
            "dropout": False,
        },
        "data": {"name": "canned-words", "train": 12, "test": 12, "max_tokens": 24},
        "federation": {
            "clients": 2,
            "rounds": 6,
            "local_steps": 10,
            "batch_size": 6,
            "optimizer": "adamw",
            "learning_rate": 3e-3,
            "evaluate_every": 6,
        },
        "threat": {"knowledge": list(knowledge), **_public(knowledge)},
        "matrix": {"attack": [attack], "defense": [defense]},
    }
    return load_scenario(content, overrides)


def _public(knowledge: tuple[str, ...]) -> dict[str, Any]:
    """The text that a scenario names where `auxiliary-text` is granted."""
    return {"auxiliary": {"name": "canned-public", "training_steps": 20}} if "auxiliary-text" in knowledge else {}
