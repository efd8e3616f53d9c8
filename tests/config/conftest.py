"""A small valid scenario, and the problems of changed ones."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from fedsec.config.load import load_scenario
from fedsec.config.problems import ConfigError

BASE: dict[str, Any] = {
    "schema": 1,
    "name": "tests/base",
    "summary": "Is it read?",
    "model": {"name": "tiny-bert"},
    "data": {"name": "clinic-notes"},
    "federation": {"clients": 6, "rounds": 3, "learning_rate": 0.1},
    "threat": {"malicious": 1},
    "matrix": {"attack": ["none", "sign-flip"], "defense": ["none", "krum"]},
}

Faults = Callable[..., list[str]]


@pytest.fixture
def base() -> dict[str, Any]:
    """A scenario in the YAML form, free to change."""
    return copy.deepcopy(BASE)


@pytest.fixture
def faults(base: dict[str, Any]) -> Faults:
    """`path: message` of every problem of the scenario with sections updated; empty if it loads."""

    def load(**sections: Any) -> list[str]:
        for name, values in sections.items():
            base[name] = {**base.get(name, {}), **values} if isinstance(values, dict) else values
        try:
            load_scenario(base)
        except ConfigError as error:
            return [f"{problem.path}: {problem.message}" for problem in error.problems]
        return []

    return load
