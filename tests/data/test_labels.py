"""Labels: the same numbers in every kind of file, classes told from scores."""

import csv
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedsec.config.schema import ColumnChoice, Data
from fedsec.data.layout import Read, Split, number_labels
from fedsec.data.named import load_path
from fedsec.errors import ExitCode, FedsecError


def _jsonl(path: Path, labels: list[Any]) -> None:
    path.write_text("".join(json.dumps({"text": f"row {i}", "label": label}) + "\n" for i, label in enumerate(labels)))


def _table(path: Path, labels: list[Any]) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writerows([("text", "label"), *((f"row {i}", label) for i, label in enumerate(labels))])


def _parquet(path: Path, labels: list[Any]) -> None:
    pq.write_table(pa.table({"text": [f"row {i}" for i in range(len(labels))], "label": labels}), path)


FORMS: dict[str, Callable[[Path, list[Any]], None]] = {
    "a.jsonl": _jsonl,
    "a.csv": _table,
    "a.tsv": _table,
    "a.parquet": _parquet,
}


def _numbers(path: Path) -> tuple[list[int], tuple[str, ...]]:
    """The labels in the order of the file, and their names."""
    corpus = load_path(path)
    rows = sorted(corpus.train + corpus.test, key=lambda row: int(row.text.split()[1]))
    return [row.label for row in rows], corpus.labels


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "labels", [[0, 1, 2, 1], [0.0, 1.0, 2.0, 1.0], ["0", "1", "2", "1"], ["0.0", "1.", "2e0", " 1 "]]
)
def test_whole_numbers_are_classes_however_they_are_written(form: str, labels: list[Any], tmp_path: Path) -> None:
    FORMS[form](tmp_path / form, labels)
    assert _numbers(tmp_path / form) == ([0, 1, 2, 1], ("0", "1", "2"))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("write", [float, str])
def test_scores_are_no_classes(form: str, write: Callable[[float], Any], tmp_path: Path) -> None:
    FORMS[form](tmp_path / form, [write(i / 8) for i in [0, 8, 9, 10, 11, 8]])
    with pytest.raises(
        FedsecError, match=r"row 3 has label '?1\.125'?; there are 5 different numbers, .* no classes"
    ) as it:
        load_path(tmp_path / form)
    assert it.value.exit_code == ExitCode.USAGE
    assert "data.columns.label" in str(it.value)


def test_scores_in_the_file_to_test_on_are_refused_too(tmp_path: Path) -> None:
    _table(tmp_path / "train.csv", [0, 1])
    _jsonl(tmp_path / "dev.jsonl", [0.0, 0.5])
    with pytest.raises(FedsecError, match=r"dev\.jsonl: row 2 has label 0\.5; there are 3 different numbers"):
        load_path(tmp_path)


def test_files_of_two_kinds_agree_on_their_classes(tmp_path: Path) -> None:
    _table(tmp_path / "train.csv", ["0.0", "1.0", "2.0"])
    _jsonl(tmp_path / "test.jsonl", [2, 0.0])
    corpus = load_path(tmp_path)
    assert ([row.label for row in corpus.train], [row.label for row in corpus.test]) == ([0, 1, 2], [2, 0])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("label", [-1.0, 1e300, float("nan"), float("inf")])
def test_other_numbers_are_refused_in_every_form(form: str, label: float, tmp_path: Path) -> None:
    FORMS[form](tmp_path / form, [0.0, label, 1.0])
    with pytest.raises(FedsecError, match=r"row 2 has label .*; allowed: a whole number from 0 to 9999"):
        load_path(tmp_path / form)


def _numbered(labels: list[Any], names: tuple[str, ...] = ()) -> list[int]:
    split = Split("here", [Read("a", "", "", label) for label in labels])
    return [row.label for row in number_labels([split], names, labelled=True)[0][0]]


def test_a_fixed_point_number_is_a_number() -> None:
    assert _numbered([Decimal("1.00"), Decimal(0)]) == [1, 0]
    with pytest.raises(FedsecError, match="no classes"):
        _numbered([Decimal("0.50")])


@pytest.mark.parametrize("label", [10**400, "1" * 500, "-0.5e-999999", Decimal("NaN"), True, None, [0], {}])
def test_nothing_else_crashes(label: object) -> None:
    try:
        assert _numbered([0, label]) == [0, 0]
    except FedsecError as error:
        assert len(str(error)) < 300  # noqa: PT017


def test_known_names_may_have_fractions_and_numbers_go_before_names() -> None:
    assert _numbered(["1.5", "2.5", "1", 0.0, "0"], ("1.5", "2.5")) == [0, 1, 1, 0, 0]
    with pytest.raises(FedsecError, match="allowed: a whole number from 0 to 1, or one of"):
        _numbered(["3.5"], ("1.5", "2.5"))


def test_another_column_is_taken_in_place_of_scores(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label,kind\na,0.25,x\nb,0.5,y\nc,0.75,x\n")
    corpus = load_path(path, Data(path=str(path), columns=ColumnChoice(label="kind")))
    assert corpus.labels == ("x", "y")
