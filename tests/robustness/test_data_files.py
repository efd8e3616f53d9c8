"""Data files that are broken or hostile: each is refused in words that name the file and the place, and nothing runs.

The files are made here, so that no checkout holds a bomb.
"""

import gzip
import io
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec.config.schema import Data
from fedsec.data import files, layout, parquet
from fedsec.data.named import load_path
from fedsec.errors import ExitCode, FedsecError
from fedsec.store.keys import data_hash

GOOD = b'{"text": "good", "label": 0}\n'


def _parquet(columns: dict[str, Any], **options: Any) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream, **options)
    return stream.getvalue()


def _repeated(text: str, rows: int) -> bytes:
    """A parquet file with one text in its dictionary and rows that point there."""
    indices = pa.array([0] * rows, pa.int32())
    return _parquet({"text": pa.DictionaryArray.from_arrays(indices, pa.array([text])), "label": [0] * rows})


def _line(label: str, text: str = '"a"') -> bytes:
    return GOOD + f'{{"text": {text}, "label": {label}}}\n'.encode()


PLAIN = {"text": ["a", "b", "c"], "label": [0, 1, 0]}
WHOLE = _parquet(PLAIN)
DEEP: list[Any] = [[[["a"]]]]


@dataclass(frozen=True)
class Case:
    """A file and what is said of it."""

    file: str
    content: bytes
    said: str
    """With the place, where the file has places."""
    data: dict[str, Any] = field(default_factory=dict)
    """More of the scenario's data section."""


CASES: dict[str, Case] = {
    # packed
    "gzip cut off": Case("a.jsonl.gz", gzip.compress(GOOD * 500)[:-9], "cannot be read"),
    "gzip header only": Case("a.jsonl.gz", gzip.compress(GOOD)[:10], "cannot be read"),
    "gzip with a wrong checksum": Case("a.jsonl.gz", gzip.compress(GOOD * 2)[:-8] + bytes(8), "cannot be read"),
    "gzip with garbage after it": Case("a.jsonl.gz", gzip.compress(GOOD) + b"garbage", "cannot be read"),
    "gzip that is none": Case("a.jsonl.gz", GOOD, "cannot be read"),
    "gzip that is a zip": Case("a.txt.gz", b"PK\x03\x04" + bytes(30), "cannot be read"),
    "gzip bomb": Case("a.jsonl.gz", gzip.compress(bytes(20_000_000)), "holds more than 1,000,000 bytes unpacked"),
    "gzip bomb of blank lines": Case("a.txt.gz", gzip.compress(b"\n" * 20_000_000), "more than 1,000,000 bytes"),
    "gzip in a gzip": Case("a.jsonl.gz", gzip.compress(gzip.compress(GOOD)), "is not UTF-8"),
    # characters
    "latin-1": Case("a.jsonl", GOOD + '{"text": "für", "label": 0}'.encode("latin-1"), "is not UTF-8"),
    "utf-16": Case("a.csv", "text,label\na,0\n".encode("utf-16"), "is not UTF-8"),
    "utf-16 without its mark": Case("a.csv", "text,label\na,0\n".encode("utf-16-le"), ":1 holds a NUL character"),
    "nul": Case("a.csv", b"text,label\na\0b,0\n", ":2 holds a NUL character"),
    "nul in a text file": Case("a.txt", b"one\n\ntwo\0\n", ":3 holds a NUL character"),
    "half a surrogate pair": Case("a.jsonl", _line("0", '"\\ud800"'), "row 2 needs a text in text"),
    "half a surrogate pair as a label": Case("a.jsonl", _line('"\\udfff"'), "row 2 has label '\\udfff'"),
    # lines
    "empty": Case("a.jsonl", b"", "holds no rows"),
    "blank": Case("a.jsonl", b"\n \n\t\n", "holds no rows"),
    "one row": Case("a.jsonl", GOOD, "at least 2 rows"),
    "cut off": Case("a.jsonl", GOOD + GOOD[:12], ":2 is not JSON"),
    "two values in a line": Case("a.jsonl", GOOD[:-1] + GOOD, ":1 is not JSON: Extra data"),
    "a list": Case("a.jsonl", GOOD + b'["a", 0]', ":2 is a list, and no JSON object"),
    "deep nesting": Case("a.jsonl", GOOD + b"[" * 200_000, ":2 is not JSON"),
    "deep mappings": Case("a.jsonl", GOOD + b'{"text": ' * 100_000, ":2 is not JSON"),
    "a key twice": Case("a.jsonl", b'{"text": "a", "label": 0, "label": 1}', ":1 is not JSON: the key 'label' stands"),
    "a number of 10,000 digits": Case("a.jsonl", _line("1" * 10_000), ":2 is not JSON"),
    "a huge line": Case("a.jsonl", _line("0", json.dumps("x " * 60_000)), "row 2 has 119,999 characters"),
    "a huge prompt": Case(
        "a.jsonl",
        json.dumps({"text": "a", "label": 0, "ask": "x" * 120_000}).encode(),
        "row 1 has 120,002 characters",
        {"columns": {"prompt": "ask"}},
    ),
    "text that is a number": Case("a.jsonl", _line("0", "7"), "row 2 needs a text"),
    "text that is null": Case("a.jsonl", _line("0", "null"), "row 2 needs a text"),
    "text of spaces": Case("a.jsonl", _line("0", '" \\t\\u2003 "'), "row 2 needs a text"),
    "no text": Case("a.jsonl", GOOD + b'{"label": 0}', "row 2 needs a text"),
    # labels
    "label missing": Case("a.jsonl", GOOD + b'{"text": "a"}', "row 2 has no label"),
    "label nan": Case("a.jsonl", _line("NaN"), "row 2 has label nan"),
    "label infinite": Case("a.jsonl", _line("-Infinity"), "row 2 has label -inf"),
    "label true": Case("a.jsonl", _line("true"), "row 2 has true for a label"),
    "label 1.5": Case("a.jsonl", _line("1.5"), "row 2 has label 1.5"),
    "label -1": Case("a.jsonl", _line("-1"), "row 2 has label -1"),
    "label beyond all classes": Case(
        "a.jsonl", _line("10000"), "row 2 has label 10000; allowed: a whole number from 0"
    ),
    "label a list": Case("a.jsonl", _line("[0]"), "row 2 has a list for a label"),
    "label a name among numbers": Case("a.jsonl", _line('"good"'), "row 2 has label 'good'"),
    "label a number among names": Case("a.jsonl", b'{"text": "a", "label": "b"}\n' + GOOD, "row 2 has label 0; other"),
    # tables
    "wrong columns": Case("a.csv", b"sentence,class\na,0\n", "has no column 'text'; it has 'sentence', 'class'"),
    "a column twice": Case("a.csv", b"text,text,label\na,b,0\n", "has the column 'text' twice"),
    "no header": Case("a.tsv", b"good film\t1\nbad film\t0\n", "has no column 'text'"),
    "too few cells": Case("a.csv", b"text,label\na,0\nb\n", ":3 has 1 cells, and the header 2"),
    "too many cells": Case("a.csv", b"text,label\nyes, no,0\n", ":2 has 3 cells, and the header 2"),
    "a quote never closed": Case("a.csv", b'text,label\na,0\n"b,1\nc,0\n', ":3 cannot be read: unexpected end of data"),
    "a stray quote": Case("a.csv", b'text,label\n"Oh" he said,0\n', ":2 cannot be read"),
    "a huge field": Case("a.csv", b"text,label\n" + b"x" * 200_000 + b",0\n", ":2 cannot be read: field larger"),
    "an empty label": Case("a.csv", b"text,label\na,0\nb,\n", "row 2 has label ''"),
    "no such label column": Case(
        "a.csv", b"text,label\na,0\n", "has no column 'class'", {"columns": {"label": "class"}}
    ),
    "no column to deal by": Case(
        "a.csv", b"text,label\na,0\n", "has no column 'ward'", {"partition": {"kind": "by-column", "column": "ward"}}
    ),
    "nothing to deal by": Case(
        "a.csv",
        b"text,label,ward\na,0,north\nb,1, \n",
        "row 2 needs a name or a whole number in ward",
        {"partition": {"kind": "by-column", "column": "ward"}},
    ),
    # texts
    "one text": Case("a.txt", b"one\ntwo\nthree\n", "blank lines stand between the texts"),
    "blank text file": Case("a.txt", b" \n\n\t\n", "holds no rows"),
    "columns of a text file": Case("a.txt", b"a\n\nb\n", "has no columns", {"columns": {"text": "body"}}),
    # parquet
    "parquet that is none": Case("a.parquet", GOOD, "cannot be read"),
    "parquet with a wrong end": Case("a.parquet", WHOLE[:-4] + b"PAR2", "cannot be read"),
    "parquet cut off": Case("a.parquet", WHOLE[: len(WHOLE) // 2], "cannot be read"),
    "parquet without its footer": Case("a.parquet", WHOLE[:40] + WHOLE[-8:], "cannot be read"),
    "parquet empty": Case("a.parquet", b"", "cannot be read"),
    "parquet without rows": Case("a.parquet", _parquet({"text": pa.array([], pa.string())}), "holds no rows"),
    "parquet bomb": Case("a.parquet", _parquet({"text": ["x" * 90_000] * 20}, use_dictionary=False), "bytes unpacked"),
    "parquet bomb in a dictionary": Case("a.parquet", _repeated("x" * 90_000, 3000), "more than 1,000,000 bytes"),
    "parquet of countless rows": Case("a.parquet", _repeated("x", 100_000), "more than 1,000,000 bytes unpacked"),
    "parquet without a text": Case("a.parquet", _parquet({"label": [0, 1]}), "has no column 'text'; it has 'label'"),
    "parquet null text": Case("a.parquet", _parquet({**PLAIN, "text": ["a", None, "b"]}), "row 2 needs a text"),
    "parquet null label": Case("a.parquet", _parquet({**PLAIN, "label": [0, None, 1]}), "row 2 has no label"),
    "parquet nested": Case("a.parquet", _parquet({**PLAIN, "text": DEEP * 3}), "column 'text' holds list<"),
    "parquet struct": Case("a.parquet", _parquet({**PLAIN, "text": [{"a": "b"}] * 3}), "column 'text' holds struct<"),
    "parquet binary": Case("a.parquet", _parquet({**PLAIN, "text": [b"\xff"] * 3}), "column 'text' holds binary"),
    "parquet not unicode": Case(
        "a.parquet",
        _parquet({"text": pa.array([b"\xff\xfe"] * 3).view(pa.string()), "label": [0, 1, 0]}),
        "cannot be read",
    ),
    "parquet label of floats": Case("a.parquet", _parquet({**PLAIN, "label": [0.0, 1.5, 0.0]}), "row 2 has label 1.5"),
    "parquet label of dates": Case(
        "a.parquet", _parquet({**PLAIN, "label": pa.array([1, 2, 3], pa.date32())}), "row 1 has a date for a label"
    ),
    # names
    "another ending": Case("a.pickle", b"cos\nsystem\n(S'touch executed'\ntR.", "give a folder or a file that ends in"),
}


@pytest.fixture(autouse=True)
def _small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a bomb of a few megabytes is one."""
    monkeypatch.setattr(files, "MAX_UNPACKED_BYTES", 1_000_000)
    monkeypatch.setattr(layout, "MAX_TEXT", 100_000)


def _refused(path: Path, **data: Any) -> str:
    with pytest.raises(FedsecError) as caught:
        load_path(path, Data.model_validate({"path": str(path), **data}))
    assert caught.value.exit_code == ExitCode.USAGE
    return str(caught.value)


def test_the_table_is_large() -> None:
    assert len(CASES) >= 70


@pytest.mark.parametrize("name", CASES)
def test_a_broken_file_is_refused_with_its_name_and_the_place(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    path = tmp_path / case.file
    path.write_bytes(case.content)
    said = _refused(path, **case.data)
    assert str(path) in said
    assert case.said in said
    assert len(said) < len(str(tmp_path)) + 450
    assert "\n" not in said
    assert [one.name for one in tmp_path.iterdir()] == [case.file]


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _loop(path: Path) -> None:
    path.symlink_to(path)


def _dangling(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere.jsonl"))


def _folder_instead(path: Path) -> None:
    path.mkdir()


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _absent(_: Path) -> None:
    pass


THINGS: dict[str, Callable[[Path], None]] = {
    "pipe": _pipe,
    "link to itself": _loop,
    "link to nowhere": _dangling,
    "device": _device,
    "absent": _absent,
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz", ".parquet", ".txt"])
@pytest.mark.parametrize("thing", THINGS)
def test_what_is_no_ordinary_file_is_refused_at_once(thing: str, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{ending}"
    THINGS[thing](path)
    said = _refused(path)
    assert f"{path} cannot be read" in said
    assert data_hash(None, str(path))  # the hash of a cell's inputs does not wait for a pipe either


@pytest.mark.parametrize("thing", [*THINGS, "folder"])
def test_a_train_file_that_is_none_is_not_there(thing: str, tmp_path: Path) -> None:
    {**THINGS, "folder": _folder_instead}[thing](tmp_path / "train.jsonl")
    assert f"{tmp_path} has no train file" in _refused(tmp_path)


def test_a_folder_named_as_a_file_is_read_as_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").mkdir()
    assert "a.jsonl has no train file" in _refused(tmp_path / "a.jsonl")


@pytest.mark.parametrize("name", ["a\0b.jsonl", "x" * 300 + ".jsonl", "a/" * 3000 + "b.jsonl"])
def test_a_name_that_no_file_can_have_is_refused(name: str, tmp_path: Path) -> None:
    assert "cannot be read" in _refused(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_said_to_be_so(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(GOOD * 3)
    path.chmod(0)
    assert "cannot be read" in _refused(path)


def test_a_bomb_is_refused_before_it_is_in_memory(tmp_path: Path) -> None:
    """30 GB of text in less than a megabyte; no tenth of them is ever unpacked."""
    (tmp_path / "a.parquet").write_bytes(_repeated("x" * 300_000, 100_000))
    assert (tmp_path / "a.parquet").stat().st_size < 1_000_000
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from fedsec.data.named import load_path\n"
        "try:\n"
        "    load_path(Path(sys.argv[1]) / 'a.parquet')\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
        "status = Path('/proc/self/status')\n"
        "lines = status.read_text().splitlines() if status.exists() else []\n"
        "print(*[line.split()[1] for line in lines if line.startswith('VmHWM')])\n"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=100)
    said, peak = done.stdout.splitlines()
    assert said.startswith("FedsecError ")
    assert "more than 1,073,741,824 bytes unpacked" in said
    if not peak:
        pytest.skip("this system does not tell how much memory a process took at most")
    assert int(peak) < 600_000, "kilobytes"


def test_what_a_file_says_of_its_size_is_enough_to_refuse_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "check_size", lambda *_: pytest.fail("the texts were unpacked"))
    (tmp_path / "a.parquet").write_bytes(_parquet({"text": ["x" * 90_000] * 20}, use_dictionary=False))
    assert "bytes unpacked" in _refused(tmp_path / "a.parquet")


def _junk(content: bytes, name: str, folder: Path) -> None:
    path = folder / name
    path.write_bytes(content)
    try:
        corpus = load_path(path)
    except FedsecError as error:
        assert str(path) in str(error)  # noqa: PT017
        return
    assert corpus.train
    assert corpus.test


@settings(max_examples=300, deadline=None)
@given(
    lines=st.lists(
        st.one_of(
            st.binary(max_size=30),
            st.sampled_from(
                [GOOD, b'{"text": "b", "label": 1}\n', b"text,label\n", b"a,0\n", b'"a",1\r\n', b"\xef\xbb\xbf"]
            ),
        ),
        max_size=8,
    ),
    name=st.sampled_from(["a.jsonl", "a.csv", "a.tsv", "a.txt", "a.jsonl.gz"]),
    packed=st.booleans(),
)
def test_no_bytes_whatever_raise_anything_else(
    lines: list[bytes], name: str, packed: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = b"".join(lines)
    _junk(gzip.compress(content) if packed and name.endswith(".gz") else content, name, tmp_path_factory.mktemp("junk"))


def test_damaged_parquet_files_raise_nothing_else(tmp_path: Path) -> None:
    whole = _parquet({"text": [f"text {i} {i * i}" for i in range(50)], "label": [i % 3 for i in range(50)]})
    draws = random.Random(0)  # noqa: S311
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(draws.randint(1, 4)):
            damaged[draws.randrange(len(damaged))] ^= draws.randrange(1, 256)
        cut = draws.randrange(len(damaged)) if draws.random() < 0.2 else len(damaged)
        _junk(bytes(damaged[:cut]), "a.parquet", tmp_path)


COMMAND_LINE = ("gzip cut off", "parquet cut off", "label nan", "a quote never closed", "half a surrogate pair")


def test_the_command_line_says_it_with_its_exit_code_and_leaves_no_cell(tmp_path: Path) -> None:
    scenarios = []
    for place, name in enumerate(COMMAND_LINE):
        case = CASES[name]
        folder = tmp_path / str(place)
        folder.mkdir()
        (folder / case.file).write_bytes(case.content)
        content = {
            "schema": 1,
            "name": f"tests/case-{place}",
            "summary": "Is it refused?",
            "model": {"name": "tiny-bert", "width": 32},
            "data": {"path": str(folder / case.file)},
            "federation": {"clients": 2, "rounds": 1, "learning_rate": 0.1},
            "matrix": {"attack": ["none"], "defense": ["none"]},
        }
        (folder / "s.yaml").write_text(json.dumps(content))
        scenarios.append(str(folder / "s.yaml"))
    code = (
        "import contextlib, io, json, sys\n"
        "from fedsec.cli.main import main\n"
        "results = {}\n"
        "for file in sys.argv[1:]:\n"
        "    sys.argv = ['fedsec', 'run', file, '--display', 'plain']\n"
        "    out, err = io.StringIO(), io.StringIO()\n"
        "    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):\n"
        "        try:\n"
        "            code = main()\n"
        "        except SystemExit as stop:\n"
        "            code = stop.code\n"
        "    results[file] = [code, out.getvalue() + err.getvalue()]\n"
        "print(json.dumps(results))\n"
    )
    arguments = [sys.executable, "-c", code, *scenarios]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    results: dict[str, tuple[int, str]] = json.loads(done.stdout)
    for place, (file, name) in enumerate(zip(scenarios, COMMAND_LINE, strict=True)):
        exit_code, shown = results[file]
        assert exit_code == ExitCode.USAGE, f"{name}: {exit_code}\n{shown}"
        assert "Traceback" not in shown
        assert f"{place}/{CASES[name].file}" in shown
        assert CASES[name].said in shown
    written = {path.name for path in (tmp_path / "runs").rglob("*") if path.is_file()}
    assert not [name for name in written if name.startswith("scorecard") or name.endswith((".html", ".tmp"))], written
    assert not list((tmp_path / "runs").rglob("cells/*"))
