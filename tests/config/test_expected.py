"""Figures that a shipped scenario is known to reach."""

import json

import pytest

from fedsec.config.expected import expected_of, read_expected
from fedsec.config.load import load_scenario

SHIPPED = "benchmark/sst2-lora"
FIGURE = {"metric": "utility/accuracy", "attack": "none", "expected": 0.8, "tolerance": 0.02, "source": "a" * 40}


def _file(**changes: object) -> str:
    return json.dumps({"scenario": "x", "verified": True, "figures": [FIGURE], **changes})


def test_an_unchanged_shipped_scenario_comes_with_its_figures() -> None:
    found = expected_of(load_scenario(SHIPPED))
    assert found is not None
    assert found.scenario == SHIPPED


def test_a_changed_one_does_not() -> None:
    assert expected_of(load_scenario(SHIPPED, ["federation.learning_rate=1.0e-4"])) is None


def test_one_without_figures_has_none() -> None:
    assert expected_of(load_scenario("quick/byzantine")) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"figures": []},
        {"figures": [{**FIGURE, "tolerance": 0}]},
        {"figures": [{**FIGURE, "source": "me"}]},
        {"figures": [{**FIGURE, "bound": "exactly"}]},
        {"verified": "yes"},
        {"more": 1},
    ],
)
def test_a_file_that_says_too_little_is_refused(changes: dict[str, object]) -> None:
    read_expected(_file())
    with pytest.raises(ValueError, match="validation error"):
        read_expected(_file(**changes))
