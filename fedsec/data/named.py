"""Data sets by name, from $FEDSEC_DATA, and by path."""

import os
from pathlib import Path

import numpy as np

from fedsec.api import DatasetCard
from fedsec.data import clinic_notes
from fedsec.data.corpus import Corpus, Example
from fedsec.data.files import ENDINGS, examples
from fedsec.errors import FedsecError, MissingDataError

CLINIC_TRAIN, CLINIC_TEST = 16_000, 4_000
_FOLDERS = {"rotten-tomatoes": "rotten_tomatoes", "ag-news": "ag_news"}
_TEXT_FIELDS = {"pubmedqa": ("question", "context")}
_TEST_NAMES = ("test", "validation")
SPLIT_SEED = 0
"""Where a set has no test file, a tenth is split off by this fixed seed, so that everybody tests on the same rows."""


def load_clinic_notes(card: DatasetCard) -> Corpus:
    """The generated hospital notes: 16,000 to train on and 4,000 to test on, one pool, one seed."""
    notes = clinic_notes.generate(CLINIC_TRAIN + CLINIC_TEST)
    rows = tuple(Example(n.text, n.label, tuple(item.value for item in n.planted)) for n in notes)
    return Corpus(rows[:CLINIC_TRAIN], rows[CLINIC_TRAIN:], card.labels)


def load_named(card: DatasetCard) -> Corpus:
    """A public data set from `$FEDSEC_DATA/<folder>`.

    Args:
        card: its name, and its label names in the order of the label numbers.

    Raises:
        MissingDataError: the folder is not on this machine.
    """
    name, folder = card.name, folder_of(card.name)
    if folder is None or not folder.is_dir():
        where = f"{folder} does not exist" if folder else "FEDSEC_DATA is not set"
        wanted = _FOLDERS.get(name, name)
        raise MissingDataError(
            f"data set '{name}' is not on this machine ({where}). Put train.jsonl(.gz) and test.jsonl(.gz) with `text` "
            f"and `label` into $FEDSEC_DATA/{wanted}/, or give your own file with data.path. clinic-notes needs none."
        )
    return _from_folder(folder, _TEXT_FIELDS.get(name, ("text",)), card.labels)


def folder_of(name: str) -> Path | None:
    """Where `$FEDSEC_DATA` would hold the data set of that name; None if the variable is not set."""
    root = os.environ.get("FEDSEC_DATA", "")
    return Path(root) / _FOLDERS.get(name, name) if root else None


def load_path(path: Path) -> Corpus:
    """A corpus from a file, or from a folder with a train file and maybe a test or validation file.

    Raises:
        FedsecError: nothing readable there.
    """
    if path.is_dir():
        return _from_folder(path, ("text",), None)
    if not path.is_file() or not path.name.endswith(ENDINGS):
        raise FedsecError(f"data.path {path}: give a folder or a file that ends in {', '.join(ENDINGS)}")
    return _split_off(examples(path), None)


def _from_folder(folder: Path, fields: tuple[str, ...], labels: tuple[str, ...] | None) -> Corpus:
    classes = len(labels) if labels else None
    train_file = _find(folder, ("train",))
    test_file = _find(folder, _TEST_NAMES)
    if train_file is None:
        raise MissingDataError(f"{folder} has no train file; expected train with one of {', '.join(ENDINGS)}")
    train = examples(train_file, fields, classes)
    if test_file is None:
        return _split_off(train, labels)
    test = examples(test_file, fields, classes)
    return Corpus(train, test, labels or _numbered(train + test))


def _find(folder: Path, stems: tuple[str, ...]) -> Path | None:
    candidates = (folder / f"{stem}{ending}" for stem in stems for ending in ENDINGS)
    return next((path for path in candidates if path.is_file()), None)


def _split_off(rows: tuple[Example, ...], labels: tuple[str, ...] | None) -> Corpus:
    if len(rows) < 2:
        raise FedsecError("a corpus needs at least 2 rows: one to train on and one to test on")
    order = np.random.default_rng(SPLIT_SEED).permutation(len(rows))
    held_out = max(1, len(rows) // 10)
    test = tuple(rows[i] for i in order[:held_out])
    train = tuple(rows[i] for i in order[held_out:])
    return Corpus(train, test, labels or _numbered(rows))


def _numbered(rows: tuple[Example, ...]) -> tuple[str, ...]:
    return tuple(str(label) for label in range(max(row.label for row in rows) + 1))
