"""A run's folder, `runs/<name>/<key>/`: where its files are, and how its cells are read and written."""

import errno
import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fedsec.errors import FedsecError, NotARunError
from fedsec.store import strict_json
from fedsec.store.atomic import write_text
from fedsec.store.content import SCHEMA, fault_of_cell, fault_of_record

ERRORS_LOG = "errors.log"
"""Holds full tracebacks; only the owner can read it, since an exception's message may quote a client's text."""
LOCK = ".lock"
_LOCK_SECONDS = 0.5
"""Seconds of patience for a lock, which may be taken by a check (`locked`) for a moment."""


class RunDirectory:
    """One run's folder.

    Args:
        path: the folder; made when something is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def open(cls, path: Path) -> "RunDirectory":
        """Open an existing run, by its folder or by the folder above it (then the newest run in there).

        Raises:
            NotARunError: nothing there that this version can read.
        """
        try:
            if not (path / "record.json").is_file():
                runs = sorted(path.glob("*/record.json"), key=lambda f: f.stat().st_mtime)
                if not runs:
                    raise NotARunError(
                        f"{path} is no run: it holds no record.json. Runs are made by: fedsec run SCENARIO"
                    )
                path = runs[-1].parent
        except OSError as error:
            raise NotARunError(f"{str(path)[:200]} cannot be read: {error.strerror}") from error
        run = cls(path)
        record = run.read_json("record.json")
        found = record.get("schema")
        if type(found) is not int or found != SCHEMA:
            raise NotARunError(f"{path} was written with schema {found!a:.40}; this version of fedsec reads {SCHEMA}")
        if (fault := fault_of_record(record)) is not None:
            raise NotARunError(f"{path / 'record.json'} is damaged at {fault}")
        return run

    def read_json(self, name: str) -> dict[str, Any]:
        """Return a JSON object of this run; NotARunError if it is missing or damaged."""
        try:
            content = strict_json.read(self.path / name)
        except (OSError, ValueError) as error:
            said = error.strerror if isinstance(error, OSError) else error
            raise NotARunError(f"{self.path / name} cannot be read: {said!s:.200}") from error
        if not isinstance(content, dict):
            raise NotARunError(f"{self.path / name} holds no JSON object")
        return content

    def write_record(self, record: Mapping[str, Any]) -> None:
        """`record.json`."""
        self.write_text("record.json", _as_json({"schema": SCHEMA, **record}))

    def write_text(self, name: str, text: str, mode: int = 0o644) -> Path:
        """A text file of this run; FedsecError if it cannot be written there."""
        with self._writing(name) as path:
            write_text(path, text, mode)
        return path

    def record(self) -> dict[str, Any] | None:
        """Return `record.json`, or None if there is none that can be read."""
        try:
            content = self.read_json("record.json")
        except NotARunError:
            return None
        return content if fault_of_record(content) is None else None

    def log(self, event: str, **fields: Any) -> None:
        """Append a line to events.jsonl and flush it."""
        line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **fields})
        self._append("events.jsonl", f"{line}\n", 0o644)

    def log_error(self, title: str, details: str) -> None:
        """Append a traceback to errors.log, which only its owner can read."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._append(ERRORS_LOG, f"{now} {title}\n{details}\n", 0o600)

    def cell(self, key: str) -> dict[str, Any] | None:
        """Return a finished cell, or None; a damaged file counts as not finished."""
        try:
            content = self.read_json(f"cells/{key}.json")
        except NotARunError:
            return None
        return content if content.get("key") == key and fault_of_cell(content) is None else None

    def write_cell(self, key: str, content: Mapping[str, Any], *, private: bool) -> None:
        """A finished cell; `private` ones hold clients' texts and are readable by their owner only.

        Raises:
            FedsecError: it cannot be written, or could not be read again, and so would run for ever.
        """
        text = _as_json({"schema": SCHEMA, "key": key, **content})
        if (fault := fault_of_cell(strict_json.parse(text))) is not None:
            raise FedsecError(f"the cell's result has a fault at {fault}")
        self.write_text(f"cells/{key}.json", text, 0o600 if private else 0o644)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from running this run; the system releases the lock of a process that dies.

        Raises:
            FedsecError: another process runs it.
        """
        with self._writing(LOCK) as path:
            stream = os.fdopen(_opened(path, os.O_RDWR | os.O_CREAT, 0o644), "r+")
        with stream:
            if not _locks(stream.fileno(), fcntl.LOCK_EX, _LOCK_SECONDS):
                holder = stream.read(100).strip()
                by = f" (process {holder})" if holder.isdigit() else ""
                raise FedsecError(
                    f"this scenario is being run by another process{by} in {self.path}. "
                    "Wait for it, stop it, or give another folder with --out"
                )
            stream.truncate(0)
            stream.write(str(os.getpid()))
            stream.flush()
            yield

    def locked(self) -> bool:
        """Return whether a process is running this run now."""
        try:
            descriptor = _opened(self.path / LOCK, os.O_RDONLY)
        except OSError:
            return False
        try:
            return not _locks(descriptor, fcntl.LOCK_SH, 0.0)
        finally:
            os.close(descriptor)

    def _append(self, name: str, text: str, mode: int) -> None:
        """Append whole lines to a file; a torn last line of it stays a line of its own."""
        with self._writing(name) as path:
            descriptor = _opened(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, mode)
            with os.fdopen(descriptor, "a+b", buffering=0) as stream:
                if not mode & 0o077:
                    os.fchmod(descriptor, mode)  # it may have been there with another mode
                end = stream.seek(0, os.SEEK_END)
                torn = end > 0 and os.pread(descriptor, 1, end - 1) != b"\n"
                stream.write((b"\n" if torn else b"") + text.encode("utf-8", "backslashreplace"))

    @contextmanager
    def _writing(self, name: str) -> Iterator[Path]:
        """Return where to write a file of this run: in its folder, and never through a link to another place.

        Raises:
            FedsecError: a folder on the way is a link, or the system refuses.
        """
        path = self.path / name
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for folder in path.relative_to(self.path).parents:
                if folder != Path() and (self.path / folder).is_symlink():
                    raise FedsecError(f"{self.path / folder} is a link, and a run writes into its own folder only")
            yield path
        except OSError as error:
            raise FedsecError(f"{path} cannot be written: {error.strerror or error}") from error


def _as_json(content: Mapping[str, Any]) -> str:
    """Return JSON, keys in their order; ValueError for NaN or infinity, which JSON does not have."""
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _opened(path: Path, flags: int, mode: int = 0o644) -> int:
    """Return a descriptor of a regular file that is no link; OSError for anything else."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no ordinary file")
    return descriptor


def _locks(descriptor: int, kind: int, patience: float) -> bool:
    """Return whether a lock was obtained within `patience` seconds; True as well where the file system has no locks."""
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.05)
        except OSError:
            return True
        else:
            return True
