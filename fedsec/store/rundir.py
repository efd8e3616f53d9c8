"""`runs/<name>/<key>/`: where a run's files lie, and how its cells are read and written."""

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any

from fedsec.errors import NotARunError
from fedsec.store.atomic import write_json, write_text

SCHEMA = 1
ERRORS_LOG = "errors.log"
"""Full tracebacks; an exception's message may quote a client's text, so only the owner can read them."""
_STATUSES = ("ok", "blocked", "n/a", "error")
_CELL: dict[str, tuple[type, ...]] = {
    "attack": (str,),
    "defense": (str,),
    "seed": (int,),
    "settings": (dict,),
    "attack_params": (dict,),
    "defense_stack": (list,),
    "position": (str, type(None)),
    "knowledge": (list,),
    "adaptive": (bool,),
    "status": (str,),
    "reason": (str, type(None)),
    "guarantee": (dict, type(None)),
    "metrics": (dict,),
}
_METRIC = ("value", "unit", "better_for", "n", "ci_low", "ci_high", "method")


class RunDirectory:
    """One run's folder.

    Args:
        path: the folder; made when something is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def open(cls, path: Path) -> "RunDirectory":
        """An existing run, by its folder or by the folder above it (then the newest run in there).

        Raises:
            NotARunError: nothing there that this version can read.
        """
        if not (path / "record.json").is_file():
            runs = sorted(path.glob("*/record.json"), key=lambda f: f.stat().st_mtime)
            if not runs:
                raise NotARunError(f"{path} is no run: it holds no record.json. Runs are made by: fedsec run SCENARIO")
            path = runs[-1].parent
        run = cls(path)
        found = run.read_json("record.json").get("schema")
        if found != SCHEMA:
            raise NotARunError(f"{path} was written with schema {found}; this version of fedsec reads {SCHEMA}")
        return run

    def read_json(self, name: str) -> dict[str, Any]:
        """A JSON object of this run; NotARunError if it is missing or damaged."""
        try:
            text = (self.path / name).read_text(encoding="utf-8")
            content = json.loads(text, parse_constant=_finite, parse_float=_finite)
        except (OSError, ValueError, RecursionError) as error:
            raise NotARunError(f"{self.path / name} cannot be read: {error}") from error
        if not isinstance(content, dict):
            raise NotARunError(f"{self.path / name} holds no JSON object")
        return content

    def write_record(self, record: Mapping[str, Any]) -> None:
        """`record.json`."""
        write_json(self.path / "record.json", {"schema": SCHEMA, **record})

    def write_text(self, name: str, text: str, mode: int = 0o644) -> Path:
        """A text file of this run."""
        write_text(self.path / name, text, mode)
        return self.path / name

    def record(self) -> dict[str, Any] | None:
        """`record.json`, or None if there is none that can be read."""
        try:
            return self.read_json("record.json")
        except NotARunError:
            return None

    def log(self, event: str, **fields: Any) -> None:
        """Append a line to events.jsonl and flush it."""
        line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **fields})
        self._append("events.jsonl", f"{line}\n", 0o644)

    def log_error(self, title: str, details: str) -> None:
        """Append a traceback to errors.log, which only its owner can read."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._append(ERRORS_LOG, f"{now} {title}\n{details}\n", 0o600)

    def cell(self, key: str) -> dict[str, Any] | None:
        """A finished cell, or None; a damaged file counts as not finished."""
        try:
            content = self.read_json(f"cells/{key}.json")
        except NotARunError:
            return None
        whole = _is_cell(content.get("cell")) and content.get("schema") == SCHEMA and content.get("key") == key
        return content if whole else None

    def write_cell(self, key: str, content: Mapping[str, Any], *, private: bool) -> None:
        """A finished cell; `private` ones hold clients' texts and are readable by their owner only."""
        mode = 0o600 if private else 0o644
        write_json(self.path / "cells" / f"{key}.json", {"schema": SCHEMA, "key": key, **content}, mode)

    def _append(self, name: str, text: str, mode: int) -> None:
        """Add whole lines to a file; a torn last line of it stays alone."""
        self.path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path / name, os.O_RDWR | os.O_APPEND | os.O_CREAT, mode)
        with os.fdopen(descriptor, "a+b", buffering=0) as stream:
            if not mode & 0o077:
                os.fchmod(descriptor, mode)  # it may have been there with another mode
            end = stream.seek(0, os.SEEK_END)
            torn = end > 0 and os.pread(descriptor, 1, end - 1) != b"\n"
            stream.write((b"\n" if torn else b"") + text.encode("utf-8", "backslashreplace"))


def _finite(text: str) -> float:
    """A number of a JSON file; NaN and infinity are none."""
    number = float(text)
    if not isfinite(number):
        raise ValueError(f"{text} is no JSON number")
    return number


def _is_cell(row: Any) -> bool:
    """Whether this is a scorecard's row, DESIGN section 6, with all that reports read of it."""
    if not isinstance(row, dict) or not all(name in row and isinstance(row[name], _CELL[name]) for name in _CELL):
        return False
    metrics = row["metrics"].values()
    sound = all(isinstance(metric, dict) and all(name in metric for name in _METRIC) for metric in metrics)
    return sound and row["status"] in _STATUSES
