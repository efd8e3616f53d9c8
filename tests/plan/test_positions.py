"""DESIGN section 4's table, row by row, against what each position is really handed."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest
import torch

import fedsec
from fedsec import registry
from fedsec.api import Aggregation, Asset, ColluderView, Keys, Position, RoundView, Update
from fedsec.cell.evidence import Looked, round_view, secrets_of
from fedsec.cell.resources import Resources
from fedsec.cell.training import Trained, train
from fedsec.config.load import load_scenario
from fedsec.config.schema import Component
from fedsec.federation.plugins import Plugin
from fedsec.federation.transcript import Observed
from fedsec.plan.cells import Cell, expand, refusal
from fedsec.plan.visibility import seen
from fedsec.testing import doubles

PLAIN, SECURE, HOMOMORPHIC = "none", "ideal-sum", "ideal-sealed"
CLIENTS = 4


@pytest.fixture(autouse=True)
def _doubles() -> Iterator[None]:
    with doubles.registered():
        yield


def _scenario(attack: str, defense: str, *, tls: bool = False, colluding: int = 0, rounds: int = 2) -> Any:
    return load_scenario(
        {
            "schema": 1,
            "name": "test/positions",
            "summary": "Who sees what?",
            "model": {"name": "tiny-bert", "tuning": {"kind": "full"}, "width": 16, "dropout": False},
            "data": {"name": "clinic-notes", "train": 40, "test": 10, "max_tokens": 16},
            "federation": {
                "clients": CLIENTS,
                "rounds": rounds,
                "batch_size": 2,
                "learning_rate": 0.1,
                "update": "gradient",
                "tls": tls,
            },
            "threat": {"malicious": 1, "colluding": colluding},
            "matrix": {"attack": [attack], "defense": [defense]},
        }
    )


def _cell(attack: str, defense: str, **settings: Any) -> Cell:
    cells = expand(_scenario(attack, defense, **settings))
    label = "none" if defense == PLAIN else defense
    return next(cell for cell in cells if cell.attack.name == attack and cell.defense_label == label)


@cache
def _trained(defense: str) -> Trained:
    return train(_cell("server-reads-sum", defense), frozenset({1}), Resources(), lambda _: None)


def _handed(attack: str, defense: str, **settings: Any) -> tuple[RoundView, Observed]:
    cell, trained = _cell(attack, defense, **settings), _trained(defense)
    return _view(cell, trained), trained.outcome.observed[1]


def _view(cell: Cell, trained: Trained) -> RoundView:
    return round_view(cell, trained.around, trained.outcome.observed[1], secrets_of(cell, trained)[1], Looked())


@dataclass(frozen=True)
class Row:
    """One row of the table for one aggregation."""

    attack: str
    defense: str
    rows: bool
    sum: bool
    model: bool


TABLE = [
    Row("server-reads-sum", PLAIN, rows=True, sum=True, model=True),
    Row("server-reads-sum", SECURE, rows=False, sum=True, model=True),
    Row("server-reads-sum", HOMOMORPHIC, rows=False, sum=False, model=False),
    Row("key-holder-reads", HOMOMORPHIC, rows=False, sum=True, model=True),
    Row("curious-client", PLAIN, rows=False, sum=True, model=True),
    Row("curious-client", SECURE, rows=False, sum=True, model=True),
    Row("curious-client", HOMOMORPHIC, rows=False, sum=True, model=True),
    Row("eavesdropper", PLAIN, rows=True, sum=True, model=True),
    Row("eavesdropper", SECURE, rows=False, sum=True, model=True),
    Row("eavesdropper", HOMOMORPHIC, rows=False, sum=False, model=False),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.attack}-{row.defense}")
def test_a_position_is_handed_what_the_table_says(row: Row) -> None:
    view, observed = _handed(row.attack, row.defense)
    assert (view.rows is not None) == row.rows
    assert (view.aggregate is not None) == row.sum
    assert (view.model.module is not None) == row.model
    if view.rows is not None:
        assert view.clients == observed.clients
        assert torch.equal(view.rows, observed.rows)
        assert view.rows.data_ptr() != observed.rows.data_ptr()
    else:
        assert view.clients == ()
    if view.aggregate is not None:
        assert torch.allclose(view.aggregate, observed.rows.mean(dim=0), atol=2e-6)
    if view.model.module is not None:
        shown = torch.cat([p.detach().flatten() for p in view.model.module.parameters() if p.requires_grad])
        assert len(shown) == len(observed.start)
        assert float(shown.double().sum()) == pytest.approx(float(observed.start.double().sum()), rel=1e-6)
    assert view.cohort == (view.colluders if row.attack == "curious-client" else observed.cohort)
    assert view.upload_bytes == observed.upload_bytes > 0


@pytest.mark.parametrize("defense", [PLAIN, SECURE, HOMOMORPHIC])
def test_tls_leaves_an_eavesdropper_the_cohort_and_sizes(defense: str) -> None:
    view, observed = _handed("eavesdropper", defense, tls=True)
    assert (view.rows, view.aggregate, view.model.module) == (None, None, None)
    assert view.cohort == observed.cohort
    assert "tls is on" in str(refusal(_cell("eavesdropper", defense, tls=True)))


def test_ciphertexts_show_their_own_size() -> None:
    sizes = {defense: _handed("server-reads-sum", defense)[0].upload_bytes for defense in (PLAIN, HOMOMORPHIC)}
    assert sizes[HOMOMORPHIC] > 3 * sizes[PLAIN]


@pytest.mark.parametrize("colluding", [1, CLIENTS - 2])
def test_colluders_give_a_summing_server_their_own_rows_and_no_single_other(colluding: int) -> None:
    view, observed = _handed("server-reads-sum", SECURE, colluding=colluding)
    assert view.rows is None
    assert len(view.colluders) == colluding
    assert view.own_rows is not None
    assert torch.equal(view.own_rows, observed.rows[[observed.clients.index(c) for c in view.colluders]])


def test_when_all_but_one_collude_the_sum_gives_the_last_row_away() -> None:
    view, observed = _handed("server-reads-sum", SECURE, colluding=CLIENTS - 1)
    assert view.rows is not None
    (victim,) = view.clients
    assert victim not in view.colluders
    truth = observed.rows[observed.clients.index(victim)]
    assert torch.allclose(view.rows[0], truth, atol=1e-5)
    assert not torch.equal(view.rows[0], truth), "a subtraction leaves rounding: this was copied"


def test_under_ciphertexts_a_colluder_shares_the_models_that_it_receives() -> None:
    one, observed = _handed("server-reads-sum", HOMOMORPHIC, colluding=1)
    assert one.rows is None
    assert one.model.module is not None
    assert one.aggregate is not None
    assert torch.allclose(one.aggregate, observed.rows.mean(dim=0), atol=2e-6)
    most, observed = _handed("server-reads-sum", HOMOMORPHIC, colluding=CLIENTS - 1)
    assert most.rows is not None
    (victim,) = most.clients
    assert torch.allclose(most.rows[0], observed.rows[observed.clients.index(victim)], atol=1e-5)


def _alone(attack: str, defense: str, **federation: Any) -> tuple[RoundView, Observed]:
    scenario = _scenario(attack, defense)
    changed = scenario.federation.model_copy(update=federation)
    scenario = scenario.model_copy(update={"federation": changed})
    label = "none" if defense == PLAIN else defense
    cell = next(c for c in expand(scenario) if c.attack.name == attack and c.defense_label == label)
    trained = train(cell, frozenset({1}), Resources(), lambda _: None)
    return _view(cell, trained), trained.outcome.observed[1]


def test_the_sum_of_a_single_row_is_that_row() -> None:
    view, observed = _alone("server-reads-sum", SECURE, clients_per_round=1)
    assert view.rows is not None
    assert torch.allclose(view.rows, observed.rows, atol=1e-6)


@pytest.mark.parametrize("defense", [PLAIN, SECURE, HOMOMORPHIC])
def test_a_client_in_a_cohort_of_two_sees_the_other(defense: str) -> None:
    view, observed = _alone("curious-client", defense, clients_per_round=2)
    assert view.rows is not None
    (victim,) = view.clients
    assert victim not in view.colluders
    assert torch.allclose(view.rows[0], observed.rows[observed.clients.index(victim)], atol=2e-5)


def test_a_curious_client_sees_its_own_row_and_is_no_target() -> None:
    view, observed = _handed("curious-client", SECURE)
    (own,) = view.colluders
    assert view.own_rows is not None
    assert view.aggregate is not None
    row = observed.rows[observed.clients.index(own)]
    assert torch.equal(view.own_rows[0], row)
    others = view.aggregate * CLIENTS - row
    assert torch.allclose(others, observed.rows.sum(dim=0) - row, atol=1e-5)
    assert own not in secrets_of(_cell("curious-client", SECURE), _trained(SECURE))[1]


def test_an_authority_reads_what_it_is_to_add_up_and_a_key_holder_the_sum_that_it_gets() -> None:
    sights = [seen(frozenset({Position.KEY_HOLDER}), Aggregation.HOMOMORPHIC, keys=k) for k in (Keys.AUTHORITY, None)]
    assert [Asset.ROWS in sight for sight in sights] == [True, False]


def test_there_is_a_key_holder_only_where_there_are_keys() -> None:
    assert refusal(_cell("key-holder-reads", HOMOMORPHIC)) is None
    for defense in (PLAIN, SECURE):
        assert "no key holder" in str(refusal(_cell("key-holder-reads", defense)))


@dataclass(frozen=True, slots=True)
class Noting:
    """A malicious client that notes what it is handed."""

    def on_update(self, update: Update, view: ColluderView) -> Update:
        view.blackboard.setdefault("models", []).append(view.global_parameters)
        view.blackboard.setdefault("rows", []).append(view.own_rows)
        return update


@pytest.mark.parametrize("defense", [PLAIN, SECURE, HOMOMORPHIC])
def test_colluders_see_global_models_and_own_rows_hence_the_sum_of_the_others(
    defense: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: dict[str, Any] = {}

    class Kept(Noting):
        def on_update(self, update: Update, view: ColluderView) -> Update:
            notes.update(clients=view.colluders, board=view.blackboard)
            return Noting.on_update(self, update, view)

    monkeypatch.setattr("fedsec.cell.hostile.attack_plugin", lambda _: Plugin("notes", Kept))
    cell = _cell("flip-labels", defense)
    outcome = train(cell, frozenset({1}), Resources(), lambda _: None).outcome
    (first, second), observed = notes["board"]["models"], outcome.observed[1]
    own = notes["board"]["rows"][0][0]
    assert torch.equal(first, observed.start)
    assert torch.equal(own, observed.rows[observed.clients.index(notes["clients"][0])])
    others = (first - second) / 0.1 * CLIENTS - own
    assert torch.allclose(others, observed.rows.sum(dim=0) - own, atol=1e-4)


@pytest.mark.parametrize("defense", [SECURE, HOMOMORPHIC])
@pytest.mark.parametrize("name", ["krum", "take-turns", "drop-largest"])
def test_what_needs_rows_does_not_apply_where_they_are_hidden(defense: str, name: str) -> None:
    scenario = _scenario("server-reads-sum", PLAIN)
    stack = [[Component(name=defense), Component(name=name, params=_params(name))]]
    scenario = scenario.model_copy(update={"matrix": scenario.matrix.model_copy(update={"defense": stack})})
    assert refusal(expand(scenario)[0]) == f"{name} needs single rows at the server, which {defense} hides"


def _params(name: str) -> dict[str, Any]:
    return {"neighbours": "blanchard"} if name == "krum" else {}


def test_every_aggregation_has_its_column() -> None:
    kinds = {_cell("server-reads-sum", defense).aggregation for defense in (PLAIN, SECURE, HOMOMORPHIC)}
    assert kinds == set(Aggregation)


def _texts_within(value: Any, texts: set[tuple[int, ...]], seen: set[int], depth: int = 0) -> bool:
    """Whether any of the texts lies somewhere in an object's attributes, items and keys."""
    if id(value) in seen or depth > 12 or isinstance(value, (str, bytes, int, float, torch.Tensor)):
        return False
    seen.add(id(value))
    if isinstance(value, (tuple, list)) and tuple(value) in texts:
        return True
    parts = list(vars(value).values()) if hasattr(value, "__dict__") else []
    if isinstance(value, dict):
        parts = [*value.keys(), *value.values()]
    elif isinstance(value, (tuple, list, set, frozenset)):
        parts = list(value)
    return any(_texts_within(part, texts, seen, depth + 1) for part in parts)


def test_the_model_that_an_attack_is_handed_knows_no_text() -> None:
    scenario = _scenario("server-reads-rows", PLAIN)
    tuning = scenario.model.tuning.model_copy(update={"kind": "head"})
    scenario = scenario.model_copy(update={"model": scenario.model.model_copy(update={"tuning": tuning})})
    cell = next(c for c in expand(scenario) if c.attack.name == "server-reads-rows" and not c.defense)
    resources = Resources()
    trained = train(cell, frozenset({1}), resources, lambda _: None)
    known = {text for kept in resources._encodings.values() if kept for text in kept}
    assert known, "the frozen encoder was not used: the test tests nothing"
    assert _texts_within(resources._encodings, known, set())
    view = _view(cell, trained)
    assert not _texts_within(view.model.module, known, set())


def test_a_malicious_client_that_lacks_what_it_needs_is_blocked(tmp_path: Any) -> None:
    card = registry.attacks().get("flip-labels")
    needy = replace(card, name="needy", threat=replace(card.threat, needs=frozenset({Asset.WORD_EMBEDDINGS})))
    registry.attacks().register(needy)
    try:
        result = fedsec.run(_scenario("needy", "frozen-embeddings", rounds=1), tmp_path)
    finally:
        registry.attacks().remove("needy")
    cells = {(c["attack"], c["defense"]): c for c in result.scorecard["cells"]}
    assert cells["needy", "none"]["status"] == "ok"
    blocked = cells["needy", "frozen-embeddings"]
    assert (blocked["status"], blocked["reason"]) == (
        "blocked",
        "frozen-embeddings removes the word embeddings' part of an update",
    )
    control = cells["none", "frozen-embeddings"]["metrics"]["utility/accuracy"]
    assert blocked["metrics"]["utility/accuracy"] == control


def test_late_rows_show_what_they_started_from() -> None:
    late = {"deadline": 1.0, "spread": 0.7, "max_staleness": 3}
    scenario = _scenario("server-reads-rows", PLAIN, rounds=6)
    federation = scenario.federation.model_copy(update={"availability": type(scenario.federation.availability)(**late)})
    scenario = scenario.model_copy(update={"federation": federation})
    cells = expand(scenario)
    cell = next(c for c in cells if c.attack.name == "server-reads-rows" and not c.defense)
    trained = train(cell, frozenset(range(1, 7)), Resources(), lambda _: None)
    observed = trained.outcome.observed
    stale = [one for one in observed.values() if one.staleness]
    assert stale, "no row came late: the test tests nothing"
    for one in stale:
        assert one.started is not None
        for place, staleness in enumerate(one.staleness):
            assert torch.equal(one.started[place], observed[one.round - staleness].start)


def test_a_redactor_is_scored_on_what_the_client_holds(tmp_path: Any) -> None:
    result = fedsec.run(_scenario("server-reads-rows", "redact", rounds=1), tmp_path)
    cells = {c["defense"]: c for c in result.scorecard["cells"] if c["attack"] == "server-reads-rows"}
    plain, redacted = (cells[name]["metrics"]["leakage/pii-recall"] for name in ("none", "redact"))
    assert redacted["n"] == plain["n"]
    assert redacted["value"] <= plain["value"]
