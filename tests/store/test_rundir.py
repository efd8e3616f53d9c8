"""The run directory: what is damaged or foreign counts as not there, and nothing raises but what is said."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedsec.errors import FedsecError, NotARunError
from fedsec.store.rundir import ERRORS_LOG, LOCK, SCHEMA, RunDirectory

KEY = "0123456789abcdef"
METRIC = {"value": 0.5, "unit": "fraction", "better_for": "defender", "n": 2, "ci_low": 0, "ci_high": 1, "method": "x"}
ROW: dict[str, Any] = {
    "attack": "none",
    "defense": "krum",
    "seed": 0,
    "settings": {},
    "attack_params": {},
    "defense_stack": [{"name": "krum", "params": {}}],
    "position": None,
    "knowledge": [],
    "adaptive": False,
    "status": "ok",
    "reason": None,
    "guarantee": None,
    "metrics": {"utility/accuracy": METRIC},
}
CONTENT: dict[str, Any] = {"cell": ROW, "curve": [[0, 0.5, 1.0]], "texts": None}


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run with a record and one cell."""
    made = RunDirectory(tmp_path / "name" / "key")
    made.write_record({"cells": [KEY]})
    made.write_cell(KEY, CONTENT, private=False)
    return made


def _cell_file(run: RunDirectory) -> Path:
    return run.path / "cells" / f"{KEY}.json"


def _changed(**fields: Any) -> str:
    return json.dumps({"schema": SCHEMA, "key": KEY, **CONTENT, **fields})


def test_a_cell_comes_back_as_it_was_written(run: RunDirectory) -> None:
    assert run.cell(KEY) == {"schema": SCHEMA, "key": KEY, **CONTENT}


def test_a_cell_that_was_never_written_is_not_there(run: RunDirectory) -> None:
    assert run.cell("f" * 16) is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        '{"schema": 1, "key": "0123',
        "null",
        "[]",
        '"text"',
        "1",
        "[" * 100_000,
        "\x00" * 100,
        "{}",
        _changed(schema=SCHEMA + 1),
        _changed(schema=None),
        _changed(schema=str(SCHEMA)),
        _changed(key="f" * 16),
        _changed(key=None),
        _changed(cell=None),
        _changed(cell=[]),
        _changed(cell={}),
        _changed(cell={"status": "ok"}),
        *(_changed(cell={name: value for name, value in ROW.items() if name != left}) for left in ROW),
        *(_changed(cell={**ROW, name: 1.5}) for name in ROW),
        _changed(cell={**ROW, "status": "fine"}),
        _changed(cell={**ROW, "metrics": {"utility/accuracy": 0.5}}),
        _changed(cell={**ROW, "metrics": {"utility/accuracy": {"value": 0.5}}}),
        _changed(cell={**ROW, "settings": {"a": float("nan")}}),
        _changed(cell={**ROW, "settings": {"a": float("-inf")}}),
        _changed(curve=[]).replace("[]", "[1e999]"),
        '{"a": ' + "1" * 5000 + "}",
    ],
    ids=lambda content: content[:30],
)
def test_a_damaged_or_foreign_cell_counts_as_not_finished(content: str, run: RunDirectory) -> None:
    _cell_file(run).write_text(content)
    assert run.cell(KEY) is None
    run.write_cell(KEY, CONTENT, private=False)
    assert run.cell(KEY) is not None


@pytest.mark.parametrize("cut", [0, 1, 20, -2])
def test_a_torn_cell_counts_as_not_finished(cut: int, run: RunDirectory) -> None:
    whole = _cell_file(run).read_text()
    _cell_file(run).write_text(whole[: cut if cut >= 0 else len(whole) + cut])
    assert run.cell(KEY) is None


def test_a_cell_that_is_not_utf_8_counts_as_not_finished(run: RunDirectory) -> None:
    _cell_file(run).write_bytes(b"\xff\xfe\x00{")
    assert run.cell(KEY) is None


def test_a_folder_in_place_of_a_cell_counts_as_not_finished(run: RunDirectory) -> None:
    _cell_file(run).unlink()
    _cell_file(run).mkdir()
    assert run.cell(KEY) is None


@pytest.mark.parametrize(
    "key", ["", ".", "..", "../record", "../../key/record", "/etc/hostname", "a/b", "x" * 300, "a\x00b", "*", "a\nb"]
)
def test_a_hostile_key_finds_nothing(key: str, run: RunDirectory) -> None:
    assert run.cell(key) is None


def test_private_cells_are_readable_by_their_owner_only(run: RunDirectory) -> None:
    before = os.umask(0)
    try:
        run.write_cell(KEY, CONTENT, private=True)
        run.write_cell("b" * 16, CONTENT, private=False)
    finally:
        os.umask(before)
    assert stat.S_IMODE(_cell_file(run).stat().st_mode) == 0o600
    assert stat.S_IMODE((run.path / "cells" / f"{'b' * 16}.json").stat().st_mode) == 0o644


def test_a_run_opens_by_its_folder_and_by_the_folder_above(run: RunDirectory) -> None:
    assert RunDirectory.open(run.path).path == run.path
    assert RunDirectory.open(run.path.parent).path == run.path


def test_of_several_runs_the_newest_is_opened(run: RunDirectory) -> None:
    older = RunDirectory(run.path.parent / "zzz")
    older.write_record({"cells": []})
    os.utime(older.path / "record.json", (1, 1))
    assert RunDirectory.open(run.path.parent).path == run.path


@pytest.mark.parametrize("place", ["nowhere", ".", "empty", "file"])
def test_what_is_no_run_is_said_to_be_none(place: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("{}")
    with pytest.raises(NotARunError, match=r"holds no record\.json"):
        RunDirectory.open(tmp_path / place)


@pytest.mark.parametrize("schema", [SCHEMA + 1, 0, None, "1", [1]])
def test_a_run_of_another_schema_is_refused_with_both_versions(schema: Any, run: RunDirectory) -> None:
    (run.path / "record.json").write_text(json.dumps({"schema": schema}))
    with pytest.raises(NotARunError, match=f"reads {SCHEMA}"):
        RunDirectory.open(run.path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_damaged_record_is_said_to_be_so(content: bytes, run: RunDirectory) -> None:
    (run.path / "record.json").write_bytes(content)
    with pytest.raises(NotARunError, match=r"record\.json"):
        RunDirectory.open(run.path)


def test_events_are_appended_one_json_object_a_line(run: RunDirectory) -> None:
    run.log("started", cells=2)
    run.log("text", said='two\nlines "quoted" \u2028')
    lines = (run.path / "events.jsonl").read_text().split("\n")
    events = [json.loads(line) for line in lines[:-1]]
    assert lines[-1] == ""
    assert [event["event"] for event in events] == ["started", "text"]
    assert events[0]["cells"] == 2
    assert events[1]["said"] == 'two\nlines "quoted" \u2028'


def test_events_may_come_before_anything_else(tmp_path: Path) -> None:
    RunDirectory(tmp_path / "new").log("started")
    assert (tmp_path / "new" / "events.jsonl").is_file()


@pytest.mark.parametrize("torn", ["{", '{"event": "started"', '{"event": "st\n{"event"'])
def test_an_event_after_a_torn_line_stands_on_its_own(torn: str, run: RunDirectory) -> None:
    (run.path / "events.jsonl").write_text(torn)
    run.log("resumed")
    run.log("ended")
    lines = (run.path / "events.jsonl").read_text().removeprefix(torn).splitlines()
    assert lines[0] == ""
    assert [json.loads(line)["event"] for line in lines[1:]] == ["resumed", "ended"]


def test_errors_are_appended_for_their_owner_only(run: RunDirectory) -> None:
    before = os.umask(0)
    try:
        run.log_error("one", "Traceback\n  \ud800")
        run.log_error("two", "Traceback")
    finally:
        os.umask(before)
    file = run.path / "errors.log"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [part in file.read_text() for part in ("one\nTraceback", "two\nTraceback")] == [True, True]
    file.chmod(0o644)
    run.log_error("three", "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_record_that_cannot_be_read_is_none(run: RunDirectory) -> None:
    assert run.record() == {"schema": SCHEMA, "cells": [KEY]}
    (run.path / "record.json").write_text("{")
    assert run.record() is None


WRITERS: dict[str, Callable[[RunDirectory], object]] = {
    "events.jsonl": lambda run: run.log("cell"),
    ERRORS_LOG: lambda run: run.log_error("a cell", "failed"),
    LOCK: lambda run: run.lock().__enter__(),
}


@pytest.mark.parametrize("name", WRITERS)
def test_nothing_is_written_through_a_link(name: str, run: RunDirectory, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("innocent")
    (run.path / name).symlink_to(outside)
    with pytest.raises(FedsecError, match="cannot be written"):
        WRITERS[name](run)
    assert outside.read_text() == "innocent"


@pytest.mark.parametrize("name", ["cells", "checkpoints"])
def test_nothing_is_written_into_a_folder_that_is_a_link(name: str, run: RunDirectory, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    if (run.path / name).is_dir():
        (run.path / name).rename(tmp_path / "moved")
    (run.path / name).symlink_to(outside)
    with pytest.raises(FedsecError, match="is a link"):
        run.write_text(f"{name}/{KEY}.json", "{}")
    assert list(outside.iterdir()) == []
