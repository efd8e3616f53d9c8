"""quick/all keeps to its budget: 900 CPU seconds, and under 8 minutes on two cores."""

from pathlib import Path

import pytest

from fedsec.config.load import load_scenario
from fedsec.config.suite import Suite, members_of
from fedsec.plan.estimate import START_SECONDS, Speed
from fedsec.runner import preview
from fedsec.runner.machine import Machine

ONE_CORE = Speed(50e9, 10e9)
"""Of the machine that the budget is for; the test does not depend on how busy this one is."""


def test_the_estimate_is_within_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "measure_speed", lambda: ONE_CORE)
    plan = preview.preview(load_scenario("quick/all"), tmp_path, Machine(workers=2))
    assert plan.unknown == ()  # every attack that reads has a limit
    assert plan.seconds is not None
    assert plan.seconds < 8 * 60
    assert 2 * START_SECONDS + sum((group.seconds or 0.0) + group.attack_seconds for group in plan.groups) < 900


def test_it_faces_every_scenario_with_the_same_defenses() -> None:
    suite = load_scenario("quick/all")
    assert isinstance(suite, Suite)
    names = ("reconstruction", "membership", "backdoor", "byzantine")
    assert [member.name for member in members_of(suite)] == [f"quick/all/{name}" for name in names]
    for member in members_of(suite):
        assert member == load_scenario(member.name)  # by itself it is the same, defenses and seeds included
        assert (member.federation.sampling, member.federation.optimizer) == ("poisson", "sgd")  # dp-sgd stands
