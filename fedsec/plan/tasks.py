"""What there is to do: cells with their content keys, grouped by the training that they share. Imports no torch."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fedsec.config.schema import Scenario
from fedsec.plan.cells import NONE, Cell, expand
from fedsec.plan.keys import cell_key, group_key, inputs, shares, training_key


@dataclass(frozen=True, slots=True)
class Task:
    """A cell with the keys of its result."""

    index: int
    """Its place among the scenario's cells."""
    key: str
    cell: Cell
    inputs: dict[str, str]


@dataclass(frozen=True, slots=True)
class Group:
    """Cells that share one training."""

    key: str
    """Hash of everything that the training depends on, sources, data and weights included."""
    tasks: tuple[Task, ...]
    shares: str
    """Groups with the same value use the same texts and base model, so a worker that ran one runs the next one
    faster."""


def tasks_of(scenario: Scenario) -> list[Task]:
    """Every cell of a scenario in the scorecard's order, with its key."""
    return [Task(index, cell_key(cell), cell, inputs(cell.scenario)) for index, cell in enumerate(expand(scenario))]


def grouped(tasks: Iterable[Task]) -> list[Group]:
    """The tasks by training, both in their order."""
    found: dict[str, list[Task]] = {}
    for task in tasks:
        found.setdefault(training_key(task.cell), []).append(task)
    return [Group(group_key(own[0].cell), tuple(own), shares(own[0].cell)) for own in found.values()]


def looks_on(cell: Cell) -> bool:
    """Return whether the cell's attack only reads a training that would be the same without it."""
    return cell.attack.name != NONE and not cell.acts


def rounds_path(checkpoint: Path) -> Path:
    """Where the training of that checkpoint keeps the rounds that attacks look at."""
    return checkpoint.with_suffix(".rounds")


def claims_path(checkpoint: Path, key: str) -> Path:
    """Where the attack of the cell of that key leaves what it has read, beside the checkpoint of its training."""
    return checkpoint.with_name(f"{key}.claims.json")


def checkpoint_path(run: Path, key: str) -> Path:
    """Where the training of a group of that key leaves its checkpoint; other sources never find it."""
    return run / "checkpoints" / f"{key}.safetensors"
