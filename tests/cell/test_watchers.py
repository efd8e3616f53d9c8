"""Attacks that look at rounds as they happen: what they are shown, and whose failure is whose."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import fedsec
from fedsec import registry
from fedsec.api import Asset, RoundView
from fedsec.config.schema import Component, Scenario
from fedsec.models.frozen_encoder import FrozenEncoder
from fedsec.testing import canned, doubles
from fedsec.testing.scorers import WatchingServer


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    with canned.registered(), doubles.registered():
        yield


def _scenario(*overrides: str) -> Scenario:
    card = registry.attacks().get("watching-server")
    scenario = canned.fitting(card).scenario({"name": card.name}, "none", (), overrides)
    attack = [*scenario.matrix.attack, Component(name="low-loss")]
    return scenario.model_copy(update={"matrix": scenario.matrix.model_copy(update={"attack": attack})})


def _statuses(scenario: Scenario, folder: Path) -> dict[str, str]:
    return {cell["attack"]: cell["status"] for cell in fedsec.run(scenario, folder).scorecard["cells"]}


def test_an_attack_that_fails_while_it_looks_costs_its_own_cell_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: Any, view: RoundView) -> None:
        raise ValueError("no")

    monkeypatch.setattr(WatchingServer, "observe", fails)
    found = _statuses(_scenario(), tmp_path)
    assert found == {"none": "ok", "watching-server": "error", "low-loss": "ok"}


@pytest.mark.parametrize("damage", ["gradients", "weights", "mode"])
def test_an_attack_that_damages_the_model_while_it_looks_stops_what_is_trained_on_it(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoils(self: Any, view: RoundView) -> None:
        if damage == "gradients":
            view.model.module.zero_grad()
        elif damage == "weights":
            with torch.no_grad():
                next(view.model.module.parameters()).add_(1.0)
        else:
            view.model.module.train()
        raise ValueError("and now nobody looks")

    monkeypatch.setattr(WatchingServer, "observe", spoils)
    assert set(_statuses(_scenario(), tmp_path).values()) == {"error"}


def test_rows_that_an_attack_keeps_or_changes_are_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []
    observe = WatchingServer.observe

    def keeps(self: Any, view: RoundView) -> None:
        observe(self, view)
        kept.append((view.rows, view.rows.clone()))
        view.rows[0].mul_(3.0)
        kept[-1][1][0].mul_(3.0)

    untouched = _metrics(fedsec.run(_scenario(), tmp_path / "one"))
    monkeypatch.setattr(WatchingServer, "observe", keeps)
    assert _metrics(fedsec.run(_scenario(), tmp_path / "two")) == untouched
    assert len(kept) > 1
    assert all(torch.equal(rows, copy) for rows, copy in kept), "a later round was written over them"


def _metrics(result: Any) -> list[Any]:
    cells = result.scorecard["cells"]
    return [{k: v for k, v in cell["metrics"].items() if not k.startswith("cost/")} for cell in cells]


def test_what_an_attack_is_shown_while_it_looks_knows_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[bool] = []

    def looks(self: Any, view: RoundView) -> None:
        shown.append(any(isinstance(part, FrozenEncoder) for part in view.model.module.modules()))

    used: list[int] = []
    forward = FrozenEncoder.forward

    def counted(self: Any, *given: Any, **named: Any) -> Any:
        used.append(1)
        return forward(self, *given, **named)

    monkeypatch.setattr(WatchingServer, "observe", looks)
    monkeypatch.setattr(WatchingServer, "score", lambda self, candidates, _: torch.zeros(len(candidates)).double())
    card = registry.attacks().get("watching-server")
    easy = replace(card, threat=replace(card.threat, needs=frozenset({Asset.ROWS})))
    monkeypatch.setitem(registry.attacks()._cards, card.name, easy)
    monkeypatch.setattr(FrozenEncoder, "forward", counted)
    scenario = _scenario("model.tuning={kind: head}", "model.dropout=false")
    assert set(_statuses(scenario, tmp_path).values()) == {"ok"}
    assert shown
    assert not any(shown)
    assert used, "the stand-in was not used: the test tests nothing"
