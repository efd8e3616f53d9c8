"""A worker process, started by `workers`: JSON lines in and out, nothing else.

In: `{"do": "start", ...}` once, then `{"do": "run", "tasks": [[index, key], ...], "checkpoint": path}` as often as
there is work. Out: what happens, and `done` after each group. The parent alone writes cells and events, so that a
worker may die at any moment. When its input ends it ends at once, in the middle of a training too: its parent is gone.
"""

import json
import os
import queue
import signal
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedsec.federation.progress import ClientsRead, Progress
    from fedsec.plan.tasks import Task
    from fedsec.runner.recorder import Failure

_DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of prctl(2)."""
_CHANGED = "sources, data or weights changed while the run was under way; run the same command again"


class _Pipe:
    """The way to the parent; plug-ins that print do not reach it."""

    def __init__(self, descriptor: int) -> None:
        self._stream = os.fdopen(descriptor, "w", encoding="utf-8")

    def say(self, what: str, **fields: Any) -> None:
        """One line; TypeError for what JSON does not hold, before anything is written."""
        line = json.dumps({"is": what, **fields})
        self._stream.write(f"{line}\n")
        self._stream.flush()


class _Report:
    """Tells the parent how a group gets on."""

    def __init__(self, pipe: _Pipe) -> None:
        self._pipe = pipe

    def training(self, task: "Task") -> None:
        self._pipe.say("training", index=task.index)

    def round(self, progress: "Progress") -> None:
        self._pipe.say("round", progress=asdict(progress))

    def notice(self, text: str) -> None:
        self._pipe.say("notice", text=text)

    def scoring(self, task: "Task") -> None:
        self._pipe.say("scoring", index=task.index)

    def reading(self, progress: "ClientsRead") -> None:
        self._pipe.say("reading", progress=asdict(progress))

    def finish(self, task: "Task", content: dict[str, Any]) -> None:
        from fedsec.runner.recorder import Failure, attempt

        failed = attempt(lambda: self._pipe.say("finished", index=task.index, content=content))
        if isinstance(failed, Failure):
            self.fail([task], failed)

    def fail(self, tasks: list["Task"], failure: "Failure") -> None:
        self._pipe.say("failed", indices=[task.index for task in tasks], failure=failure.as_json())


def main() -> None:
    """Run what the parent asks for until it asks no more."""
    source, target = _private_descriptors()
    _end_with_the_parent()
    orders: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(source, orders), daemon=True).start()
    _serve(orders, _Pipe(target))


def _serve(orders: "queue.SimpleQueue[dict[str, Any]]", pipe: _Pipe) -> None:
    start = orders.get()
    from fedsec.errors import FedsecError
    from fedsec.runner.recorder import Failure, attempt

    tasks = attempt(lambda: _tasks(start))
    if isinstance(tasks, Failure):
        pipe.say("unfit", failure=tasks.as_json())
        return
    from fedsec.cell.resources import Resources
    from fedsec.federation.process_pool import ProcessPool
    from fedsec.runner.execute import run_group
    from fedsec.runner.machine import limited_threads

    resources, report = Resources(start["device"], ProcessPool(start["processes"])), _Report(pipe)
    with limited_threads(start["threads"]):
        pipe.say("ready")
        while True:
            order = orders.get()
            own = [tasks[index] for index, _ in order["tasks"]]
            if [task.key for task in own] == [key for _, key in order["tasks"]]:
                whole = run_group(own, report, resources, Path(order["checkpoint"]))
            else:
                report.fail(own, Failure.of(FedsecError(_CHANGED)))
                whole = False
            pipe.say("done", whole=whole)


def _tasks(start: dict[str, Any]) -> list["Task"]:
    from fedsec.config.load import load_single
    from fedsec.config.suite import Suite
    from fedsec.plan.tasks import tasks_of
    from fedsec.plugin_files import allow_plugins

    for file in start["plugins"]:
        allow_plugins(file)
    # Whether it was a suite or a scenario makes no difference to the cells.
    return tasks_of(Suite("", "", tuple(load_single(scenario) for scenario in start["scenarios"])))


def _private_descriptors() -> tuple[int, int]:
    """Descriptors from and to the parent; what plug-ins print goes to stderr, and what they read is empty."""
    pipe = os.dup(1)
    os.dup2(2, 1)
    orders = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return orders, pipe


def _end_with_the_parent() -> None:
    """Ctrl-C is the parent's to handle; where Linux offers it, the kernel ends this process when its parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)


def _listen(source: int, orders: "queue.SimpleQueue[dict[str, Any]]") -> None:
    with os.fdopen(source, encoding="utf-8") as stream:
        for line in stream:
            orders.put(json.loads(line))
    os._exit(0)
