"""Faults of a scenario, each with its place, and the error that carries all of them."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from fedsec.errors import ExitCode, FedsecError

TreePath = tuple[str | int, ...]
"""Keys and list indices from the top of a scenario down to a value."""

_PLAIN_KEY = re.compile(r"[\w.-]{1,60}")
_LONGEST = 60


def shorten(text: str) -> str:
    """At most 60 characters of a text."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def show(value: Any) -> str:
    """A value as a message shows it: short, as YAML writes it, control characters escaped."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return "a mapping"
    return shorten(repr(value)) if isinstance(value, str) else _number(value)


def _number(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"a number of {len(text)} characters"


def render(path: TreePath) -> str:
    """A path as `matrix.attack[1].scale`; keys that are no plain words are quoted."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            word = key if _PLAIN_KEY.fullmatch(key) else shorten(repr(key))
            text += f".{word}" if text else word
    return text


class Problem(NamedTuple):
    """One fault and where it stands."""

    source: str
    """A file, `--set`, or how else the value came in."""
    line: int | None
    path: str
    """Dotted; empty for the file as a whole."""
    message: str

    def __str__(self) -> str:
        source = self.source if self.source.isprintable() else repr(self.source)
        place = source if self.line is None else f"{source}:{self.line}"
        return f"{place} {self.path}: {self.message}" if self.path else f"{place}: {self.message}"


class ConfigError(FedsecError):
    """A scenario that cannot be used, with everything that is wrong with it.

    Args:
        problems: at least one.
    """

    exit_code = ExitCode.USAGE

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: list[Problem] = sorted(problems, key=_order)
        count = len(self.problems)
        headline = f"{count} problem{'' if count == 1 else 's'} in the scenario:"
        super().__init__("\n".join([headline, *map(str, self.problems)]))


def _order(problem: Problem) -> tuple[bool, int]:
    # What has no line (--set, values from Python) comes last, in the order found.
    return problem.line is None, problem.line or 0
