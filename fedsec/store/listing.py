"""The runs below a folder, whole or damaged."""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedsec.errors import FedsecError, NotARunError
from fedsec.store.rundir import RunDirectory

_DEPTH = 8
"""The most folders between `--out` and a run; a scenario's name may have any number of parts."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A run as `fedsec runs` shows it."""

    path: str
    scenario: str
    key: str
    state: str
    """`running`, `complete`, `incomplete` or `damaged`."""
    created: str
    done: int
    """Number of cells with a result, cells that do not apply included."""
    errors: int
    missing: int
    budget: int
    """Cells with a result that `threat.attack_seconds` cut short."""
    bytes: int
    problem: str | None = None
    """Why the run counts as damaged."""

    def as_json(self) -> dict[str, Any]:
        """Return the run as plain data."""
        return asdict(self)


def runs_below(out: Path) -> list[Listed]:
    """Every run below a folder, by scenario and age; one that cannot be read is listed as damaged.

    Raises:
        FedsecError: there is no such folder.
    """
    if not os.path.isdir(out):  # noqa: PTH112  (False for what is no path at all)
        raise FedsecError(f"{out} is no folder. Runs are made by: fedsec run SCENARIO; other folders: --out DIR")
    return sorted((_look(path) for path in _folders(out)), key=lambda run: (run.scenario, run.created, run.key))


def _folders(out: Path) -> Iterator[Path]:
    """Return folders that hold a run, or the remains of one; links are not followed."""
    for place, folders, files in os.walk(out, onerror=None):
        here = Path(place)
        marks = {"record.json", "events.jsonl", "scenario.resolved.yaml"} & set(files)
        if marks or ("cells" in folders and here != out):
            folders.clear()
            yield here
        elif len(here.relative_to(out).parts) >= _DEPTH:
            folders.clear()


def _look(path: Path) -> Listed:
    size = sum(_size(Path(place) / name) for place, _, names in os.walk(path) for name in names)
    try:
        run = RunDirectory.open(path)
        record = run.read_json("record.json")
        cells = [run.cell(key) for key in record["cells"]]
    except (NotARunError, OSError) as error:
        return Listed(str(path), path.parent.name, path.name, "damaged", "", 0, 0, 0, 0, size, str(error))
    statuses = [cell["cell"]["status"] for cell in cells if cell is not None]
    errors, budget, missing = statuses.count("error"), statuses.count("budget"), cells.count(None)
    state = "running" if run.locked() else "incomplete" if errors or budget or missing else "complete"
    done = len(statuses) - errors - budget
    scenario, created = str(record.get("scenario", "?")), str(record.get("created", ""))
    return Listed(str(path), scenario, path.name, state, created, done, errors, missing, budget, size)


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0
