"""The scenarios of a suite: the rows of each, and how far each got."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

Row = Mapping[str, Any]
RowT = TypeVar("RowT", bound=Mapping[str, Any])

_SETTLED = ("n/a", "error")
"""Statuses without figures, which come with a reason."""


def by_scenario(rows: Iterable[RowT]) -> dict[str, list[RowT]]:
    """Rows of a scorecard by their scenario, both in the order in which they come."""
    found: dict[str, list[RowT]] = {}
    for row in rows:
        found.setdefault(str(row.get("scenario", "")), []).append(row)
    return found


def member_list(record: Row, cells: Sequence[Row]) -> list[dict[str, Any]]:
    """How far each scenario of a suite got: `scenario`, `summary`, `planned`, `missing` and `statuses` with counts.

    Args:
        record: record.json.
        cells: rows of the cells that have a result; each names its scenario.
    """
    rows = by_scenario(cells)
    found = []
    for member in record.get("members") or ():
        name, planned = str(member["scenario"]), len(member["cells"])
        own = rows.get(name, [])
        found.append(
            {
                "scenario": name,
                "summary": str(member.get("summary", "")),
                "planned": planned,
                "missing": planned - len(own),
                "statuses": dict(Counter(row["status"] for row in own)),
            }
        )
    return found


def member_findings(scorecard: Row) -> list[str]:
    """A sentence for each scenario of a suite that did not end, failed, or has nothing that applies.

    Args:
        scorecard: of a suite or a scenario; of a scenario nothing is said.
    """
    rows = by_scenario(scorecard["cells"])
    paragraphs = []
    for member in scorecard.get("members") or ():
        name, planned, missing = member["scenario"], member["planned"], member["missing"]
        own = rows.get(name, [])
        statuses = Counter(row["status"] for row in own)
        parts = []
        if missing:
            what = f"{missing} of {planned} cells have no result"
            parts.append(f"the run was interrupted before its end: {what}; the same command goes on with it")
        for status in _SETTLED:
            if statuses[status] and (status == "error" or statuses[status] == len(own)):
                told = "does not apply" if status == "n/a" else "failed"
                reason = next((row["reason"] for row in own if row["status"] == status and row["reason"]), "unknown")
                count = "as a whole" if statuses[status] == planned else f"in {statuses[status]} of {planned} cells"
                parts.append(f"the scenario {told} {count} (the first: {reason})")
        if parts:
            paragraphs.append(f"{name}: {' and '.join(parts)}.")
    return paragraphs
