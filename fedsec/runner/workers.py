"""The worker processes of a run: who runs which group of cells, what they report, and what becomes of those that die.

One thread, one loop: hand out groups, read what workers say, look after the dead and after memory. Workers hold
nothing that is not also here or on disk, so one can be stopped at any moment; see `worker` for what they say.
"""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from fedsec.config.dump import dump
from fedsec.config.schema import Scenario
from fedsec.errors import FedsecError
from fedsec.federation.progress import ClientsRead, Progress
from fedsec.plan.tasks import Group, Task, checkpoint_path, looks_on
from fedsec.plugin_files import allowed_files
from fedsec.runner.machine import Machine, thread_variables, used_memory
from fedsec.runner.observer import Observer
from fedsec.runner.recorder import Failure, Recorder
from fedsec.store.rundir import ERRORS_LOG

TICK_SECONDS = 0.25
MEMORY_SECONDS = 0.5
_CHUNK = 2**20
_LOG_TAIL = 4000
# Not `-m`: every module, ours and plug-ins', is found where this process finds it, and nowhere else first.
_PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from fedsec.runner.worker import main; main()"


@dataclass(slots=True)
class _Job:
    """A group on its way through the workers."""

    group: Group
    left: list[Task]
    """Tasks without a result."""
    memory: int
    """Bytes that it is estimated to need."""
    alone: bool = False
    """Whether it ran into the bound beside others."""
    whole: bool = True


@dataclass(slots=True)
class _Worker:
    number: int
    process: "subprocess.Popen[bytes]"
    log: Path
    observer: Observer
    ready: bool = False
    job: _Job | None = None
    since: float = 0.0
    scoring: Task | None = None
    used: int = 0
    """Groups that it was given so far."""
    shares: set[str] = field(default_factory=set)
    heard: bytearray = field(default_factory=bytearray)

    @property
    def stdout(self) -> IO[bytes]:
        assert self.process.stdout is not None  # noqa: S101  (opened as a pipe)
        return self.process.stdout

    def tell(self, **order: Any) -> None:
        """Send an order; a worker that is dead is noticed later, with its reason."""
        assert self.process.stdin is not None  # noqa: S101  (opened as a pipe)
        with suppress(BrokenPipeError):
            self.process.stdin.write(f"{json.dumps(order)}\n".encode())
            self.process.stdin.flush()


class Workers:
    """Runs groups of cells in worker processes.

    Args:
        scenarios: what the groups are of, in their order.
        recorder: where results go.
        observer: told about progress.
        machine: threads of each worker, and the memory of all.
        count: workers at most.
        device: `cpu` or `cuda`.
    """

    def __init__(
        self,
        scenarios: Sequence[Scenario],
        recorder: Recorder,
        observer: Observer,
        machine: Machine,
        count: int,
        device: str,
    ) -> None:
        self._book, self._observer, self._machine, self._count = recorder, observer, machine, count
        self._start = {
            "do": "start",
            "plugins": [str(file) for file in allowed_files()],
            "scenarios": [dump(scenario) for scenario in scenarios],
            "threads": machine.threads,
            "processes": machine.processes(count, device),
            "device": device,
        }
        self._bound = machine.bound
        self._tasks: dict[int, Task] = {}
        self._waiting: list[_Job] = []
        self._workers: list[_Worker] = []
        self._noticed: set[str] = set()
        self._selector = selectors.DefaultSelector()
        self._looked = 0.0

    def run(self, groups: list[Group], memory: Mapping[str, int]) -> None:
        """Run the groups to their end; nothing is left running whatever happens.

        Args:
            groups: cells that apply to the scenario.
            memory: estimated bytes of each group, by key.

        Raises:
            FedsecError: a worker cannot start.
        """
        self._tasks = {task.index: task for group in groups for task in group.tasks}
        self._waiting = [_Job(group, list(group.tasks), memory.get(group.key, 0)) for group in groups]
        try:
            while self._waiting or any(worker.job for worker in self._workers):
                self._hand_out()
                self._listen()
                self._bury()
                self._watch_memory()
        finally:
            for worker in list(self._workers):
                self._stop(worker)
            self._selector.close()

    def _hand_out(self) -> None:
        """Give groups to idle workers, and start workers, as long as memory lasts."""
        while (job := self._next()) is not None:
            idle = [worker for worker in self._workers if worker.job is None]
            if job.alone:  # in a process that holds nothing of other groups
                for worker in idle:
                    self._stop(worker)
                idle = []
            known = [worker for worker in idle if job.group.shares in worker.shares]
            worker = known[0] if known else idle[0] if idle else self._spawn()
            self._waiting.remove(job)
            worker.job, worker.since, worker.scoring = job, time.monotonic(), None
            worker.used += 1
            worker.shares.add(job.group.shares)
            tasks = [[task.index, task.key] for task in job.left]
            worker.tell(do="run", tasks=tasks, checkpoint=str(checkpoint_path(self._book.run.path, job.group.key)))
        if not self._waiting:
            for worker in self._workers:
                if worker.job is None:
                    worker.observer.idle()

    def _next(self) -> _Job | None:
        """The group to start now, if any may; near what an idle worker already has in memory where possible."""
        busy = [worker.job for worker in self._workers if worker.job is not None]
        if not self._waiting or len(busy) >= self._count or any(job.alone for job in busy):
            return None
        together = [job for job in self._waiting if not job.alone]
        if not together:
            return None if busy else self._waiting[0]
        held = sum(job.memory for job in busy)
        fitting = [job for job in together if not busy or held + job.memory <= self._bound]
        idle = [worker for worker in self._workers if worker.job is None]
        elsewhere = {share for worker in self._workers if worker.job is not None for share in worker.shares}

        def distance(job: _Job) -> int:
            if any(job.group.shares in worker.shares for worker in idle):
                return 0
            return 2 if job.group.shares in elsewhere else 1

        return min(fitting, key=distance, default=None)

    def _spawn(self) -> _Worker:
        number = next(n for n in range(1, self._count + 1) if n not in {w.number for w in self._workers})
        log = self._book.run.path / f"worker-{number}.log"
        log.unlink(missing_ok=True)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # plug-ins may print clients' texts
        command = [sys.executable, "-P", "-X", "faulthandler", "-c", _PROGRAM, json.dumps(sys.path)]
        environment = {**os.environ, **thread_variables(self._machine.threads)}
        try:
            process = subprocess.Popen(  # noqa: S603
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=descriptor, env=environment
            )
        finally:
            os.close(descriptor)
        worker = _Worker(number, process, log, self._observer.worker(number))
        os.set_blocking(worker.stdout.fileno(), False)
        self._selector.register(worker.stdout, selectors.EVENT_READ, worker)
        self._workers.append(worker)
        worker.tell(**self._start)
        return worker

    def _listen(self) -> None:
        for key, _ in self._selector.select(TICK_SECONDS):
            self._read(key.data)

    def _read(self, worker: _Worker) -> bool:
        """Take in what a worker has said; False where there was nothing."""
        try:
            chunk = os.read(worker.stdout.fileno(), _CHUNK)
        except BlockingIOError:
            return False
        if not chunk:  # closed; `_bury` sees to it
            with suppress(KeyError):
                self._selector.unregister(worker.stdout)
            return False
        worker.heard += chunk
        if b"\n" in chunk:
            *lines, rest = worker.heard.split(b"\n")
            worker.heard = rest
            for line in lines:
                self._hear(worker, bytes(line))
        return True

    def _hear(self, worker: _Worker, line: bytes) -> None:
        try:
            said = json.loads(line)
            what = said["is"]
        except (ValueError, KeyError, TypeError):
            worker.process.kill()  # a plug-in got hold of the pipe: nothing that follows can be trusted
            return
        if what == "ready":
            worker.ready = True
        elif what == "unfit":
            raise self._unfit(Failure.read(said["failure"]))
        elif worker.job is not None:
            self._account(worker, worker.job, what, said)

    def _account(self, worker: _Worker, job: _Job, what: str, said: Mapping[str, Any]) -> None:
        """What a worker says of the group that it runs."""
        if what == "training":
            worker.observer.training(self._tasks[said["index"]].cell)
        elif what == "round":
            worker.observer.round(Progress(**said["progress"]))
        elif what == "notice":
            if said["text"] not in self._noticed:  # every worker loads the same data
                self._noticed.add(said["text"])
                self._observer.notice(said["text"])
        elif what == "scoring":
            worker.scoring = self._tasks[said["index"]]
            if looks_on(worker.scoring.cell):
                worker.observer.attacking(worker.scoring.cell)
        elif what == "reading":
            worker.observer.reading(ClientsRead(**said["progress"]))
        elif what == "finished":
            task = self._tasks[said["index"]]
            job.left.remove(task)
            self._book.finish(task, said["content"])
        elif what == "failed":
            tasks = [self._tasks[index] for index in said["indices"]]
            self._fail(job, tasks, Failure.read(said["failure"]))
        elif what == "done":
            worker.job = None
            self._book.end_group(job.group, failed=not job.whole)

    def _fail(self, job: _Job, tasks: list[Task], failure: Failure) -> None:
        job.left = [task for task in job.left if task not in tasks]
        job.whole = False
        self._book.fail(tasks, failure)

    def _bury(self) -> None:
        """See to workers that ended: what they ran is in error, or runs again where only one cell is to blame."""
        for worker in list(self._workers):
            code = worker.process.poll()
            if code is None:
                continue
            while self._read(worker):
                pass
            tail = _tail(worker.log)
            ready, job, scoring = worker.ready, worker.job, worker.scoring
            self._stop(worker)
            if not ready and code >= 0:
                raise self._unfit(Failure(f"a worker could not start ({_death(code)})", tail))
            if job is None:
                continue
            to_blame = [scoring] if scoring in job.left and scoring is not None else list(job.left)
            where = f"; see {ERRORS_LOG}" if tail else ""
            self._observer.notice(f"worker {worker.number}: {_death(code)}")
            self._fail(job, to_blame, Failure(f"the worker {_death(code)}{where}", tail))
            self._again(job)

    def _again(self, job: _Job) -> None:
        """Put back what is left of a group that was stopped."""
        if job.left:
            self._waiting.append(job)
        else:
            self._book.end_group(job.group, failed=not job.whole)

    def _watch_memory(self) -> None:
        """Keep the workers' memory under the bound: by stopping the idle, then the youngest, then one that is alone.

        Measured, not limited by the system: RLIMIT_AS counts address space, of which torch reserves many times what
        it uses, and RLIMIT_RSS does nothing on Linux.
        """
        if time.monotonic() - self._looked < MEMORY_SECONDS:
            return
        self._looked = time.monotonic()
        use = {worker.number: used_memory(worker.process.pid) for worker in self._workers}
        total = sum(use.values())
        if total <= self._bound:
            return
        busy = sorted((worker for worker in self._workers if worker.job is not None), key=lambda worker: worker.since)
        if len(busy) < len(self._workers):
            for worker in [worker for worker in self._workers if worker.job is None]:
                self._stop(worker)
            return
        worker = busy[-1]
        job = worker.job
        assert job is not None  # noqa: S101  (busy)
        self._stop(worker)
        bound = _size(self._bound)
        if job.alone or (len(busy) == 1 and worker.used == 1):
            reason = f"needs more than the {bound} that a run may use here: {_size(total)} and rising. Raise --memory"
            self._observer.notice(f"stopped for memory: {job.left[0].cell.label}")
            self._fail(job, list(job.left), Failure(reason, reason))
        else:
            self._observer.notice(f"over {bound} of memory: {job.left[0].cell.label} is put off until it can run alone")
            self._book.run.log("put-off", keys=[task.key for task in job.left], bytes=total)
            job.alone = True
        self._again(job)

    def _stop(self, worker: _Worker) -> None:
        """End a worker at once; its log stays if it says something."""
        with suppress(KeyError, ValueError):
            self._selector.unregister(worker.stdout)
        worker.process.kill()
        worker.process.wait()
        for stream in (worker.process.stdin, worker.process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()
        if worker in self._workers:
            self._workers.remove(worker)
        with suppress(OSError):
            if worker.log.stat().st_size == 0:
                worker.log.unlink()

    def _unfit(self, failure: Failure) -> FedsecError:
        self._book.run.log_error("starting a worker", failure.details)
        hint = "Plug-ins that a program registers by itself are found with 1 worker only."
        return FedsecError(f"{failure.reason}. {hint} Details: {self._book.run.path / 'errors.log'}")


def _death(code: int) -> str:
    """How a process ended, and what that usually means."""
    if code == -signal.SIGKILL:
        return "died with signal 9 (SIGKILL); out of memory? Lower --workers or --memory, or give this machine more"
    if code < 0:
        name = signal.Signals(-code).name if -code in {s.value for s in signal.Signals} else "unknown"
        return f"died with signal {-code} ({name})"
    return f"ended with exit code {code} in the middle of its work"


def _tail(log: Path) -> str:
    try:
        return log.read_bytes()[-_LOG_TAIL:].decode("utf-8", "replace")
    except OSError:
        return ""


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB"
