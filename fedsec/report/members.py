"""The scenarios of a suite: the rows of each, and how far each got."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from fedsec.comparison.rows import NONE

Row = Mapping[str, Any]
RowT = TypeVar("RowT", bound=Mapping[str, Any])


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
    """A sentence for each scenario of a suite that was interrupted, that failed, or to which no attack applies.

    Args:
        scorecard: of a suite or a scenario; of a scenario nothing is said.
    """
    rows = by_scenario(scorecard["cells"])
    found = []
    for member in scorecard.get("members") or ():
        name, planned, missing = member["scenario"], member["planned"], member["missing"]
        own = rows.get(name, [])
        failed = [row for row in own if row["status"] == "error"]
        attacked = [row for row in own if row["attack"] != NONE]
        parts = []
        if missing:
            parts.append(
                f"{missing} of {planned} cells have no result: the run was interrupted, and goes on when repeated"
            )
        if failed:
            parts.append(f"{len(failed)} of {planned} cells failed ({_first_line(failed[0])})")
        if attacked and all(row["status"] == "n/a" for row in attacked):
            parts.append(f"no attack applies ({_first_line(attacked[0])})")
        if parts:
            found.append(f"{name}: {'; '.join(parts)}.")
    return found


def _first_line(row: Row) -> str:
    """The reason of a cell without a result, up to its first line break."""
    return str(row["reason"] or "unknown").partition("\n")[0].rstrip(".")
