"""`fedsec.run`: a scenario in, a result out; and rebuilding a result from a run's folder."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedsec.config.schema import Scenario
from fedsec.errors import NotARunError
from fedsec.report.scorecard import build
from fedsec.store.rundir import RunDirectory

if TYPE_CHECKING:
    from fedsec.experiment.observer import Observer


@dataclass(frozen=True, slots=True)
class RunResult:
    """A run's folder, its scorecard and its cells."""

    path: Path
    scorecard: dict[str, Any]
    cells: list[dict[str, Any]]
    """The cell files: the scorecard's rows with curves, rounds and, if they were kept, texts."""
    missing: int
    """Planned cells that have no result."""

    @property
    def complete(self) -> bool:
        """Whether every planned cell has a result that is no error."""
        return not self.missing and all(cell["cell"]["status"] != "error" for cell in self.cells)


def run(scenario: Scenario, out: Path | str = "runs", observer: "Observer | None" = None) -> RunResult:
    """Run a scenario, or what an earlier run of it left undone, and write its scorecard and report.

    Args:
        scenario: from `fedsec.load_scenario`.
        out: folder of runs.
        observer: told about progress.
    """
    from fedsec.experiment.observer import Observer
    from fedsec.experiment.runner import run_scenario

    finished = run_scenario(scenario, Path(out), observer or Observer())
    return rebuild(finished.run.path)


def rebuild(path: Path) -> RunResult:
    """The result of a run from its cells; scorecard.json and report.html are written anew.

    Raises:
        NotARunError: no readable run there.
    """
    from fedsec.report.html import render

    directory = RunDirectory.open(path)
    record = directory.read_json("record.json")
    keys = record.get("cells")
    if not isinstance(keys, list) or not all(isinstance(key, str) and key.isalnum() for key in keys):
        raise NotARunError(f"{directory.path / 'record.json'} lists no cells")
    contents = [content for key in keys if (content := directory.cell(key)) is not None]
    scorecard = build(str(record.get("scenario")), directory.path.name, contents)
    directory.write_text("scorecard.json", json.dumps(scorecard, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    kept = any(content.get("texts") for content in contents)
    directory.write_text("report.html", render(record, scorecard, contents), 0o600 if kept else 0o644)
    return RunResult(directory.path, scorecard, contents, len(keys) - len(contents))
