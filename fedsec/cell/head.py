"""The head of a cell's row: what ran against what, and its status. Imports no torch."""

from typing import Any

from fedsec.plan.cells import Cell, knowledge

OK, BLOCKED, NOT_APPLICABLE, ERROR = "ok", "blocked", "n/a", "error"


def not_run(cell: Cell, status: str, reason: str) -> dict[str, Any]:
    """The content of a cell that has no metrics, and why."""
    return {"cell": head_of(cell, status, reason)}


def head_of(cell: Cell, status: str, reason: str | None) -> dict[str, Any]:
    """The scorecard's row of a cell, without metrics."""
    position = cell.attack_position
    return {
        "attack": cell.attack_label,
        "defense": cell.defense_label,
        "goal": None if cell.threat is None else cell.threat.goal,
        "acts": False,
        "seed": cell.seed,
        "settings": cell.settings,
        "attack_params": cell.attack["params"],
        "defense_stack": [{"name": d["name"], "params": d["params"]} for d in cell.defense],
        "position": position.value if position else None,
        "knowledge": sorted(kind.value for kind in knowledge(cell)),
        "adaptive": False,
        "status": status,
        "reason": reason,
        "guarantee": None,
        "metrics": {},
    }
