"""The head of a cell's row: attack, defense, settings and status. Imports no torch."""

from collections.abc import Mapping
from typing import Any

from fedsec.plan.cells import Cell, knowledge

OK, BUDGET, BLOCKED, NOT_APPLICABLE, ERROR = "ok", "budget", "blocked", "n/a", "error"
RAN = (OK, BUDGET)
"""Statuses of cells whose attack ran; under `budget` its time was over before it was done."""


def not_run(cell: Cell, status: str, reason: str) -> dict[str, Any]:
    """Return the content of a cell without metrics, and the reason."""
    return {"cell": head_of(cell, status, reason)}


def runs_again(content: Mapping[str, Any], cell: Cell) -> bool:
    """Whether the same command runs a cell again that has a result: an error, or one that has more time now."""
    row, limit = content["cell"], cell.scenario.threat.attack_seconds
    if row["status"] == BUDGET:
        had = row.get("attack_seconds")
        return limit is None or had is None or limit > had
    return bool(row["status"] == ERROR)


def head_of(cell: Cell, status: str, reason: str | None) -> dict[str, Any]:
    """Return the scorecard's row of a cell, without metrics."""
    position = cell.attack_position
    return {
        "attack": cell.attack_label,
        "defense": cell.defense_label,
        "goal": None if cell.threat is None else cell.threat.goal,
        "acts": False,
        "seed": cell.seed,
        "settings": cell.settings,
        "attack_params": cell.attack.params,
        "defense_stack": list(cell.told),
        "position": position.value if position else None,
        "knowledge": sorted(kind.value for kind in knowledge(cell)),
        "adaptive": False,
        "status": status,
        "reason": reason,
        "guarantee": None,
        "metrics": {},
    }
