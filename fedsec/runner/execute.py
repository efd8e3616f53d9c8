"""Runs the cells of one training, one after the other: in this process or, called by `worker`, in another one."""

from functools import partial
from pathlib import Path
from typing import Any, Protocol

from fedsec.cell.claims_file import ClaimsFile
from fedsec.cell.resources import Resources
from fedsec.cell.score import score
from fedsec.cell.training import train
from fedsec.cell.work import CellWork
from fedsec.federation.checkpoint import Checkpoint
from fedsec.federation.progress import ClientsRead, Progress
from fedsec.plan.tasks import Task, claims_path
from fedsec.runner.recorder import Failure, attempt
from fedsec.store.keys import digest


class Report(Protocol):
    """Who is told how a group gets on."""

    def training(self, task: Task) -> None:
        """The federation starts to train, for this cell and those that share it."""

    def round(self, progress: Progress) -> None:
        """A round is over."""

    def notice(self, text: str) -> None:
        """Something that whoever runs it should know before the training begins."""

    def scoring(self, task: Task) -> None:
        """A cell is attacked and scored next."""

    def reading(self, progress: ClientsRead) -> None:
        """The attack has read another client."""

    def finish(self, task: Task, content: dict[str, Any]) -> None:
        """A cell has a result."""

    def fail(self, tasks: list[Task], failure: Failure) -> None:
        """Cells that failed for one reason."""


def run_group(tasks: list[Task], report: Report, resources: Resources, checkpoint: Path) -> bool:
    """Train once, then attack and score every cell.

    Args:
        tasks: cells that share one training and apply to the scenario.
        report: told about everything, results included.
        resources: what cells share.
        checkpoint: where the training leaves its state; its name is that of everything the training depends on.

    Returns:
        Whether every cell has a result.
    """
    first = tasks[0]
    rounds = frozenset(number for task in tasks if not task.cell.observes for number in task.cell.rounds)
    watching = {task.key: task.cell for task in tasks if task.cell.observes}
    report.training(first)
    # Which rounds are kept, and who looks at them, depends on the cells that are left.
    kept = Checkpoint(checkpoint, digest([checkpoint.stem, sorted(rounds), list(watching)]))

    def notice(text: str) -> None:
        report.notice(f"{first.cell.label}: {text}")

    told: dict[str, Any] = {"watching": watching, "on_notice": notice, "on_data": report.notice}
    trained = attempt(partial(train, first.cell, rounds, resources, report.round, kept, **told))
    if isinstance(trained, Failure):
        report.fail(tasks, trained)
        return False
    whole = True
    for task in tasks:
        report.scoring(task)
        content = attempt(partial(score, task.cell, trained, task.key, _work(task, checkpoint, report)))
        if isinstance(content, Failure):
            report.fail([task], content)
            whole = False
        else:
            report.finish(task, content)
    return whole


def _work(task: Task, checkpoint: Path, report: Report) -> CellWork:
    """The work of a cell's attack, which goes on where an interrupted run left it."""
    return CellWork(
        task.cell.scenario.threat.attack_seconds,
        rounds=len(task.cell.rounds),
        file=ClaimsFile(claims_path(checkpoint, task.key), task.key),
        told=report.reading,
    )
