"""The parts of a report: one for a scenario, one for each member of a suite."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

Row = Mapping[str, Any]


class Part(NamedTuple):
    """What a run holds of one scenario."""

    name: str
    summary: str
    """The question that it answers."""
    rows: Sequence[Row]
    """Of the scorecard's summary."""
    cells: Sequence[Row]
    contents: Sequence[Row]
    """The cell files, in the order of `cells`."""
    worst_case: Sequence[Row]
    fronts: Sequence[Row]
    missing: int
    """Planned cells without a result."""


def parts_of(record: Row, scorecard: Row, contents: Sequence[Row]) -> list[Part]:
    """The members of a suite in their order, also those without any result; the scenario itself if it is none.

    Args:
        record: record.json; that of a suite has `members`.
        scorecard: scorecard.json.
        contents: the cell files in the order of its cells.
    """
    members = record.get("members")
    if not members:
        missing = max(0, len(record.get("cells", ())) - len(contents))
        lists = (scorecard["summary"], scorecard["cells"], contents, scorecard["worst_case"], scorecard["fronts"])
        return [Part(scorecard["scenario"], str(record.get("summary", "")), *lists, missing)]
    return [_member(member, scorecard, contents) for member in members]


def _member(member: Row, scorecard: Row, contents: Sequence[Row]) -> Part:
    name = member["scenario"]
    own = [place for place, cell in enumerate(scorecard["cells"]) if cell["scenario"] == name]
    kinds = ("summary", "worst_case", "fronts")
    rows, worst_case, fronts = ([row for row in scorecard[kind] if row["scenario"] == name] for kind in kinds)
    cells = [scorecard["cells"][place] for place in own]
    files = [contents[place] for place in own]
    missing = max(0, len(member["cells"]) - len(own))
    return Part(name, str(member["summary"]), rows, cells, files, worst_case, fronts, missing)
