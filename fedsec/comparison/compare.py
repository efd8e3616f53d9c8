"""Compares runs: what differs between the same cells of a first run and of others, and whether it is told apart."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fedsec.api import Tells
from fedsec.comparison.align import Aligned, Content, Contrast, Row, Run, align, canonical, contrast, flat
from fedsec.comparison.lone import Lone, lone_cells
from fedsec.comparison.prices import rights
from fedsec.comparison.rows import NONE, RESULT, damage, goals_of, name_telling
from fedsec.errors import IncomparableError
from fedsec.metrics.stats.differences import Difference, Measured, difference, holm, paired_seeds

SCHEMA = 1
LEVEL = 0.05
"""Of all differences together: where nothing differs, any is called different in at most so large a share of cases."""
SAME = "same-cells"
"""The method of a difference between a cell and itself."""
_MACHINE = ("python", "packages", "git", "machine", "threads", "device", "randomness", "sources")
"""What of `made_by` may change a figure."""
_MOST_REASONS = 10
_STATUSES = {"budget": "time over", "blocked": "blocked, a guess"}
"""What is said of results that are not those of a whole attack."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric of the same cells in two runs."""

    metric: str
    unit: str
    better_for: str
    old: float
    """Mean over the seeds that are compared, in the first run."""
    new: float
    difference: Difference
    told: bool
    """Whether people are told of it: what an attack got and what the model is worth. All of these are tested together;
    other metrics, such as costs, are measured beside them and not tested."""
    adjusted: float | None = None
    """Holm's p value over all that are tested; None if it is not."""

    @property
    def apart(self) -> bool:
        """Whether the two are told apart."""
        return self.adjusted is not None and self.adjusted < LEVEL

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "unit": self.unit,
            "better_for": self.better_for,
            "old": self.old,
            "new": self.new,
            "difference": self.difference.as_json(),
            "resolves": self.difference.resolves() if self.told else None,
            "tested": self.adjusted is not None,
            "p_adjusted": self.adjusted,
            "apart": self.apart,
        }


@dataclass(frozen=True, slots=True)
class Pair:
    """The same cells, but for their seeds, in the first run and in another."""

    where: Aligned
    run: int
    """Which other one: a place in `Comparison.runs`."""
    seeds: tuple[int, ...]
    """The seeds that are paired; empty where the difference is unpaired."""
    refused: tuple[str, ...]
    """Why there is no figure."""
    notes: tuple[str, ...]
    """What to keep in mind about them."""
    figures: tuple[Figure, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            **_place(self.where, self.where.first),
            "run": self.run,
            "seeds": [sorted(self.where.cells[run]) for run in (0, self.run)],
            "paired_seeds": list(self.seeds),
            "refused": list(self.refused),
            "notes": list(self.notes),
            "metrics": {figure.metric: figure.as_json() for figure in self.figures},
        }


@dataclass(frozen=True, slots=True)
class Told:
    """Something that differs beside what is compared."""

    what: str
    """A setting's path, or what of the code and the machine."""
    run: int
    old: Any
    """In the first run; of the machine and the code all values that its cells have, with commas."""
    new: Any
    scenarios: tuple[str, ...]
    """Where it differs; of runs of one scenario that one."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs beside the first of them."""

    runs: tuple[Run, ...]
    pairs: tuple[Pair, ...]
    told: tuple[Told, ...]
    lone: tuple[Lone, ...]

    @property
    def tested(self) -> int:
        """How many differences are tested together."""
        return sum(figure.adjusted is not None for pair in self.pairs for figure in pair.figures)

    def as_json(self) -> dict[str, Any]:
        """Plain data: what `fedsec compare --json` prints after the runs."""
        return {
            "schema": SCHEMA,
            "level": LEVEL,
            "tested": self.tested,
            "differs": [
                {"what": one.what, "run": one.run, "old": one.old, "new": one.new, "scenarios": list(one.scenarios)}
                for one in self.told
            ],
            "only": [
                {
                    **_place(one.where, one.row),
                    "run": one.has,
                    "not_in": one.lacks,
                    "seeds": list(one.seeds),
                    "near": one.near,
                }
                for one in self.lone
            ],
            "cells": [pair.as_json() for pair in self.pairs],
        }


def compare(runs: Sequence[Run]) -> Comparison:
    """Every cell that the first run has in common with others, with differences of its metrics, new less old.

    Args:
        runs: at least two; the first is what the others are held against.

    Raises:
        IncomparableError: no cell of any of them can be compared with the first run's; the message says why.
    """
    aligned = align(runs)
    found = [
        _pair(runs, where, run)
        for run in range(1, len(runs))
        for where in aligned
        if where.cells[0] and where.cells[run]
    ]
    pairs = [pair for pair, _ in found]
    if all(pair.refused for pair in pairs):
        raise IncomparableError(_why(runs, pairs))
    told = [one for run in range(1, len(runs)) for one in (*_settings(found, run), *_machine(runs, run))]
    lone = [one for run in range(1, len(runs)) for one in lone_cells(runs, aligned, run)]
    return Comparison(tuple(runs), tuple(_adjusted(pairs)), tuple(told), tuple(lone))


def _pair(runs: Sequence[Run], where: Aligned, run: int) -> tuple[Pair, Contrast]:
    """The figures of the same cells in two runs, or why there are none."""
    sides = [(runs[place], where.cells[place]) for place in (0, run)]
    old, new = ((one, *next(iter(cells.values()))) for one, cells in sides)
    unlike = contrast(old, new)
    ran = [{seed: both for seed, both in cells.items() if both[0]["status"] in RESULT} for _, cells in sides]
    missing: dict[str, list[str]] = {}
    for (one, cells), own in zip(sides, ran, strict=True):
        if not own:
            missing.setdefault(_status(cells), []).append(one.name)
    refused = list(unlike.refused) or [f"no result in {' and '.join(names)}: {why}" for why, names in missing.items()]
    if refused:
        return Pair(where, run, (), tuple(refused), (), ()), unlike
    seeds = paired_seeds(*ran)
    keys = [[cells[seed][1]["key"] for seed in seeds] for cells in ran]
    same = bool(seeds) and keys[0] == keys[1]
    notes = list(_notes([one for one, _ in sides], ran, unlike, same=same, paired=bool(seeds)))
    figures = _figures(ran, unlike.same_rows)
    if same:  # there is nothing to test; timings, and what another machine computed otherwise, may differ all the same
        none = Difference(0.0, SAME, len(seeds))
        figures = [replace(one, difference=none) if one.old == one.new else one for one in figures]
    return Pair(where, run, tuple(seeds), (), tuple(notes), tuple(figures)), unlike


def _status(cells: Mapping[int, tuple[Row, Content]]) -> str:
    row = next(iter(cells.values()))[0]
    return f"{row['status']}, {row['reason']}" if row["reason"] else str(row["status"])


def _notes(
    runs: Sequence[Run],
    ran: Sequence[Mapping[int, tuple[Row, Content]]],
    unlike: Contrast,
    *,
    same: bool,
    paired: bool,
) -> Iterator[str]:
    """What a reader has to know of two cells that are compared."""
    if same:
        yield "the same cells"
        return
    if not unlike.told and paired:
        yield "other sources"
    marks: dict[str, list[str]] = {}
    for run, cells in zip(runs, ran, strict=True):
        for mark in dict.fromkeys(mark for row, _ in cells.values() for mark in _marks(row)):
            marks.setdefault(mark, []).append(run.name)
    for mark, names in marks.items():
        yield f"{mark} in {' and '.join(names)}"
    if not paired:
        yield "unpaired (other seeds)"


def _marks(row: Row) -> Iterator[str]:
    """What keeps a cell's figures from being whole results."""
    if row["status"] in _STATUSES:
        yield _STATUSES[row["status"]]
    if row["attack"] == NONE and row.get("learned") is False:
        yield "did not learn"
    harm = row.get("harm")
    if harm is not None and harm["value"] is None:
        yield "harm undefined"


def _figures(sides: Sequence[Mapping[int, tuple[Row, Content]]], same_rows: bool) -> list[Figure]:
    """Of every metric that all these cells have, those that people are told of first.

    Args:
        sides: of the first run and of the other, its cells with a result by seed.
        same_rows: whether cells of the same seed have the same test rows.
    """
    rows = [row for cells in sides for row, _ in cells.values()]
    told = _told_names(rows[0])
    by_row = name_telling(rows[0]["metrics"], Tells.CORRECT) if same_rows else None
    common = set.intersection(*(set(row["metrics"]) for row in rows))
    found = []
    for name in [*(one for one in told if one in common), *sorted(common - set(told))]:
        old, new = (
            {seed: one for seed, cell in cells.items() if (one := _read(cell, name, by_row))} for cells in sides
        )
        metric = rows[0]["metrics"][name]
        if not old or not new or any(row["metrics"][name]["unit"] != metric["unit"] for row in rows):
            continue
        seeds = paired_seeds(new, old)
        means = [float(np.mean([side[seed].value for seed in seeds or side])) for side in (old, new)]
        found.append(
            Figure(
                metric=name,
                unit=metric["unit"],
                better_for=metric["better_for"],
                old=means[0],
                new=means[1],
                difference=difference(new, old),
                told=name in told,
            )
        )
    return found


def _read(cell: tuple[Row, Content], name: str, by_row: str | None) -> Measured | None:
    """A metric of a cell, with its test rows if it is the one that is about them."""
    row, content = cell
    return Measured.read(row["metrics"][name], rights(content) if name == by_row else None)


def _told_names(row: Row) -> list[str]:
    """What people are told of a row: what its attack got, what acting cost, what the model is worth."""
    harm = damage()
    names = [shown.metric for card in goals_of(row) for shown in card.headline]
    names += [harm[1].metric] if harm is not None and row.get("acts") else []
    kinds = (Tells.QUALITY, Tells.CORRECT)
    return list(dict.fromkeys([*names, *filter(None, (name_telling(row["metrics"], kind) for kind in kinds))]))


def _adjusted(pairs: Iterable[Pair]) -> list[Pair]:
    """The pairs with Holm's p values, over all differences that people are told of and that have a p value."""
    pairs = list(pairs)
    values = {
        (place, figure.metric): p_value
        for place, pair in enumerate(pairs)
        for figure in pair.figures
        if figure.told and (p_value := figure.difference.p_value) is not None
    }
    adjusted = dict(zip(values, holm(list(values.values())), strict=True))
    return [
        replace(pair, figures=tuple(replace(one, adjusted=adjusted.get((place, one.metric))) for one in pair.figures))
        for place, pair in enumerate(pairs)
    ]


def _settings(found: Iterable[tuple[Pair, Contrast]], run: int) -> list[Told]:
    """The settings that one other run has otherwise, each once."""
    places: dict[str, tuple[str, Any, Any, dict[str, None]]] = {}
    for pair, unlike in found:
        for what, old, new in unlike.told if pair.run == run else ():
            entry = places.setdefault(canonical([what, old, new]), (what, old, new, {}))
            entry[3][pair.where.scenario] = None
    return [Told(what, run, old, new, tuple(scenarios)) for what, old, new, scenarios in places.values()]


def _machine(runs: Sequence[Run], run: int) -> list[Told]:
    """What of versions, sources and hardware is not the same in all their cells."""
    old, new = (_made_by(one.contents) for one in (runs[0], runs[run]))
    return [
        Told(what, run, old.get(what), new.get(what), ())
        for what in dict.fromkeys([*old, *new])
        if old.get(what) != new.get(what)
    ]


def _made_by(contents: Iterable[Content]) -> dict[str, str]:
    """What made these cells: every value that there is, with commas."""
    found: dict[str, set[str]] = {}
    for content in contents:
        made = content.get("made_by") or {}
        for what, value in flat({key: made[key] for key in _MACHINE if made.get(key) is not None}).items():
            found.setdefault(what, set()).add(str(value))
    return {what: ", ".join(sorted(values)) for what, values in found.items()}


def _place(where: Aligned, row: Row) -> dict[str, Any]:
    return {
        "scenario": where.scenario,
        "attack": row["attack"],
        "attack_params": row["attack_params"],
        "defense": row["defense"],
        "defense_stack": row["defense_stack"],
        "settings": dict(where.settings),
    }


def _why(runs: Sequence[Run], pairs: Sequence[Pair]) -> str:
    """Why nothing can be compared, and what to do."""
    first, others = runs[0].name, ", ".join(run.name for run in runs[1:])
    if not pairs:
        return (
            f"{others} and {first} have no cell in common: no attack with the same parameters stands against the same "
            "stack of defenses with theirs, under the same varied settings, in both. Compare runs of one scenario, or "
            "of copies of it"
        )
    reasons = list(dict.fromkeys(reason for pair in pairs for reason in pair.refused))
    more = [f"and {len(reasons) - _MOST_REASONS} more"] if len(reasons) > _MOST_REASONS else []
    listed = "".join(f"\n  {reason}" for reason in [*reasons[:_MOST_REASONS], *more])
    return (
        f"no cell of {others} can be compared with {first}:{listed}\n"
        "Both have to read the same texts with the same base model; to compare data sets or models, vary them in one "
        "scenario (matrix.vary)"
    )
