"""Runs a scenario: every cell that is not done yet, training shared where an attack does not change it."""

import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from fedsec import registry
from fedsec.api import Card, Position
from fedsec.config.dump import dump, dump_text
from fedsec.config.schema import Scenario
from fedsec.errors import FedsecError
from fedsec.experiment.observer import Observer
from fedsec.experiment.plan import NONE, Cell, expand, refusal
from fedsec.experiment.resources import Resources
from fedsec.experiment.score import BLOCKED, ERROR, NOT_APPLICABLE, OK, not_run, score
from fedsec.experiment.training import train, training_key
from fedsec.store.keys import data_hash, digest, weights_hash
from fedsec.store.record import environment, history
from fedsec.store.rundir import ERRORS_LOG, RunDirectory
from fedsec.store.sources import card_hash, engine_hash, stands_outside

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Finished:
    """A run's folder and its cells' contents, in the scorecard's order."""

    run: RunDirectory
    cells: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Task:
    key: str
    cell: Cell
    inputs: dict[str, str]


def run_scenario(scenario: Scenario, out: Path, observer: Observer) -> Finished:
    """Run what is missing; the same command again continues where a crash or an interruption left off.

    Args:
        scenario: a validated scenario.
        out: folder of runs; this one goes to `<out>/<name>/<key>`.
        observer: told about progress.

    Raises:
        FedsecError: every cell failed for this one reason before any could run.
    """
    run = RunDirectory(out / scenario.name / digest(dump(scenario)))
    tasks = [_Task(cell_key(cell), cell, inputs(cell.scenario)) for cell in expand(scenario)]
    before = {task.key: content for task in tasks if (content := run.cell(task.key)) is not None}
    waiting = [task for task in tasks if task.key not in before or before[task.key]["cell"]["status"] == ERROR]
    made_by = environment()
    observer.started([task.cell for task in tasks], len(tasks) - len(waiting))
    run.write_text("scenario.resolved.yaml", dump_text(scenario))
    run.write_record(_record(scenario, tasks, made_by, run.record(), resumes=bool(waiting)))
    run.log("started", cells=len(tasks), waiting=len(waiting))
    started = any(content["cell"]["status"] in (OK, BLOCKED) for content in before.values())
    book = _Book(run, observer, made_by, started)
    groups: dict[str, list[_Task]] = {}
    for task in waiting:
        groups.setdefault(training_key(task.cell), []).append(task)
    resources = Resources()
    for group in groups.values():
        _run_group(group, book, resources, observer)
    book.close()
    run.log("ended")
    return Finished(run, [content for task in tasks if (content := run.cell(task.key)) is not None])


def cell_key(cell: Cell) -> str:
    """Of everything that a cell's result depends on: settings, sources, data and weights."""
    content = cell.scenario.model_dump(mode="json", include={"model", "data", "federation", "threat", "keep_text"})
    read = inputs(cell.scenario)
    sources = [engine_hash(), *(card_hash(card) for card in _cards(cell))]
    return digest([content, cell.settings, cell.attack, cell.defense, cell.seed, [*read.values()], sources])


def inputs(scenario: Scenario) -> dict[str, str]:
    """Hashes of the data and the weights that a scenario reads."""
    model = scenario.model.name
    weights = digest(model) if model in registry.models() else weights_hash(model)
    return {"data": data_hash(scenario.data.name, scenario.data.path), "weights": weights}


def public_reason(error: Exception) -> str:
    """What may be said of an error in files that others read: a message of ours, else its type and place.

    A plug-in's message may quote a client's text; it goes to errors.log alone.
    """
    if isinstance(error, FedsecError):
        return str(error)
    places = list(traceback.walk_tb(error.__traceback__))
    module, line = (places[-1][0].f_globals.get("__name__", "?"), places[-1][1]) if places else ("?", 0)
    return f"{type(error).__name__} at {module}:{line}; see {ERRORS_LOG}"


def _cards(cell: Cell) -> list[Card]:
    """Cards of the plug-ins that a cell uses and the engine's hash does not cover."""
    found: list[Card] = [registry.defenses().get(part["name"]) for part in cell.defense]
    if cell.attack["name"] != NONE:
        found.append(registry.attacks().get(cell.attack["name"]))
    kinds: list[tuple[registry.Registry[Any], str | None]] = [
        (registry.models(), cell.scenario.model.name),
        (registry.datasets(), cell.scenario.data.name),
    ]
    loaders = [kind.get(name) for kind, name in kinds if name is not None and name in kind]
    return found + [card for card in loaders if stands_outside(card)]


def _record(
    scenario: Scenario, tasks: list[_Task], made_by: dict[str, Any], before: dict[str, Any] | None, *, resumes: bool
) -> dict[str, Any]:
    """The content of record.json; the machine is the one that last ran a cell, every cell names its own."""
    if before is not None and not resumes:
        made_by = {name: before.get(name, value) for name, value in made_by.items()}
    return {
        "scenario": scenario.name,
        "summary": scenario.summary,
        "cells": [task.key for task in tasks],
        "seeds": list(dict.fromkeys(task.cell.seed for task in tasks)),
        "inputs": inputs(scenario),
        **history(before, resumes=resumes),
        **made_by,
    }


@dataclass(slots=True)
class _Book:
    """Writes cells down; holds errors back as long as they may be every cell's, to tell the user of them once."""

    run: RunDirectory
    observer: Observer
    made_by: dict[str, Any]
    started: bool
    """Whether a cell has run, or has failed for a reason of its own."""
    _held: list[_Task] = field(default_factory=list)
    _shared: FedsecError | None = None

    def finish(self, task: _Task, content: dict[str, Any]) -> None:
        """A cell that ran or does not apply; one that cannot be written ends in an error."""
        if content["cell"]["status"] != NOT_APPLICABLE:
            self._start()
        failed = _attempt(partial(self._write, task, content))
        if failed is None:
            self._tell(task, content)
        else:
            self.fail([task], failed)

    def fail(self, tasks: list[_Task], error: Exception) -> None:
        """Cells that failed for one reason."""
        reason = public_reason(error)
        labels = "; ".join(task.cell.label for task in tasks)
        self.run.log_error(labels, "".join(traceback.format_exception(error)))
        self.run.log("error", keys=[task.key for task in tasks], reason=reason)
        if isinstance(error, FedsecError) and not self.started and str(self._shared or error) == reason:
            self._shared = self._shared or error.with_traceback(None)
            self._held += tasks
            return
        self._start()
        self._write_errors(tasks, reason)

    def close(self) -> None:
        """Raise the error that every cell had."""
        if self._shared is not None and not self.started:
            self.run.log("failed", reason=str(self._shared))
            raise self._shared

    def _start(self) -> None:
        self.started = True
        held, self._held = self._held, []
        self._write_errors(held, str(self._shared))

    def _write_errors(self, tasks: Iterable[_Task], reason: str) -> None:
        for task in tasks:
            content = not_run(task.cell, ERROR, reason)
            self._write(task, content)
            self._tell(task, content)

    def _write(self, task: _Task, content: dict[str, Any]) -> None:
        origin = {"inputs": task.inputs, "made_by": self.made_by}
        self.run.write_cell(task.key, {**content, **origin}, private=content.get("texts") is not None)

    def _tell(self, task: _Task, content: dict[str, Any]) -> None:
        status = content["cell"]["status"]
        self.run.log("cell", key=task.key, label=task.cell.label, status=status)
        self.observer.finished(task.cell, status)


def _run_group(group: list[_Task], book: _Book, resources: Resources, observer: Observer) -> None:
    """Cells that share one training."""
    willing = []
    for task in group:
        reason = _attempt(partial(refusal, task.cell))
        if isinstance(reason, Exception):
            book.fail([task], reason)
        elif reason:
            book.finish(task, not_run(task.cell, NOT_APPLICABLE, reason))
        else:
            willing.append(task)
    if not willing:
        return
    first, rounds = willing[0].cell, _rounds_to_observe(task.cell for task in willing)
    observer.training(first)
    trained = _attempt(partial(train, first, rounds, resources, observer.round))
    if isinstance(trained, Exception):
        book.fail(willing, trained)
        return
    for task in willing:
        if task.cell.attack_position == Position.SERVER:
            observer.attacking(task.cell)
        content = _attempt(partial(score, task.cell, trained))
        if isinstance(content, Exception):
            book.fail([task], content)
        else:
            book.finish(task, content)


def _rounds_to_observe(cells: Iterable[Cell]) -> frozenset[int]:
    return frozenset(cell.attack_round for cell in cells if cell.attack_position == Position.SERVER)


def _attempt(action: Callable[[], Result]) -> Result | Exception:
    """The action's result, or what it raised: a plug-in may raise anything, and the other cells go on."""
    try:
        return action()
    except Exception as error:  # an interruption is none, and goes up at once
        return error
