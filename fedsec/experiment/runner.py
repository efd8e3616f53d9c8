"""Runs a scenario: every cell that is not done yet, training shared where an attack does not change it."""

import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedsec import registry
from fedsec.api import Position
from fedsec.config.dump import dump, dump_text
from fedsec.config.schema import Scenario
from fedsec.errors import FedsecError
from fedsec.experiment.observer import Observer
from fedsec.experiment.plan import NONE, Cell, expand, refusal
from fedsec.experiment.resources import Resources
from fedsec.experiment.score import ERROR, NOT_APPLICABLE, not_run, score
from fedsec.experiment.training import Trained, train, training_key
from fedsec.store.keys import data_hash, digest, engine_hash, plugin_hash, weights_hash
from fedsec.store.record import environment
from fedsec.store.rundir import RunDirectory


@dataclass(frozen=True, slots=True)
class Finished:
    """A run's folder and its cells' contents, in the scorecard's order."""

    run: RunDirectory
    cells: list[dict[str, Any]]


def run_scenario(scenario: Scenario, out: Path, observer: Observer) -> Finished:
    """Run what is missing; the same command again continues where a crash or an interruption left off.

    Args:
        scenario: a validated scenario.
        out: folder of runs; this one goes to `<out>/<name>/<key>`.
        observer: told about progress.
    """
    resolved = dump(scenario)
    run = RunDirectory(out / scenario.name / digest(resolved))
    cells = expand(scenario)
    keys = [cell_key(cell) for cell in cells]
    waiting = [(key, cell) for key, cell in zip(keys, cells, strict=True) if not _done(run.cell(key))]
    observer.started(cells, len(cells) - len(waiting))
    run.write_text("scenario.resolved.yaml", dump_text(scenario))
    run.write_record({"scenario": scenario.name, "summary": scenario.summary, "cells": keys, **environment()})
    run.log("started", cells=len(cells), waiting=len(waiting))
    groups: dict[str, list[tuple[str, Cell]]] = {}
    for key, cell in waiting:
        groups.setdefault(training_key(cell), []).append((key, cell))
    resources = Resources()
    for group in groups.values():
        _run_group(group, run, resources, observer)
    run.log("ended")
    return Finished(run, [content for key in keys if (content := run.cell(key)) is not None])


def cell_key(cell: Cell) -> str:
    """Of everything that a cell's result depends on: settings, sources, data and weights."""
    names = [(registry.defenses(), d["name"]) for d in cell.defense]
    targets = [kind.get(name).target for kind, name in names]
    if cell.attack["name"] != NONE:
        targets.append(registry.attacks().get(cell.attack["name"]).target)
    content = cell.scenario.model_dump(mode="json", include={"model", "data", "federation", "threat", "keep_text"})
    inputs = [
        data_hash(cell.scenario.data.name, cell.scenario.data.path),
        weights_hash(cell.scenario.model.name),
    ]
    sources = [engine_hash(), *(plugin_hash(target) for target in targets)]
    return digest([content, cell.settings, cell.attack, cell.defense, cell.seed, inputs, sources])


def _done(content: dict[str, Any] | None) -> bool:
    return content is not None and content["cell"]["status"] != ERROR


def _run_group(group: list[tuple[str, Cell]], run: RunDirectory, resources: Resources, observer: Observer) -> None:
    """Cells that share one training."""

    def finish(key: str, cell: Cell, content: dict[str, Any]) -> None:
        status = content["cell"]["status"]
        run.write_cell(key, content, private=content.get("texts") is not None)
        run.log("cell", key=key, label=cell.label, status=status)
        observer.finished(cell, status)

    willing = []
    for key, cell in group:
        reason = refusal(cell)
        if reason:
            finish(key, cell, not_run(cell, NOT_APPLICABLE, reason))
        else:
            willing.append((key, cell))
    if not willing:
        return
    first = willing[0][1]
    observer.training(first)
    trained = _guarded(lambda: train(first, _rounds_to_observe(c for _, c in willing), resources, observer.round), run)
    for key, cell in willing:
        if isinstance(trained, Trained):
            finish(key, cell, _attack_and_score(cell, trained, run, observer))
        else:
            finish(key, cell, not_run(cell, ERROR, trained))


def _attack_and_score(cell: Cell, trained: Trained, run: RunDirectory, observer: Observer) -> dict[str, Any]:
    if cell.attack_position == Position.SERVER:
        observer.attacking(cell)
    content = _guarded(lambda: score(cell, trained), run)
    return content if isinstance(content, dict) else not_run(cell, ERROR, content)


def _rounds_to_observe(cells: Iterable[Cell]) -> frozenset[int]:
    return frozenset(cell.attack_round for cell in cells if cell.attack_position == Position.SERVER)


def _guarded(action: Callable[[], Any], run: RunDirectory) -> Any:
    """The action's result, or the error as text; the user's own mistakes and interruptions go on up."""
    try:
        return action()
    except FedsecError:
        raise
    except Exception as error:  # a plug-in may raise anything; the other cells go on
        run.log("error", traceback=traceback.format_exc())
        return f"{type(error).__name__}: {error}"
