"""Data sets by name, from $FEDSEC_DATA or the hub, and by path."""

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from fedsec import registry
from fedsec.api import Columns, DatasetCard, HubSource
from fedsec.config.endings import ENDINGS, TEXT_ENDINGS
from fedsec.config.schema import Data
from fedsec.data.corpus import Corpus, Example
from fedsec.data.files import is_folder, read_rows
from fedsec.data.hub import TEST_SPLITS, read_hub
from fedsec.data.kept_notes import kept_notes
from fedsec.data.layout import Layout, Split, number_labels, read_split
from fedsec.data.partition import group_column
from fedsec.data.reading import Reading
from fedsec.errors import FedsecError, MissingDataError

CLINIC_TRAIN, CLINIC_TEST = 16_000, 4_000
SPLIT_SEED = 0
"""Seed of the tenth that is split off where a data set has no test file, so that all runs test on the same rows."""
_STRICT = Reading()
WHY_A_COMMIT = "a branch or tag of the hub can change under a finished run, the full hash of a commit cannot"


def load_corpus(data: Data, how: Reading = _STRICT) -> Corpus:
    """The whole corpus that a section of a scenario names.

    Args:
        data: the section.
        how: what becomes of faults in files and the hub's tables; sets of third parties' own loaders raise theirs.

    Raises:
        MissingDataError: it is not on this machine.
        FedsecError: it cannot be used.
    """
    if data.name is None:
        return load_path(Path(str(data.path)), data, how)
    if data.name not in registry.datasets():
        return load_repository(data, how)
    card = registry.datasets().get(data.name)
    load = registry.load_target(card)
    ours = load is load_named  # which alone notes faults and reads on
    given = () if card.columns is None else (data, how) if ours else (data,)
    corpus: Corpus = load(card, *given)
    return corpus


def load_clinic_notes(card: DatasetCard) -> Corpus:
    """The generated hospital notes: 16,000 to train on and 4,000 to test on, one pool, one seed; once per process."""
    return _clinic_notes(card.labels)


@lru_cache(maxsize=1)
def _clinic_notes(labels: tuple[str, ...]) -> Corpus:
    notes = kept_notes(CLINIC_TRAIN + CLINIC_TEST)
    rows = tuple(
        Example(n.text, n.label, tuple(item.value for item in n.planted), group=labels[n.label]) for n in notes
    )
    return Corpus(rows[:CLINIC_TRAIN], rows[CLINIC_TRAIN:], labels)


def load_named(card: DatasetCard, data: Data | None = None, how: Reading = _STRICT) -> Corpus:
    """A public data set from `$FEDSEC_DATA/<folder>`, else from the hub at the card's commit or the scenario's.

    Args:
        card: the set's columns, its label names in the order of the label numbers, where it lies.
        data: which columns, which commit; the card's own if absent.
        how: what becomes of faults.

    Raises:
        MissingDataError: it is neither on this machine nor to be had from the hub.
        FedsecError: what was found cannot be used.
    """
    data = data or Data(name=card.name)
    columns = card.columns or Columns()
    folder = folder_of(card.name)
    if data.revision is None and folder is not None and is_folder(folder):
        return _from_folder(folder, _layout(columns, data, card.labels, how), _names(card.labels, data))
    where = f"{folder} does not exist" if folder else "FEDSEC_DATA is not set"
    reason = "the hub has it at no place that is known here"
    revision = data.revision or (card.hub.revision if card.hub else None)
    if card.hub is not None and revision is None:
        reason = f"{card.hub.id} on the hub needs data.revision: {WHY_A_COMMIT}"
    elif card.hub is not None and revision is not None:
        try:
            layout = _layout(card.hub.columns or columns, data, card.labels, how)
            return _from_hub(card.hub, revision, layout, _names(card.labels, data))
        except MissingDataError as error:
            reason = str(error)
    below = card.folder or card.name
    needed = ", ".join(f"`{name}`" for name in _layout(columns, data, card.labels, how).wanted)
    raise MissingDataError(
        f"data set '{card.name}' is not on this machine ({where}), and {reason}. Put train.jsonl(.gz) and "
        f"test.jsonl(.gz) with {needed} into $FEDSEC_DATA/{below}/, or let this machine reach the hub once, or give "
        "your own file with data.path. clinic-notes needs none."
    )


def load_repository(data: Data, how: Reading = _STRICT) -> Corpus:
    """A data set of the hub by `owner/name` and commit.

    Raises:
        MissingDataError: it cannot be had, or no commit is given.
        FedsecError: it cannot be used.
    """
    name = str(data.name)
    if data.revision is None:
        raise MissingDataError(f"'{name}' on the hub needs data.revision: {WHY_A_COMMIT}")
    source = HubSource(id=name, config=data.config, train=data.train_split, test=data.test_split)
    try:
        return _from_hub(source, data.revision, _layout(Columns(), data, (), how), (), find_test=True)
    except MissingDataError as error:
        raise MissingDataError(
            f"{error}. Let this machine reach the hub once with that commit, or download the files and give them with "
            "data.path"
        ) from error


def folder_of(name: str) -> Path | None:
    """Where `$FEDSEC_DATA` would hold the data set of that name; None if the variable is not set."""
    root = os.environ.get("FEDSEC_DATA", "")
    below = registry.datasets().get(name).folder if name in registry.datasets() else ""
    return Path(root) / (below or name) if root else None


def is_here(data: Data) -> bool:
    """Whether something lies on this machine where the data are looked for first."""
    if data.name is None:
        return True
    folder = folder_of(data.name) if data.name in registry.datasets() and data.revision is None else None
    return folder is not None and is_folder(folder)


def passed_over(data: Data) -> str | None:
    """Which files beside those that are read look like data too, in words; None if there are none, or no folder."""
    folder = Path(str(data.path)) if data.name is None else folder_of(data.name)
    if folder is None or not is_here(data) or not is_folder(folder):
        return None
    used = [file.name for file in (_find(folder, "train"), _find_test(folder)) if file is not None]
    unread = _unread(folder, used)
    if not unread or not used:
        return None
    verb = "is" if len(used) == 1 else "are"
    return f"{folder}: of its files {' and '.join(used)} {verb} read, and not {', '.join(unread)}"


def load_path(path: Path, data: Data | None = None, how: Reading = _STRICT) -> Corpus:
    """A corpus from a file, or from a folder with a train file and maybe a file to test on (test, validation, dev ...).

    Raises:
        FedsecError: nothing readable there.
    """
    data = data or Data(path=str(path))
    layout = _layout(Columns(), data, (), how)
    if is_folder(path):
        return _from_folder(path, layout, ())
    if not path.name.endswith(ENDINGS):
        raise FedsecError(f"data.path {path}: give a folder or a file that ends in {', '.join(ENDINGS)}")
    return _corpus(_read(path, layout), None, (), layout)


def _layout(columns: Columns, data: Data, labels: tuple[str, ...], how: Reading) -> Layout:
    """The set's own columns, those that the scenario chooses put in their place."""
    chosen = data.columns
    prompt = _listed(chosen.prompt)
    wanted = Columns(
        text=_listed(chosen.text) or columns.text,
        label=chosen.label or columns.label,
        prompt=prompt or columns.prompt,
        headings=() if prompt or data.chat else columns.headings,  # a chat template has its own
        ending="" if data.chat else Columns().ending if prompt else columns.ending,
    )
    labelled = bool(labels) or chosen.label is not None
    return Layout(wanted, group_column(data), labelled, data.quoting, how)


def _listed(names: str | list[str] | None) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names or ())


def _names(labels: tuple[str, ...], data: Data) -> tuple[str, ...]:
    """The set's label names, unless another column is chosen."""
    return labels if data.columns.label is None else ()


def _from_hub(
    source: HubSource, revision: str, layout: Layout, labels: tuple[str, ...], *, find_test: bool = False
) -> Corpus:
    found = read_hub(source, revision, layout, find_test=find_test)
    return _corpus(found.train, found.test, labels or found.labels, layout)


def _from_folder(folder: Path, layout: Layout, labels: tuple[str, ...]) -> Corpus:
    train_file = _find(folder, "train")
    if train_file is None:
        beside = f" but {', '.join(names)}" if (names := _unread(folder, ())) else ""
        raise MissingDataError(f"{folder} has no train file{beside}; expected train with one of {', '.join(ENDINGS)}")
    test_file = _find_test(folder)
    train = _read(train_file, layout)
    test = _read(test_file, replace(layout, group=None)) if test_file else None
    return _corpus(train, test, labels, layout)


def _read(path: Path, layout: Layout) -> Split:
    return read_split(read_rows(path, layout), layout, str(path))


def _find(folder: Path, stem: str) -> Path | None:
    try:
        found = [path for ending in ENDINGS if (path := folder / f"{stem}{ending}").is_file()]
    except OSError as error:
        raise FedsecError(f"{folder} cannot be read: {error}") from error
    if len(found) > 1:
        raise FedsecError(f"{folder} has {' and '.join(path.name for path in found)}; leave one of them")
    return found[0] if found else None


def _unread(folder: Path, used: Sequence[str]) -> list[str]:
    """Names of files that are none of those used and look like data by their name's beginning or end."""
    splits, tables = ("train", *TEST_SPLITS), tuple(ending for ending in ENDINGS if ending not in TEXT_ENDINGS)
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    return [name for name in names if name not in used and (name.split(".")[0] in splits or name.endswith(tables))]


def _find_test(folder: Path) -> Path | None:
    """The file to test on; a test file goes before those for validation, of which there may be one."""
    test = _find(folder, "test")
    if test is not None:
        return test
    found = [path for stem in TEST_SPLITS[1:] if (path := _find(folder, stem))]
    if len(found) > 1:
        raise FedsecError(
            f"{folder} has {' and '.join(path.name for path in found)}; leave one of them, or name it test"
        )
    return found[0] if found else None


def _corpus(train: Split, test: Split | None, names: tuple[str, ...], layout: Layout) -> Corpus:
    given = [train] if test is None else [train, test]
    splits, labels = number_labels(given, names, labelled=layout.labelled, how=layout.how)
    if test is not None:
        return Corpus(splits[0], splits[1], labels)
    rows = splits[0]
    if len(rows) < 2:
        blocks = "; blank lines stand between the texts of a txt file" if ".txt" in train.where else ""
        layout.how.fault(
            "", f"{train.where}: a corpus needs at least 2 rows: one to train on and one to test on{blocks}"
        )
    order = np.random.default_rng(SPLIT_SEED).permutation(len(rows))
    held_out = max(1, len(rows) // 10)
    return Corpus(tuple(rows[i] for i in order[held_out:]), tuple(rows[i] for i in order[:held_out]), labels)
