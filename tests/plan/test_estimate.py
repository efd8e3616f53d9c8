"""What a run will cost, before it runs: against the real model's sizes, and against slow counts."""

import gzip
import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsec.config.load import load_scenario
from fedsec.config.schema import Scenario
from fedsec.plan import estimate
from fedsec.plan.estimate import Speed, architecture, makespan, memory_of
from fedsec.plan.tasks import grouped, tasks_of
from fedsec.result import run
from fedsec.runner.machine import Machine
from fedsec.runner.preview import preview

SPEED = Speed(50e9, 10e9)


def _scenario(**changes: Any) -> Scenario:
    content: dict[str, Any] = {
        "schema": 1,
        "name": "test/estimate",
        "summary": "A question?",
        "model": {"name": "tiny-bert", "width": 16, "layers": 1, "dropout": False, "tuning": {"kind": "full"}},
        "data": {"name": "clinic-notes", "train": 20, "test": 10},
        "federation": {"clients": 5, "rounds": 1, "batch_size": 1, "learning_rate": 0.1, "update": "gradient"},
        "threat": {"malicious": 1, "declared_malicious": 2},
        "matrix": {"attack": ["embedding-algebra"], "defense": ["krum"]},
    }
    for path, value in changes.items():
        section, _, key = path.partition("__")
        content[section] = {**content[section], key: value} if key else value
    return load_scenario(content)


def _seconds(scenario: Scenario) -> float:
    found = estimate.estimate(grouped(tasks_of(scenario))[0], SPEED).seconds
    assert found is not None
    return found


def test_sizes_are_those_of_the_model_that_is_built() -> None:
    import torch

    from fedsec.models.tiny_bert import load

    scenario = _scenario(model={"name": "tiny-bert", "width": 64, "layers": 3})
    known = architecture(scenario)
    built = load(labels=6, generator=torch.Generator(), width=64, layers=3)
    assert known is not None
    real = sum(p.numel() for p in built.module.parameters())
    assert known.parameters == pytest.approx(real, rel=0.3), "its vocabulary is guessed"


def test_sizes_of_a_local_folder_are_its_configs(tmp_path: Path) -> None:
    config = {"n_layer": 2, "n_embd": 8, "vocab_size": 100, "n_positions": 16, "n_inner": None}
    (tmp_path / "config.json").write_text(json.dumps(config))
    known = architecture(_scenario(model={"name": str(tmp_path)}, data__max_tokens=16))
    assert known == estimate.Architecture(2, 8, 32, 100, 16)


@pytest.mark.parametrize("text", ["", "[]", '{"n_layer": "x"}', "{", '{"hidden_size": 4}'])
def test_a_model_of_unknown_size_has_no_time(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    scenario = _scenario(model={"name": str(tmp_path)})
    (group, *_) = grouped(tasks_of(scenario))
    found = estimate.estimate(group, SPEED)
    assert found.seconds is None
    assert found.memory > 10**9


@pytest.mark.parametrize(
    "change", [{"federation__rounds": 10}, {"federation__clients": 20}, {"federation__batch_size": 64}]
)
def test_more_work_takes_longer(change: dict[str, Any]) -> None:
    assert _seconds(_scenario(**change)) > 1.5 * _seconds(_scenario())


def test_lora_sends_less_and_costs_less_than_full_tuning() -> None:
    minilm = {"name": "minilm", "tuning": {"kind": "full"}}
    full, lora, head = (_scenario(model={**minilm, "tuning": {"kind": kind}}) for kind in ("full", "lora", "head"))
    assert _seconds(full) > _seconds(lora) > _seconds(head)
    memory = [memory_of(grouped(tasks_of(scenario))[0]) for scenario in (full, lora, head)]
    assert memory == sorted(memory, reverse=True)
    known = architecture(full)
    assert known is not None
    assert known.parameters == pytest.approx(22.7e6, rel=0.01)
    assert known.trained(full) == pytest.approx(22.7e6, rel=0.01)


def test_adapters_are_counted_where_they_sit_and_heads_that_share_keys_where_they_do() -> None:
    def smollm2(targets: str) -> Scenario:
        tuning = {"kind": "lora", "rank": 8, "targets": targets}
        return _scenario(model={"name": "smollm2-135m", "tuning": tuning}, data__max_tokens=16)

    known = architecture(smollm2("query-value"))
    assert known is not None
    assert known.parameters == pytest.approx(134_515_008, rel=1e-3)
    head = 8 * 576
    assert known.trained(smollm2("query-value")) - head == 460_800  # peft's own count, as of the next
    assert known.trained(smollm2("all-linear")) - head == 2_442_240
    assert _seconds(smollm2("query-value")) < _seconds(smollm2("all-linear")) < 1.5 * _seconds(smollm2("query-value"))


@pytest.mark.parametrize(
    ("ending", "tested"), [(".jsonl", "test"), (".jsonl.gz", "validation"), (".jsonl", "dev"), (".jsonl", "eval")]
)
def test_texts_and_rows_are_counted_in_the_files(ending: str, tested: str, tmp_path: Path) -> None:
    for name, rows in (("train", 30), (tested, 12)):
        text = "".join(json.dumps({"text": "x" * 84, "label": 0}) + "\n" for _ in range(rows))
        (tmp_path / f"{name}{ending}").write_bytes(gzip.compress(text.encode()) if ending[-1] == "z" else text.encode())
    scenario = _scenario(data={"path": str(tmp_path)})
    assert estimate._rows(scenario) == (30, 12)
    assert estimate._tokens(scenario) == pytest.approx(84 / 4.2 + 2)
    for alone in (tmp_path / f"train{ending}", tmp_path):
        (tmp_path / f"{tested}{ending}").unlink(missing_ok=True)
        assert estimate._rows(_scenario(data={"path": str(alone)})) == (27, 3), "a tenth is held out"


def test_a_data_file_that_is_none_does_not_stop_the_estimate(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl.gz").write_bytes(b"\x1f\x8bno")
    assert estimate._rows(_scenario(data={"path": str(tmp_path)}))[0] == 1


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=6), st.integers(1, 3))
def test_the_time_of_several_workers_lies_between_its_bounds(seconds: list[float], workers: int) -> None:
    found = makespan(seconds, workers)
    places = product(range(workers), repeat=len(seconds))
    best = min(
        max(sum(s for s, place in zip(seconds, chosen, strict=True) if place == worker) for worker in range(workers))
        for chosen in places
    )
    assert best - 1e-9 <= found <= 2 * best + 1e-9, "Graham 1966: list scheduling is within a factor of 2"


def test_a_plan_tells_done_waiting_error_and_not_applicable_apart(tmp_path: Path) -> None:
    scenario = _scenario()
    before = preview(scenario, tmp_path, Machine(workers=2))
    statuses = {cell.label: cell.status for group in before.groups for cell in group.cells}
    assert statuses == {
        "none vs none, seed 0": "waiting",
        "embedding-algebra vs none, seed 0": "waiting",
        "none vs krum, seed 0": "n/a",
        "embedding-algebra vs krum, seed 0": "n/a",
    }
    assert "2f+3" in str(before.groups[1].cells[0].reason)
    assert before.workers == 1, "one training is left"
    assert (before.count("waiting"), before.count("n/a")) == (2, 2)
    result = run(scenario, tmp_path)
    assert before.path == result.path
    after = preview(scenario, tmp_path, Machine())
    assert (after.count("done"), after.count("waiting"), after.count("n/a")) == (2, 0, 2)
    assert after.seconds == 0.0
    cells = [cell for group in after.groups for cell in group.cells]
    lost = next(cell.key for cell in cells if cell.attack != "none" and cell.status == "done")
    (result.path / "cells" / f"{lost}.json").unlink()
    again = preview(scenario, tmp_path, Machine())
    assert again.groups[0].measured, "the time of the cells that ran"
    assert json.loads(json.dumps(again.as_json()))["cells"]["waiting"] == 1


def test_what_takes_long_begins() -> None:
    groups = grouped(tasks_of(_scenario(matrix={"attack": ["none"], "defense": ["none", "dp-sgd", "krum"]})))
    order = [group.tasks[0].cell.defense_label.partition("(")[0] for group in estimate.longest_first(groups)]
    assert order == ["dp-sgd", "krum", "none"]
