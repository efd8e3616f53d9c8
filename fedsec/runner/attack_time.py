"""About how long attacks that read take, by cells that are finished; before the first of them nobody knows."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fedsec.config.dump import dump_text
from fedsec.config.schema import Scenario
from fedsec.errors import NotARunError
from fedsec.plan.cells import Cell
from fedsec.store.rundir import RunDirectory

MEASURED, LIMIT = "measured", "limit"
_SECONDS = "cost/attack-seconds"
_MOST_RUNS = 5
"""Earlier runs that are looked at, the newest first."""
_SAME = ("model", "data", "federation")
"""Parts of a scenario that an attack's time depends on beside its own parameters."""

Content = Mapping[str, Any]
"""A cell file."""


@dataclass(frozen=True, slots=True)
class AttackTime:
    """What is known of the time of one cell's attack."""

    seconds: float | None
    """None where nothing is known, and no limit is set."""
    basis: str
    """`measured`, in cells of the same attack and settings; `limit`, it may take so long at most; or empty."""


class Measured:
    """The seconds that attacks took.

    Args:
        contents: finished cells of the same model, data and federation.
    """

    def __init__(self, contents: Iterable[Content]) -> None:
        self._exact: dict[str, list[float]] = {}
        self._alike: dict[str, list[float]] = {}
        for content in contents:
            row = content["cell"]
            seconds = (row["metrics"].get(_SECONDS) or {}).get("value")
            if row["status"] == "ok" and isinstance(seconds, (int, float)):
                alike = repr((row["attack"], row["settings"]))
                self._alike.setdefault(alike, []).append(float(seconds))
                self._exact.setdefault(f"{alike} {row['defense']}", []).append(float(seconds))

    def of(self, cell: Cell) -> AttackTime:
        """The mean of cells that differ in the seed alone, or in the defense too, and never more than the limit."""
        alike = repr((cell.attack_label, cell.settings))
        found = self._exact.get(f"{alike} {cell.defense_label}") or self._alike.get(alike)
        limit = cell.scenario.threat.attack_seconds
        if found is None:
            return AttackTime(limit, "" if limit is None else LIMIT)
        mean = sum(found) / len(found)
        return AttackTime(mean, MEASURED) if limit is None or mean <= limit else AttackTime(limit, LIMIT)


def earlier_cells(scenario: Scenario, run: RunDirectory) -> list[Content]:
    """Finished cells of earlier runs of the scenario with the same model, data and federation.

    Args:
        scenario: what is to run.
        run: where it will lie; runs of other versions and other settings lie beside it.
    """
    own, found = _parts(dump_text(scenario, run.path)), list[Content]()
    try:
        records = sorted(run.path.parent.glob("*/record.json"), key=lambda file: file.stat().st_mtime, reverse=True)
        for record in [one for one in records if one.parent != run.path][:_MOST_RUNS]:
            text = (record.parent / "scenario.resolved.yaml").read_text(encoding="utf-8")
            if any(_parts(text).get(part) != own[part] for part in _SAME):
                continue
            earlier = RunDirectory.open(record.parent)
            cells = (earlier.cell(key) for key in earlier.read_json("record.json")["cells"])
            found += [content for content in cells if content is not None]
    except (OSError, ValueError, NotARunError):
        pass  # what cannot be read tells nothing
    return found


def _parts(text: str) -> dict[str, str]:
    """The parts of a scenario's text by their names."""
    return {part.partition(":")[0]: part for part in re.split(r"^(?=\w)", text, flags=re.MULTILINE) if part}
