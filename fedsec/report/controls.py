"""The controls of a run: what stands beside a cell without its attack, found without a search."""

from collections.abc import Iterable, Mapping
from typing import Any

from fedsec.comparison.rows import NONE, RESULT, correct
from fedsec.report.untrained import untrained

Content = Mapping[str, Any]
"""A cell file."""
Row = Mapping[str, Any]
"""A row of the scorecard's summary."""


class Controls:
    """The cells without an attack that have a result, by defense, seed and settings.

    Args:
        contents: the cells' files; of several with the same place the first counts.
    """

    def __init__(self, contents: Iterable[Content]) -> None:
        self._at: dict[tuple[str, object, str], Content] = {}
        self._idle: dict[tuple[str, object, str], bool] = {}
        for content in contents:
            cell = content["cell"]
            if cell["attack"] == NONE and cell["status"] in RESULT:
                self._at.setdefault((cell["defense"], cell["seed"], _of(cell)), content)

    def of(self, cell: Row, defense: str) -> Content | None:
        """The control of a cell with that defense; None where there is none."""
        return self._at.get((defense, cell["seed"], _of(cell)))

    def trained(self, cell: Row, defense: str) -> Content | None:
        """The same, and None as well for an undefended control that did not train."""
        found = self.of(cell, defense)
        return None if found is None or (defense == NONE and self.idle(cell)) else found

    def idle(self, cell: Row) -> bool:
        """Whether the undefended control of a cell did not train; False where there is none."""
        key = (NONE, cell["seed"], _of(cell))
        if key not in self._idle:  # a control is asked about once for each of its attacks
            found = self._at.get(key)
            self._idle[key] = found is not None and untrained(found) is not None
        return self._idle[key]


def control_rows(rows: Iterable[Row]) -> dict[tuple[str, str], Row]:
    """The rows without an attack that say how much is right, by defense and settings: `place_of` names them."""
    found: dict[tuple[str, str], Row] = {}
    for row in rows:
        if row["attack"] == NONE and correct(row["metrics"]):
            found.setdefault(place_of(row), row)
    return found


def place_of(row: Row) -> tuple[str, str]:
    """What a row and its control have in common."""
    return str(row["defense"]), _of(row)


def _of(row: Row) -> str:
    """The settings of a cell or row, whatever the order of their names."""
    return repr(sorted(row["settings"].items()))
