"""Runs in which something fails: one cell's failure is one cell's, and no file tells what it must not."""

import json
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedsec import registry
from fedsec.api import DatasetCard, DefenseCard
from fedsec.config.load import load_scenario
from fedsec.config.schema import Scenario
from fedsec.errors import FedsecError, MissingDataError
from fedsec.plan.cells import Cell, expand
from fedsec.plan.keys import cell_key, inputs
from fedsec.report.scorecard import without_timings
from fedsec.result import RunResult, rebuild, run
from fedsec.runner import execute
from fedsec.runner import scenario as runner
from fedsec.runner.observer import Observer
from fedsec.store.rundir import RunDirectory
from fedsec.store.sources import plugin_hash

PRIVATE = "Quintessa Xylophone has pain"


def _scenario(**changes: Any) -> Scenario:
    content: dict[str, Any] = {
        "schema": 1,
        "name": "test/robust",
        "summary": "A question?",
        "model": {"name": "tiny-bert", "width": 16, "layers": 1, "dropout": False, "tuning": {"kind": "full"}},
        "data": {"name": "clinic-notes", "train": 20, "test": 10},
        "federation": {"clients": 5, "rounds": 2, "batch_size": 1, "learning_rate": 0.1, "optimizer": "sgd"},
        "threat": {"malicious": 1, "attack_rounds": "last"},  # what krum made of the model before
        "matrix": {"attack": ["embedding-algebra", "sign-flip"], "defense": ["krum"]},
    }
    content["federation"]["update"] = "gradient"
    for path, value in changes.items():
        section, _, key = path.partition("__")
        content[section] = {**content[section], key: value} if key else value
    return load_scenario(content)


def _statuses(result: RunResult) -> dict[tuple[str, str], str]:
    return {(cell["attack"], cell["defense"]): cell["status"] for cell in result.scorecard["cells"]}


def _reasons(result: RunResult) -> set[str]:
    return {cell["reason"] for cell in result.scorecard["cells"] if cell["status"] == "error"}


def _failing(error: BaseException, when: Callable[[Cell], bool], original: Callable[..., Any]) -> Callable[..., Any]:
    def fails(cell: Cell, *rest: Any, **named: Any) -> Any:
        if when(cell):
            raise error
        return original(cell, *rest, **named)

    return fails


def _registered(card: DefenseCard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.defenses()._cards, card.name, card)


def test_a_defense_that_cannot_be_imported_costs_its_own_cells_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = DefenseCard(name="broken", summary="", target="no_such_package.module:Broken", protects="robustness")
    _registered(card, monkeypatch)
    scenario = _scenario(matrix__defense=["broken", "krum"])
    result = run(scenario, tmp_path)
    assert {key for key, status in _statuses(result).items() if status == "error"} == {
        (attack, "broken") for attack in ("none", "embedding-algebra", "sign-flip")
    }
    assert not result.complete
    assert all("'broken' cannot be loaded from no_such_package.module" in reason for reason in _reasons(result))
    assert "Traceback" in (result.path / "errors.log").read_text()
    _registered(replace(card, target="fedsec.defenses.model.frozen_embeddings:FrozenEmbeddings"), monkeypatch)
    assert run(scenario, tmp_path).complete


def test_an_attack_that_cannot_be_imported_leaves_the_controls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = replace(registry.attacks().get("embedding-algebra"), target="no_such_package:Broken")
    monkeypatch.setitem(registry.attacks()._cards, card.name, card)
    result = run(_scenario(matrix={"attack": ["embedding-algebra"], "defense": ["none"]}), tmp_path)
    assert _statuses(result) == {("none", "none"): "ok", ("embedding-algebra", "none"): "error"}


@pytest.mark.parametrize(
    "error",
    [FedsecError("lora cannot tune a Thing"), RuntimeError("x"), MemoryError()],
    ids=["user", "plug-in", "memory"],
)
def test_a_setting_that_cannot_be_trained_costs_its_own_cells_only(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = {"attack": ["sign-flip"], "defense": ["none"], "vary": {"federation.learning_rate": [0.5, 0.1]}}
    hits = _failing(error, lambda cell: cell.scenario.federation.learning_rate == 0.5, execute.train)
    monkeypatch.setattr(execute, "train", hits)
    result = run(_scenario(matrix=matrix), tmp_path)
    statuses = [cell["status"] for cell in result.scorecard["cells"]]
    assert statuses == ["error", "error", "ok", "ok"], "also though the first to run are those that fail"


def test_what_no_cell_can_do_without_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDSEC_DATA", str(tmp_path / "nothing"))
    told: list[str] = []

    class Listens(Observer):
        def finished(self, cell: Cell, status: str) -> None:
            told.append(status)

    scenario = _scenario(data__name="sst2", threat__declared_malicious=2)  # krum does not apply
    with pytest.raises(MissingDataError, match="sst2"):
        run(scenario, tmp_path / "runs", Listens())
    assert set(told) == {"n/a"}
    (folder,) = (tmp_path / "runs" / "test" / "robust").iterdir()
    statuses = [json.loads(file.read_text())["cell"]["status"] for file in (folder / "cells").iterdir()]
    assert set(statuses) == {"n/a"}, "no cell says what is no cell's fault"
    monkeypatch.delenv("FEDSEC_DATA")
    with pytest.raises(MissingDataError, match="FEDSEC_DATA is not set"):
        run(scenario, tmp_path / "runs")


def test_cells_that_fail_for_different_reasons_are_error_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(cell: Cell, *_: Any, **__: Any) -> Any:
        raise FedsecError(f"no {cell.defense_label}")

    monkeypatch.setattr(execute, "train", fails)
    result = run(_scenario(), tmp_path)
    assert set(_statuses(result).values()) == {"error"}
    assert _reasons(result) == {"no none", "no krum"}


def test_a_run_that_has_results_keeps_them_when_the_rest_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(_scenario(), tmp_path)
    lost = sorted((first.path / "cells").iterdir())[0]
    lost.unlink()
    monkeypatch.setattr(execute, "train", _failing(FedsecError("gone"), lambda _: True, execute.train))
    again = run(_scenario(), tmp_path)
    assert sorted(_statuses(again).values()) == ["error", "ok", "ok", "ok", "ok", "ok"]
    assert _reasons(again) == {"gone"}


@pytest.mark.parametrize(
    "bad",
    [float("nan"), float("inf"), object(), "\ud800", b"bytes"],
    ids=["nan", "infinity", "object", "surrogate", "bytes"],
)
def test_a_result_that_cannot_be_written_is_an_error_cell(
    bad: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = execute.score

    def spoils(cell: Cell, *rest: Any) -> dict[str, Any]:
        content = original(cell, *rest)
        return {**content, "curve": [[0, bad, 0.0]]} if cell.attack_label == "sign-flip" else content

    monkeypatch.setattr(execute, "score", spoils)
    result = run(_scenario(), tmp_path)
    assert {key[0] for key, status in _statuses(result).items() if status == "error"} == {"sign-flip"}
    assert len(result.cells) == 6


def test_a_precondition_that_raises_is_an_error_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: Any) -> str | None:
        raise ZeroDivisionError

    _registered(replace(registry.defenses().get("krum"), precondition=refuses), monkeypatch)
    result = run(_scenario(matrix__attack=["none"]), tmp_path)
    assert _statuses(result) == {("none", "none"): "ok", ("none", "krum"): "error"}


@pytest.mark.parametrize("part", ["train", "score", "refusal"])
def test_an_interruption_goes_up_at_once_and_the_run_goes_on_later(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(_scenario(), tmp_path / "whole")
    with monkeypatch.context() as patched:
        place = runner if part == "refusal" else execute
        hits = _failing(KeyboardInterrupt(), lambda cell: cell.defense_label == "krum", getattr(place, part))
        patched.setattr(place, part, hits)
        with pytest.raises(KeyboardInterrupt):
            run(_scenario(), tmp_path / "parts")
    (folder,) = (tmp_path / "parts" / "test" / "robust").iterdir()
    done = len(list((folder / "cells").glob("*.json")))
    assert 0 < done < 6 if part != "refusal" else done == 0, "whether cells apply is asked before any of them runs"
    resumed = run(_scenario(), tmp_path / "parts")
    assert without_timings(resumed.scorecard) == without_timings(whole.scorecard)


def _quotes(*_: Any, **__: Any) -> Any:
    raise ValueError(f"cannot place {PRIVATE!r}")


@pytest.mark.parametrize("place", ["reconstruct", "on_update", "precondition", "write"])
def test_a_text_in_an_exception_goes_to_the_owners_log_alone(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place == "reconstruct":
        module = "fedsec.attacks.reconstruction.embedding_algebra.attack.EmbeddingAlgebra.reconstruct"
        monkeypatch.setattr(module, _quotes)
    elif place == "on_update":
        monkeypatch.setattr("fedsec.attacks.byzantine.sign_flip.SignFlip.on_update", _quotes)
    elif place == "precondition":
        _registered(replace(registry.defenses().get("krum"), precondition=_quotes), monkeypatch)
    else:
        original = RunDirectory.write_cell

        def writes(self: Any, key: str, content: Any, **named: Any) -> None:
            if content["cell"]["status"] == "ok":
                _quotes()
            original(self, key, content, **named)

        monkeypatch.setattr(RunDirectory, "write_cell", writes)
    result = run(_scenario(), tmp_path)
    assert not result.complete
    (reason,) = _reasons(result)
    line = _quotes.__code__.co_firstlineno + 1
    assert reason == f"ValueError at {__name__}:{line}; see errors.log"
    holding = {file.name for file in result.path.rglob("*") if file.is_file() and "Quintessa" in file.read_text()}
    assert holding == {"errors.log"}
    log = result.path / "errors.log"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert f"ValueError: cannot place '{PRIVATE}'" in log.read_text()
    assert str(tmp_path.parent) not in (result.path / "scorecard.json").read_text()
    assert "Traceback" not in (result.path / "events.jsonl").read_text()


def test_every_cell_says_what_made_it_and_from_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = _scenario(threat__declared_malicious=2, matrix__seed=[3, 1])  # krum: not applicable
    first = run(scenario, tmp_path)
    for content in first.cells:
        assert {"python", "packages", "machine", "threads", "git"} <= set(content["made_by"])
        assert content["inputs"] == inputs(scenario)
    record = json.loads((first.path / "record.json").read_text())
    assert record["seeds"] == [3, 1]
    assert record["inputs"] == inputs(scenario)
    assert record["resumed"] == []
    lost = json.loads(sorted((first.path / "cells").iterdir())[0].read_text())["key"]
    (first.path / "cells" / f"{lost}.json").unlink()
    monkeypatch.setattr(runner, "environment", lambda **_: {**first.cells[0]["made_by"], "machine": "another"})
    again = run(scenario, tmp_path)
    assert {content["key"] for content in again.cells if content["made_by"]["machine"] == "another"} == {lost}
    resumed = json.loads((first.path / "record.json").read_text())
    assert (resumed["created"], len(resumed["resumed"])) == (record["created"], 1)
    assert resumed["machine"] == "another"


def test_a_run_with_nothing_left_keeps_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(_scenario(), tmp_path)
    before = (first.path / "record.json").read_text()
    monkeypatch.setattr(runner, "environment", lambda **_: {**first.cells[0]["made_by"], "machine": "another"})
    run(_scenario(), tmp_path)
    assert (first.path / "record.json").read_text() == before


def test_a_damaged_record_does_not_stop_a_run(tmp_path: Path) -> None:
    first = run(_scenario(), tmp_path)
    (first.path / "record.json").write_text("{")
    assert run(_scenario(), tmp_path).complete


def test_a_cell_file_that_lacks_its_row_is_run_again(tmp_path: Path) -> None:
    first = run(_scenario(), tmp_path)
    file = sorted((first.path / "cells").iterdir())[0]
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "cell": {"status": "ok"}}))
    assert rebuild(first.path).missing == 1
    again = run(_scenario(), tmp_path)
    assert without_timings(again.scorecard) == without_timings(first.scorecard)


def _keys(scenario: Scenario) -> dict[tuple[str, str], str]:
    return {(cell.attack_label, cell.defense_label): cell_key(cell) for cell in expand(scenario)}


def test_editing_a_card_runs_the_cells_of_that_card_again_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = _scenario(matrix__defense=["krum", "frozen-embeddings"])
    before = _keys(scenario)
    _registered(replace(registry.defenses().get("krum"), precondition=lambda population, parameters: None), monkeypatch)
    after = _keys(scenario)
    assert {key for key in before if before[key] != after[key]} == {key for key in before if key[1] == "krum"}
    card = registry.attacks().get("sign-flip")
    monkeypatch.setitem(registry.attacks()._cards, card.name, replace(card, adaptive_to=("krum",)))
    last = _keys(scenario)
    assert {key for key in before if after[key] != last[key]} == {key for key in before if key[0] == "sign-flip"}


@pytest.mark.parametrize("kind", ["datasets", "models"])
def test_editing_a_third_partys_loader_runs_its_cells_again(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = tmp_path / "fedsec_robust_loader.py"
    monkeypatch.syspath_prepend(str(tmp_path))
    cards: dict[str, Any] = {"datasets": registry.datasets(), "models": registry.models()}
    name = {"datasets": "clinic-notes", "models": "tiny-bert"}[kind]
    card = replace(cards[kind].get(name), target="fedsec_robust_loader:load")
    built_in = _keys(_scenario())
    monkeypatch.setitem(cards[kind]._cards, name, card)
    hashes = [built_in]
    for source in ("def load(): return 1\n", "def load(): return 2\n"):
        loader.write_text(source)
        plugin_hash.cache_clear()
        hashes.append(_keys(_scenario()))
    if kind == "datasets":
        monkeypatch.setitem(cards[kind]._cards, name, replace(card, labels=("a", "b")))
        hashes.append(_keys(_scenario()))
    assert len({found["none", "none"] for found in hashes}) == len(hashes)
    assert isinstance(card, DatasetCard) == (kind == "datasets")


def test_a_folder_called_like_a_registered_model_is_not_what_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = inputs(_scenario())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny-bert").mkdir()
    (tmp_path / "tiny-bert" / "model.safetensors").write_text("x")
    assert inputs(_scenario()) == before
