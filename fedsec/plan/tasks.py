"""What there is to do: cells with their content keys, grouped by the training that they share. Imports no torch."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedsec import registry
from fedsec.api import Card
from fedsec.config.schema import Scenario
from fedsec.models.inputs import model_hash
from fedsec.plan.cells import NONE, Cell, expand, training_key
from fedsec.store.keys import data_hash, digest, weights_hash
from fedsec.store.sources import card_hash, engine_hash, stands_outside


@dataclass(frozen=True, slots=True)
class Task:
    """A cell and what identifies its result."""

    index: int
    """Its place among the scenario's cells."""
    key: str
    cell: Cell
    inputs: dict[str, str]


@dataclass(frozen=True, slots=True)
class Group:
    """Cells that share one training."""

    key: str
    """Of everything that the training depends on, sources, data and weights included."""
    tasks: tuple[Task, ...]
    shares: str
    """Groups with the same value use the same texts and base model; whoever ran one runs the next one faster."""


def tasks_of(scenario: Scenario) -> list[Task]:
    """Every cell of a scenario in the scorecard's order, with its key."""
    return [Task(index, cell_key(cell), cell, inputs(cell.scenario)) for index, cell in enumerate(expand(scenario))]


def grouped(tasks: Iterable[Task]) -> list[Group]:
    """The tasks by training, both in their order."""
    found: dict[str, list[Task]] = {}
    for task in tasks:
        found.setdefault(training_key(task.cell), []).append(task)
    return [Group(_group_key(key, own[0]), tuple(own), _shares(own[0].cell)) for key, own in found.items()]


def cell_key(cell: Cell) -> str:
    """Of everything that a cell's result depends on: settings, sources, data and weights."""
    content = cell.scenario.model_dump(mode="json", include={"model", "data", "federation", "threat", "keep_text"})
    read = inputs(cell.scenario)
    sources = [engine_hash(), *(card_hash(card) for card in _cards(cell))]
    return digest([content, cell.settings, cell.attack, cell.defense, cell.seed, [*read.values()], sources])


def inputs(scenario: Scenario) -> dict[str, str]:
    """Hashes of the data, the weights and the auxiliary text that a scenario reads."""
    weights = model_hash(scenario.model.name, scenario.model.params)
    read = {"data": data_hash(scenario.data.name, scenario.data.path, scenario.data.revision), "weights": weights}
    given = scenario.threat.auxiliary
    if given.given:
        ready = weights_hash(given.model) if given.model else ""
        read["auxiliary"] = digest([data_hash(given.name, given.path, given.revision), ready])
    return read


def looks_on(cell: Cell) -> bool:
    """Whether the cell's attack only looks at a training that would be the same without it."""
    return cell.attack["name"] != NONE and not (cell.forges or cell.alters_broadcast)


def checkpoint_path(run: Path, group_key: str) -> Path:
    """Where the training of a group leaves its checkpoint; another state of the sources never finds it."""
    return run / "checkpoints" / f"{group_key}.safetensors"


def _group_key(training: str, task: Task) -> str:
    sources = [engine_hash(), *(card_hash(card) for card in _cards(task.cell, that_train=True))]
    return digest([training, task.inputs["data"], task.inputs["weights"], sources])


def _shares(cell: Cell) -> str:
    return digest([cell.scenario.model_dump(mode="json", include={"model", "data"}), cell.seed])


def _cards(cell: Cell, *, that_train: bool = False) -> list[Card]:
    """Cards of the plug-ins that a cell uses and the engine's hash does not cover; `that_train`: without onlookers."""
    found: list[Card] = [registry.defenses().get(part["name"]) for part in cell.defense]
    if cell.attack["name"] != NONE and not (that_train and looks_on(cell)):
        found.append(registry.attacks().get(cell.attack["name"]))
    kinds: list[tuple[registry.Registry[Any], str | None]] = [
        (registry.models(), cell.scenario.model.name),
        (registry.datasets(), cell.scenario.data.name),
        (registry.datasets(), None if that_train else cell.scenario.threat.auxiliary.name),
    ]
    loaders = [kind.get(name) for kind, name in kinds if name is not None and name in kind]
    return found + [card for card in loaders if stands_outside(card)]
