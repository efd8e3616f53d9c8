"""What contract checks of one process share is found by its content, and never taken for something else."""

from collections.abc import Iterator
from typing import Any

import pytest

from fedsec.cell.resources import Resources
from fedsec.plan.cells import Cell, expand
from fedsec.testing import canned, doubles, shared
from fedsec.testing.conduct import Subject

QUICK = ("federation.rounds=1", "federation.local_steps=1")


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for store in ("_trainings", "_cells"):
        monkeypatch.setattr(shared, store, type(getattr(shared, store))())
    with canned.registered(), doubles.registered():
        yield


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The label of each cell that was trained."""
    labels: list[str] = []
    whole = Subject.federate

    def federate(self: Subject, *given: Any, **named: Any) -> Any:
        labels.append(self.cell.label)
        return whole(self, *given, **named)

    monkeypatch.setattr(Subject, "federate", federate)
    return labels


def _cell(attack: Any, defense: str = "none", *overrides: str) -> Cell:
    cells = expand(canned.membership(attack, defense, overrides=(*QUICK, *overrides)))
    wanted = attack if isinstance(attack, str) else attack["name"]
    return next(cell for cell in cells if cell.attack.name == wanted and cell.defense_label == defense)


def test_a_cell_is_trained_and_scored_once(trained: list[str]) -> None:
    first = shared.content(_cell("low-loss"), Resources())
    assert shared.content(_cell("low-loss"), Resources()) is first
    assert len(trained) == 1


def test_another_setting_defense_or_attack_is_another_cell(trained: list[str]) -> None:
    others = (
        _cell("low-loss", "none", "federation.learning_rate=0.01"),
        _cell("low-loss", "client-shrink"),
        _cell("none"),
    )
    shared.content(_cell("low-loss"), Resources())
    for other in others:
        shared.content(other, Resources())
    assert len(trained) == 3  # the control shares the undefended federation: who only looks changes no training


def test_who_acts_or_watches_has_a_federation_of_its_own(trained: list[str]) -> None:
    acting = ({"name": "ascending-client", "rate": rate} for rate in (0.1, 0.1))
    for attack in (*acting, "watching-server", "watching-server"):
        shared.training(Subject(_cell(attack, "none", "threat.malicious=1", "threat.attack_rounds=all"), Resources()))
    assert len(trained) == 4


def test_few_federations_are_kept_and_none_after_a_failure(trained: list[str]) -> None:
    rates = [f"federation.learning_rate={rate}" for rate in (0.01, 0.02, 0.03, 0.04)]
    for rate in rates:
        shared.training(Subject(_cell("low-loss", "none", rate), Resources()))
    assert len(shared._trainings) == shared.MOST_TRAININGS
    shared.training(Subject(_cell("low-loss", "none", rates[-1]), Resources()))
    assert len(trained) == 4
    shared.forget_federations()
    shared.training(Subject(_cell("low-loss", "none", rates[-1]), Resources()))
    assert len(trained) == 5
