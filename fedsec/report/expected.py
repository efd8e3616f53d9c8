"""The figures that a scenario is known to reach, beside those of this run."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedsec.comparison.rows import BUDGET

Row = Mapping[str, Any]


def compared(expected: Row | None, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """One entry per known figure: what it is of, what is known, what was measured, and whether they agree.

    Args:
        expected: of record.json, if the scenario comes with figures.
        rows: the scorecard's summary.
    """
    found = []
    for figure in (expected or {}).get("figures", ()):
        row = next(
            (r for r in rows if all(r[name] == figure[name] for name in ("attack", "defense", "settings"))), None
        )
        value = row["metrics"].get(figure["metric"]) if row else None
        whole = row is not None and row["status"] != BUDGET
        found.append({**figure, "measured": value, "verdict": _verdict(figure, value if whole else None)})
    return found


def _verdict(figure: Row, value: Row | None) -> str:
    if value is None or value["value"] is None:
        return "not measured"
    above = value["value"] - figure["expected"]
    missed = {"at-least": -above, "at-most": above, "about": abs(above)}[figure["bound"]]
    return "agrees" if missed <= figure["tolerance"] else "differs"
