"""What `fedsec run` would do: the cells by training, what is done, what does not apply, about how long. No torch."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fedsec.cell.head import ERROR, NOT_APPLICABLE
from fedsec.config.schema import Scenario
from fedsec.plan.cells import refusal
from fedsec.plan.estimate import START_SECONDS, Estimate, Speed, disk_of, estimate, makespan, measure_speed
from fedsec.plan.tasks import Group, Task, grouped, tasks_of
from fedsec.runner.disk import disk_free
from fedsec.runner.machine import Machine
from fedsec.runner.recorder import Failure, attempt
from fedsec.runner.scenario import run_directory
from fedsec.store.rundir import RunDirectory

DONE, WAITING = "done", "waiting"


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """A cell and where it stands."""

    label: str
    pair: str
    """Its attack and defense, which cells of other seeds and settings share."""
    key: str
    status: str
    """`done`, `waiting`, `error` (the same command retries it) or `n/a`."""
    reason: str | None
    reads: bool
    """Whether an attack runs after training, which takes a time that nobody knows."""


@dataclass(frozen=True, slots=True)
class PlannedGroup:
    """Cells that share one training."""

    cells: tuple[PlannedCell, ...]
    seconds: float | None
    """What is left to do; 0 if nothing is, None if nothing is known of the model."""
    memory: int
    disk: int
    """Bytes that rounds which attacks look at take on disk."""
    measured: bool

    @property
    def left(self) -> bool:
        """Whether a cell of it is still to run."""
        return any(cell.status in (WAITING, ERROR) for cell in self.cells)


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole scenario."""

    scenario: str
    path: Path
    groups: tuple[PlannedGroup, ...]
    workers: int
    bound: int
    """Bytes that workers together may use."""
    disk_free: int
    """Bytes that are free where the run lies."""

    @property
    def seconds(self) -> float | None:
        """About how long what is left takes; None if nothing is known of a model."""
        left = [group.seconds for group in self.groups if group.left]
        known = [seconds for seconds in left if seconds is not None]
        if len(known) < len(left):
            return None
        return START_SECONDS + makespan(known, self.workers) if left else 0.0

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
            "cells": {status: self.count(status) for status in (DONE, WAITING, ERROR, NOT_APPLICABLE)},
            "trainings": [
                {
                    "seconds": group.seconds,
                    "measured": group.measured,
                    "memory_bytes": group.memory,
                    "disk_bytes": group.disk,
                    "cells": [
                        {"label": cell.label, "key": cell.key, "status": cell.status, "reason": cell.reason}
                        for cell in group.cells
                    ],
                }
                for group in self.groups
            ],
        }


def preview(scenario: Scenario, out: Path, machine: Machine) -> Plan:
    """What a run of the scenario would do.

    Args:
        scenario: a checked scenario.
        out: folder of runs; what lies there already counts as done.
        machine: workers, threads and memory as for a run.
    """
    run = run_directory(scenario, out)
    speed = measure_speed()
    encoded: set[str] = set()
    groups = tuple(_planned(group, run, speed, encoded) for group in grouped(tasks_of(scenario)))
    workers = machine.count(sum(group.left for group in groups))
    return Plan(scenario.name, run.path, groups, workers, machine.bound, disk_free(run.path))


def _planned(group: Group, run: RunDirectory, speed: Speed, encoded: set[str]) -> PlannedGroup:
    contents = {task.key: run.cell(task.key) for task in group.tasks}
    cells = tuple(_cell(task, contents[task.key]) for task in group.tasks)
    finished = [content for content in contents.values() if content is not None]
    found: Estimate = estimate(group, speed, finished, encoded=group.shares in encoded)
    left = any(cell.status in (WAITING, ERROR) for cell in cells)
    if left:
        encoded.add(group.shares)
    return PlannedGroup(cells, found.seconds if left else 0.0, found.memory, disk_of(group), found.measured)


def _cell(task: Task, content: dict[str, Any] | None) -> PlannedCell:
    cell = task.cell

    def planned(status: str, reason: str | None) -> PlannedCell:
        pair = f"{cell.attack_label} vs {cell.defense_label}"
        return PlannedCell(cell.label, pair, task.key, status, reason, cell.asked)

    if content is not None and content["cell"]["status"] == ERROR:
        return planned(ERROR, content["cell"]["reason"])
    refused = attempt(partial(refusal, cell))
    if isinstance(refused, Failure):
        return planned(ERROR, refused.reason)
    if refused:
        return planned(NOT_APPLICABLE, refused)
    return planned(WAITING if content is None else DONE, None)
