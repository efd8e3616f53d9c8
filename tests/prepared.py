"""A process that has loaded torch and transformers, and forks for every command: what takes 7 s once per command else.

Run as a program, it is that process: it listens on a socket, gets a command's arguments, folder, environment and three
descriptors, and says the id and the exit code of the copy that runs it. Nothing of a command's is left behind, for it
ran in the copy. That a new process does without what it does not need, and how long it takes, is tested elsewhere.
"""

import importlib
import json
import os
import signal
import site
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO

_LENGTH = 8
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
        self._line = _ask(prepared(), order, [nothing, out[1], err[1]])
        for descriptor in (nothing, out[1], err[1]):
            os.close(descriptor)
        self._said = self._line.makefile("r", encoding="utf-8")
        self.pid = int(self._said.readline())
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
            self.returncode = int(self._said.readline())
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


def _ask(place: str, order: Mapping[str, object], descriptors: list[int]) -> socket.socket:
    line = socket.socket(socket.AF_UNIX)
    line.connect(place)
    message = json.dumps(order).encode()
    socket.send_fds(line, [len(message).to_bytes(_LENGTH, "big")], descriptors)
    line.sendall(message)
    return line


def _stand_in(place: str, arguments: list[str]) -> int:
    """Be the command as far as a shell can tell: hand the descriptors over, and end as it ends."""
    order = {"arguments": arguments, "cwd": str(Path.cwd()), "env": dict(os.environ)}
    with _ask(place, order, [0, 1, 2]) as line, line.makefile("r") as said:
        said.readline()
        return int(said.readline())


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
    head, descriptors, _, _ = socket.recv_fds(line, _LENGTH, 3)
    order = json.loads(line.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL))
    process = os.fork()
    if process == 0:
        line.close()
        for place, descriptor in enumerate(descriptors):
            os.dup2(descriptor, place)
            os.close(descriptor)
        _run(order)
    for descriptor in descriptors:
        os.close(descriptor)
    line.sendall(f"{process}\n".encode())
    _, status = os.waitpid(process, 0)
    line.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _run(order: dict[str, "str | list[str] | dict[str, str]"]) -> None:
    """Become the command; does not return."""
    import fedsec.cli.main

    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(order["env"])  # type: ignore[arg-type]
    os.chdir(str(order["cwd"]))
    sys.path[0] = str(order["cwd"])  # as with `python -m`
    for folder in site.getsitepackages():  # what was installed since this process began
        site.addsitedir(folder)
    importlib.invalidate_caches()
    sys.argv = ["fedsec", *order["arguments"]]
    code: object = 1
    try:
        code = fedsec.cli.main.main()
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


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        _serve(sys.argv[2])
    else:
        sys.exit(_stand_in(sys.argv[2], sys.argv[3:]))
