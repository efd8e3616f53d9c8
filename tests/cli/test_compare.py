"""`fedsec compare` on runs that are written by hand."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fedsec.cli.main import app
from fedsec.errors import FedsecError, IncomparableError

from ..report.support import HOSTILE, RECORD, Content, leakage, not_run, trained

RIGHT, WRONG = "1110" * 10, "0010" * 10
SCENARIO = """\
schema: 1
name: {name}
summary: What does it cost?
model: {{name: tiny-bert, layers: 2}}
data: {{name: null, path: {path}, test: 40}}
federation: {{rounds: {rounds}}}
matrix: {{attack: [none], defense: [none], seed: [0]}}
"""


def _run(folder: Path, contents: list[Content], *, rounds: int = 3, data: str = "d", path: str = "rows.csv") -> Path:
    """The folder of a run with these cells."""
    (folder / "cells").mkdir(parents=True)
    keys = [f"{folder.name}{place}" for place in range(len(contents))]
    for key, content in zip(keys, contents, strict=True):
        whole = {"schema": 1, "key": key, "inputs": {"data": data, "weights": "w"}, **content}
        (folder / "cells" / f"{key}.json").write_text(json.dumps(whole))
    (folder / "record.json").write_text(json.dumps({**RECORD, "cells": keys}))
    (folder / "scenario.resolved.yaml").write_text(SCENARIO.format(name="tests/report", path=path, rounds=rounds))
    return folder


def _compare(*arguments: Path | str) -> Any:
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def _cells(answers: str, **fields: Any) -> list[Content]:
    seeds = range(5)
    return [
        *(trained(RIGHT, seed=seed) for seed in seeds),
        *(trained(answers, attack="ipm", position="client", seed=seed, **fields) for seed in seeds),
    ]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return _run(folder / "a", _cells(RIGHT)), _run(folder / "b", _cells(WRONG), rounds=9, path="../moved/rows.csv")


def test_the_table_says_what_differs_and_what_is_told_apart(runs: tuple[Path, Path]) -> None:
    done = _compare(*runs)
    assert done.exit_code == 0, done.output
    text = " ".join(done.stdout.split())
    assert "Differs: federation.rounds: 3 in A, 9 in B" in text
    assert "data.path" not in text, "where a file lay is no setting"
    assert "ipm against none: accuracy is 50 points lower in B (95 % interval" in text
    assert "worse" in text
    assert "Told apart: 2 of 3 differences" in text


def test_the_json_names_runs_and_cells(runs: tuple[Path, Path]) -> None:
    found = json.loads(_compare(*runs, "--json").stdout)
    assert [one["path"] for one in found["runs"]] == [str(one) for one in runs]
    assert [one["attack"] for one in found["cells"]] == ["none", "ipm"]
    assert found["cells"][1]["metrics"]["utility/accuracy"]["apart"] is True


def test_nothing_is_written(runs: tuple[Path, Path]) -> None:
    assert sorted(one.name for one in runs[0].iterdir()) == ["cells", "record.json", "scenario.resolved.yaml"]


def test_other_data_is_refused_with_its_own_exit_code(tmp_path: Path, runs: tuple[Path, Path]) -> None:
    done = _compare(runs[0], _run(tmp_path / "c", _cells(RIGHT), data="changed"))
    assert isinstance(done.exception, IncomparableError)
    assert done.exception.exit_code == 12
    assert "the content of the data is not the same in A and B" in str(done.exception)


def test_incomplete_runs_are_compared_and_say_so(tmp_path: Path, runs: tuple[Path, Path]) -> None:
    failed = [*_cells(RIGHT)[:5], not_run("error", "it broke", attack="ipm", position="client")]
    done = _compare(runs[0], _run(tmp_path / "c", failed))
    assert done.exit_code == 11
    assert "Not compared, no result in B: error, it broke: ipm vs none" in " ".join(done.stdout.split())
    assert "1 in error" in done.stderr


def test_one_run_is_no_comparison(runs: tuple[Path, Path]) -> None:
    for given in ((runs[0],), (runs[0], runs[0])):
        done = _compare(*given)
        assert isinstance(done.exception, FedsecError)
        assert done.exception.exit_code == 2


def test_hostile_names_are_shown_and_do_nothing(tmp_path: Path) -> None:
    contents = [
        [
            trained(RIGHT),
            *(
                trained(RIGHT, attack=f"{text}{place}", goal="reconstruction", metrics=leakage(0.1, 0.2))
                for place, text in enumerate(HOSTILE)
                if "\ud800" not in text
            ),
        ]
        for _ in range(2)
    ]
    done = _compare(*(_run(tmp_path / name, cells) for name, cells in zip("ab", contents, strict=True)))
    assert done.exit_code == 0, done.exception
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout
