"""A suite in one run folder: trainings shared, controls within a scenario, and a report whatever became of one."""

import json
from pathlib import Path
from typing import Any

import pytest

from fedsec.cli.summary import print_result
from fedsec.config.load import load_scenario
from fedsec.config.suite import Suite, members_of
from fedsec.plan.idle import idle_controls
from fedsec.plan.tasks import grouped, members, tasks_of
from fedsec.result import RunResult, rebuild, run
from fedsec.runner.machine import Machine
from fedsec.runner.preview import preview
from fedsec.store.rundir import RunDirectory

_TINY = {"name": "tiny-bert", "width": 16, "layers": 1, "dropout": False}
_HEAD = {**_TINY, "tuning": {"kind": "head"}}


def _member(name: str, attack: str, **changes: Any) -> dict[str, Any]:
    content: dict[str, Any] = {
        "schema": 1,
        "name": f"t/{name}",
        "summary": "A question?",
        "model": _TINY,
        "data": {"name": "clinic-notes", "train": 12, "test": 8, "max_tokens": 8},
        "federation": {"clients": 3, "rounds": 1, "batch_size": 2, "learning_rate": 0.1},
        "threat": {"malicious": 1, "attack_rounds": 1},
        "matrix": {"attack": [attack], "defense": []},
    }
    return {**content, **changes}


def _suite() -> Suite:
    content = {
        "schema": 1,
        "name": "t/suite",
        "summary": "Which defense?",
        "scenarios": [
            _member("sound", "sign-flip"),
            _member("zeroed", "zero"),
            _member("broken", "sign-flip", model={"name": "nobody/not-here"}),
            _member("idle", "embedding-algebra", model=_HEAD, threat={"declared_malicious": 1}),
        ],
        "defense": ["none", "trimmed-mean"],
    }
    suite = load_scenario(content)
    assert isinstance(suite, Suite)
    return suite


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return run(_suite(), tmp_path_factory.mktemp("runs"))


def test_what_scenarios_have_in_common_is_one_cell_of_one_training() -> None:
    sound, zeroed, *_ = members(_suite())
    controls = [task for task in zeroed.tasks if task.cell.attack.name == "none"]
    assert controls == [task for task in sound.tasks if task.cell.attack.name == "none"]
    tasks = tasks_of(_suite())
    assert [task.index for task in tasks] == list(range(len(tasks))) == list(range(4 + 2 + 4 + 4))
    assert len(grouped(tasks)) == 4 + 2 + 4 + 2
    alone = [task.key for member in members_of(_suite()) for task in tasks_of(member)]
    assert set(alone) == {task.key for task in tasks}  # as run by themselves


def test_the_record_and_every_row_name_the_scenarios(finished: RunResult) -> None:
    record = RunDirectory.open(finished.path).read_json("record.json")
    assert [member["scenario"] for member in record["members"]] == ["t/sound", "t/zeroed", "t/broken", "t/idle"]
    assert [len(member["cells"]) for member in record["members"]] == [4, 4, 4, 4]
    assert len(record["cells"]) == 14
    for table in ("cells", "summary"):
        names = [row["scenario"] for row in finished.scorecard[table]]
        assert names == [name for name in ("t/sound", "t/zeroed", "t/broken", "t/idle") for _ in range(4)]
    assert "scenario" not in RunDirectory(finished.path).cell(record["cells"][0])["cell"]  # type: ignore[index]
    assert load_scenario(finished.path / "scenario.resolved.yaml") == _suite()


def test_a_scenario_is_scored_as_by_itself(finished: RunResult, tmp_path: Path) -> None:
    """Its controls are its own, though other scenarios have cells of the same attack, defense and seed."""
    part = load_scenario({**_whole(), "scenarios": [_member("sound", "sign-flip")]})
    folder = tmp_path / finished.path.name
    keys = [task.key for task in tasks_of(part)]
    for key in keys:
        RunDirectory(folder).write_cell(key, {**RunDirectory(finished.path).cell(key)}, private=False)  # type: ignore[dict-item]
    RunDirectory(folder).write_record({"scenario": "t/sound", "cells": keys})
    own = [row for row in finished.scorecard["cells"] if row["scenario"] == "t/sound"]
    assert [{"scenario": "t/sound", **row} for row in rebuild(folder).scorecard["cells"]] == own


def _whole() -> dict[str, Any]:
    return {"schema": 1, "name": "t/suite", "summary": "Which defense?", "defense": ["none", "trimmed-mean"]}


def test_a_failed_and_an_idle_and_an_interrupted_scenario_are_reported(
    finished: RunResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The report is made all the same, and says which they are."""
    folder = tmp_path / finished.path.name
    record = json.loads((finished.path / "record.json").read_text())
    lost = record["members"][1]["cells"][-1]
    for file in finished.path.glob("cells/*.json"):
        if file.stem != lost:
            (folder / "cells").mkdir(parents=True, exist_ok=True)
            (folder / "cells" / file.name).write_bytes(file.read_bytes())
    (folder / "record.json").write_text(json.dumps(record))
    result = rebuild(folder)
    assert (result.missing, result.errors, result.complete) == (1, 4, False)
    found = {member["scenario"]: (member["missing"], member["statuses"]) for member in result.scorecard["members"]}
    assert found == {
        "t/sound": (0, {"ok": 4}),
        "t/zeroed": (1, {"ok": 3}),
        "t/broken": (0, {"error": 4}),
        "t/idle": (0, {"ok": 1, "n/a": 3}),
    }
    print_result(result, "Which defense?")
    printed = " ".join(capsys.readouterr().out.split())
    assert "t/zeroed: 1 of 4 cells have no result: the run was interrupted, and goes on when repeated." in printed
    assert "t/broken: 4 of 4 cells failed (model 'nobody/not-here' cannot be loaded" in printed
    assert "t/idle: no attack applies (" in printed
    assert "t/sound:" not in printed
    assert "Cells: 4 in error and 1 missing" in printed
    assert (folder / "report.html").is_file()
    assert json.loads((folder / "scorecard.json").read_text())["head_to_head"][0]["defense"] == "none"


def test_the_plan_counts_shared_cells_once_and_names_their_scenarios(tmp_path: Path) -> None:
    plan = preview(_suite(), tmp_path, Machine(workers=2))
    assert plan.scenario == "t/suite"
    assert sum(plan.count(status) for status in ("waiting", "n/a")) == 14
    assert plan.scenarios == ("t/sound, t/zeroed", "t/sound", "t/zeroed", "t/broken", "t/idle")


def test_a_suite_trains_no_control_that_nothing_is_compared_with(finished: RunResult) -> None:
    suite = _suite()
    idle = idle_controls(members(suite))
    cells = {task.key: task.cell for task in tasks_of(suite)}
    assert [cells[key].label for key in idle] == ["none vs trimmed-mean, seed 0"]
    (key,) = idle
    assert cells[key].scenario.name == "t/idle"
    rows = {(row["scenario"], row["attack"], row["defense"]): row for row in finished.scorecard["cells"]}
    assert rows["t/idle", "none", "trimmed-mean"]["status"] == "n/a"
    assert "its price is measured where it is attacked" in rows["t/idle", "none", "trimmed-mean"]["reason"]
    assert rows["t/sound", "none", "trimmed-mean"]["status"] == "ok"


def test_a_scenario_by_itself_trains_all_its_controls() -> None:
    assert idle_controls(members(members_of(_suite())[3])) == {}
