"""Baselines: what they hold, who writes them, and what each broken one is told."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from fedsec.cli.main import app
from fedsec.config.load import load_single
from fedsec.errors import ExitCode, FedsecError
from fedsec.gate import baseline as baselines
from fedsec.gate.judge import judge
from fedsec.gate.readings import Member, gated
from fedsec.plan.keys import inputs
from fedsec.plan.tasks import members

from .support import RULES, blessed, looked_at, made, usual

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that may be blessed."""
    return made(tmp_path_factory.mktemp("run"))


def _cli(*words: object) -> Result:
    return CliRunner().invoke(app, [*map(str, words)])


def test_a_baseline_is_sorted_compact_and_without_timings(run: Path, tmp_path: Path) -> None:
    file = blessed(run, tmp_path / "baseline.json")
    text = file.read_text()
    content = json.loads(text)
    assert list(content) == sorted(content)
    assert [len(cell["seeds"]) for cell in content["cells"]] == [5] * len(RULES)
    assert "seconds" not in text.replace("attack_seconds", "")
    assert max(map(len, text.splitlines())) <= 160
    assert baselines.dumped(baselines.read(file)) == text


def test_one_value_that_changes_is_one_line_of_the_diff(run: Path, tmp_path: Path) -> None:
    def other(attack: str, defense: str, seed: int) -> float:
        return usual(attack, defense, seed) - (0.1 if (attack, defense, seed) == ("none", "none", 3) else 0.0)

    before = blessed(run, tmp_path / "a.json").read_text().splitlines()
    after = blessed(made(tmp_path, other), tmp_path / "b.json").read_text().splitlines()
    assert sum(one != two for one, two in zip(before, after, strict=True)) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "there is no baseline"),
        ("{'cut", "is damaged or cut short"),
        ('{"cells": []}', "is no baseline of fedsec"),
        ("[1, 2]", "is no baseline of fedsec"),
        ('{"kind": "fedsec-baseline", "schema": 0}', "older schema 0, and this version of fedsec reads 1: bless"),
        ('{"kind": "fedsec-baseline", "schema": 2}', "schema 2, and this version of fedsec reads 1: update fedsec"),
        ('{"kind": "fedsec-baseline", "schema": true}', "schema True"),
        ('{"kind": "fedsec-baseline", "schema": 1}', "has a fault at"),
        ('{"kind": "fedsec-baseline", "schema": 1e999}', "is damaged or cut short"),
    ],
)
def test_every_broken_baseline_exits_12_with_a_message_of_its_own(
    run: Path, tmp_path: Path, text: str | None, said: str
) -> None:
    file = tmp_path / "baseline.json"
    if text is not None:
        file.write_text(text)
    verdict = judge(looked_at(run), file)
    assert verdict.exit_code == ExitCode.INCOMPARABLE
    assert said in verdict.problems[0]


def test_a_truncated_and_a_foreign_baseline_exit_12(run: Path, tmp_path: Path) -> None:
    whole = blessed(run, tmp_path / "whole.json").read_text()
    (tmp_path / "cut.json").write_text(whole[: len(whole) // 2])
    (tmp_path / "other.json").write_text(whole.replace('"tests/gate"', '"someone/else"'))
    cut, other = (_cli("gate", run, "--baseline", tmp_path / name) for name in ("cut.json", "other.json"))
    assert (cut.exit_code, other.exit_code) == (12, 12)
    assert "is damaged or cut short" in " ".join(cut.stdout.split())
    assert "is of someone/else, and this run is of tests/gate" in " ".join(other.stdout.split())


def test_bless_writes_show_prints_and_gate_never_writes(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    first = _cli("baseline", "bless", run, "--baseline", file, "--json")
    assert first.exit_code == 0
    assert (len(json.loads(first.stdout)["new"]), json.loads(first.stdout)["cells"]) == (4, 4)
    before = file.read_bytes()
    worse = made(tmp_path, lambda *cell: usual(*cell) - 0.2)
    assert _cli("gate", worse, "--baseline", file).exit_code == ExitCode.GATE_FAILED
    assert file.read_bytes() == before
    again = json.loads(_cli("baseline", "bless", worse, "--baseline", file, "--json").stdout)
    assert [len(again[kind]) for kind in ("new", "gone", "changed")] == [0, 0, 2]
    assert _cli("gate", worse, "--baseline", file).exit_code == 0
    shown = _cli("baseline", "show", file)
    assert "Baseline of tests/gate, made with device cpu, fedsec 0.1.0, torch 2.13.0." in shown.stdout


def test_a_run_with_a_failed_gated_cell_cannot_be_blessed(tmp_path: Path) -> None:
    def right(attack: str, defense: str, seed: int) -> float | None:
        return None if (attack, defense, seed) == ("none", "none", 1) else usual(attack, defense, seed)

    done = _cli("baseline", "bless", made(tmp_path, right), "--baseline", tmp_path / "b.json")
    assert done.exit_code == ExitCode.CELLS_MISSING
    assert not (tmp_path / "b.json").exists()
    assert "utility/accuracy/none/none: seed 1: error: RuntimeError: out of memory" in done.stderr


@pytest.mark.parametrize("text", ["[project]", '{"kind": "other"}', '{"kind": "fedsec-baseline", "scenario": "a/b"}'])
def test_bless_overwrites_nothing_else(run: Path, tmp_path: Path, text: str) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text(text)
    with pytest.raises(FedsecError, match=r"is there and is no|is the baseline of 'a/b'"):
        baselines.write(file, looked_at(run).baseline())
    assert file.read_text() == text


def test_bless_needs_a_tolerance(tmp_path: Path) -> None:
    rule: dict[str, Any] = {"metric": "utility/accuracy", "attack": "none", "defense": "none", "min": 0.1}
    with pytest.raises(FedsecError, match="no rule of the gate has a tolerance"):
        looked_at(made(tmp_path, scenario={"gate": [rule]})).baseline()


def test_settings_and_parameters_that_came_later_keep_a_baseline_comparable(run: Path, tmp_path: Path) -> None:
    file = blessed(run, tmp_path / "baseline.json")
    content = json.loads(file.read_text())
    del content["comparable"]["tests/gate"]["federation"]["tls"]  # has its default in the run
    for cell in content["cells"]:
        for part in cell["defense_stack"]:
            del part["params"]["geometry"]
    file.write_text(json.dumps(content))
    assert judge(looked_at(run), file).exit_code == ExitCode.OK
    del content["comparable"]["tests/gate"]["federation"]["rounds"]  # has none
    file.write_text(json.dumps(content))
    assert "federation.rounds is 2 here and null in the baseline" in judge(looked_at(run), file).problems[0]


def test_the_shipped_baseline_is_of_the_shipped_scenario() -> None:
    scenario = load_single("ci/smoke")
    own = Member(scenario, tuple(task.key for task in members(scenario)[0].tasks))
    kept = baselines.read(ROOT / "scenarios" / "ci" / "smoke.baseline.json")
    assert baselines.differences({"inputs": inputs(scenario)}, [own], kept) == []
    gated_now = {one.group.identity for one in gated(scenario.gate, [own], {"cells": []}, [])}
    assert gated_now == set(kept.groups())
