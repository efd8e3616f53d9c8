"""A process that has loaded torch and transformers, and forks for every command: what takes 7 s once per command else.

Run as a program, it is that process: it listens on a socket, gets a command's arguments, folder, environment and three
descriptors, and says the id and the exit code of the copy that runs it. Nothing of a command's is left behind, for it
ran in the copy. Worker processes are such copies too: those of a command are its children, forked before it begins.
That a new process does without what it does not need, how long it takes, and that real workers start, work and end
with their parent, is tested elsewhere.
"""

import faulthandler
import importlib
import json
import os
import select
import signal
import site
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

_LENGTH = 8
_MOST_SPARE = 4
"""Workers of one command that are forked before it begins."""
_ALIVE: list[object] = []
"""Ends of pipes whose other ends tell prepared processes that this one lives."""


class Command:
    """A fedsec command that runs in a copy; the part of `subprocess.Popen` that tests use.

    Args:
        arguments: after `fedsec`.
        cwd: its folder.
        env: its whole environment.
    """

    def __init__(self, *arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
        out, err = os.pipe(), os.pipe()
        nothing = os.open(os.devnull, os.O_RDONLY)
        folder = str(cwd) if cwd is not None else str(Path.cwd())
        order = {"arguments": arguments, "cwd": folder, "env": dict(os.environ if env is None else env)}
        self._line = _connected(prepared())
        _send(self._line, order, [nothing, out[1], err[1]])
        for descriptor in (nothing, out[1], err[1]):
            os.close(descriptor)
        self.pid = _number(self._line)
        self.stdout: IO[str] = os.fdopen(out[0], encoding="utf-8")
        self.stderr: IO[str] = os.fdopen(err[0], encoding="utf-8")
        self.returncode: int | None = None

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code; below 0 where a signal ended it."""
        if self.returncode is None:
            self._line.settimeout(timeout)
            self.returncode = _number(self._line)
            self._line.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it printed, once it has ended."""
        err = tempfile.TemporaryFile("w+")  # noqa: SIM115 - read below
        reader = subprocess.Popen(["cat"], stdin=self.stderr, stdout=err)
        printed = self.stdout.read()
        reader.wait()
        self.wait(timeout)
        err.seek(0)
        return printed, err.read()


class Worker:
    """A worker process of a run in this process; the part of `subprocess.Popen` that `fedsec.runner.workers` uses."""

    def __init__(self, command: Sequence[str], *, stdin: int, stdout: int, stderr: int, env: Mapping[str, str]) -> None:
        self._line = _connected(prepared())
        self._begin(self._line, command, stderr, env)
        self.pid = _number(self._line)
        self.returncode: int | None = None

    def _begin(self, line: socket.socket, command: Sequence[str], stderr: int, env: Mapping[str, str]) -> None:
        orders, says = os.pipe(), os.pipe()
        self.stdin: IO[bytes] = os.fdopen(orders[1], "wb")
        self.stdout: IO[bytes] = os.fdopen(says[0], "rb")
        try:
            order = {"path": json.loads(command[-1]), "cwd": str(Path.cwd()), "env": dict(env)}
            _send(line, order, [orders[0], says[1], stderr])
        finally:
            os.close(orders[0])
            os.close(says[1])

    def poll(self) -> int | None:
        """Its exit code, if it has ended."""
        if self.returncode is None and select.select([self._line], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        if self.returncode is None:
            self.returncode = _number(self._line)
            self._line.close()
        return self.returncode

    def kill(self) -> None:
        """Kill it, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


class _Child(Worker):
    """A worker that is a child of this process."""

    def __init__(
        self, process: int, line: socket.socket, command: Sequence[str], stderr: int, env: Mapping[str, str]
    ) -> None:
        self.pid, self.returncode = process, None
        with line:
            self._begin(line, command, stderr, env)

    def poll(self) -> int | None:
        """Its exit code, if it has ended."""
        return self._wait(os.WNOHANG)

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        return self._wait(0) or 0

    def _wait(self, how: int) -> int | None:
        if self.returncode is None and (ended := os.waitpid(self.pid, how))[0]:
            self.returncode = os.waitstatus_to_exitcode(ended[1])
        return self.returncode


def fedsec(*arguments: str, cwd: Path | None = None, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, as `subprocess.run` does.

    Args:
        arguments: after `fedsec`.
        cwd: its folder.
        variables: of its environment, beside those of this process.
    """
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", **variables}
    command = Command(*arguments, cwd=cwd, env=environment)
    printed, said = command.communicate()
    return subprocess.CompletedProcess(["fedsec", *arguments], command.wait(), printed, said)


@cache
def prepared(python: str = sys.executable) -> str:
    """Where a process of that interpreter listens; it ends when this one does."""
    folder = tempfile.mkdtemp(prefix="fedsec-prepared-")
    place = f"{folder}/socket"
    process = subprocess.Popen([python, __file__, "serve", place], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    assert process.wait() == 0  # it went on in a copy of itself, which is no child of this process
    _ALIVE.append(process.stdin)
    return place


def _connected(place: str) -> socket.socket:
    line = socket.socket(socket.AF_UNIX)
    line.connect(place)
    return line


def _send(line: socket.socket, order: Mapping[str, object], descriptors: Sequence[int]) -> None:
    message = json.dumps(order).encode()
    socket.send_fds(line, [len(message).to_bytes(_LENGTH, "big")], descriptors)
    line.sendall(message)


def _receive(line: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """An order and its descriptors; nothing where the other side has ended."""
    head, descriptors, _, _ = socket.recv_fds(line, _LENGTH, 3)
    return json.loads(line.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)) if head else {}, descriptors


def _stand_in(place: str, arguments: list[str]) -> int:
    """Be the command as far as a shell can tell: hand the descriptors over, and end as it ends."""
    order = {"arguments": arguments, "cwd": str(Path.cwd()), "env": dict(os.environ)}
    with _connected(place) as line:
        _send(line, order, [0, 1, 2])
        _number(line)
        return _number(line)


def _number(line: socket.socket) -> int:
    """The next line, and not a byte more: what follows has to wake whoever waits for it."""
    digits = b""
    while (digit := line.recv(1)) != b"\n":
        if not digit:
            raise EOFError("the prepared process has ended")
        digits += digit
    return int(digits)


def _serve(place: str) -> None:
    if os.fork():
        os._exit(0)
    import peft  # noqa: F401
    import torch
    from transformers import BertForSequenceClassification, BertTokenizer  # noqa: F401

    import fedsec.cell.score
    import fedsec.cli.main
    import fedsec.report.html
    import fedsec.runner.execute  # noqa: F401

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place)
        listener.listen()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        if os.fork() == 0:  # ends all when the tests' process ends
            sys.stdin.read()
            os.kill(os.getppid(), signal.SIGKILL)
            os._exit(0)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that look after a command
        while True:
            line, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _look_after(line)
                os._exit(0)
            line.close()


def _look_after(line: socket.socket) -> None:
    """Run one command in a copy, and say its id and its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    order, descriptors = _receive(line)
    process = os.fork()
    if process == 0:
        line.close()
        _take(descriptors)
        _run(order)
    for descriptor in descriptors:
        os.close(descriptor)
    line.sendall(f"{process}\n".encode())
    _, status = os.waitpid(process, 0)
    line.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _take(descriptors: Sequence[int]) -> None:
    """Make these the process's input, output and errors."""
    for place, descriptor in enumerate(descriptors):
        os.dup2(descriptor, place)
        os.close(descriptor)


def _run(order: dict[str, Any]) -> None:
    """Become the command, or the worker; does not return."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(order["env"])
    os.chdir(order["cwd"])
    if "path" in order:
        _work(order["path"])
    sys.path[0] = order["cwd"]  # as with `python -m`
    sys.path[1:1] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    for folder in site.getsitepackages():  # what was installed since this process began
        site.addsitedir(folder)
    _spare(_workers(order["arguments"]))
    sys.argv = ["fedsec", *order["arguments"]]
    import fedsec.cli.main

    _end_as(fedsec.cli.main.main)


def _work(path: list[str]) -> None:
    """Become a worker that finds modules there; does not return."""
    import fedsec.runner.worker

    sys.path[:] = path
    faulthandler.enable()
    _end_as(fedsec.runner.worker.main)


def _end_as(main: Callable[[], object]) -> None:
    """Run a program and end as an interpreter would; does not return."""
    importlib.invalidate_caches()
    code: object = 1
    try:
        code = main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        if isinstance(code, str):
            sys.stderr.write(f"{code}\n")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def _workers(arguments: Sequence[str]) -> int:
    """How many workers a command may start."""
    if "run" not in arguments:
        return 0
    given = [arguments[place + 1] for place, one in enumerate(arguments[:-1]) if one == "--workers"]
    count = int(given[-1]) if given and given[-1].isdecimal() else min(os.cpu_count() or 1, _MOST_SPARE)
    return count if 1 < count <= _MOST_SPARE else 0


def _spare(count: int) -> None:
    """Fork that many children of this process, each of which waits to become a worker of the run that begins here."""
    import fedsec.runner.workers

    waiting: list[tuple[int, socket.socket]] = []
    for _ in range(count):
        ours, theirs = socket.socketpair()
        process = os.fork()
        if process == 0:
            for line in (ours, *(other for _, other in waiting)):
                line.close()
            _become_a_worker(theirs)
        theirs.close()
        waiting.append((process, ours))

    def start(command: Sequence[str], *, stdin: int, stdout: int, stderr: int, env: Mapping[str, str]) -> Any:
        while waiting:
            with suppress(BrokenPipeError, ConnectionResetError):  # somebody killed it
                return _Child(*waiting.pop(0), command, stderr, env)
        return subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=stderr, env=env)

    fedsec.runner.workers.subprocess = SimpleNamespace(  # type: ignore[assignment]
        Popen=start, PIPE=subprocess.PIPE
    )


def _become_a_worker(line: socket.socket) -> None:
    """Wait for the order and work, or end with the parent; does not return."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _take([os.open(os.devnull, os.O_RDWR) for _ in range(3)])
    order, descriptors = _receive(line)
    if not order:
        os._exit(0)
    _take(descriptors)
    line.close()
    _run(order)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        _serve(sys.argv[2])
    else:
        sys.exit(_stand_in(sys.argv[2], sys.argv[3:]))
