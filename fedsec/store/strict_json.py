"""Strict JSON: files of unknown origin are read within limits of time and memory, and only if they are unambiguous."""

import json
import os
import stat
from math import isfinite
from pathlib import Path
from typing import Any

MAX_BYTES = 512 * 2**20
MAX_DEPTH = 50
MAX_DIGITS = 100
"""The most digits of a whole number; a longer one would not fit a float."""
_SHOWN = 40


def read(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no regular file, too large, or no JSON as `parse` takes it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # opening a pipe would wait for ever
    with os.fdopen(descriptor, "rb") as stream:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise ValueError("it is no ordinary file")
        content = stream.read(MAX_BYTES + 1) if state.st_size <= MAX_BYTES else b""
    if max(state.st_size, len(content)) > MAX_BYTES:  # the system's own files say that they are empty
        raise ValueError(f"it is larger than {MAX_BYTES // 2**20} MiB")
    return parse(content.decode("utf-8"))


def parse(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: it is none; or it holds a key twice, NaN, infinity, a whole number of more than `MAX_DIGITS`
            digits, half a character (a lone surrogate, which no file can hold), or more than `MAX_DEPTH` levels.
    """
    try:
        value = json.loads(
            text, parse_int=_whole, parse_float=_finite, parse_constant=_finite, object_pairs_hook=_unique
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None
    _check(value)
    return value


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a whole number of more than {MAX_DIGITS} digits")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError(f"{text[:_SHOWN]} is no JSON number")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice[:_SHOWN]!a} stands twice")
    return found


def _check(value: Any) -> None:
    """Check depth and texts level by level, since a recursive walk would fail at the depth that it looks for."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for part in level:
            if isinstance(part, dict):
                below += part
                below += part.values()
            elif isinstance(part, list):
                below += part
            elif isinstance(part, str) and not part.isascii():
                part.encode("utf-8")  # UnicodeEncodeError, a ValueError
        if not below:
            return
        level = below
    raise ValueError("nested too deeply")
