"""`matrix.vary`, and scenarios with values put in."""

from collections.abc import Callable
from typing import Any

import pytest

from fedsec.config.load import load_scenario, substitute
from fedsec.config.problems import ConfigError

Faults = Callable[..., list[str]]


def test_varied_attackers_satisfy_an_attack(faults: Faults) -> None:
    assert faults(threat={"malicious": 0}, matrix={"vary": {"threat.malicious": [0, 2]}}) == []
    assert len(faults(matrix={"vary": {"threat.obeys_client_defenses": [True]}})) == 1


def test_a_combination_that_fails_is_named(faults: Faults) -> None:
    vary = {"federation.clients": [6, 2], "threat.malicious": [1, 4]}
    assert faults(matrix={"vary": vary}) == [
        "matrix.vary: with federation.clients 2, threat.malicious 4, threat.malicious: 4 is more than "
        "federation.clients, which is 2"
    ]


def test_numbers_are_normal(base: dict[str, Any]) -> None:
    base["matrix"]["vary"] = {"federation.learning_rate": [1, 0.5], "federation.rounds": [1]}
    vary = load_scenario(base).matrix.vary
    assert vary == {"federation.learning_rate": [1.0, 0.5], "federation.rounds": [1]}
    assert type(vary["federation.learning_rate"][0]) is float


def test_one_and_one_point_nought_are_one_value_and_true_is_another(faults: Faults) -> None:
    found = faults(matrix={"vary": {"federation.learning_rate": [1, 1.0]}})
    assert found == ["matrix.vary.federation.learning_rate[1]: 1.0 stands twice"]
    found = faults(matrix={"vary": {"federation.learning_rate": [1, True]}})
    assert found == [
        "matrix.vary.federation.learning_rate[1]: true is not allowed; allowed: a number of more than 0 and at most 100"
    ]


def test_too_many_values(faults: Faults) -> None:
    found = faults(matrix={"vary": {"federation.rounds": list(range(1, 1002))}})
    assert found == ["matrix.vary: 1001 values; allowed: at most 1,000"]


def test_faults_of_the_base_are_not_told_again_for_every_value(faults: Faults) -> None:
    found = faults(federation={"rounds": 0}, matrix={"vary": {"federation.batch_size": [1, 2]}})
    assert [line.split(":")[0] for line in found] == ["federation.rounds"]


def test_substitute_puts_values_in_and_takes_them_out_of_vary(base: dict[str, Any]) -> None:
    base["matrix"]["vary"] = {"federation.batch_size": [1, 4], "federation.rounds": [1]}
    scenario = load_scenario(base)
    put = substitute(scenario, {"federation.batch_size": 4})
    assert put.federation.batch_size == 4
    assert put.matrix.vary == {"federation.rounds": [1]}
    assert put.model_copy(update={"federation": scenario.federation, "matrix": scenario.matrix}) == scenario
    assert substitute(scenario, {}) == scenario


def test_substitute_allows_a_sweep_without_attackers(base: dict[str, Any]) -> None:
    assert substitute(load_scenario(base), {"threat.malicious": 0}).threat.malicious == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"federation.batch_size": 0}, "federation.batch_size: 0 is not allowed"),
        ({"federation.clients": 2, "threat.malicious": 3}, "3 is more than federation.clients"),
        ({"federation.rounds.x": 1}, "no such path"),
        ({"matrix.seed": [1]}, "no such path"),
        ({"federation.learning_rate": float("nan")}, "nan is not finite"),
    ],
)
def test_substitute_checks_again(base: dict[str, Any], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        substitute(load_scenario(base), settings)


def test_another_model_comes_with_its_own_parameters(base: dict[str, Any]) -> None:
    base["model"] = {"name": "tiny-bert", "layers": 3}
    base["matrix"]["vary"] = {"model.name": ["tiny-bert", "minilm"]}
    scenario = load_scenario(base)
    assert substitute(scenario, {"model.name": "minilm"}).model.params == {}
    assert substitute(scenario, {"model.name": "tiny-bert"}).model.params == {"layers": 3, "width": 64}
    assert substitute(scenario, {"model.layers": 1}).model.params == {"layers": 1, "width": 64}
