"""Plain data together with the place that each value came from."""

import copy
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import PurePath
from typing import Any, NamedTuple

from fedsec.config.problems import ConfigError, Problem, TreePath, render

MAX_DEPTH = 20
MAX_VALUES = 10_000
MAX_DIGITS = 100
"""A longer whole number cannot be meant, and would not fit a float."""

_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")


class Origin(NamedTuple):
    """Where a value was written that stands elsewhere now."""

    tree: "Tree"
    path: TreePath


@dataclass(frozen=True, slots=True)
class Tree:
    """A scenario as plain data, with lines."""

    data: dict[str, Any]
    """Mappings, lists, text, numbers, booleans and None."""
    source: str
    lines: Mapping[TreePath, int] = field(default_factory=dict)
    faulty: frozenset[TreePath] = frozenset()
    """Where the reader found a fault and put None in: nothing more is to be said about these values."""
    overridden: Mapping[TreePath, Origin] = field(default_factory=dict)
    """Where something else than the source put a value, `--set` or a suite, and where it comes from."""

    def line(self, path: TreePath) -> int | None:
        """The line of the deepest known prefix of a path; None if the data came from no file."""
        known = (self.lines.get(prefix) for prefix in prefixes(path))
        return next((line for line in known if line is not None), None)

    def problem(self, path: TreePath, message: str) -> Problem:
        """A fault at a path, told where the value was written."""
        placed = next((prefix for prefix in prefixes(path) if prefix in self.overridden), None)
        if placed is not None:
            origin = self.overridden[placed]
            return origin.tree.problem((*origin.path, *path[len(placed) :]), message)
        return Problem(self.source, self.line(path), render(path), message)

    def replaced(self, path: tuple[str, ...], value: Any, origin: Origin) -> "Tree":
        """A copy with another value at a path; missing sections on the way are made.

        Args:
            path: keys from the top.
            value: plain data.
            origin: where the value was written, for faults in it.

        Raises:
            TypeError: something on the way is no mapping.
        """
        data = with_value(self.data, path, value)
        faulty = frozenset(known for known in self.faulty if known[: len(path)] != path)
        return Tree(data, self.source, self.lines, faulty, {**self.overridden, path: origin})


def prefixes(path: TreePath) -> Iterator[TreePath]:
    """The path itself, then ever shorter prefixes, the empty one last."""
    return (path[:length] for length in range(len(path), -1, -1))


def with_value(data: Mapping[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """A deep copy of nested mappings with another value at a path; TypeError if no mapping is on the way."""
    copied = copy.deepcopy(dict(data))
    section = copied
    for key in path[:-1]:
        section = section.setdefault(key, {})
        if not isinstance(section, dict):
            raise TypeError(f"'{key}' is no mapping")
    section[path[-1]] = copy.deepcopy(value)
    return copied


def unsafe_text(text: str) -> str | None:
    """Why a text is refused: control characters would reach terminals, lone surrogates no file can hold."""
    found = _UNSAFE.search(text)
    return f"the character U+{ord(found[0]):04X} is not allowed in a text" if found else None


def from_data(data: Mapping[str, Any], source: str) -> Tree:
    """A tree of data built in Python, copied, under the limits that hold for files.

    Args:
        data: the YAML form of a scenario; paths and enum members count as text, tuples as lists.
        source: what problems call it.

    Raises:
        ConfigError: values of other types, non-finite numbers, too much or too deep nesting.
    """
    reader = _PlainReader()
    plain = reader.plain(data, ())
    if reader.findings:
        raise ConfigError(Problem(source, None, render(path), message) for path, message in reader.findings)
    return Tree(plain, source)


class _PlainReader:
    """Copies Python data into plain data and notes what is not plain."""

    def __init__(self) -> None:
        self.findings: list[tuple[TreePath, str]] = []
        self._values = 0

    def plain(self, value: Any, path: TreePath) -> Any:
        """A copy of a value; None where it cannot be used."""
        self._values += 1
        if len(path) > MAX_DEPTH or self._values > MAX_VALUES:
            if self._values <= MAX_VALUES + 1:
                limit = f"deeper than {MAX_DEPTH} levels" if len(path) > MAX_DEPTH else f"over {MAX_VALUES} values"
                self.findings.append((path, f"the data nest {limit}"))
                self._values = MAX_VALUES + 1  # one such message is enough, and the walk ends soon
            return None
        if isinstance(value, Mapping):
            return {key: self.plain(item, (*path, key)) for key, item in value.items() if self._is_key(key, path)}
        if isinstance(value, list | tuple):
            return [self.plain(item, (*path, index)) for index, item in enumerate(value)]
        return self._scalar(value, path)

    def _is_key(self, key: Any, path: TreePath) -> bool:
        fault = unsafe_text(key) if isinstance(key, str) else f"keys must be text, not {type(key).__name__}"
        if fault:
            self.findings.append((path, fault))
        return fault is None

    def _scalar(self, value: Any, path: TreePath) -> bool | int | float | str | None:
        if isinstance(value, Enum):
            value = value.value
        if isinstance(value, PurePath):
            value = str(value)
        fault = None
        if isinstance(value, str):
            fault = unsafe_text(value)
            value = str(value)
        elif isinstance(value, float) and not math.isfinite(value):
            fault = f"{value} is not finite"
        elif isinstance(value, int) and abs(value) >= 10**MAX_DIGITS:
            fault = f"a whole number of more than {MAX_DIGITS} digits"
        elif value is not None and not isinstance(value, bool | int | float):
            fault = f"a {type(value).__name__} is no text, number, true, false, null, list or mapping"
        if fault:
            self.findings.append((path, fault))
        return None if fault else value
