"""Writes a scenario back to YAML, with every value explicit."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from fedsec.config.components import CONTROL
from fedsec.config.paths import seen_from
from fedsec.config.scalars import resolve
from fedsec.config.schema import SCHEMA_VERSION, Component, Scenario
from fedsec.config.suite import Suite, members_of


def dump(scenario: Scenario) -> dict[str, Any]:
    """Plain data in the YAML form; `load_scenario` makes an equal scenario of it."""
    data: dict[str, Any] = scenario.model_dump(mode="json", by_alias=True)
    data["model"].update(data["model"].pop("params"))
    matrix = data["matrix"]
    matrix["attack"] = [_written(component) for component in scenario.matrix.attack]
    matrix["defense"] = [
        [_written(component) for component in stack] if stack else CONTROL for stack in scenario.matrix.defense
    ]
    return data


def whole(scenario: Scenario | Suite, members: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The data of a scenario or a suite, made of those of its members."""
    if isinstance(scenario, Suite):
        head = {"schema": SCHEMA_VERSION, "name": scenario.name, "summary": scenario.summary}
        return {**head, "scenarios": list(members), "gate": [rule.model_dump() for rule in scenario.gate]}
    return members[0]


def dump_text(scenario: Scenario | Suite, folder: Path | None = None) -> str:
    """The YAML text of a scenario, or of a suite with all its scenarios in it; reading it makes an equal one.

    Args:
        scenario: a checked scenario or suite.
        folder: where the file will lie, so that its relative paths start there; the working directory if absent.
    """
    members = [dump(one) if folder is None else seen_from(dump(one), folder) for one in members_of(scenario)]
    data = whole(scenario, members)
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def _written(component: Component) -> str | dict[str, Any]:
    return CONTROL if component.name == CONTROL else {"name": component.name, **component.params}


class _Dumper(yaml.SafeDumper):
    """Quotes every text that fedsec's reader would take for something else (`1e5`); writes no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """A text, in quotes where it looks like a number, a boolean or null."""
        node = super().represent_str(data)
        if node.style is None and not _is_text(data):
            node.style = "'"
        return node


_Dumper.add_representer(str, _Dumper.represent_str)


def _is_text(text: str) -> bool:
    try:
        return isinstance(resolve(text), str)
    except ValueError:
        return False
