"""What `fedsec run` would do: the cells by training, what is done, what does not apply, about how long. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fedsec.cell.head import BUDGET, ERROR, NOT_APPLICABLE, runs_again
from fedsec.config.schema import Scenario
from fedsec.config.suite import Suite
from fedsec.plan.cells import refusal
from fedsec.plan.estimate import START_SECONDS, Estimate, Speed, disk_of, estimate, makespan, measure_speed
from fedsec.plan.idle import idle_controls
from fedsec.plan.tasks import Group, Member, Task, distinct, grouped, members
from fedsec.runner.attack_time import LIMIT, AttackTime, Content, Measured, earlier_cells
from fedsec.runner.disk import disk_free
from fedsec.runner.machine import Machine
from fedsec.runner.recorder import Failure, attempt
from fedsec.runner.scenario import run_directory

DONE, WAITING = "done", "waiting"
STATUSES = (DONE, WAITING, ERROR, BUDGET, NOT_APPLICABLE)


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """A cell and where it stands."""

    label: str
    pair: str
    """Its attack and defense, which cells of other seeds and settings share."""
    key: str
    status: str
    """`done`, `waiting`, `error` (the same command retries it), `budget` (a higher limit does) or `n/a`."""
    reason: str | None
    attack: str
    """Registered name, or `none`."""
    scenarios: tuple[str, ...]
    """Names of the scenarios that it stands in: one, or those of a suite that have it in common."""
    time: AttackTime | None
    """Of the attack that is asked after training; None if there is none, or it is not run again."""


@dataclass(frozen=True, slots=True)
class PlannedGroup:
    """Cells that share one training."""

    cells: tuple[PlannedCell, ...]
    seconds: float | None
    """Training that is left to do; 0 if none is, None if nothing is known of the model."""
    memory: int
    disk: int
    """Bytes that rounds which attacks look at take on disk."""
    measured: bool

    @property
    def left(self) -> bool:
        """Whether a cell of it is still to run."""
        return any(cell.status in (WAITING, ERROR) for cell in self.cells)

    @property
    def attack_seconds(self) -> float:
        """Of its attacks, as far as that is known."""
        return sum(cell.time.seconds or 0.0 for cell in self.cells if cell.time is not None)


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole scenario or suite."""

    scenario: str
    path: Path
    groups: tuple[PlannedGroup, ...]
    workers: int
    bound: int
    """Bytes that workers together may use."""
    disk_free: int
    """Bytes that are free where the run lies."""

    @property
    def scenarios(self) -> tuple[str, ...]:
        """The names of the scenarios, and of those together that have cells in common, in the plan's order."""
        return tuple(dict.fromkeys(", ".join(cell.scenarios) for group in self.groups for cell in group.cells))

    @property
    def seconds(self) -> float | None:
        """About how long what is left takes, `unknown` attacks aside; None if nothing is known of a model."""
        left = [group for group in self.groups if group.left]
        known = [group.seconds + group.attack_seconds for group in left if group.seconds is not None]
        if len(known) < len(left):
            return None
        return START_SECONDS + makespan(sorted(known, reverse=True), self.workers) if left else 0.0

    @property
    def bounded(self) -> bool:
        """Whether that holds attacks of which only the limit is known."""
        times = [cell.time for group in self.groups for cell in group.cells if cell.time is not None]
        return any(time.basis == LIMIT for time in times)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names of attacks that are to run, and of which neither a time nor a limit is known."""
        cells = [cell for group in self.groups for cell in group.cells]
        return tuple(dict.fromkeys(one.attack for one in cells if one.time is not None and one.time.seconds is None))

    @property
    def memory(self) -> int:
        """Bytes of the workers together at the worst moment."""
        return sum(sorted((group.memory for group in self.groups if group.left), reverse=True)[: self.workers])

    @property
    def disk(self) -> int:
        """Bytes on disk at the worst moment, for rounds that attacks look at."""
        return sum(sorted((group.disk for group in self.groups if group.left), reverse=True)[: self.workers])

    def count(self, status: str) -> int:
        """Cells of that status."""
        return sum(cell.status == status for group in self.groups for cell in group.cells)

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "scenario": self.scenario,
            "path": str(self.path),
            "workers": self.workers,
            "seconds": self.seconds,
            "memory_bytes": self.memory,
            "disk_bytes": self.disk,
            "disk_free_bytes": self.disk_free,
            "cells": {status: self.count(status) for status in STATUSES},
            "unknown_attacks": list(self.unknown),
            "trainings": [
                {
                    "seconds": group.seconds,
                    "measured": group.measured,
                    "attack_seconds": group.attack_seconds,
                    "memory_bytes": group.memory,
                    "disk_bytes": group.disk,
                    "cells": [
                        {
                            "label": cell.label,
                            "scenarios": list(cell.scenarios),
                            "key": cell.key,
                            "status": cell.status,
                            "reason": cell.reason,
                            "attack_time": None if cell.time is None else asdict(cell.time),
                        }
                        for cell in group.cells
                    ],
                }
                for group in self.groups
            ],
        }


def preview(scenario: Scenario | Suite, out: Path, machine: Machine) -> Plan:
    """What a run of the scenario or suite would do.

    Args:
        scenario: a checked scenario or suite.
        out: folder of runs; what lies there already counts as done.
        machine: workers, threads and memory as for a run.
    """
    run = run_directory(scenario, out)
    planned = members(scenario)
    speed, all_groups = measure_speed(), grouped(distinct(planned))
    contents = {task.key: content for group in all_groups for task in group.tasks if (content := run.cell(task.key))}
    places = _places(planned, contents, out)
    encoded: set[str] = set()
    groups = tuple(_planned(group, contents, places, speed, encoded) for group in all_groups)
    workers = machine.count(sum(group.left for group in groups))
    return Plan(scenario.name, run.path, groups, workers, machine.bound, disk_free(run.path))


@dataclass(slots=True)
class _Place:
    """Where a cell stands."""

    measured: Measured
    """What attacks took in the first scenario that has the cell."""
    scenarios: list[str]
    idle: str | None
    """Why the suite does without it."""


def _places(planned: Sequence[Member], contents: Mapping[str, Content], out: Path) -> dict[str, _Place]:
    """By the cells' keys; a scenario of a suite has been measured where it was run by itself, too."""
    found: dict[str, _Place] = {}
    idle = idle_controls(planned)
    for member in planned:
        own = [contents[task.key] for task in member.tasks if task.key in contents]
        run = run_directory(member.scenario, out)
        measured = Measured([*own, *earlier_cells(member.scenario, run)])
        for task in member.tasks:
            place = found.setdefault(task.key, _Place(measured, [], idle.get(task.key)))
            place.scenarios.append(member.scenario.name)
    return found


def _planned(
    group: Group, contents: Mapping[str, Content], places: Mapping[str, _Place], speed: Speed, encoded: set[str]
) -> PlannedGroup:
    cells = tuple(_cell(task, contents.get(task.key), places[task.key]) for task in group.tasks)
    finished = [dict(contents[task.key]) for task in group.tasks if task.key in contents]
    found: Estimate = estimate(group, speed, finished, encoded=group.shares in encoded)
    left = any(cell.status in (WAITING, ERROR) for cell in cells)
    if left:
        encoded.add(group.shares)
    return PlannedGroup(cells, found.seconds if left else 0.0, found.memory, disk_of(group), found.measured)


def _cell(task: Task, content: Content | None, place: _Place) -> PlannedCell:
    cell = task.cell

    def planned(status: str, reason: str | None) -> PlannedCell:
        pair = f"{cell.attack_label} vs {cell.defense_label}"
        time = place.measured.of(cell) if cell.asked and status in (WAITING, ERROR) else None
        return PlannedCell(cell.label, pair, task.key, status, reason, cell.attack.name, tuple(place.scenarios), time)

    before = None if content is None else content["cell"]
    if before is not None and before["status"] == ERROR:
        return planned(ERROR, before["reason"])
    refused = attempt(partial(refusal, cell)) or place.idle
    if isinstance(refused, Failure):
        return planned(ERROR, refused.reason)
    if refused:
        return planned(NOT_APPLICABLE, refused)
    if before is None or content is None or runs_again(content, cell):
        return planned(WAITING, None)
    return planned(BUDGET, before["reason"]) if before["status"] == BUDGET else planned(DONE, None)
