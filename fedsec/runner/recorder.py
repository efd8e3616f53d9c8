"""Keeps a run's books: cells and errors as they come in, from this process or from workers."""

import shutil
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, TypeVar

from fedsec import errors
from fedsec.cell.head import ERROR, NOT_APPLICABLE, not_run
from fedsec.errors import ExitCode, FedsecError
from fedsec.plan.tasks import Group, Task, checkpoint_path, claims_path, rounds_path
from fedsec.runner.observer import Observer
from fedsec.store.rundir import ERRORS_LOG, RunDirectory

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as it crosses from a worker, and as it is written down."""

    reason: str
    """What may be said of it in files that others read."""
    details: str
    """The traceback; it may quote a client's text and goes to errors.log alone."""
    kind: str = ""
    """The class of a FedsecError; empty for any other error."""
    exit_code: int = ExitCode.INTERNAL

    @classmethod
    def of(cls, error: BaseException) -> "Failure":
        """What is to be said of an error, and of what may be said to whom."""
        details = "".join(traceback.format_exception(error))
        if isinstance(error, FedsecError):
            reason = str(error).encode("utf-8", "backslashreplace").decode()  # half a character fits into no file
            return cls(reason, details, type(error).__name__, int(error.exit_code))
        return cls(public_reason(error), details)

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> "Failure":
        """The inverse of `as_json`."""
        return cls(str(content["reason"]), str(content["details"]), str(content["kind"]), int(content["exit_code"]))

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def error(self) -> FedsecError:
        """The error to raise for it, of its own class where that takes a message."""
        kind = getattr(errors, self.kind, FedsecError)
        error = kind(self.reason) if isinstance(kind, type) and issubclass(kind, FedsecError) else None
        if error is None or str(error) != self.reason:
            error = FedsecError(self.reason)
        error.exit_code = ExitCode(self.exit_code)
        return error


def public_reason(error: BaseException) -> str:
    """What may be said of an error in files that others read: a message of ours, else its type and place.

    A plug-in's message may quote a client's text; it goes to errors.log alone.
    """
    if isinstance(error, FedsecError):
        return str(error)
    places = list(traceback.walk_tb(error.__traceback__))
    module, line = (places[-1][0].f_globals.get("__name__", "?"), places[-1][1]) if places else ("?", 0)
    return f"{type(error).__name__} at {module}:{line}; see {ERRORS_LOG}"


def attempt(action: Callable[[], Result]) -> Result | Failure:
    """The action's result, or what it raised: a plug-in may raise anything, SystemExit too; the other cells go on."""
    try:
        return action()
    except KeyboardInterrupt:  # goes up at once
        raise
    except BaseException as error:
        return Failure.of(error)


@dataclass(slots=True)
class Recorder:
    """Writes cells down; holds errors back as long as they may be every cell's, to tell the user of them once."""

    run: RunDirectory
    observer: Observer
    made_by: dict[str, Any]
    started: bool
    """Whether a cell has run, or has failed for a reason of its own."""
    _held: list[Task] = field(default_factory=list)
    _shared: Failure | None = None

    def finish(self, task: Task, content: Mapping[str, Any]) -> None:
        """A cell that ran or does not apply; one that cannot be written ends in an error."""
        if content["cell"]["status"] != NOT_APPLICABLE:
            self._start()
        failed = attempt(partial(self._write, task, content))
        if isinstance(failed, Failure):
            self.fail([task], failed)
        else:
            self._tell(task, content)

    def fail(self, tasks: list[Task], failure: Failure) -> None:
        """Cells that failed for one reason."""
        labels = "; ".join(task.cell.label for task in tasks)
        self.run.log_error(labels, failure.details)
        self.run.log("error", keys=[task.key for task in tasks], reason=failure.reason)
        if failure.kind and not self.started and (self._shared or failure).reason == failure.reason:
            self._shared = self._shared or failure
            self._held += tasks
            for task in tasks:
                self._forget(task)
            return
        self._start()
        self._write_errors(tasks, failure.reason)

    def end_group(self, group: Group, failed: bool) -> None:
        """All cells of a group are written; its checkpoint is of no more use, unless the same command retries a cell.

        The rounds that attacks looked at are as good as clients' texts: they go in any case, and a retry trains again.
        """
        checkpoint = checkpoint_path(self.run.path, group.key)
        if checkpoint.parent.is_symlink():
            return
        if not failed:
            with suppress(OSError):  # none was written, or it is none of ours
                checkpoint.unlink()
        if not rounds_path(checkpoint).is_symlink():
            shutil.rmtree(rounds_path(checkpoint), ignore_errors=True)

    def close(self) -> None:
        """Raise the error that every cell had."""
        if self._shared is not None and not self.started:
            self.run.log("failed", reason=self._shared.reason)
            raise self._shared.error()

    def _start(self) -> None:
        self.started = True
        held, self._held = self._held, []
        if self._shared is not None:
            self._write_errors(held, self._shared.reason)

    def _write_errors(self, tasks: Iterable[Task], reason: str) -> None:
        for task in tasks:
            content = not_run(task.cell, ERROR, reason)
            self._write(task, content)
            self._tell(task, content)

    def _write(self, task: Task, content: Mapping[str, Any]) -> None:
        origin = {"inputs": task.inputs, "made_by": self.made_by}
        self.run.write_cell(task.key, {**content, **origin}, private=content.get("texts") is not None)
        self._forget(task)

    def _forget(self, task: Task) -> None:
        """Delete what the cell's attack had read, which is as good as clients' texts; a retry reads it again."""
        claims = claims_path(checkpoint_path(self.run.path, task.key), task.key)
        if not claims.parent.is_symlink():
            with suppress(OSError):
                claims.unlink()

    def _tell(self, task: Task, content: Mapping[str, Any]) -> None:
        status = content["cell"]["status"]
        self.run.log("cell", key=task.key, label=task.cell.label, status=status)
        self.observer.finished(task.cell, status)
