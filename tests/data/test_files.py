"""Files of labelled texts: every form read, every damage said in words, never a crash."""

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec.api import Columns
from fedsec.config.schema import ColumnChoice, Data
from fedsec.data import files
from fedsec.data.corpus import Example
from fedsec.data.files import read_rows
from fedsec.data.layout import Layout, number_labels, read_split
from fedsec.data.named import load_path
from fedsec.errors import FedsecError

ROWS = [('The first, "quoted" text', 0), ("zweiter Text: äöü 漢字", 1), ("commas, and 'marks'", 2)]


def _jsonl(rows: list[tuple[str, int]]) -> bytes:
    lines = (json.dumps({"text": text, "label": label}, ensure_ascii=False) + "\n" for text, label in rows)
    return "".join(lines).encode()


def _table(rows: list[tuple[str, int]], delimiter: str) -> bytes:
    stream = io.StringIO(newline="")
    lines = [("label", "text"), *((str(label), text) for text, label in rows)]
    if delimiter == "\t":  # bare, as tweets and GLUE come
        return "".join("\t".join(line) + "\n" for line in lines).encode()
    csv.writer(stream, delimiter=delimiter).writerows(lines)
    return stream.getvalue().encode()


def _parquet(rows: list[tuple[str, int]]) -> bytes:
    stream = io.BytesIO()
    table = pa.table({"label": [label for _, label in rows], "text": [text for text, _ in rows]})
    pq.write_table(table, stream)
    return stream.getvalue()


FORMS: dict[str, Callable[[list[tuple[str, int]]], bytes]] = {
    "rows.jsonl": _jsonl,
    "rows.jsonl.gz": lambda rows: gzip.compress(_jsonl(rows)),
    "rows.csv": lambda rows: _table(rows, ","),
    "rows.tsv": lambda rows: _table(rows, "\t"),
    "rows.parquet": _parquet,
}


def examples(path: Path, text: tuple[str, ...] = ("text",), classes: int = 0) -> tuple[Example, ...]:
    """The labelled texts of a file."""
    layout = Layout(Columns(text=text))
    names = tuple(f"class {i}" for i in range(classes))
    splits, _ = number_labels([read_split(read_rows(path, layout), layout, str(path))], names, labelled=bool(classes))
    return splits[0]


def _file(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def _fault(folder: Path, name: str, content: bytes | str) -> str:
    with pytest.raises(FedsecError) as caught:
        examples(_file(folder, name, content))
    message = str(caught.value)
    assert name in message
    assert len(message) < 500
    return message


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_rows(name: str, tmp_path: Path) -> None:
    found = examples(_file(tmp_path, name, FORMS[name](ROWS)))
    assert found == tuple(Example(text.strip(), label) for text, label in ROWS)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.text(max_size=30).filter(lambda text: text.strip()), st.integers(0, 20)), min_size=1),
    name=st.sampled_from(["rows.jsonl", "rows.jsonl.gz"]),
)
def test_any_text_survives_json_lines(
    rows: list[tuple[str, int]], name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = _file(tmp_path_factory.mktemp("rows"), name, FORMS[name](rows))
    assert examples(path) == tuple(Example(text.strip(), label) for text, label in rows)


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1e"])
def test_a_line_separator_of_unicode_within_a_text_does_not_end_the_line(separator: str, tmp_path: Path) -> None:
    text = f"before{separator}after"
    content = json.dumps({"text": text, "label": 0}, ensure_ascii=ord(separator) < 0x20)
    assert examples(_file(tmp_path, "rows.jsonl", content)) == (Example(text, 0),)


def test_blank_lines_and_windows_line_ends_are_passed_over(tmp_path: Path) -> None:
    content = _jsonl(ROWS).replace(b"\n", b"\r\n\r\n")
    assert len(examples(_file(tmp_path, "rows.jsonl", content))) == len(ROWS)


def test_labels_may_be_written_as_text(tmp_path: Path) -> None:
    assert examples(_file(tmp_path, "a.jsonl", '{"text": "a", "label": "3"}'))[0].label == 3


def test_a_text_may_be_made_of_several_columns(tmp_path: Path) -> None:
    path = _file(tmp_path, "a.jsonl", '{"question": " why? ", "context": "because", "label": 0}')
    assert examples(path, ("question", "context"))[0].text == "why? because"
    with pytest.raises(FedsecError, match="row 1 needs a text in question, answer"):
        examples(path, ("question", "answer"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "2 is not JSON"),
        ('{"text": "a", "label": 0} x', "2 is not JSON"),
        ('{"text": "a", "label": 0', "2 is not JSON"),
        ("[" * 100_000, "2 is not JSON"),
        ('{"a":' * 100_000, "2 is not JSON"),
        ('{"text": "a", "label": ' + "1" * 5000 + "}", "2 is not JSON"),
        ('["a", 0]', "2 is a list, and no JSON object"),
        ("null", "2 is null, and no JSON object"),
        ('"text"', "2 is a text, and no JSON object"),
        ("{}", "row 2 needs a text in text, and there is no 'text' but no columns"),
        (
            '{"instruction": "a", "output": "b"}',
            "row 2 needs a text in text, and there is no 'text' but 'instruction', 'output'; choose with data.columns",
        ),
        (json.dumps({f"column {i}": 0 for i in range(99)}), "'column 5' and 93 more; choose with data.columns"),
        (json.dumps({"\ud800\n" * 999: 0}), "choose with data.columns"),
        ('{"text": {"a": "b"}, "label": 0}', "row 2 needs a text in text, and 'text' holds an object"),
        ('{"text": false, "label": 0}', "row 2 needs a text in text, and 'text' holds false"),
        ('{"text": "a", "label": {}}', "row 2 has an object for a label"),
        ('{"text": "a", "label": "\\ud800"}', "half a surrogate pair"),
        ('{"text": "", "label": 0}', "row 2 needs a text in text, and there is nothing but spaces"),
        ('{"text": " \\n ", "label": 0}', "row 2 needs a text"),
        ('{"text": null, "label": 0}', "row 2 needs a text in text, and 'text' holds null"),
        ('{"text": 7, "label": 0}', "row 2 needs a text in text, and 'text' holds a number"),
        ('{"text": ["a"], "label": 0}', "row 2 needs a text in text, and 'text' holds a list"),
        (
            '{"text": "half a pair \\ud800", "label": 0}',
            "row 2 needs a text in text, and 'text' holds half a surrogate pair",
        ),
        ('{"text": "a"}', "row 2 has no label"),
        ('{"text": "a", "label": -1}', "row 2 has label -1"),
        ('{"text": "a", "label": 1.5}', "row 2 has label 1.5"),
        ('{"text": "a", "label": true}', "row 2 has true for a label"),
        ('{"text": "a", "label": "good"}', "row 2 has label 'good'"),
        ('{"text": "a", "label": ""}', "row 2 has label ''"),
        ('{"text": "a", "label": 0, "text": "b"}', "2 is not JSON: the key 'text' stands twice"),
        ('{"text": "a", "label": NaN}', "row 2 has label nan"),
        ('{"text": "a", "label": [0]}', "row 2 has a list for a label"),
        ('{"text": "a", "label": ' + "1" * 30 + "}", "row 2 has label 111"),
        ('{"text": "a", "label": "' + "x" * 5000 + '"}', "row 2 has label 'xxx"),
    ],
)
def test_a_bad_row_is_said_with_its_number(line: str, said: str, tmp_path: Path) -> None:
    assert said in _fault(tmp_path, "rows.jsonl", '{"text": "good", "label": 0}\n' + line)


@pytest.mark.parametrize("name", FORMS)
def test_labels_beyond_the_known_classes_are_refused(name: str, tmp_path: Path) -> None:
    path = _file(tmp_path, name, FORMS[name](ROWS))
    assert len(examples(path, classes=3)) == 3
    with pytest.raises(FedsecError, match=r"row 3 has label .?2.?; allowed: a whole number from 0 to 1"):
        examples(path, classes=2)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no rows"),
        ("text,label\n", "holds no rows"),
        ("words,label\na,0\n", "has no column 'text'; it has 'words', 'label'"),
        ("text,text,label\na,b,0\n", "has the column 'text' twice"),
        ("text,label,label\na,0,1\n", "has the column 'label' twice"),
        ("text,label\na,0\nb\n", ":3 has 1 cells, and the header 2"),
        ("text,label\none, two,0\n", ":2 has 3 cells, and the header 2"),
        (
            'text,label\n"never closed,0\nb,1\n',
            ":2 cannot be read: unexpected end of data after a quote that opens here",
        ),
        ('text,label\n"quoted" and not,0\n', ":2 cannot be read: ',' expected after '\"'"),
        ("text,label\n" + "x" * 200_000 + ",0\n", "cannot be read: field larger"),
    ],
)
def test_a_bad_table_is_said_to_be_so(content: str, said: str, tmp_path: Path) -> None:
    assert said in _fault(tmp_path, "rows.csv", content)


def test_a_table_reads_line_breaks_within_quotes(tmp_path: Path) -> None:
    path = _file(tmp_path, "rows.csv", b'text,label\r\n"two\r\nlines",0\r\n')
    assert examples(path) == (Example("two\r\nlines", 0),)


def test_tables_and_lines_are_read_whatever_program_wrote_them(tmp_path: Path) -> None:
    """A byte order mark, Windows and mixed line ends, blank lines, columns in any order."""
    rows = (Example("ä", 1), Example("b", 0))
    table = "\ufeffid,label,text\r\n1,1,ä\n\r\n2,0,b".encode()
    assert examples(_file(tmp_path, "rows.csv", table)) == rows
    assert examples(_file(tmp_path, "rows.tsv", table.replace(b",", b"\t"))) == rows
    lines = '\ufeff{"text": "ä", "label": 1}\r\n\n{"text": "b", "label": 0}'
    assert examples(_file(tmp_path, "rows.jsonl", lines)) == rows


def test_a_text_file_holds_texts_with_blank_lines_between_them(tmp_path: Path) -> None:
    content = "\n\nFirst Citizen:\nBefore we go,\n  hear me.\n \t\n\nAll:\nSpeak!\r\n\r\nFirst:\rSo\n\n"
    texts = ["First Citizen:\nBefore we go,\n  hear me.", "All:\nSpeak!", "First:\nSo"]
    for name, packed in (("a.txt", content.encode()), ("a.txt.gz", gzip.compress(content.encode()))):
        assert [row.text for row in examples(_file(tmp_path, name, packed))] == texts
    corpus = load_path(tmp_path / "a.txt")
    assert corpus.labels == ()
    assert len(corpus.train + corpus.test) == 3


def test_a_text_file_with_one_text_says_how_texts_are_told_apart(tmp_path: Path) -> None:
    _file(tmp_path, "a.txt", "one\ntwo\nthree\n")
    with pytest.raises(FedsecError, match=r"a\.txt: a corpus needs at least 2 rows.*blank lines stand between"):
        load_path(tmp_path / "a.txt")


def test_a_text_file_has_no_columns(tmp_path: Path) -> None:
    path = _file(tmp_path, "a.txt", "one\n\ntwo\n")
    for columns in ({"text": "body"}, {"prompt": "question"}, {"label": "kind"}):
        with pytest.raises(FedsecError, match="a txt file has no columns"):
            load_path(path, Data(path=str(path), columns=ColumnChoice(**columns)))


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv"])
@pytest.mark.parametrize("content", [b"\xff\xfe{", b'{"text": "\xe4", "label": 0}', bytes(range(128, 256))])
def test_what_is_not_utf_8_is_said_to_be_so(name: str, content: bytes, tmp_path: Path) -> None:
    assert "is not UTF-8" in _fault(tmp_path, name, content)


def _packed() -> bytes:
    rows = [(f"text number {i} with some words {i * i}", i % 3) for i in range(500)]
    return gzip.compress(_jsonl(rows))


@pytest.mark.parametrize("kept", [0, 1, 5, 9, 100, -9, -1])
def test_a_truncated_gzip_file_is_never_taken_for_a_whole_one(kept: int, tmp_path: Path) -> None:
    said = _fault(tmp_path, "rows.jsonl.gz", _packed()[:kept])
    assert "cannot be read" in said or "holds no rows" in said


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_gzip_file_never_crashes(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = bytearray(_packed())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path = _file(tmp_path_factory.mktemp("gz"), "rows.jsonl.gz", bytes(content))
    try:
        found = examples(path)
    except FedsecError:
        return
    assert len(found) == 500  # a flipped bit in the header's time or name harms nothing


def test_a_file_that_is_no_gzip_is_said_to_be_so(tmp_path: Path) -> None:
    assert "cannot be read" in _fault(tmp_path, "rows.jsonl.gz", _jsonl(ROWS))


def test_a_decompression_bomb_is_refused_without_unpacking_it_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_UNPACKED_BYTES", 10_000)
    bomb = gzip.compress(b"\x00" * 50_000_000)
    assert len(bomb) < 60_000
    assert "more than 10,000 bytes unpacked" in _fault(tmp_path, "rows.jsonl.gz", bomb)
    assert "more than 10,000 bytes unpacked" in _fault(tmp_path, "rows.jsonl", b" " * 10_001)


def test_a_file_of_just_the_allowed_size_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = _jsonl(ROWS)
    monkeypatch.setattr(files, "MAX_UNPACKED_BYTES", len(content))
    assert len(examples(_file(tmp_path, "rows.jsonl.gz", gzip.compress(content)))) == len(ROWS)


@pytest.mark.parametrize("name", ["missing.jsonl", "missing.jsonl.gz", "folder.jsonl"])
def test_what_cannot_be_opened_is_said_to_be_so(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(FedsecError, match="cannot be read"):
        list(read_rows(tmp_path / name))


@settings(max_examples=150, deadline=None)
@given(content=st.binary(max_size=200), name=st.sampled_from(list(FORMS)))
def test_no_content_whatever_crashes(content: bytes, name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = _file(tmp_path_factory.mktemp("junk"), name, content)
    try:
        found = load_path(path)
    except FedsecError:
        return
    assert found.train
    assert found.test


@settings(max_examples=200, deadline=None)
@given(
    cells=st.lists(
        st.lists(st.text(alphabet='ab,"\r\n\t é\u2028', max_size=6), min_size=2, max_size=3), min_size=1, max_size=5
    ),
    name=st.sampled_from(["rows.csv", "rows.tsv", "rows.jsonl", "rows.txt"]),
)
def test_no_table_whatever_crashes_or_loses_a_row(
    cells: list[list[str]], name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = "text,label\n" + "\n".join(",".join(row) for row in cells)
    path = _file(tmp_path_factory.mktemp("junk"), name, content.replace(",", "\t") if name == "rows.tsv" else content)
    try:
        rows = list(read_rows(path))
    except FedsecError as error:
        assert str(path) in str(error)  # noqa: PT017
        return
    assert all(set(row) <= {"text", "label"} for row in rows)
