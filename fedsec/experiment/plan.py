"""The cells of a scenario: attack x defense x seed x varied settings, controls included."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from fedsec import registry
from fedsec.api import Behaviour, Knowledge, Population, Position
from fedsec.config.load import substitute
from fedsec.config.population import declared_in_round
from fedsec.config.schema import Component, Scenario

NONE = "none"
PROVIDED = {
    (Position.SERVER, Behaviour.CURIOUS): frozenset(
        {Knowledge.LABELS, Knowledge.LENGTHS, Knowledge.COHORT, Knowledge.DEFENSE_SETTINGS}
    ),
    (Position.CLIENT, Behaviour.MALICIOUS): frozenset({Knowledge.BENIGN_UPDATES, Knowledge.DEFENSE_SETTINGS}),
}
"""Adversaries that the engine runs, and the side knowledge that it can hand them."""


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
    if cell.attack_position is not None:
        threat = registry.attacks().get(cell.attack["name"]).threat
        if (threat.position, threat.behaviour) not in PROVIDED:
            return f"this version runs no {threat.behaviour} adversary at the position {threat.position}"
        lacking = sorted(threat.knowledge - knowledge(cell))
        if lacking:
            return f"{cell.attack_label} needs {' and '.join(lacking)}, which is not handed to a {threat.position}"
    for component in cell.defense:
        check = registry.defenses().get(component["name"]).precondition
        reason = check(population(cell), component["params"]) if check else None
        if reason:
            return reason
    return None


def knowledge(cell: Cell) -> frozenset[Knowledge]:
    """The side knowledge that a cell's adversary is really handed: granted, and available at its position."""
    if cell.attack["name"] == NONE:
        return frozenset()
    threat = registry.attacks().get(cell.attack["name"]).threat
    return frozenset(cell.scenario.threat.knowledge) & PROVIDED.get((threat.position, threat.behaviour), frozenset())


def population(cell: Cell) -> Population:
    """Who takes part in a full round of a cell."""
    federation, threat = cell.scenario.federation, cell.scenario.threat
    return Population(
        clients=federation.cohort,
        declared_malicious=declared_in_round(federation.clients, federation.cohort, threat.declared),
        malicious=threat.malicious if cell.attack_position == Position.CLIENT else 0,
        identically_distributed=cell.scenario.data.partition.kind == "iid",
    )


def _variants(scenario: Scenario) -> Iterator[tuple[dict[str, Any], Scenario]]:
    paths = list(scenario.matrix.vary)
    for values in product(*scenario.matrix.vary.values()):
        settings = dict(zip(paths, values, strict=True))
        yield settings, substitute(scenario, settings) if settings else scenario
