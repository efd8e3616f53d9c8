"""What fails, what is inconclusive, what passes, and that no format changes it."""

import itertools
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from fedsec.api import BetterFor
from fedsec.cli import gate_verb
from fedsec.cli.main import app
from fedsec.config.schema import GateRule
from fedsec.errors import ExitCode
from fedsec.gate.formats import FORMATS
from fedsec.gate.judge import judge
from fedsec.gate.readings import Group
from fedsec.gate.refuted import broken_promises
from fedsec.gate.regression import Change, compare
from fedsec.gate.verdict import Outcome, Verdict
from fedsec.metrics.stats.differences import Measured
from fedsec.store import strict_json

from .support import RULES, blessed, looked_at, made, usual


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run, and the baseline that blessing it makes."""
    folder = tmp_path_factory.mktemp("trusted")
    run = made(folder)
    return run, blessed(run, folder / "baseline.json")


def _verdict(run: Path, baseline: Path | None, *, strict: bool = False) -> Verdict:
    return judge(looked_at(run), baseline, strict=strict)


def _cli(*words: object) -> Result:
    return CliRunner().invoke(app, [*map(str, words)])


def _worse(by: float, defense: str = "krum") -> Any:
    """Cells that are worse by that on average, and not by the same in every seed."""
    return lambda attack, own, seed: usual(attack, own, seed) - (by + 0.01 * (seed % 2) if own == defense else 0.0)


def test_the_same_run_passes(trusted: tuple[Path, Path]) -> None:
    verdict = _verdict(*trusted)
    assert [check.outcome for check in verdict.checks] == [Outcome.PASS] * len(RULES)
    assert verdict.exit_code == ExitCode.OK
    assert [check.place.line for check in verdict.checks if check.place] == sorted(
        {check.place.line for check in verdict.checks if check.place}
    )


def test_checks_point_at_the_file_that_was_run_and_else_at_the_runs_own(tmp_path: Path) -> None:
    scenario = tmp_path / "mine.yaml"
    run = made(tmp_path / "runs", source=os.path.relpath(scenario, tmp_path / "runs" / "tests" / "gate" / "key"))
    assert {place.file for place in looked_at(run).places if place} == {"scenario.resolved.yaml"}
    scenario.write_text("name: x\ngate:\n" + "".join(f"  - {json.dumps(rule)}\n" for rule in RULES))
    assert looked_at(run).places == tuple(("mine.yaml", line) for line in (3, 4, 5, 6))


def test_a_run_that_is_worse_by_more_than_the_tolerance_fails(tmp_path: Path, trusted: tuple[Path, Path]) -> None:
    verdict = _verdict(made(tmp_path, _worse(0.2)), trusted[1])
    assert [check.outcome.word for check in verdict.checks] == ["pass", "failed", "pass", "pass"]
    assert verdict.exit_code == ExitCode.GATE_FAILED
    failed = verdict.worst_first[0]
    assert failed.difference is not None
    assert failed.difference["value"] == pytest.approx(-0.204, abs=0.001)
    assert failed.difference["method"] == "t-pairs"


def test_a_run_that_is_worse_within_the_tolerance_passes(tmp_path: Path, trusted: tuple[Path, Path]) -> None:
    assert _verdict(made(tmp_path, _worse(0.02)), trusted[1]).exit_code == ExitCode.OK


def test_an_improvement_passes_with_a_note(tmp_path: Path, trusted: tuple[Path, Path]) -> None:
    verdict = _verdict(made(tmp_path, _worse(-0.15)), trusted[1])
    assert verdict.outcome == Outcome.PASS
    assert any("bless a run to keep it" in reason for check in verdict.checks for reason in check.reasons)


def test_a_measurement_that_changes_in_any_direction_fails(tmp_path: Path, trusted: tuple[Path, Path]) -> None:
    for clip in (0.05, 0.8):
        verdict = _verdict(made(tmp_path / str(clip), clip=clip), trusted[1])
        assert [check.outcome.word for check in verdict.checks] == ["pass", "pass", "failed", "pass"]


def test_hard_limits_hold_without_a_baseline(tmp_path: Path) -> None:
    rules = [{**rule, "tolerance": None} for rule in RULES if "min" in rule or "max" in rule]
    run = made(tmp_path, _worse(0.4), scenario={"gate": rules})
    verdict = _verdict(run, None)
    assert [check.outcome.word for check in verdict.checks] == ["pass", "failed", "pass"]
    assert "below min" in verdict.checks[1].reasons[0]


def test_an_interval_beyond_a_limit_is_inconclusive_and_fails_under_strict(tmp_path: Path) -> None:
    rules = [{"metric": "utility/accuracy", "attack": "none", "defense": "none", "min": 0.78}]
    run = made(tmp_path, scenario={"gate": rules})
    assert (_verdict(run, None).outcome, _verdict(run, None).exit_code) == (Outcome.INCONCLUSIVE, ExitCode.OK)
    assert _verdict(run, None, strict=True).exit_code == ExitCode.INCONCLUSIVE


def test_errored_and_missing_cells_are_told_above_failures(tmp_path: Path, trusted: tuple[Path, Path]) -> None:
    def right(attack: str, defense: str, seed: int) -> float | None:
        return None if (attack, defense, seed) == ("none", "none", 3) else _worse(0.2)(attack, defense, seed)

    run = made(tmp_path, right)
    verdict = _verdict(run, trusted[1])
    assert [check.outcome.word for check in verdict.checks] == ["missing", "failed", "pass", "pass"]
    assert "seed 3: error: RuntimeError: out of memory" in verdict.checks[0].reasons
    assert verdict.exit_code == ExitCode.CELLS_MISSING
    for file in (run / "cells").iterdir():
        file.unlink()
    assert {check.outcome for check in _verdict(run, trusted[1]).checks} == {Outcome.MISSING}


def test_cells_that_time_cut_short_and_models_that_learnt_nothing_are_inconclusive(tmp_path: Path) -> None:
    rules = [{"metric": "utility/accuracy", "attack": "sign-flip", "defense": "krum", "max": 0.99}]
    cut = made(tmp_path / "a", scenario={"gate": rules}, head={"status": "budget"})
    lazy = made(tmp_path / "b", lambda *_: 0.1, scenario={"gate": rules})
    for run, said in ((cut, "threat.attack_seconds"), (lazy, "nothing to lose")):
        verdict = _verdict(run, None)
        assert verdict.outcome == Outcome.INCONCLUSIVE
        assert said in verdict.checks[0].reasons[0]


def test_other_seeds_are_compared_unpaired(tmp_path: Path, trusted: tuple[Path, Path]) -> None:
    def others(by: float) -> Path:
        matrix = {
            "attack": [{"name": "sign-flip", "scale": 10}], "defense": ["krum"], "seed": [10, 11, 12, 13, 14],
        }  # fmt: skip
        return made(tmp_path / str(by), _worse(by), scenario={"matrix": matrix})

    worse, alike = _verdict(others(0.3), trusted[1]), _verdict(others(0.0), trusted[1])
    assert worse.exit_code == ExitCode.GATE_FAILED
    assert worse.checks[1].difference is not None
    assert worse.checks[1].difference["method"] == "welch-seeds"
    assert alike.outcome == Outcome.INCONCLUSIVE  # 200 rows cannot tell 0.05


@pytest.mark.parametrize("ends", [(None, None), (-0.01, 0.01)])
def test_one_seed_and_another_decide_nothing_whatever_their_values(ends: tuple[float | None, float | None]) -> None:
    """How far seeds lie apart is not known: unchanged code would alarm far more often than promised."""

    def group(seed: int, value: float) -> Group:
        low, high = (None if end is None else value + end for end in ends)
        return Group(
            scenario="a", metric="utility/accuracy", attack="none", attack_params={}, defense="none", defense_stack=(),
            settings={}, unit="fraction", better_for=BetterFor.DEFENDER,
            seeds={seed: Measured(value, low, high, 1000, fraction=True)},
        )  # fmt: skip

    rule = GateRule(metric="utility/accuracy", attack="none", defense="none", tolerance=0.03)
    pairs = [(rule, group(seed, value), group(0, 0.54)) for seed, value in ((1, 0.3), (1, 0.54), (1, 0.9), (0, 0.3))]
    found = compare(pairs)
    assert [one.change for one in found] == [Change.UNDECIDED] * 3 + [Change.WORSE]
    assert {one.p_value for one in found[:3]} == {None}
    assert "one seed each" in found[0].reason
    tested = (rule, group(0, 0.5), group(0, 0.54))
    assert compare([*pairs[:3], tested])[-1].p_value == compare([tested])[0].p_value  # nor do they count for the others


def test_a_rule_without_a_tolerance_drops_its_cell_from_the_baseline(
    tmp_path: Path, trusted: tuple[Path, Path]
) -> None:
    run = made(tmp_path, _worse(0.2), scenario={"gate": [RULES[0], {**RULES[1], "tolerance": None}, *RULES[2:]]})
    verdict = _verdict(run, trusted[1])
    assert [check.outcome.word for check in verdict.checks] == ["pass", "pass", "pass", "pass", "missing"]
    assert verdict.exit_code == ExitCode.CELLS_MISSING
    assert verdict.checks[-1].place == verdict.checks[1].place
    assert "takes a tolerance" in verdict.checks[-1].reasons[0]


def test_a_rule_that_is_about_nothing_is_missing(trusted: tuple[Path, Path]) -> None:
    looked = looked_at(trusted[0])
    verdict = judge(replace(looked, found=looked.found[1:]), None)
    idle = [check for check in verdict.checks if check.outcome == Outcome.MISSING]
    assert [(check.name, check.place) for check in idle] == [("utility/accuracy/none/none", looked.places[0])]
    assert "no cell that the rule is about" in idle[0].reasons[0]


def test_a_cell_that_is_new_is_inconclusive_and_one_that_is_lost_missing(
    tmp_path: Path, trusted: tuple[Path, Path]
) -> None:
    few = made(tmp_path / "few", scenario={"gate": RULES[:3]})
    lost = _verdict(few, trusted[1])
    assert (lost.checks[-1].outcome, lost.exit_code) == (Outcome.MISSING, ExitCode.CELLS_MISSING)
    assert lost.checks[-1].place == lost.checks[0].place is not None  # code scanning takes no finding without one
    new = _verdict(trusted[0], blessed(few, tmp_path / "few.json"))
    assert new.checks[-1].outcome == Outcome.INCONCLUSIVE
    assert "not in the baseline yet" in new.checks[-1].reasons[0]


def test_what_is_not_comparable_is_said_with_both_values(tmp_path: Path, trusted: tuple[Path, Path]) -> None:
    changed = {"federation": {"clients": 6, "rounds": 3, "learning_rate": 0.1}}
    verdict = _verdict(made(tmp_path / "a", scenario=changed), trusted[1])
    assert verdict.exit_code == ExitCode.INCOMPARABLE
    assert "tests/gate.federation.rounds is 3 here and 2 in the baseline" in verdict.problems[0]
    other = _verdict(made(tmp_path / "b", inputs={"data": "e", "weights": "w"}), trusted[1])
    assert 'inputs.data is "e" here and "d" in the baseline' in other.problems[0]


def test_threads_seeds_and_versions_keep_runs_comparable(tmp_path: Path, trusted: tuple[Path, Path]) -> None:
    run = made(tmp_path, packages={"fedsec": "0.2.0", "torch": "2.13.0"}, threads=2)
    verdict = _verdict(run, trusted[1])
    assert verdict.exit_code == ExitCode.OK
    assert verdict.notes == ("made by others than the baseline: fedsec 0.2.0 here and 0.1.0 in the baseline",)


def test_the_verdict_is_the_same_under_every_combination_of_formats(
    tmp_path: Path, trusted: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = {
        ExitCode.GATE_FAILED: looked_at(made(tmp_path / "failed", _worse(0.2))),
        ExitCode.OK: looked_at(trusted[0]),
        ExitCode.INCOMPARABLE: looked_at(trusted[0]),
    }
    chosen = [names for size in range(len(FORMATS) + 1) for names in itertools.combinations(FORMATS, size)]
    for code, run in looked.items():
        monkeypatch.setattr(gate_verb, "looked_at", lambda _, run=run: run)  # which takes most of the time
        baseline = tmp_path / "none.json" if code == ExitCode.INCOMPARABLE else trusted[1]
        said = set()
        for place, names in enumerate(chosen if code == ExitCode.GATE_FAILED else chosen[:: len(chosen) // 7]):
            folder = tmp_path / f"{code}-{place}"
            words = [word for name in names for word in ("--format", name)]
            done = _cli("gate", "x", "--baseline", baseline, "--files", folder, "--json", *words)
            assert done.exit_code == code
            said.add(done.stdout)
            assert {file.name for file in folder.iterdir()} == {FORMATS[name].file for name in names or FORMATS}
        assert [json.loads(one)["exit_code"] for one in said] == [code]


def test_what_cannot_be_written_only_raises_the_exit_code(tmp_path: Path, trusted: tuple[Path, Path]) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    passed = _cli("gate", trusted[0], "--baseline", trusted[1], "--files", blocked)
    failed = _cli("gate", made(tmp_path, _worse(0.2)), "--baseline", trusted[1], "--files", blocked)
    assert (passed.exit_code, failed.exit_code) == (ExitCode.USAGE, ExitCode.GATE_FAILED)
    assert "cannot be written" in passed.stderr


def test_a_scenario_without_a_gate_says_how_to_write_one(tmp_path: Path) -> None:
    done = _cli("gate", made(tmp_path, scenario={"gate": []}))
    assert done.exception is not None
    assert "has no gate: write what is demanded under `gate:`" in str(done.exception)


def test_a_gate_that_asks_for_a_baseline_fails_without_one(trusted: tuple[Path, Path]) -> None:
    assert _verdict(trusted[0], None).exit_code == ExitCode.INCOMPARABLE


def test_the_json_of_a_verdict_is_strict(trusted: tuple[Path, Path]) -> None:
    content = strict_json.parse(json.dumps(_verdict(*trusted).as_json()))
    assert content["counts"]["pass"] == len(RULES)


def test_a_refuted_promise_fails_every_gate(trusted: tuple[Path, Path]) -> None:
    """No rule asks for it: the bound of an audit lies above what the ledger promises."""
    run, baseline = trusted
    shared = {"better_for": "attacker", "ci_low": None, "ci_high": None, "method": "none", "n": 1}
    row = {"attack": "canary-direction", "defense": "dp-sgd", "goal": "audit", "status": "ok", "settings": {}}

    def judged(share: float) -> Verdict:
        value = {**shared, "value": share, "unit": "fraction", "chance": 0.0, "best": 1.0}
        rows = [{**row, "metrics": {"audit/refuted": value}}]
        refuted = tuple(broken_promises({"summary": rows}, "tests/gate"))
        return judge(replace(looked_at(run), refuted=refuted), baseline)

    assert judged(0.0).exit_code == ExitCode.OK
    found = judged(0.5)
    assert found.exit_code == ExitCode.GATE_FAILED
    assert [check.name for check in found.checks if check.outcome == Outcome.FAILED] == [
        "audit/refuted/canary-direction/dp-sgd"
    ]
    assert "dp-sgd breaks its promise" in found.worst_first[0].reasons[0]
    assert found.worst_first[0].place == found.checks[0].place is not None
