"""The data section of a scenario: what is refused before anything is read, and what is when it is."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedsec.cell.resources import Resources, deal
from fedsec.config.dump import dump
from fedsec.config.load import load_scenario
from fedsec.config.problems import ConfigError
from fedsec.config.schema import Scenario
from fedsec.errors import ExitCode, FedsecError
from fedsec.seeds import SeedTree
from fedsec.store.keys import data_hash

BASE: dict[str, Any] = {
    "schema": 1,
    "name": "tests/data",
    "summary": "Is it read?",
    "model": {"name": "tiny-bert"},
    "data": {"name": "clinic-notes"},
    "federation": {"clients": 3, "rounds": 1, "learning_rate": 0.1},
    "matrix": {"attack": ["none"], "defense": ["none"]},
}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def _scenario(data: dict[str, Any], task: str = "sequence-classification", **sections: Any) -> Scenario:
    model = {"name": "owner/model", "task": task}
    return load_scenario({**BASE, "model": model, "data": data, **sections})


def _faults(data: dict[str, Any], task: str = "sequence-classification", **sections: Any) -> list[str]:
    try:
        _scenario(data, task, **sections)
    except ConfigError as error:
        return [f"{problem.path}: {problem.message}" for problem in error.problems]
    return []


@pytest.fixture
def texts(tmp_path: Path) -> str:
    """A txt file."""
    (tmp_path / "a.txt").write_text("one\n\ntwo\n\nthree\n\nfour\n")
    return str(tmp_path / "a.txt")


@pytest.mark.parametrize(
    "data",
    [
        {"name": "clinic-notes", "partition": {"kind": "by-column", "column": "department"}},
        {"name": "clinic-notes", "partition": {"kind": "quantity-skew", "alpha": 0.1}},
        {"name": "sst2", "revision": COMMIT},
        {"name": "owner/set", "revision": COMMIT, "config": "main", "train_split": "a", "test_split": "b"},
        {"name": "sst2", "columns": {"text": "sentence", "label": "class", "prompt": ["a", "b"]}},
        {"name": "dolly", "columns": {"label": "category"}, "partition": {"kind": "dirichlet"}},
    ],
)
def test_these_are_valid_and_survive_being_written_down(data: dict[str, Any]) -> None:
    scenario = _scenario(data)
    assert load_scenario(dump(scenario)) == scenario


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (
            {"name": "owner/set"},
            "data.revision: is missing; 'owner/set' on the hub needs the full hash (40 hex digits)",
        ),
        ({"name": "owner/set", "revision": "main"}, "data.revision: 'main' is not allowed"),
        ({"name": "owner/set", "revision": "0123456"}, "data.revision: '0123456' is not allowed"),
        ({"name": "owner/set", "revision": COMMIT.upper()}, "data.revision: "),
        ({"name": "owner/../set", "revision": COMMIT}, "data.name: unknown data set 'owner/../set', and no hub id"),
        ({"name": "../../etc", "revision": COMMIT}, "data.name: unknown data set '../../etc', and no hub id"),
        ({"name": "owner/a--b", "revision": COMMIT}, "data.name: unknown data set 'owner/a--b', and no hub id"),
        ({"name": f"owner/{'x' * 100}", "revision": COMMIT}, "data.name: unknown data set 'owner/xxx"),
        ({"name": "clinic-notes", "revision": COMMIT}, "data.revision: 'clinic-notes' is not on the hub"),
        ({"path": ".", "revision": COMMIT}, "data.revision: '.' is not on the hub"),
        ({"name": "sst2", "config": "x"}, "data.config: is for a data set of the hub, owner/name, and 'sst2' is none"),
        ({"path": ".", "test_split": "x"}, "data.test_split: is for a data set of the hub, owner/name"),
        ({"name": "sst2", "train_split": "x"}, "data.train_split: is for a data set of the hub, owner/name"),
        (
            {"name": "clinic-notes", "columns": {"text": "note"}},
            "data.columns.text: the data set 'clinic-notes' has no",
        ),
        ({"name": "sst2", "columns": {"text": []}}, "data.columns.text: a list of 0 is not allowed"),
        ({"name": "sst2", "columns": {"text": ["a", 1]}}, "data.columns.text: "),
        ({"name": "sst2", "columns": {"prompt": ""}}, "data.columns.prompt: '' is not allowed"),
        ({"name": "sst2", "columns": {"body": "a"}}, "data.columns.body: unknown key. Known: text, label, prompt"),
        ({"name": "sst2", "partition": {"kind": "by-column"}}, "data.partition.column: is missing; kind: by-column"),
        (
            {"name": "clinic-notes", "partition": {"kind": "by-column", "column": "ward"}},
            "data.partition.column: the data set 'clinic-notes' has no column 'ward'; allowed: department",
        ),
        ({"name": "dolly"}, "data.name: 'dolly' has no labels; model.task: sequence-classification needs them"),
    ],
)
def test_these_are_refused_before_anything_is_read(data: dict[str, Any], fault: str) -> None:
    found = _faults(data)
    assert len(found) == 1, found
    assert found[0].startswith(fault)


def test_a_text_file_has_neither_labels_nor_columns(texts: str) -> None:
    assert _faults({"path": texts}, "causal-lm") == []
    assert "has no labels" in _faults({"path": texts})[0]
    columns = _faults({"path": texts, "columns": {"prompt": "a"}}, "causal-lm")
    assert columns == ["data.columns.prompt: a txt file has no columns to choose"]
    dealt = _faults({"path": texts, "partition": {"kind": "by-column", "column": "a"}}, "causal-lm")
    assert dealt == ["data.partition.column: a txt file has no column 'a'; take iid or quantity-skew"]


@pytest.mark.parametrize("name", ["dolly", "wikipedia"])
def test_labels_that_do_not_exist_cannot_be_shared_out(name: str) -> None:
    assert _faults({"name": name}, "causal-lm") == []
    found = _faults({"name": name, "partition": {"kind": "dirichlet"}}, "causal-lm")
    assert found == [
        f"data.partition.kind: dirichlet shares out labels, and '{name}' has none; take iid, quantity-skew or by-column"
    ]


def test_varied_kinds_and_tasks_are_checked_value_by_value() -> None:
    vary = {"data.partition.kind": ["iid", "dirichlet"]}
    found = _faults({"name": "dolly"}, "causal-lm", matrix={**BASE["matrix"], "vary": vary})
    assert [line.partition(":")[0] for line in found] == ["matrix.vary.data.partition.kind[1]"]


Load = Callable[..., Any]


@pytest.fixture
def rows(tmp_path: Path) -> Callable[..., str]:
    """Writes rows of a jsonl file and gives its path."""

    def write(rows: list[dict[str, Any]]) -> str:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return write


def test_what_only_the_file_tells_is_refused_when_it_is_read(rows: Callable[..., str]) -> None:
    path = rows([{"text": f"row {i}"} for i in range(20)])
    with pytest.raises(
        FedsecError, match=r"rows\.jsonl has no labels, which model\.task sequence-classification learns"
    ):
        Resources().corpus(_scenario({"path": path}))
    assert Resources().corpus(_scenario({"path": path}, "causal-lm")).labels == ()
    skewed = {"path": path, "partition": {"kind": "dirichlet"}}
    with pytest.raises(FedsecError, match=r"dirichlet shares out labels, and .*rows\.jsonl has none; take iid"):
        Resources().corpus(_scenario(skewed, "causal-lm"))


@pytest.mark.parametrize("label", [0, 1, 3, "good", 1.0])
def test_one_class_is_nothing_to_learn(label: object, rows: Callable[..., str]) -> None:
    path = rows([{"text": f"row {i}", "label": label} for i in range(20)])
    shown = "good" if label == "good" else f"{label:.0f}"
    with pytest.raises(
        FedsecError, match=rf"the 18 training rows of .*rows\.jsonl have one class only, '{shown}'"
    ) as it:
        Resources().corpus(_scenario({"path": path}))
    assert it.value.exit_code == ExitCode.USAGE
    assert len(Resources().corpus(_scenario({"path": path}, "causal-lm")).train) == 18


def test_the_class_that_only_the_test_rows_have_is_no_second_one(tmp_path: Path) -> None:
    for name, labels in (("train", "000"), ("test", "01")):
        lines = (json.dumps({"text": "a", "label": int(label)}) + "\n" for label in labels)
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    with pytest.raises(FedsecError, match=r"the 3 training rows of .* have one class only, '0'"):
        Resources().corpus(_scenario({"path": str(tmp_path)}))


def test_one_class_may_be_all_that_short_rows_leave(rows: Callable[..., str]) -> None:
    path = rows([{"text": "a b c" if i % 2 else "a", "label": i % 2} for i in range(20)])
    assert Resources().corpus(_scenario({"path": path})).labels == ("0", "1")
    with pytest.raises(FedsecError, match=r"that data\.min_words 2 leaves have one class only, '1'"):
        Resources().corpus(_scenario({"path": path, "min_words": 2}))


@pytest.mark.parametrize(("split", "there"), [("train", 18), ("test", 2)])
def test_more_rows_than_there_are_is_an_error(split: str, there: int, rows: Callable[..., str]) -> None:
    path = rows([{"text": f"row {i}", "label": i % 2} for i in range(20)])
    assert len(getattr(Resources().corpus(_scenario({"path": path, split: there})), split)) == there
    with pytest.raises(FedsecError, match=rf"data\.{split} 500 is more than the {there} {split} rows of .*rows\.jsonl"):
        Resources().corpus(_scenario({"path": path, split: 500}))


def test_a_corpus_that_cannot_be_loaded_is_not_tried_again_by_every_cell(rows: Callable[..., str]) -> None:
    resources, scenario = Resources(), _scenario({"path": rows([{"text": "a", "label": "\ud800"}])})
    with pytest.raises(FedsecError) as first:
        resources.corpus(scenario)
    rows([{"text": "a", "label": 0}] * 5)
    with pytest.raises(FedsecError) as second:
        resources.corpus(scenario)
    assert second.value is first.value


def test_cells_with_other_columns_have_other_corpora(rows: Callable[..., str]) -> None:
    path, resources = rows([{"a": "x", "b": "y", "label": i % 2, "ward": i % 4} for i in range(20)]), Resources()

    def load(text: str, **partition: Any) -> Any:
        return resources.corpus(_scenario({"path": path, "columns": {"text": text}, "partition": partition}))

    assert {row.text for row in load("a").train} == {"x"}
    assert {row.text for row in load("b").train} == {"y"}
    assert load("a") is load("a", minimum=2)
    assert {row.group for row in load("a", kind="by-column", column="ward").train} == {"0", "1", "2", "3"}
    assert {row.group for row in load("a").train} == {""}


def test_rows_are_dealt_as_the_scenario_says(rows: Callable[..., str]) -> None:
    path = rows([{"text": f"row {i}", "label": i % 2, "ward": f"ward {i % 3}"} for i in range(200)])

    def dealt(**partition: Any) -> tuple[Any, list[np.ndarray]]:
        scenario = _scenario({"path": path, "partition": partition})
        train = Resources().corpus(scenario).train
        return train, deal(scenario, train, None, SeedTree(0))[0]

    train, parts = dealt(kind="by-column", column="ward")
    assert [len({train[row].group for row in part}) for part in parts] == [1, 1, 1]
    assert sum(map(len, parts)) == len(train)
    sizes = sorted(len(part) for part in dealt(kind="quantity-skew", alpha=0.3, minimum=5)[1])
    assert 5 <= sizes[0] < 40
    assert sum(sizes) == len(train)
    assert {len(part) for part in dealt(kind="iid")[1]} == {60}


def test_departments_of_the_generated_notes_can_be_clients() -> None:
    data = {"name": "clinic-notes", "train": 600, "partition": {"kind": "by-column", "column": "department"}}
    scenario = load_scenario({**BASE, "data": data, "federation": {**BASE["federation"], "clients": 6}})
    corpus = Resources().corpus(scenario)
    assert all(row.group == corpus.labels[row.label] for row in corpus.train)
    train = corpus.subset(600, None, SeedTree(0).numpy("subset")).train
    parts = deal(scenario, train, None, SeedTree(0))[0]
    assert sorted(len({train[row].label for row in part}) for part in parts) == [1] * 6


def test_data_of_the_hub_are_known_by_repository_and_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDSEC_DATA", str(tmp_path))
    other = "f" * 40
    hashes = [
        data_hash("sst2", None),
        data_hash("sst2", None, COMMIT),
        data_hash("sst2", None, other),
        data_hash("owner/set", None, COMMIT),
        data_hash("owner/other", None, COMMIT),
        data_hash("clinic-notes", None),
    ]
    assert len(set(hashes)) == len(hashes)
    (tmp_path / "sst2").mkdir()
    assert data_hash("sst2", None, COMMIT) == hashes[1], "the folder is not what is read"
    assert data_hash("sst2", None) != hashes[0]
