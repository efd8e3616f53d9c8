"""What a scenario's data and folders lack is told with the scenario's own faults, before anything runs."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedsec.config.load import load_scenario
from fedsec.config.problems import ConfigError
from fedsec.plan import look as look_module
from fedsec.plan.look import DataLook

Look = Callable[..., tuple[list[str], tuple[str, ...]]]


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """`path: message` of every problem of a scenario on these data, and the notes."""

    def looked(data: dict[str, Any], **sections: Any) -> tuple[list[str], tuple[str, ...]]:
        base = {
            "schema": 1,
            "name": "tests/look",
            "summary": "Is it seen?",
            "model": {"name": "tiny-bert"},
            "federation": {"clients": 2, "rounds": 1, "learning_rate": 0.1},
            "matrix": {"attack": [], "defense": []},
        }
        for name, values in sections.items():
            base[name] = {**base.get(name, {}), **values}
        found = DataLook()
        try:
            load_scenario({**base, "data": data}, look=found)
        except ConfigError as error:
            return [f"{problem.path}: {problem.message}" for problem in error.problems], found.notes
        return [], found.notes

    return looked


@pytest.fixture
def table(tmp_path: Path) -> str:
    """Twenty rows of two classes: 18 to train on, 2 to test on."""
    path = tmp_path / "rows.csv"
    path.write_text("text,label,ward\n" + "".join(f"row {i},{i % 2},w{i % 3}\n" for i in range(20)))
    return str(path)


def _lines(path: Path, *rows: Any) -> str:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def test_sound_data_have_no_faults(look: Look, table: str) -> None:
    data = {"path": table, "train": 18, "test": 2, "partition": {"kind": "by-column", "column": "ward"}}
    assert look(data, federation={"clients": 3}) == ([], ())


@pytest.mark.parametrize(
    ("data", "sections", "expected"),
    [
        (
            {"columns": {"text": "body"}, "test": 5000, "train": 19},
            {},
            [
                "columns.text: .* no column 'body'; it has 'text', 'label', 'ward'",
                "test: 5000 is more than the 2 test rows",
                "train: 19 is more than the 18 train rows",
            ],
        ),
        (
            {"columns": {"text": ["a", "b"], "prompt": "c", "label": "d"}},
            {},
            ["columns.text: .* no column 'a' and no column 'b'", "columns.prompt: .* 'c'", "columns.label: .* 'd'"],
        ),
        (
            {"partition": {"kind": "by-column", "column": "x"}, "test": 3},
            {},
            ["partition.column: .* no column 'x'", "test: 3 is more"],
        ),
        (
            {"partition": {"kind": "by-column", "column": "ward"}},
            {"federation": {"clients": 4}},
            ["partition.column: 'ward' has 3 different values"],
        ),
        ({"columns": {"label": "ward"}, "min_words": 3}, {}, ["min_words: no training row has 3 words"]),
        ({"candidates": {"count": 19}}, {}, ["candidates.count: 19 is more than the 18 training rows"]),
        (
            {"candidates": {"count": 16}},
            {"federation": {"clients": 11}},
            ["federation.clients: 11 clients cannot have 1 training row each, since .* has 10"],
        ),
        ({"trusted": 18}, {}, ["trusted: 18 leaves clients none of the 18"]),
        ({}, {"federation": {"clients": 19}}, ["federation.clients: 19 clients cannot have 1 training row each"]),
        (
            {"train": 10},
            {"model": {"start": {"rows": 9, "steps": 1}}},
            ["model.start.rows: 9 is more than the 8 training rows"],
        ),
        ({"quoting": "none"}, {"federation": {"rounds": 0}}, ["federation.rounds: 0 is not allowed"]),
    ],
)
def test_every_fault_is_named_with_its_setting(
    data: dict[str, Any], sections: dict[str, Any], expected: list[str], look: Look, table: str
) -> None:
    found, _ = look({"path": table, **data}, **sections)
    _check(found, expected)


def _check(found: list[str], expected: list[str]) -> None:
    assert len(found) == len(expected), found
    for pattern in expected:
        assert any(re.search(pattern, line) for line in found), (pattern, found)


def test_faults_in_rows_hide_neither_each_other_nor_the_scenarios(look: Look, tmp_path: Path) -> None:
    good = [{"text": f"row {i}", "label": i % 2} for i in range(8)]
    path = _lines(
        tmp_path / "a.jsonl", *good, {"text": None, "label": 0}, {"text": "b", "label": 0.5}, "{", {"text": "c"}
    )
    found, _ = look({"path": path}, federation={"rounds": 0})
    expected = [
        r"data.columns.text: .*row 9 .* holds null",
        "data.columns.label: .*row 10 has label 0.5",
        "data.path: .*:11 is not JSON",
        "federation.rounds",
    ]
    _check(found, expected)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_column_that_lacks_does_not_hide_the_number_of_rows(ending: str, look: Look, tmp_path: Path) -> None:
    path = tmp_path / f"a.{ending}"
    rows = [{"body": f"row {i}", "label": i % 2} for i in range(20)]
    if ending == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
    elif ending == "csv":
        path.write_text("body,label\n" + "".join(f"{row['body']},{row['label']}\n" for row in rows))
    else:
        _lines(path, *rows)
    found, _ = look({"path": str(path), "test": 3})
    _check(found, ["data.columns.text: .*'text'", "data.test: 3 is more than the 2 test rows"])


def test_labels_that_are_not_there_or_tell_nothing(look: Look, tmp_path: Path) -> None:
    bare = _lines(tmp_path / "bare.jsonl", *({"text": f"row {i}"} for i in range(9)))
    _check(look({"path": bare})[0], ["data.path: .* has no labels, which model.task"])
    assert look({"path": bare}, model={"name": "tiny-gpt2", "task": "causal-lm"})[0] == []
    same = _lines(tmp_path / "same.jsonl", *({"text": f"row {i}", "label": "x"} for i in range(9)))
    _check(look({"path": same})[0], ["data.columns.label: the 8 training rows .* one class only, 'x'"])


def test_varied_settings_are_looked_at_value_by_value(look: Look, table: str) -> None:
    vary = {"data.test": [2, 5000], "data.columns.text": ["text", "body"]}
    found, _ = look({"path": table}, matrix={"attack": [], "defense": [], "vary": vary})
    _check(found, [r"vary.data.test\[1\]: 5000 is more", r"vary.data.columns.text\[1\]: .*'body'"])


def test_the_place_is_that_in_the_file(table: str, tmp_path: Path) -> None:
    file = tmp_path / "case.yaml"
    text = yaml.safe_dump({"data": {"path": table, "columns": {"text": "body"}}})
    text += "schema: 1\nname: a\nsummary: b\nmodel: {name: tiny-bert}\nmatrix: {attack: [], defense: []}\n"
    file.write_text(f"{text}federation: {{clients: 2, rounds: 1, learning_rate: 1}}\n")
    with pytest.raises(ConfigError) as caught:
        load_scenario(file, ["data.test=7"], DataLook())
    assert [(one.source, one.line) for one in caught.value.problems] == [(str(file), 3), ("--set", None)]


def test_auxiliary_text_is_looked_at_where_it_is_granted(look: Look, table: str, tmp_path: Path) -> None:
    other = _lines(tmp_path / "other.jsonl", *({"words": f"row {i}"} for i in range(20)))
    matrix = {"attack": ["lamp"], "defense": []}

    def faults(**auxiliary: Any) -> list[str]:
        threat = {"knowledge": ["auxiliary-text", "labels", "lengths"], "auxiliary": auxiliary}
        return look({"path": table}, matrix=matrix, threat=threat)[0]

    assert faults(path=other, columns={"text": "words"}, rows=18) == []
    expected = ["threat.auxiliary.columns.text: .* choose with threat.auxiliary.columns", "threat.auxiliary.rows: 99"]
    _check(faults(path=other, rows=99), expected)
    _check(faults(path=table), ["threat.auxiliary.path: nothing is left"])
    quoted = tmp_path / "quoted.tsv"
    quoted.write_text('text\n"a ""b"" c"\nd\ne\n')
    _check(faults(path=str(quoted)), [r"threat.auxiliary.quoting: .*threat\.auxiliary\.quoting: csv"])
    assert faults(path=str(quoted), quoting="csv") == []


def test_what_is_not_on_this_machine_is_said_and_no_fault(
    look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("FEDSEC_DATA", str(tmp_path))
    for data in ({"name": "owner/name", "revision": "1" * 40}, {"name": "sst2"}):
        found, notes = look(data)
        assert found == []
        assert len(notes) == 1
        assert f"{data['name']} was not looked at" in notes[0]
        assert "not fetched from the hub before" in notes[0]
    (tmp_path / "sst2").mkdir()
    _check(look({"name": "sst2"})[0], ["data.name: .* has no train file"])


def test_files_that_are_passed_over_are_said(look: Look, table: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "train.csv").write_text(Path(table).read_text())
    for name in ("dev.xlsx", "more.jsonl", "README.md", "notes.txt"):
        (folder / name).touch()
    found, notes = look({"path": str(folder)})
    assert (found, notes) == ([], (f"{folder}: of its files train.csv is read, and not dev.xlsx, more.jsonl",))
    (folder / "train.csv").rename(folder / "train.json")
    _check(look({"path": str(folder)})[0], ["data.path: .* has no train file but dev.xlsx, more.jsonl, train.json"])


def test_rows_beyond_the_first_are_not_counted(look: Look, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look_module, "MOST_ROWS", 9)
    found, notes = look({"path": table, "test": 500, "columns": {"prompt": "x"}})
    _check(found, ["data.columns.prompt"])
    assert "only the first 9 rows" in notes[0]


def test_generated_notes_are_known_without_being_made(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedsec.data.named.kept_notes", None)
    _check(look({"name": "clinic-notes", "train": 16_001})[0], ["data.train: 16001 is more than the 16,000"])


def _folder(path: Path, weights: bytes | None = None, **config: Any) -> str:
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"model_type": "bert", **config}))
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    whole = len(header).to_bytes(8, "little") + header + b"\0" * 4
    (path / "model.safetensors").write_bytes(whole if weights is None else weights)
    (path / "vocab.txt").touch()
    return str(path)


def test_a_models_folder_is_looked_at(look: Look, table: str, tmp_path: Path) -> None:
    assert look({"path": table}, model={"name": _folder(tmp_path / "whole")}) == ([], ())
    lfs = _folder(tmp_path / "lfs", b"version https://git-lfs.github.com/spec/v1\n")
    _check(look({"path": table}, model={"name": lfs})[0], ["model.name: .* is no safetensors file, or is cut off"])
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "pytorch_model.bin").touch()
    expected = "model.name: .* lacks config.json, model.safetensors, a tokenizer .*; of pytorch_model.bin nothing"
    _check(look({"path": table}, model={"name": str(tmp_path / "empty")})[0], [expected])
    short = _folder(tmp_path / "short", max_position_embeddings=64)
    _check(look({"path": table}, model={"name": short})[0], ["data.max_tokens: 128 is more than the 64 positions"])
    three = {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "a", "1": "b", "2": "c"}}
    found, notes = look({"path": table}, model={"name": _folder(tmp_path / "three", **three)})
    assert found == []
    assert "3 classes apart, and the data have 2" in notes[0]
