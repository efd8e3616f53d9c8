"""Attacks that take long: interrupted, killed, out of time, and what is planned of them."""

import json
import os
import stat
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import fedsec
from fedsec.api import Reconstruction, RoundView
from fedsec.attacks.reconstruction.matching import claims as matching
from fedsec.attacks.reconstruction.matching.dlg import Dlg
from fedsec.config.schema import Scenario
from fedsec.federation.progress import ClientsRead
from fedsec.report.scorecard import without_timings
from fedsec.result import RunResult
from fedsec.runner.machine import Machine
from fedsec.runner.observer import Observer
from fedsec.runner.preview import preview
from fedsec.testing import canned

from ..prepared import Command

ATTACK = {"name": "dlg", "steps": 2}
SMALL = ("model.layers=1", "data.train=20", "data.test=10")


@pytest.fixture(autouse=True)
def _data() -> Iterator[None]:
    with canned.registered():
        yield


def _scenario(*overrides: str, attack: Any = ATTACK) -> Scenario:
    return canned.reconstruction(attack, overrides=(*SMALL, *overrides))


def _attacked(result: RunResult) -> dict[str, Any]:
    return next(dict(cell) for cell in result.scorecard["cells"] if cell["attack"] != "none")


class Notes(Observer):
    """Keeps what it is told of attacks."""

    def __init__(self) -> None:
        self.read: list[ClientsRead] = []

    def reading(self, progress: ClientsRead) -> None:
        self.read.append(progress)


def test_an_attack_that_is_interrupted_goes_on_after_the_clients_that_it_had_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pose, posed = matching.problem_of, list[int | None]()

    def stopped(stop: bool, view: RoundView, place: int | None, *rest: Any, **named: Any) -> Any:
        if stop and place == 2:
            raise KeyboardInterrupt
        posed.append(place)
        return pose(view, place, *rest, **named)

    undisturbed, notes = fedsec.run(_scenario(), tmp_path / "one"), Notes()
    monkeypatch.setattr(matching, "problem_of", partial(stopped, True))
    with pytest.raises(KeyboardInterrupt):
        fedsec.run(_scenario(), tmp_path / "two")
    (kept,) = (tmp_path / "two").glob("canned/reconstruction/*/checkpoints/*.claims.json")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    monkeypatch.setattr(matching, "problem_of", partial(stopped, False))
    resumed = fedsec.run(_scenario(), tmp_path / "two", notes)
    assert posed == [0, 1, 2, 3]
    assert [(one.done, one.clients) for one in notes.read] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert without_timings(resumed.scorecard) == without_timings(undisturbed.scorecard)
    assert not kept.exists()
    assert not kept.parent.exists()


def test_what_was_kept_goes_when_the_attack_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pose = matching.problem_of

    def fails(view: RoundView, place: int | None, *rest: Any, **named: Any) -> Any:
        if place == 2:
            raise ValueError("no")
        return pose(view, place, *rest, **named)

    monkeypatch.setattr(matching, "problem_of", fails)
    result = fedsec.run(_scenario(), tmp_path)
    assert _attacked(result)["status"] == "error"
    assert not list(result.path.rglob("*.claims.json")), "it is as good as clients' texts"


def test_time_that_is_over_marks_the_cell_and_more_time_attacks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    solve, solved = matching.claims, list[int | None]()

    def slow(problem: Any, *rest: Any) -> list[Reconstruction]:
        solved.append(problem.client)
        time.sleep(0.6 if len(solved) == 2 else 0.0)
        return solve(problem, *rest)

    monkeypatch.setattr(matching, "claims", slow)
    limited = _scenario("threat.attack_seconds=0.6")
    result = fedsec.run(limited, tmp_path)
    cell = _attacked(result)
    assert cell["status"] == "budget"
    assert cell["reason"].startswith("threat.attack_seconds 0.6 ended it, with ")
    assert cell["metrics"]["leakage/exact-match"]["n"] == 4, "texts of clients that were not read count"
    assert (result.budget, result.errors, result.missing, result.complete) == (1, 0, 0, False)
    row = next(row for row in result.scorecard["summary"] if row["attack"] != "none")
    assert row["harm"] is not None
    assert not row["pareto"]
    assert not any(one["status"] == "budget" for one in without_timings(result.scorecard)["cells"])
    report = (result.path / "report.html").read_text()
    assert "time over, it may get more: threat.attack_seconds 0.6 ended it" in report
    assert not list(result.path.rglob("*.claims.json"))

    count = len(solved)
    assert count < 4
    again = fedsec.run(limited, tmp_path)
    assert len(solved) == count, "the same limit ends it the same way"
    plan = preview(limited, tmp_path, Machine())
    assert (plan.count("budget"), plan.count("waiting")) == (1, 0)
    more = _scenario("threat.attack_seconds=100")
    assert preview(more, tmp_path, Machine()).count("waiting") == 1
    whole = fedsec.run(more, tmp_path)
    assert whole.path == again.path == result.path
    assert _attacked(whole)["status"] == "ok"
    assert whole.complete
    assert len(solved) == count + 4
    assert _attacked(fedsec.run(limited, tmp_path))["status"] == "ok", "what is finished stays so"


def test_an_attack_that_does_not_look_at_its_time_runs_and_is_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def heedless(self: Dlg, view: RoundView) -> list[Reconstruction]:
        time.sleep(0.2)
        return []

    monkeypatch.setattr(Dlg, "reconstruct", heedless)
    result = fedsec.run(_scenario("threat.attack_seconds=0.1"), tmp_path)
    cell = _attacked(result)
    assert (cell["status"], cell["attack_seconds"]) == ("budget", 0.1)
    assert "at which it does not look" in cell["reason"]


def test_a_plan_tells_what_attacks_take_or_may_take(tmp_path: Path) -> None:
    def times(*overrides: str) -> list[Any]:
        plan = preview(_scenario(*overrides), tmp_path, Machine())
        json.dumps(plan.as_json())
        cells = [cell.time for group in plan.groups for cell in group.cells if cell.attack == "dlg"]
        return [plan.unknown, *((time.basis, time.seconds) for time in cells if time is not None)]

    assert times() == [("dlg",), ("", None)]
    assert times("threat.attack_seconds=60") == [(), ("limit", 60.0)]
    took = _attacked(fedsec.run(_scenario(), tmp_path))["metrics"]["cost/attack-seconds"]["value"]
    assert times() == [()], "nothing is left"
    seeds = "matrix.seed=[0, 1]"  # another run, with the same model, data and federation
    assert times(seeds) == [(), ("measured", took), ("measured", took)]
    assert times(seeds, "threat.attack_seconds=1e-6") == [(), ("limit", 1e-6), ("limit", 1e-6)]
    assert times(seeds, "federation.learning_rate=0.2")[0] == ("dlg",)


PLUGIN = """
import os, time, torch
from fedsec.api import Asset, AttackCard, Behaviour, Position, Reconstruction, ThreatModel

class Slow:
    def reconstruct(self, view):
        return view.each_client(self.read)

    def read(self, view, place):
        time.sleep(1.1)
        with open(os.environ["SEEN"], "a") as stream:
            stream.write(f"{view.clients[place]}\\n")
        drawn = torch.randint(5, 50, (6,), generator=view.generator).tolist()
        return [Reconstruction(client=view.clients[place], tokens=tuple(drawn), score=0.0)]

CARDS = (AttackCard(
    name="slow", summary="Guesses slowly.", target=":Slow", limits=("It guesses.",), cost="a second each",
    threat=ThreatModel(
        position=Position.SERVER, behaviour=Behaviour.CURIOUS, goal="reconstruction", needs=frozenset({Asset.ROWS})
    ),
),)
"""
SCENARIO = """
schema: 1
name: slow
summary: Does it go on?
model: {name: tiny-bert, width: 16, layers: 1, dropout: false, tuning: {kind: full}}
data: {name: clinic-notes, train: 20, test: 5, max_tokens: 16}
federation: {clients: 4, rounds: 1, batch_size: 1, learning_rate: 0.1, update: gradient}
matrix: {attack: [slow], defense: [none]}
keep_text: true
"""


def test_a_run_that_is_killed_in_the_middle_of_an_attack_goes_on_in_a_worker(tmp_path: Path) -> None:
    (tmp_path / "slow.yaml").write_text(SCENARIO)
    (tmp_path / "slow_attack.py").write_text(PLUGIN)

    def start(out: str, *more: str) -> Command:
        arguments = ("--allow-plugins", "slow_attack.py", "--display", "plain", "--json", "--out", out, *more)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "SEEN": str(tmp_path / f"{out}.seen")}
        return Command("run", "slow.yaml", *arguments, cwd=tmp_path, env=environment)

    def finished(out: str, *more: str) -> dict[str, Any]:
        process = start(out, *more)
        printed, said = process.communicate(timeout=240)
        assert process.returncode == 0, said
        assert "4 of 4 clients read" in said
        return without_timings(json.loads(printed))

    killed = start("killed")
    while not list(tmp_path.glob("killed/**/*.claims.json")):
        time.sleep(0.05)
    killed.kill()
    killed.communicate()
    in_a_process_of_its_own = ("--memory", "8GB")
    assert finished("killed", *in_a_process_of_its_own) == finished("whole")
    seen = (tmp_path / "killed.seen").read_text().split()
    assert seen[0] not in seen[1:], "it was kept"
    assert set(seen) == set((tmp_path / "whole.seen").read_text().split())
