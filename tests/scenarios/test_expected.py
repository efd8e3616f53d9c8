"""Shipped scenarios show what they are shipped to show. Slow: run by `make test-all`."""

import os
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from fedsec.config.expected import expected_of, read_expected
from fedsec.config.load import load_scenario
from fedsec.config.shipped import shipped
from fedsec.report.expected import compared
from fedsec.result import RunResult, run

ROOM = Path(str(resources.files("fedsec.scenarios")))
EXPECTED = sorted(ROOM.rglob("*.expected.json"))


def _needs_data(scenario: str) -> None:
    name = load_scenario(scenario).data.name
    if name != "clinic-notes" and not os.environ.get("FEDSEC_DATA"):
        pytest.skip(f"FEDSEC_DATA is not set, and {scenario} needs {name}")


def _row(result: RunResult, attack: str, defense: str, settings: dict[str, Any] | None = None) -> dict[str, Any]:
    wanted = (attack, defense, settings or {})
    rows = [r for r in result.scorecard["summary"] if (r["attack"], r["defense"], r["settings"]) == wanted]
    assert len(rows) == 1, wanted
    return rows[0]


def _value(row: dict[str, Any], metric: str) -> float:
    return float(row["metrics"][metric]["value"])


@pytest.mark.parametrize("name", [name for name, _ in shipped()])
def test_every_shipped_scenario_is_valid_and_named_after_its_file(name: str) -> None:
    assert load_scenario(name).name == name


@pytest.mark.parametrize("path", EXPECTED, ids=lambda path: path.name)
def test_an_expectation_says_where_its_number_comes_from(path: Path) -> None:
    expected = read_expected(path.read_text())
    assert path == ROOM / f"{expected.scenario}.expected.json"
    assert expected_of(load_scenario(expected.scenario)) == expected
    assert all(0 < figure.tolerance < figure.expected for figure in expected.figures)


@pytest.mark.slow
@pytest.mark.parametrize("path", EXPECTED, ids=lambda path: path.name)
def test_the_expected_number_is_reached(path: Path, tmp_path: Path) -> None:
    expected = read_expected(path.read_text())
    if not expected.verified:
        pytest.skip(f"{expected.scenario} needs a model from the hub; its figures are a paper's, not compared yet")
    _needs_data(expected.scenario)
    result = run(load_scenario(expected.scenario), tmp_path)
    compared_with = compared(expected.model_dump(mode="json"), result.scorecard["summary"])
    assert {entry["verdict"] for entry in compared_with} == {"agrees"}


@pytest.mark.slow
def test_quick_byzantine_shows_that_the_mean_breaks_and_krum_holds(tmp_path: Path) -> None:
    result = run(load_scenario("quick/byzantine"), tmp_path)
    accuracy, drop = "utility/accuracy", "robustness/utility-drop"
    loud = "sign-flip(scale=10)"
    assert _value(_row(result, loud, "none"), drop) >= 0.20
    mean, krum = _value(_row(result, "none", "none"), accuracy), _value(_row(result, "none", "krum"), accuracy)
    controls = [c for c in result.cells if (c["cell"]["attack"], c["cell"]["defense"]) == ("none", "krum")]
    untrained = sum(c["curve"][0][1] for c in controls) / len(controls)
    assert len(controls) == 3
    assert krum >= untrained + 0.15
    assert krum >= mean - 0.15
    assert _value(_row(result, loud, "krum"), drop) <= 0.05
    worst = {entry["defense"]: entry["metrics"][accuracy]["value"] for entry in result.scorecard["worst_case"]}
    assert max(worst, key=worst.__getitem__) not in ("none", "krum"), "an attacker that knows the rule breaks both"


@pytest.mark.slow
def test_quick_inversion_shows_what_frozen_embeddings_stop_and_what_not(tmp_path: Path) -> None:
    result = run(load_scenario("quick/inversion"), tmp_path)
    exact = "leakage/exact-match"
    for moment in (1, "last"):
        settings = {"threat.attack_rounds": moment}
        assert _value(_row(result, "embedding-algebra", "none", settings), exact) == 1.0
        assert _row(result, "embedding-algebra", "frozen-embeddings", settings)["status"] == "blocked"
        assert _value(_row(result, "dager", "frozen-embeddings", settings), exact) == 1.0
        both = "frozen-embeddings+gaussian-noise(sigma=1)"
        assert _value(_row(result, "dager", both, settings), exact) == 0.0
        assert _row(result, "embedding-algebra", both, settings)["status"] == "blocked"


@pytest.mark.slow
def test_inversion_of_real_sentences(tmp_path: Path) -> None:
    _needs_data("benchmark/inversion-cola-small")
    result = run(load_scenario("benchmark/inversion-cola-small"), tmp_path)
    exact = "leakage/exact-match"
    with_dropout = {"model.dropout": True, "federation.batch_size": 1}
    assert _value(_row(result, "embedding-algebra", "none", with_dropout), exact) >= 19 / 20
    for size in (1, 2, 4):
        settings = {"model.dropout": False, "federation.batch_size": size}
        assert _value(_row(result, "dager", "none", settings), exact) == 1.0
