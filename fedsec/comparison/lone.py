"""Cells that only one of two runs has."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedsec.comparison.align import Aligned, Content, Row, Run, canonical


@dataclass(frozen=True, slots=True)
class Lone:
    """Cells that one of two runs has and the other has not."""

    where: Aligned
    has: int
    lacks: int
    seeds: tuple[int, ...]
    near: str | None
    """Which parameters set them apart from cells of the same names in the other run; None without any such."""

    @property
    def row(self) -> Row:
        """A row of theirs."""
        return self.where.cells[self.has][self.seeds[0]][0]


def lone_cells(runs: Sequence[Run], aligned: Sequence[Aligned], run: int) -> Iterator[Lone]:
    """The seeds of aligned cells that only the first run has, and those that only another has."""
    for where in aligned:
        for has, lacks in ((0, run), (run, 0)):
            seeds = tuple(sorted(where.cells[has].keys() - where.cells[lacks].keys()))
            if seeds:
                near = None if where.cells[lacks] else _near(runs, aligned, where, (has, lacks))
                yield Lone(where, has, lacks, seeds, near)


def _near(runs: Sequence[Run], aligned: Sequence[Aligned], where: Aligned, sides: tuple[int, int]) -> str | None:
    """How the parameters of cells differ from those of the one group of the other run that has the same names."""
    has, lacks = sides
    own = _parameters(where.cells[has])
    alone = [
        _parameters(one.cells[lacks])
        for one in aligned
        if one.cells[lacks] and not one.cells[has]
        if (one.scenario, one.settings) == (where.scenario, where.settings)
    ]
    alike = [one for one in alone if one.keys() == own.keys()]
    if len(alike) != 1:
        return None
    unlike = [
        f"{name}.{path} is {_value(mine, path)} in {runs[has].name} and {_value(theirs, path)} in {runs[lacks].name}"
        for name, mine in own.items()
        for theirs in [alike[0][name]]
        for path in dict.fromkeys([*mine, *theirs])
        if canonical(mine.get(path)) != canonical(theirs.get(path)) or (path in mine) != (path in theirs)
    ]
    return ", ".join(unlike)


def _parameters(cells: Mapping[int, tuple[Row, Content]]) -> dict[str, Mapping[str, Any]]:
    """The parameters of the attack and of each defense of a stack, by name."""
    row = next(iter(cells.values()))[0]
    parts = {str(part["name"]): part["params"] for part in row["defense_stack"]}
    return {str(row["attack"]).partition("(")[0]: row["attack_params"], **parts}


def _value(parameters: Mapping[str, Any], path: str) -> str:
    return canonical(parameters[path]) if path in parameters else "absent"
