"""Defenses that change nothing in a scenario are n/a there, by what their cards and hooks say."""

from itertools import product
from typing import Any

import pytest

from fedsec.config.load import load_single
from fedsec.plan.cells import expand, refusal


def _reasons(**changes: Any) -> dict[tuple[str, str], str | None]:
    content: dict[str, Any] = {
        "schema": 1,
        "name": "t/one",
        "summary": "A question?",
        "model": {"name": "tiny-bert", "dropout": False},
        "data": {"name": "clinic-notes", "train": 60, "test": 30},
        "federation": {"clients": 7, "rounds": 2, "learning_rate": 0.1},
        "matrix": {"attack": ["embedding-algebra"], "defense": []},
    }
    for section, values in changes.items():
        content[section] = {**content.get(section, {}), **values}
    cells = expand(load_single(content))
    return {(cell.attack_label, cell.defense_label): refusal(cell) for cell in cells}


RULES = ["trimmed-mean", "meamed", "mda", "arc", ["nnm", "trimmed-mean"]]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_rule_that_is_the_mean_without_malicious_clients(rule: Any) -> None:
    label = "+".join(rule) if isinstance(rule, list) else rule
    later = {"declared_malicious": 0, "attack_rounds": "last"}
    idle = _reasons(matrix={"attack": ["embedding-algebra"], "defense": [rule, "krum"]}, threat=later)
    for attack in ("none", "embedding-algebra"):
        assert idle[attack, label] == (
            f"{label} changes nothing here: with f = 0 it is the plain mean; set threat.declared_malicious"
        )
        assert idle[attack, "none"] is idle[attack, "krum"] is None
    for other in (
        {"threat": {**later, "declared_malicious": 1}},
        {"federation": {"weighting": "examples"}, "threat": later},
    ):
        assert set(_reasons(matrix={"defense": [rule]}, **other).values()) == {None}


@pytest.mark.parametrize("tuning", [{"kind": "head"}, {"kind": "lora"}, {"embeddings": "frozen"}, {"kind": "full"}])
def test_frozen_embeddings_where_they_are_frozen_anyhow(tuning: dict[str, Any]) -> None:
    noisy = ["frozen-embeddings", "gaussian-noise"]
    found = _reasons(model={"tuning": tuning}, matrix={"defense": ["frozen-embeddings", noisy]})
    reason = found["none", "frozen-embeddings"]
    assert reason is None if tuning == {"kind": "full"} else str(reason).startswith("frozen-embeddings changes nothing")
    assert found["none", "frozen-embeddings+gaussian-noise"] is None  # a stack of which something acts


@pytest.mark.parametrize("on", [True, False])
def test_dropout_where_it_is_on_already(on: bool) -> None:
    found = _reasons(model={"dropout": on}, matrix={"defense": ["dropout"]})
    assert found["none", "dropout"] == ("dropout changes nothing here: model.dropout is on already" if on else None)


@pytest.mark.parametrize(("rounds", "late"), [(1, True), ("last", False), ([1, 2], False), ("all", False)])
def test_the_servers_work_does_not_change_the_updates_of_the_first_round(rounds: Any, late: bool) -> None:
    defenses = ["krum", "norm-bound", "gaussian-noise", ["gaussian-noise", "krum"], "dp-sgd"]
    attacks = ["embedding-algebra", "dager"]  # of a single row, and of rows or their sum
    matrix = {"attack": attacks, "defense": defenses}
    found = _reasons(threat={"attack_rounds": rounds, "declared_malicious": 1}, matrix=matrix)
    for attack, defense in product(attacks, ("krum", "norm-bound")):
        reason = found[attack, defense]
        assert (reason is not None) == late
        assert reason is None or reason.endswith(f"{attack} reads those of the first round only")
        assert found["none", defense] is None  # the training differs, and so does what it costs
    for defense in ("gaussian-noise", "gaussian-noise+krum", "dp-sgd"):
        assert found["embedding-algebra", defense] is None


def test_who_acts_or_gets_the_released_model_meets_the_servers_work() -> None:
    found = _reasons(threat={"malicious": 1, "attack_rounds": 1}, matrix={"attack": ["sign-flip"], "defense": ["krum"]})
    assert found["sign-flip", "krum"] is None


@pytest.mark.parametrize(
    ("path", "values", "defense"),
    [
        ("threat.declared_malicious", [0, 1], "trimmed-mean"),
        ("threat.attack_rounds", [1, "last"], "krum"),
        ("model.dropout", [False, True], "dropout"),
        ("model.tuning.kind", ["full", "head"], "frozen-embeddings"),
    ],
)
def test_a_value_that_the_scenario_varies_is_a_point_of_its_curve(path: str, values: list[Any], defense: str) -> None:
    matrix = {"attack": ["embedding-algebra"], "defense": [defense], "vary": {path: values}}
    assert set(_reasons(matrix=matrix).values()) == {None}


@pytest.mark.parametrize("name", ["benchmark/declared-f", "benchmark/inversion-defenses", "quick/inversion"])
def test_shipped_scenarios_keep_all_their_cells(name: str) -> None:
    assert {refusal(cell) for cell in expand(load_single(name))} <= {
        None,
        "Krum (Blanchard) needs n >= 2f+3 = 15, has 16",
    }
