"""What there is to do: cells with their content keys, grouped by the training that they share. Imports no torch."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fedsec.config.schema import Scenario
from fedsec.config.suite import Suite, members_of
from fedsec.plan.cells import NONE, Cell, expand
from fedsec.plan.keys import cell_key, group_key, inputs, shares, training_key


@dataclass(frozen=True, slots=True)
class Task:
    """A cell with the keys of its result."""

    index: int
    """Its place among the cells of the scenario, or of the whole suite."""
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


@dataclass(frozen=True, slots=True)
class Member:
    """A scenario, by itself or of a suite, with its cells in the scorecard's order."""

    scenario: Scenario
    tasks: tuple[Task, ...]
    """Those of the same key are the same object, whatever scenario they stand in."""


def members(scenario: Scenario | Suite) -> list[Member]:
    """Every scenario of a suite, or the one scenario, with its cells; what two of them have in common is one task."""
    known: dict[str, Task] = {}
    found = []
    for one in members_of(scenario):
        own = [(cell_key(cell), cell) for cell in expand(one)]
        for key, cell in own:
            known.setdefault(key, Task(len(known), key, cell, inputs(cell.scenario)))
        found.append(Member(one, tuple(known[key] for key, _ in own)))
    return found


def tasks_of(scenario: Scenario | Suite) -> list[Task]:
    """Every cell of a scenario or a suite with its key, each key once, in the scorecard's order."""
    return distinct(members(scenario))


def distinct(found: Iterable[Member]) -> list[Task]:
    """The tasks of all these scenarios, each key once."""
    return list({task.key: task for member in found for task in member.tasks}.values())


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
