"""The valid values of a scenario with faults elsewhere, so that cross-field checks run where they can."""

from collections.abc import Callable, Iterable
from typing import Any

from pydantic import BaseModel

from fedsec.config.fields import bare, fields_of
from fedsec.config.problems import TreePath
from fedsec.config.schema import Scenario

Look = Callable[["Valid"], Iterable[tuple[TreePath, str]]]
"""Tells what is wrong with what a scenario names (files, folders), each fault with the path of its setting."""


def no_look(valid: "Valid") -> Iterable[tuple[TreePath, str]]:
    """Nothing that a scenario names is looked at."""
    return ()


class Valid:
    """Looks up values by path, defaults included.

    Args:
        data: the scenario as plain data.
        broken: paths at which there are faults.
    """

    def __init__(self, data: dict[str, Any], broken: Iterable[TreePath]) -> None:
        self._data = data
        self._broken = frozenset(broken)

    def has(self, *path: str | int) -> bool:
        """Whether nothing is wrong at, above or below a path."""
        return not any(path[: len(broken)] == broken or broken[: len(path)] == path for broken in self._broken)

    def get(self, *path: str) -> Any:
        """The value at a path of the schema; None if it is not valid, or is None."""
        if not self.has(*path):
            return None
        here: Any = self._data
        part: Any = Scenario
        for depth, key in enumerate(path):
            if here is None:  # a section that may be absent, and is
                return None
            if key not in here:
                return _default(part, path[depth:])
            here = here[key]
            part = bare(fields_of(part)[key].annotation) if depth < len(path) - 1 else None
        return here


def _default(part: type[BaseModel], path: tuple[str, ...]) -> Any:
    value = fields_of(part)[path[0]].get_default()
    for key in path[1:]:
        value = None if value is None else getattr(value, key)
    return value
