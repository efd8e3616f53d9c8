"""Runs a scenario or a suite: every cell that is not done yet, training shared where an attack does not change it."""

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fedsec.cell.head import BLOCKED, ERROR, NOT_APPLICABLE, RAN, not_run, runs_again
from fedsec.config.dump import dump, dump_text, whole
from fedsec.config.expected import expected_of
from fedsec.config.schema import Scenario
from fedsec.config.suite import Suite, members_of
from fedsec.federation.progress import ClientsRead, Progress
from fedsec.plan.cells import refusal
from fedsec.plan.idle import idle_controls
from fedsec.plan.keys import by_content, inputs
from fedsec.plan.tasks import Group, Member, Task, checkpoint_path, distinct, grouped, looks_on, members
from fedsec.plugin_files import allowed_files
from fedsec.runner.disk import check_disk, disk_needed
from fedsec.runner.machine import Machine, limited_threads, resolve_device
from fedsec.runner.observer import Observer
from fedsec.runner.recorder import Failure, Recorder, attempt
from fedsec.store.keys import digest
from fedsec.store.record import environment, history
from fedsec.store.rundir import RunDirectory


@dataclass(frozen=True, slots=True)
class Finished:
    """A run's folder and its cells' contents, in the plan's order."""

    run: RunDirectory
    cells: list[dict[str, Any]]


def run_directory(scenario: Scenario | Suite, out: Path) -> RunDirectory:
    """Where the run of a scenario or a suite lies, or will: `<out>/<name>/<key>`."""
    contents = [by_content(dump(member)) for member in members_of(scenario)]
    for content in contents:
        del content["threat"]["attack_seconds"]  # under another limit the same run goes on
    found = whole(scenario, contents)
    del found["gate"]  # so that another demand runs nothing again
    return RunDirectory(out / scenario.name / digest(found))


def run_scenario(
    scenario: Scenario | Suite,
    out: Path,
    observer: Observer,
    machine: Machine | None = None,
    source: Path | None = None,
) -> Finished:
    """Run what is missing; the same command again continues where a crash or an interruption left off.

    Args:
        scenario: a validated scenario or suite.
        out: folder of runs.
        observer: told about progress.
        machine: workers, threads, memory and device; one process with one thread if absent.
        source: the file that it was read from, which findings point at; unknown if absent.

    Raises:
        FedsecError: every cell failed for this one reason before any could run; another process runs this scenario;
            the device is not there.
    """
    machine = machine or Machine()
    device = resolve_device(machine.device)
    run = run_directory(scenario, out)
    with run.lock():
        return _run(scenario, run, observer, machine, device, source)


def _run(
    scenario: Scenario | Suite,
    run: RunDirectory,
    observer: Observer,
    machine: Machine,
    device: str,
    source: Path | None,
) -> Finished:
    planned = members(scenario)
    tasks = distinct(planned)
    before = {task.key: content for task in tasks if (content := run.cell(task.key)) is not None}
    waiting = [task for task in tasks if task.key not in before or runs_again(before[task.key], task.cell)]
    count = machine.count(len(grouped(waiting)), device)
    secure = all(one.randomness == "secure" for one in members_of(scenario))
    randomness = "secure" if secure else "seeded"
    made_by = environment(threads=machine.threads, workers=count, device=device, randomness=randomness)
    observer.started([task.cell for task in tasks], [task.cell for task in waiting])
    _write_resolved(scenario, run)
    record = _record(scenario, planned, made_by, run.record(), resumes=bool(waiting))
    read_from = (
        {} if source is None else {"source": os.path.relpath(os.path.realpath(source), os.path.realpath(run.path))}
    )
    run.write_record({**record, "plugins": _plugins(run.path), **read_from})
    run.log("started", cells=len(tasks), waiting=len(waiting))
    started = any(content["cell"]["status"] in (*RAN, BLOCKED) for content in before.values())
    recorder = Recorder(run, observer, made_by, started)
    groups = grouped(_willing(waiting, recorder, idle_controls(planned)))
    check_disk(disk_needed(groups, count), run.path)
    if groups and count == 1 and machine.memory is None:
        _run_here(groups, recorder, observer, machine, device)
    elif groups:
        from fedsec.plan.estimate import longest_first, memory_of
        from fedsec.runner.workers import Workers

        memory = {group.key: memory_of(group) for group in groups}
        Workers(members_of(scenario), recorder, observer, machine, count, device).run(longest_first(groups), memory)
    recorder.close()
    _sweep(run, failed=any(content["cell"]["status"] == ERROR for task in tasks if (content := run.cell(task.key))))
    run.log("ended")
    return Finished(run, [content for task in tasks if (content := run.cell(task.key)) is not None])


def _write_resolved(scenario: Scenario | Suite, run: RunDirectory) -> None:
    """Write what runs with every setting; of a suite each scenario as well, so that a cell can run by itself."""
    run.write_text("scenario.resolved.yaml", dump_text(scenario, run.path))
    for place, member in enumerate(members_of(scenario) if isinstance(scenario, Suite) else (), 1):
        run.write_text(f"scenario-{place}.resolved.yaml", dump_text(member, run.path))


def _plugins(folder: Path) -> list[str]:
    """The plug-in files that were allowed, as they are from the run's folder."""
    files = (file.parent if file.name == "__init__.py" else file for file in allowed_files())
    return [os.path.relpath(file, os.path.realpath(folder)) for file in files]


def _sweep(run: RunDirectory, *, failed: bool) -> None:
    """Delete what trainings and attacks left, and what those of other sources kept, unless a cell is retried."""
    folder = run.path / "checkpoints"
    if failed or folder.is_symlink() or not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.suffix == ".rounds" and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path.suffix in (".safetensors", ".lock", ".json"):
            with suppress(OSError):  # it is none of ours
                path.unlink()
    with suppress(OSError):  # something that is none of ours
        folder.rmdir()


def _willing(tasks: list[Task], recorder: Recorder, idle: Mapping[str, str]) -> list[Task]:
    """The tasks that apply to the scenario; the others are booked, those that are `idle` with that reason."""
    willing = []
    for task in tasks:
        reason = attempt(partial(refusal, task.cell)) or idle.get(task.key)
        if isinstance(reason, Failure):
            recorder.fail([task], reason)
        elif reason:
            recorder.finish(task, not_run(task.cell, NOT_APPLICABLE, reason))
        else:
            willing.append(task)
    return willing


def _run_here(groups: list[Group], recorder: Recorder, observer: Observer, machine: Machine, device: str) -> None:
    """Run the groups in this process."""
    from fedsec.cell.resources import Resources
    from fedsec.federation.process_pool import ProcessPool
    from fedsec.runner.execute import run_group

    resources, report = Resources(device, ProcessPool(machine.processes(1, device))), _Report(recorder, observer)
    with limited_threads(machine.threads):
        for group in groups:
            checkpoint = checkpoint_path(recorder.run.path, group.key)
            whole = run_group(list(group.tasks), report, resources, checkpoint)
            recorder.end_group(group, failed=not whole)


@dataclass(slots=True)
class _Report:
    """Books what cells of this process say."""

    recorder: Recorder
    observer: Observer

    def training(self, task: Task) -> None:
        self.observer.training(task.cell)

    def round(self, progress: Progress) -> None:
        self.observer.round(progress)

    def notice(self, text: str) -> None:
        self.observer.notice(text)

    def scoring(self, task: Task) -> None:
        if looks_on(task.cell):
            self.observer.attacking(task.cell)

    def reading(self, progress: ClientsRead) -> None:
        self.observer.reading(progress)

    def finish(self, task: Task, content: dict[str, Any]) -> None:
        self.recorder.finish(task, content)

    def fail(self, tasks: list[Task], failure: Failure) -> None:
        self.recorder.fail(tasks, failure)


def _record(
    scenario: Scenario | Suite,
    planned: Sequence[Member],
    made_by: dict[str, Any],
    before: dict[str, Any] | None,
    *,
    resumes: bool,
) -> dict[str, Any]:
    """The content of record.json; the machine is the one that last ran a cell, every cell names its own."""
    if before is not None and not resumes:
        made_by = {name: before.get(name, value) for name, value in made_by.items()}
    tasks = distinct(planned)
    known = None if isinstance(scenario, Suite) else expected_of(scenario)
    read = {"inputs": inputs(scenario)} if isinstance(scenario, Scenario) else {"members": list(map(_member, planned))}
    return {
        "scenario": scenario.name,
        "summary": scenario.summary,
        "cells": [task.key for task in tasks],
        "seeds": list(dict.fromkeys(task.cell.seed for task in tasks)),
        **read,
        "expected": None if known is None else known.model_dump(mode="json"),
        **history(before, resumes=resumes),
        **made_by,
    }


def _member(member: Member) -> dict[str, Any]:
    """What record.json says of a scenario of a suite."""
    scenario, keys = member.scenario, [task.key for task in member.tasks]
    return {"scenario": scenario.name, "summary": scenario.summary, "cells": keys, "inputs": inputs(scenario)}
