"""`fedsec.run` turns a scenario or a suite into a result; a result can also be rebuilt from a run's folder."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

from fedsec.comparison.align import flat
from fedsec.config import yaml_tree
from fedsec.config.paths import with_paths
from fedsec.config.schema import Scenario
from fedsec.config.suite import Suite
from fedsec.errors import FedsecError
from fedsec.report.members import member_list
from fedsec.report.scorecard import build
from fedsec.store.rundir import RunDirectory

if TYPE_CHECKING:
    import pandas as pd

    from fedsec.comparison.compare import Comparison
    from fedsec.runner.observer import Observer

_NO_SETTINGS = ("schema", "name", "summary", "matrix", "gate")
"""What of a scenario is no setting of its cells; what its matrix varies is theirs."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """A run's folder, its scorecard and its cells; notebooks show it as a table."""

    path: Path
    scorecard: dict[str, Any]
    cells: list[dict[str, Any]]
    """The cell files: the scorecard's rows with curves, rounds and, if they were stored, texts. One that two scenarios
    of a suite have in common stands here for each of them."""
    missing: int
    """Number of planned cells without a result."""

    @property
    def complete(self) -> bool:
        """Whether every planned cell has a result that is no error and that no limit of time cut short."""
        return not self.missing and not self.errors and not self.budget

    @property
    def errors(self) -> int:
        """Return the cells that ended in an error."""
        return sum(cell["cell"]["status"] == "error" for cell in self.cells)

    @property
    def budget(self) -> int:
        """Cells whose attack `threat.attack_seconds` ended."""
        return sum(cell["cell"]["status"] == "budget" for cell in self.cells)

    def cells_frame(self) -> "pd.DataFrame":
        """Return the cells as a table: a row per cell, and per metric `NAME`, `NAME.ci_low` and `NAME.ci_high`.

        Varied settings are columns under their path; a metric that a cell lacks is missing (NaN) there.
        """
        from fedsec.report.frames import frame

        return frame(self.scorecard["cells"])

    def summary_frame(self) -> "pd.DataFrame":
        """Return the summary over seeds as a table, a row per (settings, attack, defense), like `cells_frame`."""
        from fedsec.report.frames import frame

        return frame(self.scorecard["summary"])

    def __repr__(self) -> str:
        from fedsec.report.frames import as_text

        return as_text(self.scorecard, self.path, self.errors, self.missing)

    def _repr_html_(self) -> str:
        """Return the summary as an HTML table, for notebooks."""
        from fedsec.report.frames import as_html

        return as_html(self.scorecard, self.path, self.errors, self.missing)


def run(
    scenario: Scenario | Suite,
    out: Path | str = "runs",
    observer: "Observer | None" = None,
    *,
    workers: int | None = 1,
    threads: int = 1,
    memory: int | str | None = None,
    device: str = "auto",
    source: Path | str | None = None,
) -> RunResult:
    """Run a scenario or a suite, or what an earlier run of it left undone, and write its scorecard and report.

    The result is the same, timings aside, whatever the number of workers.

    Args:
        scenario: from `fedsec.load_scenario`.
        out: folder of runs.
        observer: told about progress.
        workers: processes that run cells side by side; 1 runs them in this process, None takes one per usable core.
            Plug-ins that the calling program registered by itself are known in this process only.
        threads: threads of every worker's numerics; results depend on it in their last bits.
        memory: bytes, or a size such as `8GB`, that all workers together may use; 80 % of what is free if absent.
        device: `auto`, `cpu` or `cuda`.
        source: the scenario's file, at whose `gate:` the gate's findings point.

    Raises:
        FedsecError: no cell could run, for one reason that all share; another process runs this scenario; a setting
            is out of range.
    """
    from fedsec.runner.machine import Machine, parse_memory
    from fedsec.runner.observer import Observer
    from fedsec.runner.scenario import run_scenario

    machine = Machine(workers=workers, threads=threads, memory=parse_memory(memory), device=device)
    finished = run_scenario(
        scenario, Path(out), observer or Observer(), machine, None if source is None else Path(source)
    )
    return rebuild(finished.run.path)


def rebuild(path: Path) -> RunResult:
    """Return the result of a run from its cells, and write scorecard.json and report.html anew.

    Raises:
        NotARunError: no readable run there.
    """
    from fedsec.report.html import render

    result, record = read(path)
    directory = RunDirectory(result.path)
    scorecard = json.dumps(result.scorecard, indent=1, ensure_ascii=False, allow_nan=False)
    directory.write_text("scorecard.json", scorecard + "\n")
    kept = any(content.get("texts") for content in result.cells)
    page = render(record, result.scorecard, result.cells)
    directory.write_text("report.html", page, 0o600 if kept else 0o644)
    return result


def read(path: Path) -> tuple[RunResult, dict[str, Any]]:
    """Return the result of a run from its cells, and its record; nothing is written.

    Raises:
        NotARunError: no readable run there.
    """
    directory = RunDirectory.open(path)
    record = directory.read_json("record.json")
    found, missing = _cells(directory, record)
    contents = [_named(content, name) if record.get("members") else content for name, content in found]
    scorecard = build(str(record.get("scenario")), directory.path.name, contents)
    if record.get("members"):
        scorecard["members"] = member_list(record, scorecard["cells"])
    return RunResult(directory.path, scorecard, contents, missing), record


def compare(results: Sequence[RunResult]) -> "Comparison":
    """Compare runs with the first of them, cell by cell; they are called A, B, ... in their order.

    Args:
        results: 2 to 26.

    Raises:
        IncomparableError: no cell can be compared; the message names what differs.
    """
    from fedsec.comparison import compare as comparison
    from fedsec.comparison.align import Run

    return comparison.compare(
        [
            Run(name, result.scorecard["cells"], result.cells, _settings(result.path), result.scorecard["scenario"])
            for name, result in zip(ascii_uppercase, results, strict=False)
        ]
    )


def _cells(run: RunDirectory, record: dict[str, Any]) -> tuple[list[tuple[str, dict[str, Any]]], int]:
    """The cells of every scenario that have a result, each with its scenario's name, and how many have none."""
    name = str(record.get("scenario"))
    members = record.get("members") or [{"scenario": name, "cells": record["cells"]}]
    known = {key: run.cell(key) for key in record["cells"]}
    found = [(str(one["scenario"]), content) for one in members for key in one["cells"] if (content := known[key])]
    return found, sum(content is None for content in known.values())


def _named(content: dict[str, Any], scenario: str) -> dict[str, Any]:
    """A cell's content whose row names the scenario that it stands in."""
    return {**content, "cell": {"scenario": scenario, **content["cell"]}}


def _settings(run: Path) -> dict[str, dict[str, Any]]:
    """The settings of each scenario of a run, by dotted path; none where they cannot be read.

    A path counts by its last part: where a file lay is no setting.
    """
    name = "scenario.resolved.yaml"
    try:
        data = yaml_tree.parse(yaml_tree.decode((run / name).read_bytes(), name), name).data
    except (OSError, FedsecError):
        return {}
    listed = data.get("scenarios", [data])
    found = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return {
        str(one.get("name")): flat(
            {
                key: value
                for key, value in with_paths(one, lambda path: Path(path).name, str(run)).items()
                if key not in _NO_SETTINGS
            }
        )
        for one in found
    }
