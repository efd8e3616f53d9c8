"""`runs/<name>/<key>/`: where a run's files lie, and how its cells are read and written."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fedsec.errors import NotARunError
from fedsec.store.atomic import write_json, write_text

SCHEMA = 1


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
            content = json.loads((self.path / name).read_text(encoding="utf-8"))
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

    def log(self, event: str, **fields: Any) -> None:
        """Append a line to events.jsonl and flush it."""
        self.path.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **fields})
        with (self.path / "events.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")

    def cell(self, key: str) -> dict[str, Any] | None:
        """A finished cell, or None; a damaged file counts as not finished."""
        try:
            content = self.read_json(f"cells/{key}.json")
        except NotARunError:
            return None
        row = content.get("cell")
        whole = isinstance(row, dict) and isinstance(row.get("status"), str)
        return content if whole and content.get("schema") == SCHEMA and content.get("key") == key else None

    def write_cell(self, key: str, content: Mapping[str, Any], *, private: bool) -> None:
        """A finished cell; `private` ones hold clients' texts and are readable by their owner only."""
        mode = 0o600 if private else 0o644
        write_json(self.path / "cells" / f"{key}.json", {"schema": SCHEMA, "key": key, **content}, mode)
