"""Whole runs on small federations: repeatable, resumable, honest about what did not run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fedsec.config.load import load_scenario
from fedsec.config.schema import Scenario
from fedsec.plan.cells import Cell, expand
from fedsec.plan.keys import training_key
from fedsec.report.scorecard import without_timings
from fedsec.result import RunResult, rebuild, run
from fedsec.runner import execute
from fedsec.runner.observer import Observer


def _scenario(**changes: Any) -> Scenario:
    content: dict[str, Any] = {
        "schema": 1,
        "name": "test/small",
        "summary": "A question?",
        "model": {"name": "tiny-bert", "width": 32, "dropout": False, "tuning": {"kind": "full"}},
        "data": {"name": "clinic-notes", "train": 60, "test": 30},
        "federation": {
            "clients": 5,
            "rounds": 2,
            "batch_size": 1,
            "learning_rate": 0.1,
            "optimizer": "sgd",
            "update": "gradient",
        },
        "threat": {"malicious": 1},
        "matrix": {"attack": ["embedding-algebra", "sign-flip"], "defense": ["frozen-embeddings", "krum"]},
    }
    for path, value in changes.items():
        section, _, key = path.partition("__")
        content[section] = {**content[section], key: value} if key else value
    return load_scenario(content)


def _cells(result: RunResult) -> dict[tuple[str, str], dict[str, Any]]:
    return {(cell["attack"], cell["defense"]): cell for cell in result.scorecard["cells"]}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return run(_scenario(), tmp_path_factory.mktemp("runs"))


def test_controls_come_first_and_every_cell_is_there(finished: RunResult) -> None:
    assert [(c["attack"], c["defense"]) for c in finished.scorecard["cells"]] == [
        (attack, defense)
        for attack in ("none", "embedding-algebra", "sign-flip")
        for defense in ("none", "frozen-embeddings", "krum")
    ]
    assert finished.complete


def test_statuses_say_what_happened(finished: RunResult) -> None:
    cells = _cells(finished)
    assert cells["embedding-algebra", "none"]["status"] == "ok"
    blocked = cells["embedding-algebra", "frozen-embeddings"]
    assert blocked["status"] == "blocked"
    assert "frozen-embeddings removes" in blocked["reason"]
    exact = blocked["metrics"]["leakage/exact-match"]
    assert exact["value"] == exact["baseline"], "a blocked attack leaks what a guess does"


def test_a_cell_holds_what_the_design_lists(finished: RunResult) -> None:
    keys = {
        "attack", "defense", "goal", "acts", "harm", "seed", "settings", "attack_params", "defense_stack", "position",
        "knowledge", "adaptive", "status", "reason", "guarantee", "metrics", "learned", "untrained",
    }  # fmt: skip
    for cell in finished.scorecard["cells"]:
        assert set(cell) == keys
        for value in cell["metrics"].values():
            assert {"value", "unit", "better_for", "n", "ci_low", "ci_high", "method"} <= set(value)
    krum = _cells(finished)["sign-flip", "krum"]
    assert krum["defense_stack"] == [{"name": "krum", "params": {"neighbours": "blanchard", "geometry": "raw"}}]
    assert krum["attack_params"] == {"scale": 1.0}
    assert json.loads((finished.path / "scorecard.json").read_text()) == finished.scorecard


def test_a_second_run_elsewhere_gives_the_same_scorecard(finished: RunResult, tmp_path: Path) -> None:
    again = run(_scenario(), tmp_path)
    assert without_timings(again.scorecard) == without_timings(finished.scorecard)


def test_the_seed_changes_the_result(finished: RunResult, tmp_path: Path) -> None:
    other = run(_scenario(matrix__seed=[1], matrix__attack=["none"], matrix__defense=["none"]), tmp_path)
    assert other.cells[0]["curve"] != finished.cells[0]["curve"]


def test_finished_cells_are_not_run_again_and_lost_ones_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = _scenario(matrix__attack=["sign-flip"], matrix__defense=["none"])
    first = run(scenario, tmp_path)
    trained: list[Cell] = []
    original = execute.train
    monkeypatch.setattr(
        execute, "train", lambda cell, *rest, **named: trained.append(cell) or original(cell, *rest, **named)
    )
    run(scenario, tmp_path)
    assert trained == []
    lost = sorted((first.path / "cells").iterdir())[0]
    lost.write_text(lost.read_text()[:50])  # torn, as by a full disk
    again = run(scenario, tmp_path)
    assert len(trained) == 1
    assert without_timings(again.scorecard) == without_timings(first.scorecard)


def test_an_error_is_a_cell_and_is_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = _scenario(matrix__attack=["embedding-algebra"], matrix__defense=["none"])
    with monkeypatch.context() as patched:

        def fails(*_: Any) -> dict[str, Any]:
            raise RuntimeError("out of luck")

        patched.setattr(execute, "score", fails)
        failed = run(scenario, tmp_path)
    assert not failed.complete
    assert {cell["status"] for cell in failed.scorecard["cells"]} == {"error"}
    assert failed.scorecard["cells"][0]["reason"].startswith("RuntimeError at ")
    assert "out of luck" in (failed.path / "errors.log").read_text()
    assert run(scenario, tmp_path).complete


def test_a_violated_precondition_is_not_applicable_with_the_inequality(tmp_path: Path) -> None:
    result = run(_scenario(threat__declared_malicious=2, matrix__attack=["none"]), tmp_path)
    cell = _cells(result)["none", "krum"]
    assert (cell["status"], cell["reason"]) == ("n/a", "Krum (Blanchard) needs n >= 2f+3 = 7, has 5")
    assert cell["metrics"] == {}


def test_an_attack_that_the_tuning_starves_is_not_applicable(tmp_path: Path) -> None:
    result = run(
        _scenario(model__tuning={"kind": "head"}, matrix__attack=["embedding-algebra"], matrix__defense=["none"]),
        tmp_path,
    )
    cell = _cells(result)["embedding-algebra", "none"]
    assert cell["status"] == "n/a"
    assert "which this tuning and position do not show" in cell["reason"]


def test_training_is_shared_by_attacks_that_only_look() -> None:
    cells = expand(_scenario())
    keys: dict[str, set[str]] = {}
    for cell in cells:
        keys.setdefault(cell.attack_label, set()).add(training_key(cell))
    assert keys["none"] == keys["embedding-algebra"]
    assert keys["none"].isdisjoint(keys["sign-flip"])


def test_texts_are_kept_only_when_asked_for(tmp_path: Path) -> None:
    name = "patient Quintessa Xylophone"
    source = tmp_path / "notes.jsonl"
    rows = [{"text": f"{name} number {i} has pain", "label": i % 2} for i in range(40)]
    source.write_text("\n".join(json.dumps(row) for row in rows))
    for keep in (False, True):
        scenario = _scenario(
            data={"path": str(source)},
            matrix__attack=["embedding-algebra"],
            matrix__defense=["none"],
            keep_text=keep,
        )
        result = run(scenario, tmp_path / str(keep))
        files = [path for path in result.path.rglob("*") if path.is_file()]
        holding = [path for path in files if "quintessa" in path.read_text().lower()]
        assert bool(holding) == keep
        assert all(path.stat().st_mode & 0o077 == 0 for path in holding), "kept texts are their owner's only"


def test_varied_settings_make_cells_of_their_own(tmp_path: Path) -> None:
    scenario = _scenario(
        matrix={"attack": ["embedding-algebra"], "defense": ["none"], "vary": {"threat.attack_rounds": [1, "last"]}}
    )
    result = run(scenario, tmp_path)
    settings = [cell["settings"] for cell in result.scorecard["cells"] if cell["attack"] != "none"]
    assert settings == [{"threat.attack_rounds": 1}, {"threat.attack_rounds": "last"}]
    assert [row["status"] for row in result.scorecard["summary"]] == ["ok"] * 4


def test_a_report_is_rebuilt_from_the_cells(finished: RunResult) -> None:
    before = (finished.path / "scorecard.json").read_text()
    (finished.path / "scorecard.json").unlink()
    (finished.path / "report.html").unlink()
    assert rebuild(finished.path).scorecard == finished.scorecard
    assert (finished.path / "scorecard.json").read_text() == before
    assert (finished.path / "report.html").read_text().lower().startswith("<!doctype html>")


def test_an_observer_hears_of_every_round_and_cell(tmp_path: Path) -> None:
    heard: list[str] = []

    class Listens(Observer):
        def round(self, progress: Any) -> None:
            heard.append(f"round {progress.round}")

        def finished(self, cell: Cell, status: str) -> None:
            heard.append(status)

    run(_scenario(matrix__attack=["none"], matrix__defense=["none"]), tmp_path, Listens())
    assert heard == ["round 1", "round 2", "ok"]


def test_utility_drop_is_paired_with_the_same_defense(finished: RunResult) -> None:
    contents: dict[tuple[str, str], Mapping[str, Any]] = {
        (c["cell"]["attack"], c["cell"]["defense"]): c for c in finished.cells
    }
    for defense in ("none", "krum"):
        control, attacked = contents["none", defense]["correct"], contents["sign-flip", defense]["correct"]
        expected = sum(int(a) - int(b) for a, b in zip(control, attacked, strict=True)) / len(control)
        drop = _cells(finished)["sign-flip", defense]["metrics"]["robustness/utility-drop"]
        assert drop["value"] == pytest.approx(expected)
