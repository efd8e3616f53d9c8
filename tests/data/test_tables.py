"""Tables with quotes around texts and with quotes in them: every row is read, or the line is named."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec.config.load import load_scenario
from fedsec.config.problems import ConfigError
from fedsec.config.schema import Data
from fedsec.data.corpus import Corpus
from fedsec.data.files import read_rows
from fedsec.data.layout import Layout
from fedsec.data.named import load_path
from fedsec.errors import FedsecError

STRAY = [("ham", "see you"), ("spam", '"Win a prize'), ("ham", "on my way"), ("ham", "nothing"), ("spam", 'win now"')]


def _table(folder: Path, name: str, rows: list[tuple[str, str]], header: tuple[str, str] = ("label", "text")) -> Path:
    """A bare table."""
    delimiter = "\t" if name.endswith(".tsv") else ","
    path = folder / name
    path.write_bytes("".join(delimiter.join(cells) + "\n" for cells in (header, *rows)).encode())
    return path


def _quoted(folder: Path, name: str, rows: list[tuple[str, str]]) -> Path:
    stream = io.StringIO(newline="")
    delimiter = "\t" if name.endswith(".tsv") else ","
    csv.writer(stream, delimiter=delimiter).writerows([("label", "text"), *rows])
    path = folder / name
    path.write_bytes(stream.getvalue().encode())
    return path


def _rows(path: Path, quoting: str = "auto") -> list[tuple[str, str]]:
    return [(row["label"], row["text"]) for row in read_rows(path, Layout(quoting=quoting))]


def _fault(path: Path, quoting: str = "auto") -> str:
    with pytest.raises(FedsecError) as caught:
        _rows(path, quoting)
    return str(caught.value)


@pytest.mark.parametrize("stray", ['"open', 'closed"', 'a "word" in it', '"all of it"', '"', '""', 'two "" of them'])
def test_a_tsv_file_keeps_its_quotes_and_every_row(stray: str, tmp_path: Path) -> None:
    rows = [*STRAY, ("spam", stray), ("ham", "the last")]
    assert _rows(_table(tmp_path, "a.tsv", rows)) == rows


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_either_form_of_either_kind_is_read_when_told(name: str, tmp_path: Path) -> None:
    rows = [*STRAY, ("ham", 'tab\t, comma, "" and\nbreak')]
    assert _rows(_quoted(tmp_path, name, rows), "csv") == rows
    assert _rows(_table(tmp_path, name, STRAY), "none") == STRAY


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("ham", 'he said "no"')], ':2 has \'"he said ""no"""\', which looks quoted'),
        ([("ham", "fine"), ("ham", "a\ttab")], ":3 has 3 cells"),
        ([("ham", "a\nbreak")], ":3 has 1 cells"),
    ],
)
def test_a_quoted_tsv_file_is_not_read_as_a_bare_one(rows: list[tuple[str, str]], said: str, tmp_path: Path) -> None:
    path = _table(tmp_path, "a.tsv", [(label, '"' + text.replace('"', '""') + '"') for label, text in rows])
    found = _fault(path)
    assert said in found
    assert "data.quoting: csv" in found
    assert _rows(path, "csv") == rows


def test_a_tsv_file_with_a_quoted_header_is_not_read_as_a_bare_one(tmp_path: Path) -> None:
    path = _table(tmp_path, "a.tsv", [("0", '"one"'), ("1", '"two"')], ('"label"', '"text"'))
    assert ":1 has '\"label\"', which looks quoted" in _fault(path)
    assert _rows(path, "csv") == [("0", "one"), ("1", "two")]


@pytest.mark.parametrize("turned", [False, True])
def test_a_quote_that_closes_in_another_row_of_a_csv_file_is_an_error(turned: bool, tmp_path: Path) -> None:
    rows = [(text, label) for label, text in STRAY] if turned else STRAY
    rows = [*rows, ("more", "ham") if turned else ("ham", "more")]
    path = _table(tmp_path, "a.csv", rows, ("text", "label") if turned else ("label", "text"))
    if turned:  # the closing quote stands before a comma
        assert len(list(read_rows(path, Layout(quoting="none")))) == len(rows)
    found = _fault(path)
    assert f"{path}:3: the quote that opens here closes in line 6" in found
    assert "data.quoting: none" in found
    assert len(_rows(path, "csv")) == len(rows) - 3


@pytest.mark.parametrize(
    ("last", "said"),
    [
        ("on my way", "unexpected end of data after a quote that opens here, in line 4"),
        ('"on" my way', "',' expected after '\"' after a quote that opens here, in line 4"),
        ('my" way', "',' expected after '\"' after a quote that opens here, in line 4"),
    ],
)
def test_an_open_quote_is_named_where_it_opens(last: str, said: str, tmp_path: Path) -> None:
    path = _table(tmp_path, "a.csv", [("ham", "see you"), ("spam", '"Win a prize'), ("ham", last)])
    found = _fault(path)
    assert f"{path}:3 cannot be read: " in found
    assert "data.quoting: none" in found
    assert said in found


def test_the_line_is_that_of_the_quote_and_not_of_the_row(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('title,text,label\n"one\ntitle","never closed,0\nb,c,1\n')
    assert f"{path}:3 cannot be read" in _fault(path)


def test_texts_with_line_breaks_are_no_swallowed_rows(tmp_path: Path) -> None:
    texts = ["Dear all,\nhow are you?", "one, two\nthree, four\nfive", "a\n\nb", "1,\n0,", "x\n0\n1"]
    for columns in (("text", "label"), ("label", "text")):
        rows = [{"text": text, "label": str(i % 2)} for i, text in enumerate([*texts, "plain", "simple"])]
        path = tmp_path / "a.csv"
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, columns)
            writer.writeheader()
            writer.writerows(rows)
        assert list(read_rows(path)) == rows


@settings(max_examples=100, deadline=None)
@given(texts=st.lists(st.text(alphabet='ab", ', min_size=1, max_size=8), min_size=1, max_size=8))
def test_a_bare_table_gives_all_its_texts(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    rows = [("0", text) for text in texts]
    path = _table(tmp_path_factory.mktemp("bare"), "a.tsv", rows)
    assert _rows(path, "none") == rows


def test_the_setting_reaches_both_files_of_a_folder(tmp_path: Path) -> None:
    for name in ("train.tsv", "test.tsv"):
        _quoted(tmp_path, name, [("0", "a\ttab"), ("1", "b")])
    corpus: Corpus = load_path(tmp_path, Data(path=str(tmp_path), quoting="csv"))
    assert [row.text for row in corpus.train] == [row.text for row in corpus.test] == ["a\ttab", "b"]


def test_the_setting_is_for_tables(tmp_path: Path) -> None:
    scenario = {
        "schema": 1,
        "name": "tests/quoting",
        "summary": "Is it quoted?",
        "model": {"name": "tiny-bert"},
        "data": {"path": str(tmp_path / "a.tsv"), "quoting": "csv"},
        "federation": {"clients": 3, "rounds": 1, "learning_rate": 0.1},
        "matrix": {"attack": ["none"], "defense": ["none"]},
    }
    _table(tmp_path, "a.tsv", [("0", "a")])
    (tmp_path / "a.jsonl").write_text('{"text": "a", "label": 0}\n')
    assert load_scenario(scenario).data.quoting == "csv"
    scenario["data"] = {"path": str(tmp_path / "a.jsonl"), "quoting": "none"}
    with pytest.raises(ConfigError) as caught:
        load_scenario(scenario)
    assert [problem.path for problem in caught.value.problems] == ["data.quoting"]
