"""A malicious supplier of the base model or of public rows: what it alters, and what it leaves to the federation."""

from collections.abc import Iterator
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fedsec.cell import supply
from fedsec.cell.resources import Resources
from fedsec.cell.score import score
from fedsec.cell.training import Trained, train
from fedsec.errors import FedsecError
from fedsec.federation.plugins import Plugin
from fedsec.models.roles import describe_parameters
from fedsec.plan.cells import Cell, expand, refusal
from fedsec.plan.keys import prefix_key, start_key
from fedsec.testing import canned

PUBLIC = ("data.train=240", "model.start={rows: 120, steps: 30, batch_size: 16}", "threat.malicious=0")
SHORT = ("federation.rounds=2", "federation.evaluate_every=1")
LORA = "model.tuning={kind: lora, rank: 4}"


@pytest.fixture(autouse=True)
def _data() -> Iterator[None]:
    with canned.registered():
        yield


def _cells(attack: Any, *overrides: str) -> tuple[Cell, Cell]:
    """The control, and the attack's cell."""
    control, attacked = expand(canned.byzantine(attack, overrides=(*SHORT, *PUBLIC, *overrides)))
    return control, attacked


@cache
def _trained(attack: str) -> tuple[tuple[Cell, Trained], tuple[Cell, Trained]]:
    given = {"rate": 0.4} if attack == "fed-ebd" else {"learning_rate": 5e-3, "steps": 40}
    control, attacked = _cells({"name": attack, **given}, *([] if attack == "fed-ebd" else [LORA]))
    resources = Resources()

    def one(cell: Cell) -> tuple[Cell, Trained]:
        return cell, train(cell, frozenset(), resources, lambda _: None)

    return one(control), one(attacked)


@pytest.mark.parametrize("attack", ["fed-ebd", "poisoned-base-model"])
def test_a_supplier_plants_a_backdoor_with_no_client_compromised(attack: str) -> None:
    _, (cell, trained) = _trained(attack)
    content = score(cell, trained)
    metrics = content["cell"]["metrics"]
    assert trained.malicious == frozenset()
    assert content["cell"]["acts"]
    success, base = (metrics[f"robustness/{name}"]["value"] for name in ("attack-success-rate", "untriggered-rate"))
    assert success > base + 0.3
    lived = metrics["robustness/lifespan-rounds"]
    assert (lived["value"], lived["detail"]["last-hostile-round"]) == (2.0, 0.0)  # from the start on, to the end


def test_poisoned_rows_change_the_start_and_a_poisoned_model_what_nobody_trains_but_not_the_head() -> None:
    (_, honest), (_, rows) = _trained("fed-ebd")
    assert honest.start is not None
    assert rows.start is not None
    assert not torch.equal(honest.start.vector, rows.start.vector)
    (_, honest), (_, model) = _trained("poisoned-base-model")
    assert honest.frozen != model.frozen
    assert all(parameter.grad is None for parameter in model.model.module.parameters() if not parameter.requires_grad)


def test_the_head_stays_the_federations_own(monkeypatch: pytest.MonkeyPatch) -> None:
    _, cell = _cells("poisoned-base-model", "model.tuning.kind=full", "federation.rounds=1")
    _, trained = _trained("poisoned-base-model")
    ones = SimpleNamespace(on_base_model=lambda parameters, view: torch.ones_like(parameters))
    _supply(monkeypatch, ones)
    module = supply_into(cell, trained)
    named = dict(module.named_parameters())
    for info in describe_parameters(module):
        assert bool((named[info.name] == 1.0).all()) == (info.role != "head"), info.name


@pytest.mark.parametrize("found", [None, torch.ones(3), torch.tensor(float("nan"))])
def test_a_supplier_that_gives_no_model_is_named(found: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, cell = _cells("poisoned-base-model")
    _, trained = _trained("poisoned-base-model")
    _supply(monkeypatch, SimpleNamespace(on_base_model=lambda parameters, view: found))
    with pytest.raises(FedsecError, match=r"my-model\.on_base_model\(\) must return finite fp32 parameters"):
        supply_into(cell, trained)
    _supply(monkeypatch, SimpleNamespace(on_public_data=lambda samples, view: ()))
    with pytest.raises(FedsecError, match=r"my-model\.on_public_data\(\) must return a tuple of at least one Sample"):
        supply_into(cell, trained)


def _supply(monkeypatch: pytest.MonkeyPatch, hooks: SimpleNamespace) -> None:
    """Let cells be attacked by a supplier of these hooks."""
    kind = type(
        "Mine", (), {name: lambda self, *given, _hook=hook: _hook(*given) for name, hook in vars(hooks).items()}
    )
    monkeypatch.setattr(supply, "attack_plugin", lambda _: Plugin("my-model", kind))


def supply_into(cell: Cell, trained: tuple[Cell, Trained]) -> Any:
    """A base model after the cell's supplier had it."""
    from fedsec.cell.resources import load_model
    from fedsec.cell.start import Shelf
    from fedsec.seeds import SeedTree

    base = load_model(cell.scenario, 3, SeedTree(0))
    supply.supplied(cell, base.module, (), trained[1].materials, Shelf(Resources(), None))
    return base.module


def test_without_public_rows_there_is_nothing_to_supply() -> None:
    cell = expand(canned.byzantine("fed-ebd"))[-1]
    assert refusal(cell) == "fed-ebd is by a supplier of public rows: model.start names none"


def test_a_supplier_shares_neither_start_nor_honest_rounds() -> None:
    late = "threat.participation={first: 2}"
    control, attacked = _cells("fed-ebd", late)
    other = _cells({"name": "fed-ebd", "rate": 0.5}, late)[1]
    assert prefix_key(attacked) is None
    assert prefix_key(control) is not None
    assert len({start_key(one, ["x"]) for one in (control, attacked, other)}) == 3
