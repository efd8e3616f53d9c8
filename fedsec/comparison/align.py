"""Aligns the cells of runs by what they are: resolved parameters, never labels."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Content = Mapping[str, Any]
"""A cell's file."""
Row = Mapping[str, Any]
"""A cell's row in the scorecard."""

_CONTENT = {"data": ("data.name", "data.path", "data.revision"), "weights": ("model.name",)}
"""Inputs of a cell that have to be the same, and the settings that name them, which may then differ."""
_TEXTS = (
    "data.config", "data.train_split", "data.test_split", "data.columns", "data.quoting", "data.max_tokens",
    "data.chat",
)  # fmt: skip
"""What else decides which texts a figure is about."""
_MODEL = ("model.name", "model.task")
_TRAINED = ("model.tuning", "model.dropout", "model.precision", "model.start")
"""What of the model is how it is trained, and not which one it is."""
_SAME_ROWS = ("data.partition", "data.candidates", "data.trusted")
"""Settings of the data that leave the test rows as they are."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run as comparisons read it."""

    name: str
    """What the comparison calls it: A, B, ..."""
    rows: Sequence[Row]
    """The scorecard's cells."""
    contents: Sequence[Content]
    """The cells' files, as the rows."""
    settings: Mapping[str, Mapping[str, Any]]
    """By scenario, every setting by its dotted path; empty where it cannot be read."""
    scenario: str
    """The scenario or suite that ran; that of rows which name none."""


@dataclass(frozen=True, slots=True)
class Aligned:
    """The cells of several runs that differ in their seed alone, and in nothing else that the runs vary."""

    scenario: str
    """Of a suite, the member; else the first run's."""
    settings: Mapping[str, Any]
    """What any of the runs varies, with its value here."""
    cells: tuple[Mapping[int, tuple[Row, Content]], ...]
    """For each run its cells by seed; empty where it has none."""

    @property
    def first(self) -> Row:
        """A row that tells attack and defense."""
        return next(row for cells in self.cells for row, _ in cells.values())

    def of(self, run: int) -> Row | None:
        """A row of a run; None if it has none here."""
        return next((row for row, _ in self.cells[run].values()), None)


@dataclass(slots=True)
class _Place:
    """What is found at one identity, run by run."""

    scenario: str
    settings: Mapping[str, Any]
    cells: list[dict[int, tuple[Row, Content]]] = field(default_factory=list)


def align(runs: Sequence[Run]) -> list[Aligned]:
    """The cells of all runs, side by side, in the order of the first run that has them.

    Two cells are the same if their attack, its parameters, the stack of defenses with theirs, and the varied settings
    are. A setting that only one of the runs varies has its fixed value in the others. Scenarios of suites are told
    apart by name; runs of one scenario each are aligned whatever it is called.

    Args:
        runs: at least one.
    """
    varied = sorted({path for run in runs for row in run.rows for path in row["settings"]})
    named = any(len({_scenario(run, row) for row in run.rows}) > 1 for run in runs)
    places: dict[str, _Place] = {}
    for place, run in enumerate(runs):
        for row, content in zip(run.rows, run.contents, strict=True):
            scenario, settings = _scenario(run, row), effective(run, row)
            chosen = {path: value for path in varied if (value := _at(settings, path)) is not _ABSENT}
            key = _identity(row, chosen, scenario if named else "")
            found = places.setdefault(key, _Place(scenario, chosen))
            found.cells += [{} for _ in range(len(runs) - len(found.cells))]
            found.cells[place][int(row["seed"])] = (row, content)
    return [Aligned(one.scenario, one.settings, tuple(one.cells)) for one in places.values()]


def effective(run: Run, row: Row) -> dict[str, Any]:
    """Every setting of a cell by its dotted path, the varied ones in place."""
    settings = dict(run.settings.get(_scenario(run, row), {}))
    for path, value in row["settings"].items():
        for known in [one for one in settings if one == path or one.startswith(f"{path}.")]:
            del settings[known]
        settings |= flat(value, path)
    return settings


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Nested mappings by dotted paths."""
    if not isinstance(value, Mapping) or not value:
        return {path: value}
    found: dict[str, Any] = {}
    for key, inner in value.items():
        found |= flat(inner, f"{path}.{key}" if path else str(key))
    return found


@dataclass(frozen=True, slots=True)
class Contrast:
    """How two cells differ beside what is compared."""

    refused: tuple[str, ...]
    """What makes their figures figures of different things, in words; empty where they compare."""
    told: tuple[tuple[str, Any, Any], ...]
    """(setting, value there, value here) of what else was set otherwise."""
    same_rows: bool
    """Whether their test rows are the same, seed by seed."""


def contrast(old: tuple[Run, Row, Content], new: tuple[Run, Row, Content]) -> Contrast:
    """What two aligned cells do not have in common.

    Whatever decides of which texts, rows and base model a figure is has to be the same, in name and in content. What
    was chosen otherwise beside that (training, federation, threat) is what a comparison may be about: it is told.

    Args:
        old: a run, its row and the cell's file.
        new: likewise.
    """
    hashes = [content.get("inputs") or {} for _, _, content in (old, new)]
    same = [path for kind, paths in _CONTENT.items() if _shared(hashes, kind) for path in paths]
    settings = [effective(run, row) for run, row, _ in (old, new)]
    varied = {path for _, row, _ in (old, new) for path in row["settings"]}
    known = [bool(run.settings.get(_scenario(run, row))) for run, row, _ in (old, new)]
    unlike = [one for one in _unlike(*settings) if all(known) and not _under(one[0], {*varied, *same})]
    names = [run.name for run, _, _ in (old, new)]
    other_model = any(path == "model.name" for path, _, _ in unlike)  # whose parameters say nothing more
    refused = [
        f"{path} is {_told(values, names)}"
        for path, *values in unlike
        if _means(path) and not (other_model and path.startswith("model.") and path not in _MODEL)
    ]
    refused += [
        f"the content of the {kind} is not the same in {names[0]} and {names[1]}"
        for kind in _CONTENT
        if kind in hashes[0] and kind in hashes[1] and not _shared(hashes, kind)
    ]
    goals = [row.get("goal") for _, row, _ in (old, new)]
    if goals[0] != goals[1]:
        refused.append(f"the attack's goal is {_told(goals, names)}")
    told = [one for one in unlike if not _means(one[0])]
    given = [one.get("auxiliary") for one in hashes]
    if given[0] != given[1]:
        told.append(("content of threat.auxiliary", given[0], given[1]))
    others = [path for path, _, _ in told if path.startswith("data.") and not _under(path, _SAME_ROWS)]
    if not all(known):
        told.append(("settings that can be read", known[0], known[1]))
    return Contrast(tuple(refused), tuple(told), not refused and not others and all(known))


_ABSENT = object()


def _identity(row: Row, settings: Mapping[str, Any], scenario: str) -> str:
    stack = [(part["name"], part["params"]) for part in row["defense_stack"]]
    attack = str(row["attack"]).partition("(")[0]
    return canonical([scenario, attack, row["attack_params"], stack, settings])


def canonical(value: Any) -> str:
    """JSON that is equal for equal values: keys sorted, 8.0 as 8."""
    return json.dumps(_plain(value), sort_keys=True, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _scenario(run: Run, row: Row) -> str:
    return str(row.get("scenario") or run.scenario)


def _at(settings: Mapping[str, Any], path: str) -> Any:
    """The value at a path, or of all that lies below it."""
    if path in settings:
        return settings[path]
    below = {key[len(path) + 1 :]: value for key, value in settings.items() if key.startswith(f"{path}.")}
    return below or _ABSENT


def _unlike(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Paths with other values."""
    for path in [*old, *(path for path in new if path not in old)]:
        one, other = old.get(path), new.get(path)
        if canonical(one) != canonical(other):
            yield path, one, other


def _means(path: str) -> bool:
    """Whether a setting decides what a figure is about."""
    named = [setting for paths in _CONTENT.values() for setting in paths]
    return _under(path, (*named, *_TEXTS)) or (path.startswith("model.") and not _under(path, _TRAINED))


def _shared(hashes: Sequence[Mapping[str, Any]], kind: str) -> bool:
    return kind in hashes[0] and hashes[0][kind] == hashes[1].get(kind)


def _told(values: Sequence[Any], names: Sequence[str]) -> str:
    return " and ".join(f"{_short(value)} in {name}" for value, name in zip(values, names, strict=True))


def _under(path: str, places: Iterable[str]) -> bool:
    return any(path == place or path.startswith(f"{place}.") for place in places)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
