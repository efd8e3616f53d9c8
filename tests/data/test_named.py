"""Data sets by name and by path: the real ones where this machine has them, and messages where it has not."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import datasets
import pytest
from huggingface_hub import constants

from fedsec import registry
from fedsec.config.schema import Data
from fedsec.data import layout, named
from fedsec.data.corpus import Corpus, Example
from fedsec.data.named import folder_of, load_corpus, load_path
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


def test_clinic_notes_are_written_once_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """20,000 notes take seconds, and a scenario may want 20 of them."""
    first = _load("clinic-notes")
    monkeypatch.setattr(named, "kept_notes", lambda *_: pytest.fail("they are written again"))
    assert _load("clinic-notes") is first


def test_the_generated_notes_have_both_splits_and_planted_data() -> None:
    corpus = _load("clinic-notes")
    assert (len(corpus.train), len(corpus.test)) == (named.CLINIC_TRAIN, named.CLINIC_TEST)
    assert {row.label for row in corpus.test} == set(range(len(corpus.labels)))
    assert any(row.planted for row in corpus.train)
    assert all(value in row.text for row in corpus.train[:500] for value in row.planted)
    assert not {row.text for row in corpus.train} & {row.text for row in corpus.test}


@pytest.fixture
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.mark.usefixtures("_offline")
@pytest.mark.parametrize("name", [*SIZES, "dolly", "wikipedia"])
def test_a_missing_set_says_every_way_to_get_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("FEDSEC_DATA", str(tmp_path))
    with pytest.raises(
        MissingDataError, match=r"does not exist.*hub.*train\.jsonl.*data\.path.*clinic-notes"
    ) as caught:
        _load(name)
    hub = registry.datasets().get(name).hub
    if hub is not None:
        assert hub.id in str(caught.value)
        assert (f"{hub.id} at {hub.revision[:12]}" if hub.revision else "needs data.revision") in str(caught.value)
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


@pytest.mark.parametrize(
    "test_name",
    ["test.jsonl", "test.jsonl.gz", "validation.jsonl", *(f"{name}.jsonl" for name in ("val", "valid", "dev", "eval"))],
)
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


def test_two_files_for_validation_are_refused_since_one_would_be_passed_over(tmp_path: Path) -> None:
    _write(tmp_path / "train.jsonl", 7)
    _write(tmp_path / "dev.jsonl", 5)
    _write(tmp_path / "val.jsonl", 4)
    with pytest.raises(FedsecError, match=r"has val\.jsonl and dev\.jsonl; leave one of them, or name it test"):
        load_path(tmp_path)
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


@pytest.mark.parametrize("name", ["rows.pdf", "rows.pickle", "rows.json", "rows"])
def test_another_kind_of_file_is_refused_with_the_allowed_endings(name: str, tmp_path: Path) -> None:
    _write(tmp_path / name, 5)
    with pytest.raises(FedsecError, match=r"\.jsonl, \.jsonl\.gz, \.csv, \.tsv, \.parquet, \.txt, \.txt\.gz"):
        load_path(tmp_path / name)


def test_two_train_files_are_refused_since_one_would_be_passed_over(tmp_path: Path) -> None:
    _write(tmp_path / "train.jsonl", 5)
    _write(tmp_path / "train.jsonl.gz", 5)
    with pytest.raises(FedsecError, match=r"has train\.jsonl and train\.jsonl\.gz"):
        load_path(tmp_path)


def _rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _load_with(path: Path, columns: dict[str, Any] | None = None, partition: dict[str, Any] | None = None) -> Corpus:
    data = {"path": str(path), "columns": columns or {}, "partition": partition or {}}
    return load_path(path, Data.model_validate(data))


def test_columns_are_chosen(tmp_path: Path) -> None:
    row = {"title": " A ", "body": "b", "topic": 1, "question": "Why?", "facts": "", "ward": 7, "text": "not this"}
    path = _rows(tmp_path / "a.jsonl", [row, {**row, "topic": 0, "facts": None}])
    columns = {"text": ["title", "body"], "label": "topic", "prompt": ["facts", "question"]}
    corpus = _load_with(path, columns, {"kind": "by-column", "column": "ward"})
    rows = sorted(corpus.train + corpus.test, key=lambda row: row.label)
    assert rows == [Example("A b", label, prompt="Why?\n", group="7") for label in (0, 1)]
    both = _rows(tmp_path / "b.jsonl", [{**row, "facts": "Two."}] * 2)
    assert _load_with(both, {"text": "body", "prompt": ["facts", "question"]}).train[0].prompt == "Two.\n\nWhy?\n"
    with pytest.raises(FedsecError, match="row 1 needs a text in story"):
        _load_with(path, {"text": "story"})
    with pytest.raises(FedsecError, match="row 1 needs a text, which may be empty, in story"):
        _load_with(path, {"text": "body", "prompt": "story"})
    with pytest.raises(FedsecError, match="row 1 needs a label in class, and there is no"):
        _load_with(path, {"text": "body", "label": "class"})
    with pytest.raises(FedsecError, match="row 1 needs a name or a whole number in hospital"):
        _load_with(path, {"text": "body"}, {"kind": "by-column", "column": "hospital"})


@pytest.mark.parametrize(
    ("value", "said"),
    [(["a"], "a list"), ({}, "an object"), (7.5, "a number"), (True, "true"), ("\ud800", "half a surrogate pair")],
)
def test_what_a_prompt_or_a_group_cannot_be_is_said(value: object, said: str, tmp_path: Path) -> None:
    path = _rows(tmp_path / "a.jsonl", [{"text": "a", "label": 0, "ask": value, "ward": value}])
    with pytest.raises(FedsecError, match=f"a text, which may be empty, in ask, a part of the prompt, and .*{said}"):
        _load_with(path, {"prompt": "ask"})
    if value is not True:
        with pytest.raises(FedsecError, match=f"a name or a whole number in ward, .*holds {said}"):
            _load_with(path, partition={"kind": "by-column", "column": "ward"})
    for choice in ({"prompt": "question"}, {"label": "class"}, {"text": ["text", "title"]}):
        with pytest.raises(
            FedsecError, match=r"there is no '(question|class|title)' but 'text', 'label', 'ask', 'ward'; ch"
        ):
            _load_with(path, choice)


def test_the_test_file_needs_no_column_to_deal_rows_by(tmp_path: Path) -> None:
    _rows(tmp_path / "train.jsonl", [{"text": "a", "label": 0, "ward": "x"}] * 3)
    _rows(tmp_path / "test.jsonl", [{"text": "a", "label": 0}])
    assert _load_with(tmp_path, partition={"kind": "by-column", "column": "ward"}).train[0].group == "x"


def test_texts_of_which_none_has_a_label_have_none(tmp_path: Path) -> None:
    path = _rows(tmp_path / "a.jsonl", [{"text": "a"}, {"text": "b", "label": None}, {"text": "c"}])
    corpus = load_path(path)
    assert corpus.labels == ()
    assert {row.label for row in corpus.train + corpus.test} == {0}


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_missing_label_among_labels_is_a_fault(place: int, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"text": "a", "label": 1} for _ in range(3)]
    del rows[place]["label"]
    with pytest.raises(FedsecError, match=rf"a\.jsonl: row {place + 1} has no label"):
        load_path(_rows(tmp_path / "a.jsonl", rows))


def test_a_test_file_without_labels_does_not_go_with_a_labelled_train_file(tmp_path: Path) -> None:
    _rows(tmp_path / "train.jsonl", [{"text": "a", "label": 0}])
    _rows(tmp_path / "test.jsonl", [{"text": "a"}])
    with pytest.raises(FedsecError, match=r"test\.jsonl: row 1 has no label"):
        load_path(tmp_path)


def test_labels_may_be_names_numbered_in_their_order_over_both_files(tmp_path: Path) -> None:
    _rows(tmp_path / "train.jsonl", [{"text": name, "label": f" {name} "} for name in ("spam", "ham", "spam")])
    _rows(tmp_path / "test.jsonl", [{"text": name, "label": name} for name in ("eggs", "ham")])
    corpus = load_path(tmp_path)
    assert corpus.labels == ("eggs", "ham", "spam")
    assert all(corpus.labels[row.label] == row.text for row in corpus.train + corpus.test)


@pytest.mark.parametrize("label", [1, "1", 1.5, "1.5", "", " ", True, ["spam"], "x" * 201, "\ud800"])
def test_what_is_no_name_among_names_is_refused(label: object, tmp_path: Path) -> None:
    rows = [{"text": "a", "label": "spam"}, {"text": "a", "label": label}]
    with pytest.raises(FedsecError, match=r"a\.jsonl: row 2 has .*label.*other rows have names"):
        load_path(_rows(tmp_path / "a.jsonl", rows))


def test_too_many_names_are_a_wrong_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "MAX_CLASSES", 10)
    with pytest.raises(FedsecError, match="more than 10 different labels; is it the right column"):
        load_path(_rows(tmp_path / "a.jsonl", [{"text": "a", "label": f"name {i}"} for i in range(11)]))


def test_a_named_set_takes_its_labels_by_name_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sst2").mkdir()
    rows = [{"text": "a", "label": label} for label in ("positive", 0, "1", "negative")]
    _rows(tmp_path / "sst2" / "train.jsonl", rows)
    _rows(tmp_path / "sst2" / "test.jsonl", rows[:1])
    monkeypatch.setenv("FEDSEC_DATA", str(tmp_path))
    corpus = _load("sst2")
    assert [row.label for row in corpus.train] == [1, 0, 1, 0]
    assert corpus.labels == ("negative", "positive")
    _rows(tmp_path / "sst2" / "train.jsonl", [{"text": "a", "label": "neutral"}])
    with pytest.raises(
        FedsecError, match="'neutral'; allowed: a whole number from 0 to 1, or one of negative, positive"
    ):
        _load("sst2")


def test_dolly_has_instructions_as_prompts_and_answers_as_texts() -> None:
    folder = folder_of("dolly")
    if folder is None or not folder.is_dir():
        pytest.skip("needs $FEDSEC_DATA with dolly-15k")
    corpus = _load("dolly")
    assert (len(corpus.train), len(corpus.test)) == (13_514, 1_501)
    assert corpus.labels == ()
    row = next(row for row in corpus.train + corpus.test if "Virgin Australia start" in row.prompt)
    assert row.prompt.startswith("### Instruction:\nWhen did Virgin Australia start operating?\n\n### Context:\nVirgin")
    assert row.prompt.endswith("\n\n### Response:\n")
    assert row.text.startswith("Virgin Australia commenced services on 31 August 2000")
    short = next(row for row in corpus.train + corpus.test if "Tope or Rope" in row.prompt)
    expected = "### Instruction:\nWhich is a species of fish? Tope or Rope\n\n### Response:\n"
    assert (short.prompt, short.text) == (expected, "Tope")
    assert all(row.prompt and row.text for row in corpus.train)
    chat = load_corpus(Data(name="dolly", chat=True))
    asked = next(row for row in chat.train + chat.test if "Tope or Rope" in row.prompt)
    assert asked.prompt == "Which is a species of fish? Tope or Rope", "a chat template has its own headings"


def test_wikipedia_has_texts_without_labels() -> None:
    folder = folder_of("wikipedia")
    if folder is None or not folder.is_dir():
        pytest.skip("needs $FEDSEC_DATA with wikipedia_raw")
    corpus = _load("wikipedia")
    assert (len(corpus.train), len(corpus.test), corpus.labels) == (900, 50, ())
    assert corpus.train[0].text.startswith("Paatje Phefferkorn\n\nVerdi")


def test_a_named_set_gives_other_columns_when_asked() -> None:
    folder = folder_of("pubmedqa")
    if folder is None or not folder.is_dir():
        pytest.skip("needs $FEDSEC_DATA with pubmedqa")
    card = registry.datasets().get("pubmedqa")
    data = Data.model_validate({"name": "pubmedqa", "columns": {"text": "long_answer", "prompt": ["question"]}})
    corpus: Corpus = registry.load_target(card)(card, data)
    assert corpus.train[0].prompt == "Can tailored interventions increase mammography use among HMO women?\n"
    assert corpus.train[0].text != _load("pubmedqa").train[0].text
    assert corpus.labels == ("yes", "no", "maybe")


def test_labels_are_numbered_up_to_the_largest_of_both_splits(tmp_path: Path) -> None:
    _write(tmp_path / "train.jsonl", 4, classes=2)
    _write(tmp_path / "test.jsonl", 4, classes=4)
    assert load_path(tmp_path).labels == ("0", "1", "2", "3")
