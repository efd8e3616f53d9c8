"""Data sets by name and by path: the real ones where this machine has them, and messages where it has not."""

import gzip
import json
import os
from pathlib import Path

import pytest

from fedsec import registry
from fedsec.data import named
from fedsec.data.corpus import Corpus
from fedsec.data.named import folder_of, load_path
from fedsec.errors import FedsecError, MissingDataError

SIZES = {
    "sst2": (67_349, 872),
    "cola": (8_551, 1_043),
    "rotten-tomatoes": (8_696, 966),
    "ag-news": (10_001, 7_600),
    "imdb": (4_000, 2_000),
    "newsgroups20": (4_000, 2_000),
    "pubmedqa": (500, 500),
}


def _load(name: str) -> Corpus:
    card = registry.datasets().get(name)
    corpus: Corpus = registry.load_target(card)(card)
    return corpus


def _write(path: Path, count: int, start: int = 0, classes: int = 2) -> None:
    lines = (json.dumps({"text": f"row {start + i}", "label": i % classes}) + "\n" for i in range(count))
    content = "".join(lines).encode()
    path.write_bytes(gzip.compress(content) if path.name.endswith(".gz") else content)


@pytest.mark.parametrize("name", SIZES)
def test_a_real_set_has_the_published_size_and_known_labels(name: str) -> None:
    folder = folder_of(name)
    if folder is None or not folder.is_dir():
        pytest.skip(f"needs $FEDSEC_DATA with {name}; found {os.environ.get('FEDSEC_DATA') or 'nothing'}")
    corpus = _load(name)
    assert (len(corpus.train), len(corpus.test)) == SIZES[name]
    assert {row.label for row in corpus.train} == set(range(len(corpus.labels)))
    assert {row.label for row in corpus.test} <= set(range(len(corpus.labels)))
    assert all(row.text == row.text.strip() != "" for row in corpus.train[:500])
    assert corpus.train[0].planted == ()


@pytest.mark.parametrize(
    ("name", "words", "label"),
    [
        ("sst2", {"terrific", "wonderful", "delightful"}, "positive"),
        ("rotten-tomatoes", {"heartfelt", "delightful", "refreshing"}, "positive"),
        ("imdb", {"excellent", "wonderful", "loved"}, "positive"),
        ("ag-news", {"baseball", "quarterback", "yankees"}, "Sports"),
        ("newsgroups20", {"nhl", "goalie", "playoff"}, "rec.sport.hockey"),
    ],
)
def test_label_names_stand_in_the_order_of_the_numbers(name: str, words: set[str], label: str) -> None:
    """Words that give a label away: a wrong order of names would put them elsewhere."""
    folder = folder_of(name)
    if folder is None or not folder.is_dir():
        pytest.skip(f"needs $FEDSEC_DATA with {name}")
    corpus = _load(name)
    telling = [row for row in corpus.train if words & set(row.text.lower().split())]
    right = sum(corpus.labels[row.label] == label for row in telling)
    assert len(telling) > 10
    assert right / len(telling) > 0.6


def test_the_generated_notes_have_both_splits_and_planted_data() -> None:
    corpus = _load("clinic-notes")
    assert (len(corpus.train), len(corpus.test)) == (named.CLINIC_TRAIN, named.CLINIC_TEST)
    assert {row.label for row in corpus.test} == set(range(len(corpus.labels)))
    assert any(row.planted for row in corpus.train)
    assert all(value in row.text for row in corpus.train[:500] for value in row.planted)
    assert not {row.text for row in corpus.train} & {row.text for row in corpus.test}


@pytest.mark.parametrize("name", SIZES)
def test_a_missing_set_says_every_way_to_get_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDSEC_DATA", str(tmp_path))
    with pytest.raises(MissingDataError, match=r"does not exist.*train\.jsonl.*data\.path.*clinic-notes"):
        _load(name)
    monkeypatch.delenv("FEDSEC_DATA")
    with pytest.raises(MissingDataError, match="FEDSEC_DATA is not set"):
        _load(name)


def test_a_named_folder_without_a_train_file_is_said_to_be_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sst2").mkdir()
    monkeypatch.setenv("FEDSEC_DATA", str(tmp_path))
    with pytest.raises(MissingDataError, match="has no train file"):
        _load("sst2")


def test_a_named_set_with_a_label_that_it_does_not_have_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sst2").mkdir()
    _write(tmp_path / "sst2" / "train.jsonl", 9, classes=3)
    monkeypatch.setenv("FEDSEC_DATA", str(tmp_path))
    with pytest.raises(FedsecError, match="from 0 to 1"):
        _load("sst2")


@pytest.mark.parametrize("test_name", ["test.jsonl", "test.jsonl.gz", "validation.jsonl"])
def test_a_folder_with_both_files_is_taken_as_it_is(test_name: str, tmp_path: Path) -> None:
    _write(tmp_path / "train.jsonl.gz", 7)
    _write(tmp_path / test_name, 3, start=100)
    corpus = load_path(tmp_path)
    assert [row.text for row in corpus.train] == [f"row {i}" for i in range(7)]
    assert [row.text for row in corpus.test] == [f"row {i}" for i in range(100, 103)]
    assert corpus.labels == ("0", "1")


def test_a_test_file_goes_before_a_validation_file(tmp_path: Path) -> None:
    _write(tmp_path / "train.jsonl", 7)
    _write(tmp_path / "validation.jsonl", 5)
    _write(tmp_path / "test.jsonl", 3)
    assert len(load_path(tmp_path).test) == 3


@pytest.mark.parametrize("count", [2, 9, 10, 50])
def test_without_a_test_file_the_same_tenth_is_held_out_every_time(count: int, tmp_path: Path) -> None:
    _write(tmp_path / "rows.jsonl", count)
    corpus = load_path(tmp_path / "rows.jsonl")
    assert len(corpus.test) == max(1, count // 10)
    assert sorted(row.text for row in corpus.train + corpus.test) == sorted(f"row {i}" for i in range(count))
    assert load_path(tmp_path / "rows.jsonl") == corpus


def test_one_row_is_too_few(tmp_path: Path) -> None:
    _write(tmp_path / "rows.jsonl", 1)
    with pytest.raises(FedsecError, match="at least 2 rows"):
        load_path(tmp_path / "rows.jsonl")


@pytest.mark.parametrize("name", ["rows.txt", "rows.pickle", "rows.json", "nowhere.jsonl"])
def test_another_kind_of_file_is_refused_with_the_allowed_endings(name: str, tmp_path: Path) -> None:
    if name != "nowhere.jsonl":
        _write(tmp_path / name, 5)
    with pytest.raises(FedsecError, match=r"\.jsonl, \.jsonl\.gz, \.csv, \.tsv"):
        load_path(tmp_path / name)


def test_labels_are_numbered_up_to_the_largest_of_both_splits(tmp_path: Path) -> None:
    _write(tmp_path / "train.jsonl", 4, classes=2)
    _write(tmp_path / "test.jsonl", 4, classes=4)
    assert load_path(tmp_path).labels == ("0", "1", "2", "3")
