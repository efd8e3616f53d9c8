"""The cells of a scenario: attack x defense x seed x varied settings, controls included."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from fedsec import registry
from fedsec.api import Population, Position
from fedsec.config.load import substitute
from fedsec.config.population import declared_in_round
from fedsec.config.schema import Component, Scenario

NONE = "none"


@dataclass(frozen=True, slots=True)
class Cell:
    """One (attack, defense stack, seed) under one choice of the varied settings."""

    attack: Component
    """`{"name": "none", "params": {}}` in the control."""
    defense: tuple[Component, ...]
    """Empty in the control."""
    seed: int
    settings: dict[str, Any]
    """The varied settings of this cell."""
    scenario: Scenario
    """The scenario with these settings in place."""

    @property
    def attack_label(self) -> str:
        """Registered name and changed parameters, or `none`."""
        if self.attack["name"] == NONE:
            return NONE
        return registry.attacks().get(self.attack["name"]).label(self.attack["params"])

    @property
    def defense_label(self) -> str:
        """Labels of the stack joined by `+`, or `none`."""
        labels = (registry.defenses().get(d["name"]).label(d["params"]) for d in self.defense)
        return "+".join(labels) or NONE

    @property
    def label(self) -> str:
        """One line for people."""
        settings = "".join(f" {path.rsplit('.', 1)[-1]}={value}" for path, value in self.settings.items())
        return f"{self.attack_label} vs {self.defense_label}, seed {self.seed}{settings}"

    @property
    def attack_position(self) -> Position | None:
        """Where the attack stands; None in the control."""
        if self.attack["name"] == NONE:
            return None
        return registry.attacks().get(self.attack["name"]).threat.position

    @property
    def attack_round(self) -> int:
        """The round that a curious server attacks."""
        chosen = self.scenario.threat.attack_round
        return self.scenario.federation.rounds if chosen == "last" else chosen


def expand(scenario: Scenario) -> list[Cell]:
    """Every cell in the scorecard's order: settings, then attack, then defense, then seed."""
    cells = []
    for settings, variant in _variants(scenario):
        crossed = product(variant.matrix.attack, variant.matrix.defense, variant.matrix.seed)
        for attack, defense, seed in crossed:
            cells.append(Cell(attack, tuple(defense), seed, settings, variant))
    return cells


def refusal(cell: Cell) -> str | None:
    """Why a cell does not apply at all, as far as the scenario tells, or None."""
    if cell.attack_position == Position.CLIENT and cell.scenario.threat.malicious == 0:
        return f"{cell.attack_label} acts from a client, and threat.malicious is 0"
    federation = cell.scenario.federation
    declared = declared_in_round(federation.clients, federation.cohort, cell.scenario.threat.declared)
    population = Population(clients=federation.cohort, declared_malicious=declared)
    for component in cell.defense:
        check = registry.defenses().get(component["name"]).precondition
        reason = check(population, component["params"]) if check else None
        if reason:
            return reason
    return None


def _variants(scenario: Scenario) -> Iterator[tuple[dict[str, Any], Scenario]]:
    paths = list(scenario.matrix.vary)
    for values in product(*scenario.matrix.vary.values()):
        settings = dict(zip(paths, values, strict=True))
        yield settings, substitute(scenario, settings) if settings else scenario
